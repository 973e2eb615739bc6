import json
from importlib.metadata import version

import numpy as np
import pytest

from tests.methods.ripple.method import Config, method
from tests.training import begin, to_the_end
from trainables._shared import program as program_module
from trainables._shared.checkpoint import read_checkpoint
from trainables._shared.config import ConfigError, structural_key
from trainables._shared.model_file import CheckpointError, Leaf, ModelFile, misfit, read_model_file
from trainables._shared.program import ProgramCache
from trainables._shared.saved import load_model


@pytest.fixture
def start(tmp_path):
    """Save a trained model, and return its file."""
    training = begin(Config(shift=0.5))
    to_the_end(training)
    training.save(tmp_path / "start.npz", {"trainable": "tests.methods.ripple"})
    return tmp_path / "start.npz"


def rewritten(path, **header):
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes()) | header
    header = {name: value for name, value in header.items() if value is not None}
    arrays["meta"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


def test_a_start_from_a_saved_model_is_recorded_and_resumes_without_the_file(start, tmp_path):
    config = Config(init_from=str(start))
    straight = begin(config)
    expected = to_the_end(straight)
    assert expected != to_the_end(begin())
    begun = begin(config)
    assert begun.advance() == expected[0]
    begun.save(tmp_path / "trial.npz")
    assert read_checkpoint(tmp_path / "trial.npz").meta["config"]["init_from"] == str(start)
    start.unlink()
    continued = begin(config)
    continued.load(tmp_path / "trial.npz")
    assert to_the_end(continued) == expected
    with pytest.raises(ConfigError, match=r"init_from = '.*start\.npz': not a readable model file"):
        begin(config).advance()


def test_a_checkpoint_written_before_the_first_step_has_the_saved_model(start, tmp_path):
    config = Config(init_from=str(start))
    begun = begin(config)
    begun.save(tmp_path / "trial.npz")
    start.unlink()
    continued = begin(config)
    continued.load(tmp_path / "trial.npz")
    assert np.array_equal(continued.state.params.x, begun.state.params.x)
    assert not np.array_equal(continued.state.params.x, begin().state.params.x)


def test_a_training_starts_from_a_file_of_an_earlier_version(start):
    rewritten(start, format=2, leaves=None, swell=None)
    config = Config(init_from=str(start))
    begun = begin(config)
    begun.begin()
    assert np.array_equal(begun.state.params.x, load_model(start).model.x)
    with pytest.raises(ConfigError, match=r"does not fit this model: x is 3 there and 5 here$"):
        begin(Config(size=5, init_from=str(start))).begin()


def test_a_start_from_another_methods_model_is_refused(start):
    rewritten(start, extra={"trainable": "tests.methods.rip"})
    with pytest.raises(ConfigError, match=r"is a model of tests\.methods\.rip$"):
        begin(Config(init_from=str(start))).begin()


def test_arrays_that_differ_are_told_by_name_and_the_first_few_alone():
    names = ("a", "b", "c", "d", "e")
    there = ModelFile("m", {}, 1, {}, ((2, 3), (), (4,), (5,), (6,)), names)
    assert misfit(there, [Leaf(*leaf) for leaf in zip(names, there.shapes, strict=True)]) == ""
    assert misfit(there, [Leaf("a", (2, 3)), Leaf("b", ()), Leaf("c", (4,)), Leaf("x", (5,))]) == (
        "has d 5 there and x 5 here; e is there alone"
    )
    assert misfit(there._replace(names=()), [Leaf(name, (1,)) for name in "abcdef"]) == (
        "a is 2 x 3 there and 1 here; b is a number there and 1 here; c is 4 there and 1 here, and 3 arrays more"
    )


def test_arrays_of_other_types_are_told_with_the_variable_that_makes_them_alike():
    there = ModelFile("m", {}, 1, {}, ((2,), (3,)), ("a", "b"), ("float64", ""))
    assert misfit(there, [Leaf("a", (2,), "float64"), Leaf("b", (3,), "int32")]) == ""
    assert misfit(there, [Leaf("a", (2,), "float32"), Leaf("b", (3,), "int32")]) == (
        "a is of float64 there and of float32 here: set JAX_ENABLE_X64=1, as it was there"
    )
    assert misfit(there, [Leaf("a", (2,), "int32"), Leaf("b", (3,))]) == "a is of float64 there and of int32 here"


@pytest.mark.parametrize("kind", [object, "U3", "M8[s]"])
def test_a_model_of_arrays_that_are_no_numbers_is_refused_before_they_are_read(start, kind):
    with np.load(start) as file:
        arrays = dict(file)
    arrays["best/0"] = np.zeros(arrays["best/0"].shape).astype(int).astype(kind)
    np.savez(start, **arrays)
    with pytest.raises(CheckpointError, match=r"start\.npz: array 0 of its model is of .*, which are no numbers$"):
        read_model_file(start)


@pytest.mark.parametrize(
    "header",
    [
        {"extra": []},
        {"extra": {"trainable": 3}},
        {"bests": {"best": 3}},
        {"bests": {"best": {"step": 3}}},
        {"config": 3},
    ],
)
def test_a_header_that_is_no_models_is_refused_however_it_is_read(start, header):
    rewritten(start, **header)
    for read in (read_model_file, load_model):
        with pytest.raises(CheckpointError, match=r"start\.npz: holds no finished model$"):
            read(start)


def test_a_model_of_another_version_or_of_a_method_that_is_not_there_is_refused(start):
    with np.load(start) as file:
        values = json.loads(file["meta"].tobytes())["config"]
    rewritten(start, config=values | {"depth_of_later": 3}, swell="7.1")
    said = rf"its config is not one of .*\(depth_of_later\); written by swell 7\.1, read by swell {version('swell')}$"
    with pytest.raises(CheckpointError, match=said):
        load_model(start)
    rewritten(start, config=values, extra={"trainable": "no_such.method"})
    with pytest.raises(CheckpointError, match=r"start\.npz: is a model of no_such\.method: .*is not found"):
        load_model(start)


def test_a_start_is_no_part_of_a_program():
    assert structural_key(Config(init_from="a/1")) == structural_key(Config())
    programs = ProgramCache()
    assert programs.get(method, Config(init_from="a/1")) is programs.get(method, Config())
    assert program_module._untold(Config(init_from="a/1"), {}).init_from is None
