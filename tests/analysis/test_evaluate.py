"""Kept models on further test sets: the numbers are those of the trial's own test, and nothing is computed twice."""

import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import analysis
import swell
from analysis.drawing import models
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import pictures
from analysis.evaluation import evaluate as evaluation
from analysis.evaluation.apply import EvaluationError, Model
from analysis.evaluation.evaluate import chosen_columns, evaluate
from analysis.kept_evaluations import Kept, all_kept, find, keep
from analysis.saved_models import ModelError
from cluster.state.paths import SearchPaths
from tests.searching import Search, make_spec
from tests.test_method_figures import small, train
from trainables._shared import extras
from trainables._shared.saved import SavedModel

OWN = "complex_TBP_planar_3_test"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A search of two trained two_body models, whose checkpoints are kept."""
    root = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWELL_ROOT", str(root / "searches"))
        base = small("two_body", "learning_rate", "test_datasets") | {"test_datasets": [OWN]}
        space = {"learning_rate": [0.003, 0.001]}
        objective = {"metric": "val_accel_error_pct"}
        sampler, budget = {"name": "grid"}, {"trials": 2}
        spec = make_spec(
            trainable="two_body", objective=objective, base=base, space=space, sampler=sampler, budget=budget
        )
        yield train(Search(spec, root))


@pytest.mark.slow
def test_on_its_own_test_set_a_model_gives_what_its_trial_has_recorded(trained):
    found = evaluate(trained, [OWN])
    assert found.table["trial"].tolist() == trained.trials["trial"].tolist()
    for row in found.table.to_dict("records"):
        recorded = trained.row(row["trial"])
        for name in ("accel_error_mean_pct", "accel_angle_median_deg", "propagated_accel_error_std_pct"):
            assert row[name] == pytest.approx(recorded[f"test_3_{name}"], rel=1e-4)
    orbits = found.examples.loc[found.examples["trial"] == 0]
    assert len(orbits) == 3
    assert orbits["accel_error_mean_pct"].mean() == pytest.approx(
        found.table.set_index("trial")["accel_error_mean_pct"][0], rel=1e-4
    )


@pytest.mark.slow
def test_what_is_known_is_read_and_a_changed_model_is_applied_again(trained, monkeypatch):
    said = []
    evaluate(trained, [OWN, "simple_TBP_planar_2_test"], [1], told=said.append)
    before = len(said)
    monkeypatch.setattr(evaluation, "Model", None)  # whoever applied a model now would fail
    again = evaluate(trained, [OWN, "simple_TBP_planar_2_test"], [1], told=said.append)
    assert (len(said), len(again.table)) == (before, 2)
    assert {*trained.evaluations()["test_set"]} >= {OWN, "simple_TBP_planar_2_test"}
    monkeypatch.undo()
    other = trained.paths.checkpoint(1)
    whole = other.read_bytes()
    try:
        other.write_bytes(trained.paths.checkpoint(0).read_bytes())
        changed = evaluate(trained, [OWN], [1], told=said.append).table
    finally:
        other.write_bytes(whole)
    assert len(said) == before + 1
    assert changed["accel_error_mean_pct"][0] == pytest.approx(
        evaluate(trained, [OWN], [0]).table["accel_error_mean_pct"][0]
    )


@pytest.mark.slow
def test_orbits_of_a_file_give_what_the_same_orbits_by_name_give(trained, tmp_path):
    from trainables.two_body.data import generate
    from trainables.two_body.dataset_names import parse_dataset

    orbits = generate(parse_dataset(OWN), fix_nu0=False, sampling="mean_anomaly", missing_tail=0.0)
    file = tmp_path / "mine.npz"
    np.savez(file, y=orbits["y"], t=orbits["t"])
    named = evaluate(trained, [OWN], [0]).table
    by_file = evaluate(trained, [str(file)], [0]).table
    assert by_file["test_set"].tolist() == ["mine.npz"]
    assert by_file["accel_error_mean_pct"][0] == pytest.approx(named["accel_error_mean_pct"][0], rel=1e-6)
    np.savez(tmp_path / "short.npz", y=orbits["y"][:, :100], t=orbits["t"])
    with pytest.raises(EvaluationError, match=r"short\.npz cannot be read as orbits: must hold the arrays y \(orb"):
        evaluate(trained, [str(tmp_path / "short.npz")], [0])
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(EvaluationError, match=r"text\.npz cannot be read as orbits"):
        evaluate(trained, [str(tmp_path / "text.npz")], [0])


@pytest.mark.slow
def test_the_command_prints_trials_by_sets_by_statistics(trained, monkeypatch):
    monkeypatch.setenv("SWELL_ROOT", str(trained.paths.root.parent))

    def call(*arguments):
        return CliRunner().invoke(swell.app, ["evaluate", trained.name, *arguments], catch_exceptions=False)

    done = call("--trials", "0,1", "--on", OWN, "simple_TBP_planar_2_test", "--format", "markdown")
    assert done.exit_code == 0
    assert done.stdout.count("simple_TBP_planar_2_test") == 2
    assert "accel_error_mean_pct" in done.stdout
    latex = call("--trials", "0", "--on", OWN, "--format", "latex", "--columns", "outward_mean_pct").stdout
    assert "\\begin{tabular}" in latex
    assert "outward\\_mean\\_pct" in latex


def test_without_columns_the_models_own_statistics_are_shown_and_no_baselines():
    own = ["nll", "rmse_dex", "median_error_pct"]
    table = pd.DataFrame(columns=["trial", "test_set", "baseline_mean_profile_nll", *own])
    assert list(chosen_columns(table, None).columns) == ["trial", "test_set", *own]
    assert list(chosen_columns(table, "all").columns) == list(table.columns)
    several = pd.DataFrame(columns=["trial", "test_set", "beaten", "baseline_mean_nll", "error_mean_pct"])
    assert list(chosen_columns(several, None).columns) == ["trial", "test_set", "error_mean_pct"]


@pytest.mark.slow
def test_what_is_not_there_is_said(trained):
    with pytest.raises(
        EvaluationError, match=r"--on nonsense: there is no test set 'nonsense' .* named like complex_TBP"
    ):
        evaluate(trained, ["nonsense"], [0])
    with pytest.raises(EvaluationError, match=r"there is no file none\.npz"):
        evaluate(trained, ["none.npz"], [0])
    with pytest.raises(EvaluationError, match="name a test set or a file"):
        evaluate(trained, [])
    with pytest.raises(EvaluationError, match=r"no such statistic\. Did you mean 'outward_mean_pct'"):
        chosen_columns(evaluate(trained, [OWN], [0]).table, "outward_man_pct")


@pytest.mark.slow
def test_a_model_on_the_way_of_a_trial_that_was_stopped_early_is_applied(trained):
    on_the_way, best, config = trained.paths.model(1, 40), trained.paths.checkpoint(1), trained.model(1).config
    aside = best.rename(best.with_suffix(".aside"))
    on_the_way.write_bytes(aside.read_bytes())
    try:
        found = evaluate(trained, [OWN], [1], step=40).table
        assert trained.model(1, 40).config == config
        with pytest.raises(EvaluationError, match="the checkpoint of trial 1 was not kept"):
            evaluate(trained, [OWN], [1])
        with pytest.raises(ModelError, match=r"no model of trial 1 at step 41 .* there are: 40"):
            evaluate(trained, [OWN], [1], step=41)
    finally:
        aside.rename(best)
        on_the_way.unlink()
    assert found["accel_error_mean_pct"][0] == pytest.approx(
        evaluate(trained, [OWN], [1]).table["accel_error_mean_pct"][0]
    )


def test_a_trial_without_a_checkpoint_is_said(make_search):
    search = make_search(name="bare")
    search.run(lambda config: {"val_error": 1.0}, most=2)
    bare = analysis.load("bare")
    with pytest.raises(EvaluationError, match=r"the checkpoint of trial 1 was not kept .* there are those of: none"):
        evaluate(bare, ["x"], [1])
    with pytest.raises(EvaluationError, match="has no completed trial whose checkpoint was kept"):
        evaluate(bare, ["x"])
    assert len(bare.evaluations()) == 0


def test_a_model_whose_own_data_are_not_there_is_not_scored(tmp_path, monkeypatch):
    from trainables.gru_dynamics.config import Config
    from trainables.gru_dynamics.method import method

    monkeypatch.setenv("SWELL_CACHE", str(tmp_path))
    model = Model.__new__(Model)
    model._saved = SavedModel(method, Config(dataset="csv", folders=(str(tmp_path / "gone"),)), None, {})
    with pytest.raises(EvaluationError, match=r"--on x: cannot be scored, as folders = .*gone'.*: there is no such"):
        model.apply("x")
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "mujoco")
    model._saved = SavedModel(method, Config(num_trajectories=10, samples=15), None, {})
    with pytest.raises(EvaluationError, match=r"^--on x: mujoco is not installed: pip install 'swell\[mujoco\]'$"):
        model.apply("x")


def test_a_figure_of_a_model_whose_own_data_are_not_there_is_not_drawn(tmp_path, monkeypatch):
    from trainables.gru_dynamics.config import Config
    from trainables.gru_dynamics.method import method

    monkeypatch.setenv("SWELL_CACHE", str(tmp_path))
    saved = SavedModel(method, Config(dataset="csv", folders=(str(tmp_path / "gone"),)), None, {})
    monkeypatch.setattr(models, "saved_model", lambda *args, **options: saved)
    models._loaded.cache_clear()
    with pytest.raises(NothingToShowError, match=r"^the data that it shows cannot be used: folders = .*no such folder"):
        models._computed(tmp_path, 0, 0, "gru_dynamics", "error_growth")
    saved = SavedModel(method, Config(num_trajectories=10, samples=15), None, {})
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "mujoco")
    models._loaded.cache_clear()
    with pytest.raises(NothingToShowError, match=r"^mujoco is not installed: pip install 'swell\[mujoco\]'$"):
        models._computed(tmp_path, 0, 0, "gru_dynamics", "error_growth")
    models._loaded.cache_clear()


def test_before_a_trial_has_completed_that_is_what_is_said(make_search):
    search = make_search(name="begun")
    wave = search.wave(search.open())
    wave.next()
    begun = analysis.load("begun")
    with pytest.raises(EvaluationError, match=r"^no trial of begun has completed yet$"):
        evaluate(begun, ["x"])
    with pytest.raises(NothingToShowError, match=r"^no trial has completed yet$"):
        pictures(begun, None, "series")
    wave.close()


def test_what_is_kept_is_read_back_with_what_is_not_finite(tmp_path):
    paths = SearchPaths(tmp_path)
    whole = Kept(3, "a/b set.npz", "key", {"mean": 1.5, "worst": math.inf}, {"error": [1.0, -math.inf]})
    keep(paths, whole)
    assert find(paths, 3, "a/b set.npz") == whole
    keep(paths, Kept(3, "b set.npz", "key", {"mean": math.nan}, {}))
    assert sorted(one.on for one in all_kept(paths)) == ["a/b set.npz", "b set.npz"]
    assert math.isnan(find(paths, 3, "b set.npz").metrics["mean"])
    for file in paths.evaluations.iterdir():
        file.write_text('{"trial": 3, "on":')
    assert [*all_kept(paths)] == []
    assert find(paths, 3, "b set.npz") is None
