"""Figures of methods' searches: what they show is what the trials' records and kept models say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.drawing.discovery import figures, find_figures
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import pictures
from analysis.drawing.render import save
from analysis.sources.directory import load_search
from cluster.state.records import load_trials
from cluster.study.study import SearchStudy
from tests.tracking import end, say
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_method
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training

pytestmark = pytest.mark.slow


def train(search):
    """Train every trial of a search in this process, tell its study, and keep its checkpoint."""
    method, programs = load_method(search.spec.trainable), ProgramCache()
    wave = search.wave(SearchStudy(search.paths, search.spec, method.config_type))
    search.paths.checkpoint(0).parent.mkdir(exist_ok=True)
    for _ in range(search.spec.budget.trials):
        task = json.loads(wave.next()["task"])
        config = method.config_type.model_validate(task["config"], strict=False)
        training = Training(programs.get(method, config), config, method.data(config, DatasetStore()))
        while not (report := training.advance()).ending:
            say(wave, task["trial"], report.step, 1.0, **report.metrics)
        tests = {name: value for result in training.test().values() for name, value in result.metrics.items()}
        metrics = {**tests, **training.best.metrics}
        training.save(search.paths.checkpoint(task["trial"]), {"trainable": search.spec.trainable})
        end(wave, task["trial"], report.step, 2.0, metrics=metrics, last=report.metrics)
    wave.close()
    return load_search(str(search.paths.root))


def small(name, *searched):
    """Return a method's small config, as a spec has it, without what is searched."""
    config = load_method(name).smoke()
    values = json.loads(config.model_dump_json(exclude_defaults=True))
    return {field: value for field, value in values.items() if field not in searched}


def of(search, tmp_path):
    """Return what every figure of a search's method shows, by name, each drawn to a file."""
    found = {one.name: one.look(search) for one in figures() if one.method == search.spec.trainable}
    for one in find_figures(search):
        if one.name in found:
            save(one, found[one.name], tmp_path / f"{one.name}.png")
            assert (tmp_path / f"{one.name}.png").stat().st_size > 10_000
            assert len(found[one.name].table()) > 0
    return found


def test_of_each_model_the_feasible_trial_with_the_least_error_is_shown_and_drawn(make_search, tmp_path):
    search = make_search(
        trainable="jacobian_ode",
        objective={"metric": "val_free_running_mse"},
        constraints=[{"metric": "val_loop_loss_over_sqrt_n", "max": 0.05}],
        base=small("jacobian_ode", "model", "learning_rate"),
        space={"model": ["jacobian", "neural_ode"], "learning_rate": [0.01, 0.0001]},
        sampler={"name": "grid"},
        budget={"trials": 4},
    )
    found = of(train(search), tmp_path)
    points = found["jacobian_noise"].table()
    for model in ("jacobian", "neural_ode"):
        rows = points.loc[points["model"] == model]
        trials = [one for one in load_trials(search.paths) if one.config["model"] == model]
        feasible = [one for one in trials if one.metrics["val_loop_loss_over_sqrt_n"] <= 0.05]
        assert set(rows.loc[rows["feasible"], "trial"]) == {one.number for one in feasible}
        if feasible:
            best = min(feasible, key=lambda one: one.metrics["val_free_running_mse"])
            chosen = rows.loc[rows["is_chosen"]].iloc[0]
            assert chosen["trial"] == best.number
            assert chosen["error_pct"] == best.metrics["test_frobenius_error_pct"]
    entries = found["jacobian_entries"]
    assert len(entries.names) == 2
    assert len(entries.entries) == 3


def test_the_best_latent_odes_are_shown_beside_the_baselines_and_by_their_kl_term(make_search, tmp_path):
    search = make_search(
        trainable="latent_ode",
        objective={"metric": "val_extrapolation_error_pct"},
        base=small("latent_ode", "deterministic", "kl_weight"),
        space={
            "deterministic": [True, False],
            "kl_weight": {"choices": [0.01], "when": {"deterministic": False}},
        },
        sampler={"name": "grid"},
        budget={"trials": 2},
    )
    loaded = train(search)
    found = of(loaded, tmp_path)
    trials = {one.config["deterministic"]: one for one in load_trials(search.paths)}
    best = min(trials.values(), key=lambda one: one.metrics["val_extrapolation_error_pct"])
    errors = found["baselines"].table().set_index("what")["error_pct"]
    assert errors[f"trial {best.number}"] == best.metrics["test_extrapolation_error_pct"]
    assert errors["persistence"] == best.metrics["test_baseline_persistence_error_pct"]
    assert errors["true law (floor)"] == best.metrics["test_true_law_error_pct"] < errors["pooled linear dynamics"]
    by_kl = found["kl_term"].table()
    assert [*by_kl["step"]] == [20, 20, 40, 40]
    assert [*by_kl["num"]] == [1, 1, 1, 1]
    assert found["series"].trial == best.number
    # Errors of the arrays that are drawn are those that were measured when the trial ended.
    ((_, arrays),) = pictures(loaded, [best.number], "series", 1)[0].items()
    rmse = np.sqrt(np.nanmean((arrays["model_later"] - arrays["later"]) ** 2))
    signal = np.sqrt(np.nanmean((arrays["later"] - np.nanmean(arrays["later"], (0, 1))) ** 2))
    assert 0.3 < 100 * rmse / signal / best.metrics["test_extrapolation_error_pct"] < 3
    search.paths.checkpoint(0).unlink()
    with pytest.raises(NothingToShowError, match="no checkpoint is kept of trial 0"):
        pictures(loaded, [0], "series", 1)
    _, remark = pictures(loaded, [0, 1], "series", 1)
    assert remark == "not kept: 0"


@pytest.mark.parametrize("method", ["halo_emulator", "latent_ode"])
def test_of_two_methods_figures_of_one_name_each_search_has_its_own(make_search, method):
    search = load_search(make_search().paths)
    search = replace(search, spec=search.spec.model_copy(update={"trainable": method}))
    (by_name,) = find_figures(search, ["baselines"])
    assert by_name.method == method
    assert by_name.module in [one.module for one in find_figures(search)]
