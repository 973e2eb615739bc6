"""What the example of a controller says to those who give it something else than it wants."""

import runpy
import sys

import pytest

from tests.conftest import ROOT
from tests.methods.ripple.config import Config as RippleConfig
from tests.methods.ripple.method import method as ripple
from trainables._shared import extras
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.method import method
from trainables.gru_dynamics.simulator import LAYOUT, simulate, write_csv

EXAMPLE = ROOT / "docs" / "examples" / "cart_pole_mpc.py"
SMALL = {"hidden": 4, "history": 2, "horizons": (1,), "batch_size": 4, "steps": 2, "report_every": 2}


def save(config, of, path, name):
    training = Training(Program(of, config), config, of.data(config, DatasetStore(path.parent)))
    while not training.advance().ending:
        pass
    training.save(path, {"trainable": name})
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of models: of the cart-pole, of another system, of another method; a text; and what is not there."""
    folder = tmp_path_factory.mktemp("models")
    write_csv(folder / "robot", simulate(10, 15, "robot"))
    files = {name: folder / name for name in ("model.npz", "text.npz", "none.npz", "robot.npz", "ripple.npz")}
    files["text.npz"].write_text("no model")
    save(Config(**SMALL, num_trajectories=10, samples=15), method, files["model.npz"], "gru_dynamics")
    other = Config(**SMALL, dataset="csv", folders=(str(folder / "robot"),), coordinates=(0, 1, 2), angles=())
    save(other, method, files["robot.npz"], "gru_dynamics")
    save(RippleConfig(steps=10), ripple, files["ripple.npz"], "tests.methods.ripple")
    return files


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "the following arguments are required: model"),
        (["none.npz"], "none.npz: not a readable model file"),
        (["text.npz"], "text.npz: not a readable model file"),
        (["ripple.npz"], "ripple.npz: is a model of tests.methods.ripple, and gru_dynamics is wanted"),
        (["robot.npz"], "a model of the double cart-pole is wanted"),
        (["model.npz", "0"], "seconds above 0"),
        (["model.npz", "nan"], "seconds above 0"),
        (["model.npz", "ten"], "argument seconds: invalid float value: 'ten'"),
        (["model.npz", "1", "-1"], "a start of 0 or more"),
    ],
)
def test_what_is_no_model_of_the_cart_pole_ends_the_example_with_a_sentence(given, said, models, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *(str(models.get(one, one)) for one in given)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_the_example_says_how_mujoco_is_installed(models, monkeypatch, capsys):
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "mujoco")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(models["model.npz"])])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert ended.value.code == 2
    assert "mujoco is not installed: pip install 'swell[mujoco]'" in capsys.readouterr().err


def test_the_simulated_system_is_the_one_of_a_config_without_other_columns():
    assert Config().layout == LAYOUT
