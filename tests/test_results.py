"""Results pages: their tables say what the trials' records say, and a model that was not kept is trained again."""

import json

import pytest

from benchmarks.results import jacobian_ode, latent_ode
from benchmarks.results.finished import Finished
from cluster.state.records import load_trials
from cluster.study.study import SearchStudy
from tests.tracking import end, say
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_method
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training

pytestmark = pytest.mark.slow


def train(search):
    """Train every trial of a search in this process, and tell its study."""
    method, programs = load_method(search.spec.trainable), ProgramCache()
    wave = search.wave(SearchStudy(search.paths, search.spec, method.config_type))
    for _ in range(search.spec.budget.trials):
        task = json.loads(wave.next()["task"])
        config = method.config_type.model_validate(task["config"], strict=False)
        training = Training(programs.get(method, config), config, method.data(config, DatasetStore()))
        while not (report := training.advance()).ending:
            say(wave, task["trial"], report.step, 1.0, **report.metrics)
        tests = {name: value for result in training.test().values() for name, value in result.metrics.items()}
        metrics = {**tests, **training.best.metrics}
        end(wave, task["trial"], report.step, 2.0, metrics=metrics, last=report.metrics)
    wave.close()
    return Finished(str(search.paths.root))


def small(name, *searched):
    """Return a method's small config, as a spec has it, without what is searched."""
    config = load_method(name).smoke()
    values = json.loads(config.model_dump_json(exclude_defaults=True))
    return {field: value for field, value in values.items() if field not in searched}


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
    finished = train(search)
    rows = {row["model"]: row for row in jacobian_ode.chosen_table(finished).to_dict("records")}
    for model, name in jacobian_ode.MODELS.items():
        trials = [one for one in load_trials(search.paths) if one.config["model"] == model]
        feasible = [one for one in trials if one.metrics["val_loop_loss_over_sqrt_n"] <= 0.05]
        assert rows[name]["feasible"] == f"{len(feasible)} of 2"
        if feasible:
            best = min(feasible, key=lambda one: one.metrics["val_free_running_mse"])
            assert rows[name]["trial"] == best.number
            assert rows[name]["error of J, %"] == best.metrics["test_frobenius_error_pct"]
    assert "4 completed" in finished.took()
    jacobian_ode.draw_noise(finished, tmp_path / "noise.png")
    jacobian_ode.draw_entries(finished, tmp_path / "entries.png")
    assert min((tmp_path / name).stat().st_size for name in ("noise.png", "entries.png")) > 10_000


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
    finished = train(search)
    trials = {one.config["deterministic"]: one for one in load_trials(search.paths)}
    best = min(trials.values(), key=lambda one: one.metrics["val_extrapolation_error_pct"])
    shown = {row["trial"]: row for row in latent_ode.best_table(finished).to_dict("records")}
    assert [shown[trials[kind].number]["kl_weight"] for kind in (True, False)] == ["", 0.01]
    errors = dict(latent_ode.baseline_table(finished).itertuples(index=False, name=None))
    assert errors["latent ODE"] == best.metrics["test_extrapolation_error_pct"]
    assert errors["persistence"] == best.metrics["test_baseline_persistence_error_pct"]
    by_kl = latent_ode.by_kl(finished).to_dict("records")
    assert [row["step"] for row in by_kl] == [20, 40]
    assert by_kl[0]["trials with KL"] == by_kl[0]["trials without KL"] == 1
    found = latent_ode.predicted(finished)
    assert found["model"]["later"].shape == found["series"].later.y.shape
    latent_ode.draw_series(finished, tmp_path / "series.png")
    assert (tmp_path / "series.png").stat().st_size > 10_000
