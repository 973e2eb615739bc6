"""Importance: Optuna's own numbers, planted orders, and a reason where there is none."""

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest

import analysis.mattered.importance as module
from analysis.mattered.chance import chances
from analysis.mattered.comparable import comparable
from analysis.mattered.crossed import crossed
from analysis.mattered.importance import FANOVA, PED_ANOVA, importance
from analysis.mattered.sentences import importance_sentence
from analysis.mattered.values import values_of
from analysis.search import Factor, Objective
from tests.analysis.mattered.planted import drawn, table

SPACE = (
    Factor("head", ("a", "b", "c")),
    Factor("rate", is_log=True, low=1e-4, high=1e-1),
    Factor("depth", is_whole=True, low=1, high=6),
    Factor("width", low=0.0, high=1.0, step=0.25),
)
CONDITIONAL = Factor("share", low=0.0, high=1.0, conditions={"head": ("a", "b")})


def study_of(num, mode, with_condition=False):
    """Return an Optuna study, and our search of the same trials."""

    def objective(trial):
        head = trial.suggest_categorical("head", ["a", "b", "c"])
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        depth = trial.suggest_int("depth", 1, 6)
        width = trial.suggest_float("width", 0.0, 1.0, step=0.25)
        share = trial.suggest_float("share", 0.0, 1.0) if with_condition and head != "c" else 0.0
        return (head == "b") + abs(np.log10(rate) + 2) + 0.1 * depth * width + share

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction = "minimize" if mode == "min" else "maximize"
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=3))
    study.optimize(objective, n_trials=num)
    optuna.logging.set_verbosity(before)
    trials = pd.DataFrame([{**trial.params, "error": trial.value} for trial in study.trials])
    factors = (*SPACE, CONDITIONAL) if with_condition else SPACE
    return study, table(trials, factors, objectives=(Objective("error", mode),))


def optunas(study, names):
    """Return the means of Optuna's own shares over the seeds of its forests, and the means' standard errors."""
    own = [
        optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=seed, n_trees=32), params=names
        )
        for seed in range(8)
    ]
    shares = np.array([[one[name] for name in names] for one in own])
    return shares.mean(axis=0), shares.std(axis=0, ddof=1) / np.sqrt(len(own))


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_numbers_are_optunas_own(mode):
    study, search = study_of(40, mode)
    found = importance(search, comparable(search)).table.set_index(["evaluator", "factor"])["value"]
    own = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    assert found.loc[PED_ANOVA].to_dict() == pytest.approx(own)
    names = [one.column for one in SPACE]
    shares, errors = optunas(study, names)
    # our forest's own error is that of a mean over eight of Optuna's, as it has as many trees
    assert found.loc[FANOVA][names].to_numpy() == pytest.approx(shares, abs=4 * np.sqrt(2) * errors.max())


