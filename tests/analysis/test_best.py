import json

import numpy as np
import pandas as pd
import pytest
import yaml

import analysis
from analysis.best import ExportError, NoBestTrialError, best_trial, export_best
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.models import pictures
from analysis.evaluation.apply import Model
from analysis.evaluation.evaluate import evaluate
from analysis.saved_models import ModelError, step_named
from analysis.show import show_exported
from cluster.machine.files import DamagedFileError
from cluster.state.outcomes import Outcome
from tests.methods.ripple.method import Config, method
from tests.searching import result
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.saved import load_model
from trainables._shared.training import Training


def tell(search, *ends):
    study = search.open()
    for outcome, metrics in ends:
        number = study.ask().number
        study.tell(number, outcome, result(**metrics))
    return search.paths


def completed(*values):
    return [(Outcome.COMPLETED, {"val_error": value}) for value in values]


def test_the_best_trial_has_the_smallest_objective_of_the_completed(make_search):
    paths = tell(make_search(), *completed(3.0, 1.0, 2.0), (Outcome.PRUNED, {"val_error": 0.1}))
    assert best_trial(paths).number == 1


def test_the_best_trial_has_the_largest_objective_where_the_mode_is_max(make_search):
    search = make_search(objective={"metric": "val_error", "mode": "max"})
    assert best_trial(tell(search, *completed(3.0, 1.0, 2.0))).number == 0


def test_the_best_trial_keeps_its_constraints(make_search):
    search = make_search(constraints=[{"metric": "loop", "max": 1.0}])
    ends = [(Outcome.COMPLETED, {"val_error": value, "loop": loop}) for value, loop in ((1.0, 5.0), (2.0, 0.5))]
    assert best_trial(tell(search, *ends)).number == 1


def test_with_repeats_it_is_of_the_configuration_with_the_best_mean(make_search):
    search = make_search(repeats={"seeds": [1, 2]}, budget={"trials": 8})
    ends = completed(0.1, 9.0, 2.0, 1.0, 0.2)  # the last set is incomplete
    assert best_trial(tell(search, *ends, (Outcome.CRASHED, {}))).number == 3


def test_another_trial_can_be_asked_for(make_search):
    paths = tell(make_search(), *completed(3.0, 1.0), (Outcome.CRASHED, {}))
    assert best_trial(paths, 0).number == 0
    with pytest.raises(NoBestTrialError, match="trial 2 has not completed; completed trials: 0, 1"):
        best_trial(paths, 2)


def test_without_a_completed_trial_there_is_no_best(make_search):
    search = make_search()
    with pytest.raises(NoBestTrialError, match="no trial of try has completed yet"):
        best_trial(search.paths)
    with pytest.raises(NoBestTrialError, match="completed trials: none"):
        best_trial(tell(search, (Outcome.CRASHED, {})), 0)


def test_with_several_objectives_the_choice_is_the_users(make_search):
    search = make_search(objective=[{"metric": "a"}, {"metric": "b"}], sampler={"name": "nsga2"})
    ends = [(Outcome.COMPLETED, {"a": a, "b": b}) for a, b in ((2.0, 2.0), (1.0, 3.0), (1.0, 1.0))]
    paths = tell(search, *ends)
    with pytest.raises(NoBestTrialError, match=r"choose one with --trial, e\.g\. 2, 1, 0"):
        best_trial(paths)
    assert best_trial(paths, 1).number == 1


def cut(file):
    file.write_bytes(file.read_bytes()[:500])


def flip(file):
    """Change one byte of an array."""
    whole = bytearray(file.read_bytes())
    place = whole.index(b"best/0.npy") + 150
    whole[place] ^= 1
    file.write_bytes(whole)


def pack_otherwise(file):
    """Name a compression that no zip has, of the first member."""
    whole = bytearray(file.read_bytes())
    whole[whole.index(b"PK\x01\x02") + 10] = 77
    file.write_bytes(whole)


@pytest.fixture
def trained(make_search):
    """A search of one trial that was trained for real."""
    search = make_search(budget={"trials": 1}, space={"shift": [0.5]})
    study = search.open()
    wave = search.wave(study, most=1)
    config = Config.model_validate(json.loads(wave.next()["task"])["config"])
    training = Training(Program(method, config), config, method.data(config, DatasetStore()))
    while not training.advance().ending:
        pass
    tests = training.test()
    training.save(search.paths.checkpoint(0), {"trainable": "tests.methods.ripple"})
    metrics = {**training.best.metrics, **tests["plain"].metrics}
    last = {"step": 30, "saved_step": 30, "seconds": 1.0, "metrics": metrics, "outcome": "completed"}
    wave.end(0, {**last, "tests": {name: found.table for name, found in tests.items()}})
    wave.close()
    return search.paths, training


def test_an_export_is_whole(trained, tmp_path, capsys):
    paths, training = trained
    folder = tmp_path / "deep" / "best"
    exported = export_best(paths, folder)
    assert sorted([*exported.files, "export.json"]) == sorted(file.name for file in folder.iterdir())
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert written == {"trainable": "tests.methods.ripple", "config": training.config.model_dump(mode="json")}
    assert (folder / "config.yaml").read_text().startswith("# Trial 0 of try\n")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["val_error"] == training.best.value
    assert np.array_equal(load_model(folder / "model.npz").model.x, training.best.params.x)
    errors = pd.read_csv(folder / "plain.csv")["error"]
    assert errors.mean() == pytest.approx(metrics["test_error"])
    show_exported(paths, exported)
    assert "trial 0 of try: config.yaml, metrics.json, model.npz, plain.csv in" in capsys.readouterr().out


