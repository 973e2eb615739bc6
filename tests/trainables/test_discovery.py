import sys

import pytest

from tests.methods.ripple.method import Config, Ripple
from trainables._shared.discovery import (
    UnknownMethodError,
    are_of_one_method,
    is_name_of,
    load_config_type,
    load_method,
    method_names,
)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder outside of the repository, and a function that puts modules there."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def put(name, text):
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    yield put
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


CONFIG = "from trainables._shared.config import MethodConfig\nclass Config(MethodConfig):\n    depth: int = 2\n"
METHOD = "from tests.methods.ripple.method import Config, Ripple\nmethod = Ripple()\n"


def test_the_methods_of_the_package_are_its_folders():
    assert method_names()[0] != "_shared"
    assert "two_body" in method_names()


@pytest.mark.parametrize("name", ["no_such", "no.such.module", "trainables.no_such"])
def test_an_unknown_method_lists_the_choices(name):
    with pytest.raises(UnknownMethodError, match=r"is not a method|is not found") as caught:
        load_config_type(name)
    assert caught.value.choices == method_names()
    assert repr(name) in str(caught.value)


def test_a_method_outside_of_the_repository_is_one_module(outside):
    outside("elsewhere.single", METHOD)
    assert load_config_type("elsewhere.single") is Config
    assert isinstance(load_method("elsewhere.single"), Ripple)


def test_a_method_outside_of_the_repository_is_a_package_whose_config_comes_without_the_method(outside):
    outside("elsewhere2.folder.__init__", "")
    outside("elsewhere2.folder.config", CONFIG)
    outside("elsewhere2.folder.method", METHOD)
    assert load_config_type("elsewhere2.folder")().depth == 2
    assert "elsewhere2.folder.method" not in sys.modules
    assert isinstance(load_method("elsewhere2.folder"), Ripple)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must define `Config`"),
        ("Config = 3", "must define `Config`"),
        ("class Config: pass", "must define `Config`"),
    ],
)
def test_a_module_without_a_config_says_what_is_missing(outside, text, message):
    outside("bad_config_package.bad", text)
    with pytest.raises(UnknownMethodError, match=message):
        load_config_type("bad_config_package.bad")


def test_a_module_without_a_method_says_what_is_missing(outside):
    outside("bad_method_package.bad", f"{CONFIG}method = Config")
    with pytest.raises(UnknownMethodError, match="must define `method`, an instance of a Method subclass"):
        load_method("bad_method_package.bad")


def test_a_module_that_fails_to_import_raises_its_own_error(outside):
    outside("broken_package.broken", "import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_config_type("broken_package.broken")


def test_a_method_goes_by_the_name_of_a_module_that_only_takes_it_from_elsewhere(outside):
    outside("own_lab.fit", METHOD)
    assert is_name_of("own_lab.fit", load_method("own_lab.fit"))
    assert is_name_of("tests.methods.ripple", load_method("tests.methods.ripple"))
    assert not is_name_of("own_lab.gone", load_method("own_lab.fit"))
    assert not is_name_of("two_body", load_method("own_lab.fit"))
    assert are_of_one_method("two_body", "trainables.two_body")
    assert not are_of_one_method("two_body", "own_lab.two_body")
