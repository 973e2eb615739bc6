"""Packages that only some configurations need: told before the launch, with the command that installs them."""

import json
import sys

import numpy as np
import pytest

from cluster.commands.check import check
from cluster.study.second_try import begun_problems
from search_spaces.errors import SpecError
from search_spaces.spec import load_spec
from trainables._shared import extras
from trainables._shared.config import MethodConfig
from trainables._shared.extras import MissingPackageError, install_command, require, require_needed, required_version

METHOD = """
from collections.abc import Mapping
from typing import ClassVar, Literal

from trainables._shared.config import MethodConfig
from trainables._shared.extras import require


class Config(MethodConfig):
    reported_metrics: ClassVar = {"val_error": "Error."}
    catalogue: Literal["toy", "generated"] = "toy"
    whole: bool = False
    unannounced: bool = False

    def needs(self):
        return {"no_such_cosmology": "" if self.whole else "catalogue"} if self.catalogue == "generated" else {}

    def check_data(self):
        if self.unannounced:
            require("no_such_cosmology")

    def selected_by(self):
        return "val_error", "min"
"""
HOW = "is not installed: pip install no_such_cosmology"
FILE = "name: s\ntrainable: my_sky.halos\nobjective: {metric: val_error}\nbudget: {trials: 2}\n"


@pytest.fixture
def refused(tmp_path, monkeypatch):
    (tmp_path / "my_sky").mkdir()
    (tmp_path / "my_sky" / "halos.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def lines(text):
        (tmp_path / "s.yaml").write_text(FILE + text)
        try:
            check(load_spec(tmp_path / "s.yaml"))
        except SpecError as error:
            return str(error).replace(f"{tmp_path}/", "").splitlines()
        return []

    yield lines
    for name in ("my_sky", "my_sky.halos"):
        sys.modules.pop(name, None)


def test_a_value_that_needs_a_missing_package_is_refused_where_it_stands_and_others_are_not(refused):
    assert refused("space: {catalogue: [toy]}\n") == []
    (line,) = refused("space:\n  catalogue: [toy, generated]\n")
    assert line == (
        f"s.yaml:6: space.catalogue[1] = 'generated': needs no_such_cosmology, which {HOW}; "
        "this rules out 1 of 2 configurations: {catalogue: 'generated'}"
    )
    (line,) = refused("base: {catalogue: generated}\nspace: {batch_size: [8, 16]}\n")
    assert line.startswith(f"s.yaml:5: base.catalogue = 'generated': needs no_such_cosmology, which {HOW}; ")


def test_a_package_that_the_whole_method_needs_is_told_of_the_method(refused):
    for base in ("{catalogue: generated, whole: true}", "{unannounced: true}"):
        (line,) = refused(f"base: {base}\nspace: {{batch_size: [8]}}\n")
        assert line.startswith(f"s.yaml:2: trainable = 'my_sky.halos': no_such_cosmology {HOW}; ")
        assert "this rules out the only configuration" in line


def test_what_needs_a_missing_package_is_told_by_whoever_uses_it():
    with pytest.raises(MissingPackageError, match=f"^no_such_cosmology {HOW}$"):
        require("no_such_cosmology")
    assert require("json") is json
    assert require("importlib.metadata") is sys.modules["importlib.metadata"]
    with pytest.raises(MissingPackageError, match=r"^no_such_cosmology\.bias is not installed"):
        require("no_such_cosmology.bias")
    with pytest.raises(MissingPackageError, match=f"^no_such_cosmology {HOW}$"):
        required_version("no_such_cosmology")
    assert required_version("numpy") == np.__version__


def test_the_command_names_the_extra_that_brings_the_package():
    assert install_command("torch") == "pip install 'swell[gp]'"
    assert install_command("psycopg") == "pip install 'swell[postgres]'"
    assert install_command("no_such") == "pip install no_such"


def test_of_several_extras_the_smallest_is_named_and_names_are_compared_as_pip_does(monkeypatch):
    declared = [
        "numpy>=2",
        'colossus>=1 ; extra == "all"',
        'mujoco>=3 ; extra == "all"',
        "Ray_Tracer[fast]>=1; python_version > \"3\" and extra == 'halo'",
        'colossus>=1 ; extra == "halo"',
        'other ; extra == "halo"',
        'mujoco (>=3) ; extra == "mujoco"',
    ]
    monkeypatch.setattr(extras, "_requirements", lambda of: declared)
    assert install_command("mujoco.viewer") == "pip install 'swell[mujoco]'"
    assert install_command("colossus") == "pip install 'swell[all]'"
    assert install_command("ray_tracer") == "pip install 'swell[halo]'"
    assert install_command("numpy") == "pip install numpy"
    assert install_command("colossus", of="my-lab") == "pip install 'my-lab[all]'"


def test_a_begun_trial_that_lacks_a_package_now_is_told_before_the_resume(make_search, monkeypatch):
    from tests.methods.ripple.config import Config

    search = make_search(base={"curve": "square"}, space={"size": [3]}, budget={"trials": 1})
    study = search.open()
    assert study.ask() is not None
    study.close()
    assert list(begun_problems(search.paths, Config)) == []
    monkeypatch.setattr(Config, "needs", lambda self: {"no_such_cosmology": "size"})
    assert list(begun_problems(search.paths, Config)) == [f"trial 0: size = 3: needs no_such_cosmology, which {HOW}"]
    monkeypatch.setattr(Config, "needs", lambda self: {"no_such_cosmology": ""})
    assert list(begun_problems(search.paths, Config)) == [f"trial 0: no_such_cosmology {HOW}"]


def test_a_method_needs_nothing_by_default():
    assert MethodConfig().needs() == {}
    require_needed(MethodConfig())
