"""What a comparison says: the truth of planted effects, no more than the data, something sensible of odd searches."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.mattered import importance
from analysis.mattered.compare import compare
from analysis.mattered.show import as_text, show_comparison, tables
from analysis.search import Bound, Factor, NotThereError, Objective
from tests.analysis.mattered.planted import drawn, table
from tests.searching import make_spec

CLAIMS = ("is best", "are best", "beats", "mattered most", " depends on ")


def sentence_of(found, column):
    return next(one.sentence for one in found.factors if one.column == column)


@pytest.fixture(scope="module", autouse=True)
def coarse_importance():
    """Let importance take few and small forests: its numbers are test_importance.py's matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "RESAMPLES", 3)
        patch.setattr(importance, "MOST_FOR_FULL_TREES", 0)
        yield


@pytest.fixture(scope="module")
def planted():
    return compare(drawn(0, effect=0.9, crossing=1.5, noise=0.2, grid=True))


def test_the_sentences_say_which_level_is_best_by_how_much_and_over_what(planted):
    said = sentence_of(planted, "rate")
    assert said.startswith(
        "rate: 0.01 and 0.001 are best, not told apart from each other: error of 0.01 lower than with"
    )
    assert "with 0.0001 by 0.882 (0.791 to 0.971)" in said
    assert "paired over all other factors, better in 24 of 24 settings; p < .001; not repeated over seeds" in said
    head = sentence_of(planted, "head")
    assert head.startswith("head: b is best: error lower than with")
    assert sentence_of(planted, "depth").startswith("depth: 72 completed trials do not support a difference")


def test_a_best_trial_of_another_level_is_no_ranking(planted):
    assert "(The best trial of all has a nevertheless: one trial is no ranking.)" in sentence_of(planted, "head")


def test_a_reversal_is_stated(planted):
    assert len(planted.interactions) == 1
    assert planted.interactions[0].startswith("head depends on data: a beats c with data=x (median error better by")
    assert "loses to it with data=y" in planted.interactions[0]
    assert planted.interactions[0] in planted.sentences


def test_the_most_important_comes_first_and_what_seeds_cannot_tell_is_said(planted):
    assert planted.sentences[0].startswith("planted has 72 trials (72 completed); compared by error (small is good)")
    assert planted.sentences[1].startswith("Of the variance of the objective, fANOVA gives")
    assert [one.column for one in planted.factors][-1] == "depth"
    assert any("No configuration was repeated over seeds" in one for one in planted.sentences)
    assert any("repeats: {seeds: [0, 1" in one for one in planted.remarks)


def test_with_seeds_the_verdict_leads():
    once = drawn(3, effect=0.9, noise=0.1, grid=True)
    rng = np.random.default_rng(0)
    trials = pd.concat(
        [once.trials.assign(seed=seed, error=once.trials["error"] + 0.2 * rng.normal(size=72)) for seed in range(3)]
    ).assign(trial=range(216))
    found = compare(replace(once, trials=trials, seed="seed", seeds=(0, 1, 2)), "head")
    assert [one.column for one in found.factors] == ["head"]
    assert found.sentences[1].startswith("head: b beats ")
    assert "3 seeds in 24 settings" in found.sentences[1]
    assert found.factors[0].verdicts[0].is_supported
    assert not any("repeated over seeds" in one for one in found.sentences)


def test_noise_gives_no_claim():
    found = compare(drawn(2, 60))
    assert not [one for one in found.sentences if any(claim in one for claim in CLAIMS)]


def test_a_level_that_fails_more_than_the_others_is_named():
    trials = pd.DataFrame({"head": ["a", "b"] * 30, "error": np.random.default_rng(0).normal(size=60)})
    trials["outcome"] = ["completed", "crashed"] * 20 + ["completed"] * 20
    found = compare(table(trials, (Factor("head", ("a", "b")),)))
    said = "head=b fails in 20 of 30 trials, its other levels in 0 of 30 (p < .001 after correction)"
    assert any(one.startswith(said) for one in found.sentences)
    fair = trials.assign(outcome=["completed", "completed", "crashed", "crashed"] * 14 + ["completed", "crashed"] * 2)
    assert not any("fails in" in one for one in compare(table(fair, (Factor("head", ("a", "b")),))).sentences)


def test_infeasible_trials_are_in_no_score_and_have_a_share():
    trials = pd.DataFrame({"head": ["a", "b"] * 12, "error": np.arange(24.0), "loss": [0.0, 2.0] * 6 + [0.0, 0.0] * 6})
    found = compare(table(trials, (Factor("head", ("a", "b")),), constraints=(Bound("loss", max=1.0),)))
    levels = found.factors[0].levels.set_index("level")
    assert list(levels["n"]) == [12, 6]
    assert list(levels["infeasible_share"]) == [0.0, 0.5]
    assert levels["best"]["b"] == 13.0
    assert "18 completed trials; 6 more break a constraint" in found.sentences[0]


