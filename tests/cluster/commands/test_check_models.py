"""`init_from` in a spec: which model a name means, and what is told before the launch of one that does not fit."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cluster.commands import check_models
from cluster.commands.check import check
from cluster.commands.rerun import rerun_spec
from cluster.commands.search import create_search
from cluster.machine.files import read_json
from cluster.state.records import TrialRecord
from cluster.study.inputs import changed_inputs
from search_spaces.errors import SpecError
from search_spaces.spec import load_spec
from tests.conftest import ROOT
from tests.methods.ripple.config import Config
from tests.methods.ripple.method import method
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training

HEAD = "name: s\ntrainable: tests.methods.ripple\nobjective: {metric: val_error}\nbudget: {trials: 2}\n"


def train(path, **config):
    """Train a ripple to its end, and write its model to a file."""
    config = Config(steps=10, **config)
    training = Training(Program(method, config), config, method.data(config, DatasetStore()))
    while not training.advance().ending:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    training.save(path, {"trainable": "tests.methods.ripple"})
    return training.best


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "model.npz"
    train(file)
    return file


@pytest.fixture
def lab(tmp_path, monkeypatch, make_search, model):
    """A folder to launch from, with a search `first` below it whose trial 4 has kept its best model and two more."""
    monkeypatch.chdir(tmp_path)
    search = make_search(name="first")
    for name in (search.paths.checkpoint(4), search.paths.model(4, 10), search.paths.model(4, "last")):
        shutil.copyfile(model, name)
    return tmp_path


def checked(lab, text):
    (lab / "s.yaml").write_text(HEAD + text)
    return check(load_spec(lab / "s.yaml"))


def refused(lab, text):
    with pytest.raises(SpecError) as caught:
        checked(lab, text)
    return str(caught.value).replace(f"{lab}/", "").splitlines()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("first/4", "searches/first/checkpoints/trial-000004.npz"),
        ("searches/first/4", "searches/first/checkpoints/trial-000004.npz"),
        ("first/4@10", "searches/first/checkpoints/trial-000004-step-000000010.npz"),
        ("first/4@last", "searches/first/checkpoints/trial-000004-last.npz"),
        ("mine.npz", "mine.npz"),
        ("7/8", "7/8"),
    ],
)
def test_a_name_becomes_the_file_of_the_model(lab, model, name, file):
    (lab / "7").mkdir()
    for own in ("mine.npz", "7/8"):
        shutil.copyfile(model, own)
    assert checked(lab, f"base: {{init_from: {name}}}\nspace: {{shift: [0.0]}}\n").spec.base == {"init_from": file}


def test_a_search_may_choose_among_models_and_none(lab, monkeypatch):
    spec = checked(
        lab,
        "space:\n  init_from: [null, first/4]\n"
        "  shift: {choices: [0.0, 1.0], when: {init_from: first/4}}\nsampler: {name: grid}\n",
    ).spec
    file = "searches/first/checkpoints/trial-000004.npz"
    assert spec.space["init_from"].choices == (None, file)
    assert spec.space["shift"].when == {"init_from": (file,)}
    paths = create_search(spec, lab / "s.yaml")
    assert json.loads(paths.spec.read_text())["space"]["init_from"]["choices"] == [None, file]
    noted = read_json(paths.inputs)
    assert set(noted) == {file}
    assert re.fullmatch("[0-9a-f]{64}", noted[file]["sha256"])
    assert changed_inputs(paths) == []
    train(lab / file, shift=3.0)
    assert [line.partition(" has changed")[0] for line in changed_inputs(paths)] == [file]
    named = checked(lab, "space: {init_from: {choices: {none: null, first: first/4}}}\n").spec.space["init_from"]
    assert named.choices == {"none": None, "first": file}
    other = lab / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)  # from where the file is not below the working directory
    text = f"base: {{init_from: {lab}/searches/first/4}}\nspace: {{shift: [0.0]}}\n"
    assert checked(lab, text).spec.base == {"init_from": str(lab / file)}


def test_a_trial_that_started_from_a_model_is_run_again_from_it(lab):
    spec = checked(lab, "base: {init_from: first/4}\nspace: {shift: [0.0]}\n").spec
    config = Config(**spec.base, shift=0.0).model_dump(mode="json")
    again = rerun_spec(spec, TrialRecord(number=0, outcome=None, configuration=0, params={}, config=config), "again")
    assert again.base["init_from"] == spec.base["init_from"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing.npz", "there is no such file. Allowed: SEARCH/TRIAL for the best model of a trial ("),
        ("second/4", "no search 'second' in "),
        ("first/5", "first has kept no model of trial 5; there are those of: 4. Allowed: "),
        ("first/4@11", "first has not kept that model of trial 4; there are its best one, and after steps: 10, last."),
        ("first/5@last", "first has kept no model of trial 5; there are those of: 4. Allowed: "),
    ],
)
def test_a_name_that_means_no_model_is_told_where_it_stands(lab, name, said):
    (line,) = refused(lab, f"base:\n  init_from: {name}\nspace: {{shift: [0.0]}}\n")
    assert line.startswith(f"s.yaml:6: base.init_from = '{name}': {said}")
    (line,) = refused(lab, f"space:\n  init_from: [null, {name}]\n")
    assert line.startswith(f"s.yaml:6: space.init_from[1] = '{name}': {said}")


def test_a_name_that_is_too_long_for_a_files_is_told_too(lab):
    (line,) = refused(lab, f"base: {{init_from: {'x' * 300}.npz}}\nspace: {{shift: [0.0]}}\n")
    assert line.startswith("s.yaml:5: base.init_from = ")
    assert ": [Errno 36] File name too long: " in line


def test_a_model_twice_under_two_names_is_no_choice(lab):
    (line,) = refused(lab, "space: {init_from: [first/4, searches/first/4]}\n")
    assert line.startswith("s.yaml:5: space.init_from[1] = 'searches/first/4': is the same model as another")


def test_a_model_of_other_shapes_is_refused_by_the_name_of_the_array(lab):
    file = "searches/first/checkpoints/trial-000004.npz"
    lines = refused(lab, "base: {init_from: first/4, batch_size: 7}\nspace: {size: [3, 5]}\n")
    assert lines == [f"s.yaml:5: base.init_from = '{file}': does not fit this model: x is 3 there and 5 here"]
    # Other in what evaluation reads, and of the same shapes.
    assert checked(lab, "base: {init_from: first/4, batch_size: 7, steps: 40}\nspace: {size: [3]}\n").num_checked == 1


def test_shapes_that_cannot_differ_are_not_compared_in_another_process(lab, monkeypatch):
    def fail(*_):
        raise AssertionError("a process was started")

    monkeypatch.setattr(check_models, "run_apart", fail)
    text = "base: {init_from: first/4, steps: 10}\nspace: {learning_rate: [0.1, 0.2], seed: [0, 1]}\n"
    assert checked(lab, text).num_checked == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"extra": {"trainable": "my_lab.fit"}},
            "is a model of my_lab.fit, and this is a search of tests.methods",
        ),
        ({"extra": {}}, "holds no finished model"),
        ({"format": 99, "swell": "7.1.0"}, "checkpoint format 99, written by swell 7.1.0; swell 0.1.0 reads 2 and 3: "),
    ],
)
def test_a_file_that_is_no_model_of_the_method_is_refused(lab, model, change, said):
    with np.load(model) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes()) | change
    arrays["meta"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez("other.npz", **arrays)
    (line,) = refused(lab, "base: {init_from: other.npz}\nspace: {shift: [0.0]}\n")
    assert line.startswith(f"s.yaml:5: base.init_from = 'other.npz': {said}")
    (lab / "other.npz").write_bytes(b"PK")
    (line,) = refused(lab, "base: {init_from: other.npz}\nspace: {shift: [0.0]}\n")
    assert line.startswith("s.yaml:5: base.init_from = 'other.npz': not a readable model file (")


def test_a_model_of_the_other_precision_is_refused_before_the_launch(lab, model, monkeypatch):
    text = "base: {init_from: other.npz}\nspace: {shift: [0.0]}\n"
    with np.load(model) as file:
        arrays = dict(file)
    np.savez("other.npz", **(arrays | {"best/0": arrays["best/0"].astype(np.float64)}))
    said = "does not fit this model: x is of float64 there and of float32 here: set JAX_ENABLE_X64=1, as it was there"
    assert refused(lab, text) == [f"s.yaml:5: base.init_from = 'other.npz': {said}"]
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    assert checked(lab, text).num_checked == 1


def test_a_model_is_read_without_jax(model):
    code = (
        "import sys; from pathlib import Path; from trainables._shared.model_file import read_model_file; "
        f"found = read_model_file(Path({str(model)!r})); assert found.shapes == ((3,),); assert found.names == ('x',); "
        "assert found.step == 10; assert not {'jax', 'equinox'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_how_many_models_stay_is_told(lab):
    def notes(keep):
        return checked(lab, f"base: {{steps: 100}}\nspace: {{shift: [0.0]}}\nkeep: {keep}\n").notes

    assert notes("{top: 3}") == ()
    assert notes("{top: 3, every_steps: 40}") == (
        "keep: up to 2 models beside the best one of each of the 3 best trials (6 in all), and of those that run",
    )
    assert notes("{top: 1, last: true}") == (
        "keep: up to 1 model beside the best one of the best trial (1 in all), and of those that run",
    )
    assert notes("{checkpoints: all, every_steps: 1, last: true}") == (
        "keep: up to 21 models beside the best one of every trial, and of those that run",
    )
    assert notes("{every_steps: 101, last: true}")[0] == (
        "keep.every_steps: no training has 101 steps; the longest has 100"
    )
    (line,) = refused(lab, "space: {shift: [0.0]}\nkeep: {checkpoints: none, every_steps: 5}\n")
    assert line == (
        "s.yaml:6: keep.every_steps = 5: has no effect: checkpoints = 'none' keeps nothing of a finished trial. "
        "Allowed: with best or all"
    )
