"""Names that are no method's: each is told what is wrong with it, or what has taken it."""

from pathlib import Path

import pytest

import trainables
from trainables._shared.discovery import UnknownMethodError, found_in, load_config_type, method_names


def refused(name, *folders):
    with found_in(*folders), pytest.raises(UnknownMethodError) as error:
        load_config_type(name)
    return error.value.fault.rule, error.value.fault.allowed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in (
        "analysis/m.py",
        "random/m.py",
        "numpy/m.py",
        "my_own_lab/m.py",
        "my_own_lab/fit.py",
        "alone_here.py",
        "trainables/m.py",
    ):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("analysis.m", "swell's own package"),
        ("trainables.m", "swell's own package"),
        ("random.m", "Python's own module random"),
        ("numpy.m", "the installed"),
    ],
)
def test_a_name_that_something_else_has_is_told_by_what_and_how_to_go_on(folder, name, taken):
    rule, allowed = refused(name, folder)
    top = name.partition(".")[0]
    assert f"the name {top!r} is taken by {taken}" in rule
    assert rule.endswith(f"which Python finds first, before {folder / top}")
    assert allowed == f"a folder with another name, such as my_{name}"


@pytest.mark.parametrize(
    ("name", "rule", "allowed"),
    [
        ("my_own_lab/m.py", "must be an import path, not a file's", "my_own_lab.m"),
        ("./my_own_lab/m", "must be an import path, not a file's", "my_own_lab.m"),
        ("m.py", "must be an import path, not a file's", "my_folder.m"),
        (".my_own_lab.m", "must be a whole import path, from the folder that the search is launched", "my_own_lab.m"),
        ("my-lab.m", "'my-lab' is not a name in Python", "my_lab.m, with the file or folder renamed so"),
        ("my_own_lab.class", "'class' is not a name in Python", "my_own_lab.my_class"),
        ("my_own_lab.mm", "my_own_lab ({folder}/my_own_lab) has no module 'mm'", "one of its modules: fit, m"),
        ("no_lab.m", "no folder 'no_lab' where the search is launched from ({folder})", "(my_folder.my_module)"),
        ("alone_here", "is one file, {folder}/alone_here.py: a method of one's own", "my_folder.alone_here"),
        ("trainables.mm", "trainables (swell's own package, {ours}) has no module 'mm'", "modules: {methods}"),
        ("no_such", "is not a method", ""),
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere_is_told_where_it_stops(folder, name, rule, allowed):
    said, way_out = refused(name, folder)
    assert rule.format(folder=folder, ours=trainables.__path__[0]) in said
    assert allowed.format(methods=", ".join(method_names())) in way_out


def test_a_folder_of_the_users_called_as_ours_hides_no_method_of_ours(folder):
    with found_in(folder):
        assert load_config_type("trainables.two_body") is load_config_type("two_body")


def test_a_package_that_misses_what_it_imports_is_not_told_as_an_unknown_name(folder):
    (folder / "half_a_lab").mkdir()
    (folder / "half_a_lab" / "__init__.py").write_text("import not_installed_here")
    with found_in(folder), pytest.raises(ModuleNotFoundError, match="not_installed_here"):
        load_config_type("half_a_lab.m")


def test_a_file_beside_the_spec_hides_no_library(folder):
    (folder / "random.py").write_text("raise RuntimeError('imported by somebody who wanted another')")
    import sys

    with found_in(folder):
        assert sys.path.index(str(folder)) > max(sys.path.index(p) for p in sys.path if Path(p).name == "site-packages")