def test_a_sentence_without_a_claim_names_the_trials_that_keep_the_constraints():
    trials = pd.DataFrame({"head": ["a", "b"] * 12, "error": np.random.default_rng(0).normal(size=24)})
    trials["loss"] = [0.0] * 20 + [2.0] * 4
    found = compare(table(trials, (Factor("head", ("a", "b")),), constraints=(Bound("loss", max=1.0),)))
    said = "head: 20 completed trials that keep the constraints do not support a difference between its 2 levels"
    assert any(one.startswith(said) for one in found.sentences)


def test_several_objectives_have_a_front_and_a_view_each():
    search = drawn(1, effect=0.9, noise=0.1, grid=True)
    trials = search.trials.assign(gain=search.trials["error"] + (search.trials["data"] == "x") * 3.0)
    found = compare(replace(search, trials=trials, objectives=(Objective("error"), Objective("gain", "max"))))
    assert [view.objective for view in found.views] == ["gain"]
    assert found.sentences[0].startswith("With 2 objectives (error and gain) no trial is best: the Pareto front has")
    assert any(one.startswith("By gain: data: x is best: gain higher than with y") for one in found.sentences)
    best = trials.loc[trials["error"].idxmin(), "trial"]
    assert best in set(found.front["trial"])
    for one in found.front.to_dict("records"):
        assert not ((trials["error"] < one["error"]) & (trials["gain"] >= one["gain"])).any()


def test_a_sampler_that_looks_at_results_is_warned_of():
    tpe = replace(drawn(1, 12), spec=make_spec(sampler={"name": "tpe"}))
    even = replace(drawn(1, 12), spec=make_spec(sampler={"name": "random"}))
    assert any(one.startswith("tpe chose later trials by earlier results") for one in compare(tpe).remarks)
    assert not any("chose later trials" in one for one in compare(even).remarks)


def test_a_factor_that_was_not_searched_is_refused_with_the_nearest():
    with pytest.raises(NotThereError, match=r"has searched no 'haed'\. Did you mean 'head'"):
        compare(drawn(1, 12), "haed")


def test_every_form_has_the_same_comparison(planted, tmp_path, capsys):
    plain = json.loads(as_text(planted, "json"))
    assert plain["sentences"] == planted.sentences
    assert [one["column"] for one in plain["factors"]] == [one.column for one in planted.factors]
    assert plain["factors"][-1]["levels"][0]["n"] == 18
    show_comparison(planted, "csv", tmp_path / "levels.csv")
    levels = pd.read_csv(tmp_path / "levels.csv")
    assert len(levels) == 3 + 2 + 3 + 4
    assert set(levels.loc[levels["factor"] == "head", "held_wins"].dropna()) <= set(range(25))
    markdown = as_text(planted, "markdown")
    assert markdown.startswith("# What mattered in planted\n")
    assert "| level   |" in markdown
    assert "```yaml\n  space:" in markdown
    show_comparison(planted, "terminal", None)
    printed = capsys.readouterr().out
    assert printed.startswith(planted.sentences[0])
    assert printed.index(planted.sentences[-1][:40]) < printed.index("Importance")


def test_names_of_levels_are_text_in_every_form(capsys):
    hostile = "[bold]</script>|*\x1b[31m"
    trials = pd.DataFrame({"head": [hostile, "b"] * 8, "error": np.arange(16.0)})
    found = compare(table(trials, (Factor("head", (hostile, "b")),)))
    show_comparison(found, "terminal", None)
    printed = capsys.readouterr().out
    assert "[bold]</script>|*\\x1b[31m" in printed
    assert "\x1b" not in printed
    assert "\x1b" not in as_text(found, "markdown")
    assert "\\[bold\\]\\</script\\>\\|\\*" in as_text(found, "markdown")
    assert json.loads(as_text(found, "json"))["factors"][0]["levels"][0]["level"] == hostile


def test_an_odd_search_has_a_sensible_comparison(odd_search):
    found = analysis.compare(odd_search.name)
    assert found.sentences[0].startswith(("try has ", "With 2 objectives"))
    assert not [one for one in found.sentences + found.remarks if "nan" in one.replace("dominant", "")]
    for form in ("markdown", "csv", "json"):
        assert as_text(found, form)
    for _, frame in tables(found):
        assert len(frame.columns)
    assert [one.column for one in analysis.compare(odd_search.name, "shift").factors] == ["shift"]