@pytest.mark.slow
def test_a_conditional_factor_is_judged_where_it_is_searched():
    study, search = study_of(60, "min", with_condition=True)
    found = importance(search, comparable(search)).table.set_index(["evaluator", "factor"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ped = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    shares, errors = optunas(study, ["head", "rate", "depth", "width", "share"])
    assert found.loc[PED_ANOVA]["value"].to_dict() == pytest.approx(ped)
    assert found.loc[(FANOVA, "share"), "value"] == pytest.approx(shares[-1], abs=4 * np.sqrt(2) * errors.max())
    assert found.loc[(FANOVA, "share"), "where"] == "head = a or b"
    assert found.loc[(FANOVA, "share"), "n"] == sum("share" in trial.params for trial in study.trials)
    assert found.loc[(FANOVA, "head"), "n"] == 60


def test_numbers_of_every_kind_of_range_are_judged_as_optuna_does():
    def objective(trial):
        whole = trial.suggest_int("whole", 1, 1000, log=True)
        even = trial.suggest_int("even", 2, 9, step=2)
        level = trial.suggest_float("level", 0.0, 1.0, step=0.3)
        return abs(np.log(whole) - 3) + 0.3 * even + level

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that steps do not reach the end of the range
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(objective, n_trials=80)
    optuna.logging.set_verbosity(before)
    factors = (
        Factor("whole", is_log=True, is_whole=True, low=1, high=1000),
        Factor("even", is_whole=True, low=2, high=9, step=2),
        Factor("level", low=0.0, high=1.0, step=0.3),
    )
    search = table(pd.DataFrame([{**trial.params, "error": trial.value} for trial in study.trials]), factors)
    found = importance(search, comparable(search)).table.set_index(["evaluator", "factor"])["value"]
    own = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    assert found.loc[PED_ANOVA].to_dict() == pytest.approx(own)
    shares, errors = optunas(study, list(own))
    assert found.loc[FANOVA][list(own)].to_numpy() == pytest.approx(shares, abs=4 * np.sqrt(2) * errors.max())


def test_the_planted_order_is_found_and_its_true_shares_are_within_the_intervals():
    rng = np.random.default_rng(5)
    levels = {"first": 4, "second": 3, "third": 2}
    trials = pd.DataFrame({name: rng.integers(0, num, 80) for name, num in levels.items()})
    trials["error"] = trials["first"] + 0.7 * trials["second"] + 0.4 * trials["third"] + 0.3 * rng.normal(size=80)
    search = table(trials, tuple(Factor(name, tuple(range(num))) for name, num in levels.items()))
    found = importance(search, comparable(search))
    rows = found.table.loc[found.table["evaluator"] == FANOVA].set_index("factor")
    variances = np.array([1.0 * 15 / 12, 0.7**2 * 8 / 12, 0.4**2 * 3 / 12])
    truth = variances / variances.sum()
    assert list(rows.index) == list(levels)
    assert ((rows["low"] <= truth) & (truth <= rows["high"])).all()
    assert (rows["ahead"].dropna() > 0.9).all()
    sentence = importance_sentence(found, chances(crossed(search, comparable(search))))
    assert sentence.startswith("Of the variance of the objective, fANOVA gives first ")
    assert "do not support the order" not in sentence.split(". ")[0]


def test_of_two_factors_that_matter_alike_no_order_is_claimed():
    rng = np.random.default_rng(2)
    trials = pd.DataFrame({"one": rng.integers(0, 2, 40), "other": rng.integers(0, 2, 40)})
    trials["error"] = trials["one"] + trials["other"] + 0.4 * rng.normal(size=40)
    search = table(trials, (Factor("one", (0, 1)), Factor("other", (0, 1))))
    found = importance(search, comparable(search))
    sentence = importance_sentence(found, chances(crossed(search, comparable(search))))
    assert "where the trials do not support the order of" in sentence


def test_in_noise_the_importances_rank_nothing():
    search = drawn(4, 40)
    among = comparable(search)
    sentence = importance_sentence(importance(search, among), chances(crossed(search, among)))
    assert sentence.startswith("No factor's effect is beyond chance (the least p = ")


@pytest.mark.parametrize(
    ("trials", "why"),
    [
        ({"head": list("abc") * 3, "error": range(9)}, "9 results are too few: importance needs at least 10"),
        ({"head": ["a"], "error": [1.0]}, "1 result is too few: importance needs at least 10"),
        ({"head": ["a"] * 12, "error": range(12)}, "no factor has two levels with results"),
        ({"head": list("ab") * 6, "error": [1.0] * 12}, "all results are equal"),
    ],
)
def test_what_has_no_importance_has_a_reason(trials, why):
    search = table(pd.DataFrame(trials), (Factor("head", ("a", "b", "c")),))
    found = importance(search, comparable(search))
    assert (found.table, found.why_not) == (None, why)


def test_numbers_that_forests_cannot_hold_are_no_fault():
    search = drawn(0, 40, effect=1.0)
    wide = search.trials.assign(rate=np.where(search.trials["depth"] > 2, 1e300, 1e-300))
    found = importance(replace(search, trials=wide), comparable(replace(search, trials=wide)))
    assert set(found.table["factor"]) == {"head", "data", "depth"}


def test_what_was_asked_before_of_the_same_results_is_not_computed_again(monkeypatch):
    search, computed = drawn(5, 12), []
    monkeypatch.setattr(module, "_compute", lambda *given: computed.append(given) or [{"factor": "head", "value": 1.0}])

    def ask(search, evaluator):
        units = comparable(search).units
        values, scores = values_of(search, search.factors[:1], units), units["value"].to_numpy(dtype=float)
        assert module._with_interval(values, scores, evaluator, 0) == [{"factor": "head", "value": 1.0}]
        return len(computed)

    other = replace(search, trials=search.trials.assign(error=1.0 + search.trials["error"]))
    mixed = replace(search, trials=search.trials.assign(head=search.trials["head"].to_numpy()[::-1]))
    asked = (search, FANOVA), (search, FANOVA), (other, FANOVA), (other, PED_ANOVA), (mixed, FANOVA), (other, FANOVA)
    assert [ask(*one) for one in asked] == [1, 1, 2, 3, 4, 4]


def test_a_resample_without_a_conditional_factor_is_no_fault():
    trials = pd.DataFrame({"head": ["c"] * 18 + ["a", "a"], "share": np.arange(20) / 20, "error": np.arange(20.0)})
    search = table(trials, (SPACE[0], CONDITIONAL))
    found = importance(search, comparable(search)).table
    assert "share" in set(found.loc[found["evaluator"] == PED_ANOVA, "factor"])


@pytest.mark.slow
def test_many_results_are_judged_in_bounded_time_and_it_is_said():
    search = drawn(0, 2500, effect=0.5)
    found = importance(search, comparable(search))
    assert set(found.table.loc[found.table["evaluator"] == FANOVA, "factor"].head(2)) == {"head", "rate"}
    assert any("from 2000 results drawn from the 2500" in one for one in found.remarks)
    assert any("each resample has 300 results" in one for one in found.remarks)
