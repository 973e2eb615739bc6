import json

import numpy as np
import pytest

from tests.methods.ripple.method import Config, method
from tests.training import begin, to_the_end
from trainables._shared import program as program_module
from trainables._shared.checkpoint import read_checkpoint
from trainables._shared.config import ConfigError, structural_key
from trainables._shared.model_file import ModelFile, misfit
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
    assert misfit(there, [(name, shape) for name, shape in zip(names, there.shapes, strict=True)]) == ""
    assert misfit(there, [("a", (2, 3)), ("b", ()), ("c", (4,)), ("x", (5,))]) == (
        "has d 5 there and x 5 here; e is there alone"
    )
    assert misfit(there._replace(names=()), [(name, (1,)) for name in "abcdef"]) == (
        "a is 2 x 3 there and 1 here; b is a number there and 1 here; c is 4 there and 1 here, and 3 arrays more"
    )


def test_a_start_is_no_part_of_a_program():
    assert structural_key(Config(init_from="a/1")) == structural_key(Config())
    programs = ProgramCache()
    assert programs.get(method, Config(init_from="a/1")) is programs.get(method, Config())
    assert program_module._untold(Config(init_from="a/1"), {}).init_from is None