def test_a_model_kept_on_the_way_is_exported_and_evaluated_by_its_step(trained, tmp_path):
    paths, training = trained
    config = training.config.model_copy(update={"report_every": 5})
    early = Training(Program(method, config), config, method.data(config, DatasetStore()))
    report = early.advance()
    early.save_model(paths.model(0, 5), "tests.methods.ripple")
    early.save_model(paths.model(0, "last"), "tests.methods.ripple")
    with pytest.raises(ModelError, match=r"try has kept no model of trial 0 at step 6 .* there are: 5, last$"):
        export_best(paths, tmp_path / "none", step=6)
    with pytest.raises(ModelError, match=r"^--step best: neither a number of optimiser steps nor last$"):
        step_named("best")
    exported = export_best(paths, tmp_path / "early", step=step_named("5"))
    assert exported.files == ["config.yaml", "metrics.json", "model.npz"]
    folder = exported.folder
    assert np.array_equal(load_model(folder / "model.npz").model.x, early.state.params.x)
    assert json.loads((folder / "metrics.json").read_text()) == report.metrics
    assert (folder / "config.yaml").read_text().startswith("# Trial 0 of try, the model at step 5\n")
    search = analysis.load(str(paths.root))
    assert np.array_equal(search.model(0, "last").model.x, early.state.params.x)
    whole = evaluate(search, ["plain"]).table
    found = evaluate(search, ["plain"], step=5)
    assert [*found.table.columns][:3] == ["trial", "step", "test_set"]
    assert [*found.table["step"]] == [5]
    assert set(found.examples["step"]) == {5}
    shift = config.shift
    assert found.examples["error"].tolist() == pytest.approx(np.abs(early.state.params.x - shift).tolist(), rel=1e-6)
    told = []
    assert evaluate(search, ["plain"], step=5, told=told.append).table.equals(found.table)
    assert told == []
    # The report is of the best models alone.
    pd.testing.assert_frame_equal(search.evaluations(), whole)
    assert "step" not in whole


def test_a_damaged_checkpoint_is_said_in_one_message_by_whoever_reads_it(trained, tmp_path):
    paths, _ = trained
    whole = paths.checkpoint(0).read_bytes()
    for damage in (cut, flip, pack_otherwise):
        paths.checkpoint(0).write_bytes(whole)
        damage(paths.checkpoint(0))
        with pytest.raises(DamagedFileError, match=r"model of trial 0 is damaged \(.*\); swell rerun try 0 trains it"):
            export_best(paths, tmp_path / "best")
        assert not (tmp_path / "best").exists()
        search = analysis.load("try")
        for apply in (search.model, lambda trial, search=search: Model(search, trial)):
            with pytest.raises(ModelError, match=r"the model of trial 0 of try cannot be loaded: .*swell rerun try 0"):
                apply(0)
        with pytest.raises(NothingToShowError, match="the model of trial 0 of try cannot be loaded: "):
            pictures(search, [0], "any")


def test_a_model_of_another_version_of_its_method_is_said(trained):
    paths, training = trained
    training.save(paths.checkpoint(0), {"trainable": "tests.methods.gone"})
    with pytest.raises(ModelError, match=r"of trial 0 of try cannot be loaded: .*tests\.methods\.gone"):
        analysis.load("try").model(0)


def test_an_export_without_a_kept_checkpoint_says_so(trained, tmp_path, capsys):
    paths, _ = trained
    paths.checkpoint(0).unlink()
    exported = export_best(paths, tmp_path / "best")
    assert exported.files == ["config.yaml", "metrics.json", "plain.csv"]
    show_exported(paths, exported)
    assert "its checkpoint was not kept" in capsys.readouterr().out


def test_an_export_over_another_trials_leaves_nothing_of_it(make_search, tmp_path):
    paths = tell(make_search(), *completed(1.0, 2.0))
    np.savez(paths.checkpoint(0), of=np.zeros(1))
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "notes.txt").write_text("the user's own")
    export_best(paths, tmp_path / "best", 0)
    exported = export_best(paths, tmp_path / "best", 1)
    assert "model.npz" not in exported.files
    assert not (tmp_path / "best" / "model.npz").exists()
    assert (tmp_path / "best" / "notes.txt").exists()


def test_without_a_complete_set_the_best_single_trial_is_exported(make_search):
    search = make_search(repeats={"seeds": [0, 1]}, budget={"trials": 6})
    crashed = (Outcome.CRASHED, {})
    paths = tell(search, *completed(50.0), crashed, *completed(1.0), crashed, *completed(20.0), crashed)
    assert best_trial(paths).number == 2


def test_a_folder_with_a_config_of_ones_own_is_not_written_to(make_search, tmp_path):
    paths = tell(make_search(), *completed(1.0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("precious")
    with pytest.raises(ExportError, match=r"has a config\.yaml that is not of an earlier export"):
        export_best(paths, tmp_path / "mine")
    assert (tmp_path / "mine" / "config.yaml").read_text() == "precious"


def test_metrics_that_are_no_numbers_are_null_in_the_export(make_search, tmp_path):
    paths = tell(make_search(), (Outcome.COMPLETED, {"val_error": 1.0, "odd": float("nan")}))
    export_best(paths, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {"val_error": 1.0, "odd": None}
