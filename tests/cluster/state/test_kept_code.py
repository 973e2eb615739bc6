"""Which code a search's numbers come from: what is copied at its launch, and what its processes import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.machine.files import DamagedFileError
from cluster.state.code import (
    changes,
    code_in_use,
    code_of_trial,
    explain_changes,
    imported_later,
    keep_code,
    repository_facts,
)
from cluster.state.paths import SearchPaths
from cluster.state.sources import sources_of
from trainables._shared.discovery import found_in
from trainables._shared.frozen import MANIFEST, FrozenImporter, Manifest

ROOT = Path(__file__).parents[3]
METHOD = """\
import json
from pathlib import Path
import lab_kept.near
from lab_kept import sub
from . import constants as c
from .sub import deep as d
import numpy
import beside_kept
VALUE = json.loads(Path(__file__).with_name("value.json").read_text())
def late(name):
    from importlib import import_module
    import_module("lab_kept.named")
    return import_module("lab_kept." + name).VALUE
"""
FILES = {
    "lab_kept/__init__.py": "",
    "lab_kept/m.py": METHOD,
    "lab_kept/near.py": "VALUE = 1\n",
    "lab_kept/constants.py": "from .sub import other\n",
    "lab_kept/sub/deep.py": "VALUE = 2\n",
    "lab_kept/sub/other.py": "VALUE = 3\n",
    "lab_kept/named.py": "",
    "lab_kept/dynamic.py": "VALUE = 'as launched'\n",
    "lab_kept/unused.py": "VALUE = 4\n",
    "lab_kept/value.json": "[5]",
    "beside_kept.py": "VALUE = 6\n",
    ".venv/lib/python3.11/site-packages/installed.py": "",
}
LOOK = """\
import sys, json, os
from pathlib import Path
from trainables._shared import discovery, frozen
discovery._find("lab_kept.m")
import lab_kept.m as m
print(json.dumps({
    "file": m.__file__, "near": m.lab_kept.near.VALUE, "data": m.VALUE, "late": m.late("dynamic"),
    "code": frozen.code_of_this_process(),
}))
"""


@pytest.fixture
def lab(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "lab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "lab"


@pytest.fixture
def kept(tmp_path, lab):
    """A search that keeps the lab's code."""
    paths = SearchPaths(tmp_path / "search")
    paths.make_folders()
    keep_code(paths, found(lab))
    return paths


def found(lab, imported=None):
    with found_in(lab):
        return sources_of("lab_kept.m", lab, imported)


def look(paths, lab):
    """Import the method as a worker does, in a process of its own."""
    environment = {"PYTHONPATH": str(ROOT), "SWELL_METHOD_FOLDERS": str(lab), "SWELL_CODE": str(code_in_use(paths))}
    command = [sys.executable, "-P", "-c", LOOK]
    done = subprocess.run(command, env=environment, cwd=paths.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_methods_modules_are_those_of_its_own_tree_that_it_imports(lab):
    own = {name for name in found(lab).files if not name.startswith("trainables")}
    assert own == {
        *("lab_kept", "lab_kept.m", "lab_kept.near", "lab_kept.constants", "lab_kept.sub.deep", "lab_kept.sub.other"),
        *("lab_kept.named", "beside_kept"),
    }
    assert "trainables._shared.program" in found(lab).files


def test_a_method_of_ours_is_hashed_with_what_trains_it_and_not_copied(tmp_path):
    paths = SearchPaths(tmp_path / "search")
    paths.make_folders()
    keep_code(paths, sources_of("two_body", tmp_path))
    modules = Manifest(code_in_use(paths)).modules
    assert {"trainables.two_body.losses", "trainables._shared.training"} <= set(modules)
    assert not any(entry["is_copied"] for entry in modules.values())
    assert changes(code_in_use(paths)) == []


def test_a_worker_imports_the_code_of_the_launch_whatever_has_become_of_the_files(kept, lab):
    (lab / "lab_kept" / "near.py").write_text("VALUE = 1000\n")
    (lab / "lab_kept" / "m.py").write_text("a syntax error")
    seen = look(kept, lab)
    assert (seen["near"], seen["data"]) == (1, [5])
    assert seen["file"] == str(lab / "lab_kept" / "m.py")  # data beside it are found, and a debugger its lines
    assert seen["code"] == code_in_use(kept).name
    (lab / "lab_kept" / "dynamic.py").write_text("VALUE = 'changed later'\n")
    assert look(kept, lab)["late"] == "as launched"  # kept when it was first imported


def test_a_copied_search_has_its_code_where_the_files_are_not(kept, lab, tmp_path):
    look(kept, lab)
    (lab / "lab_kept" / "value.json").rename(tmp_path / "value.json")
    lab.rename(tmp_path / "elsewhere")
    (lab / "lab_kept").mkdir(parents=True)
    (tmp_path / "value.json").rename(lab / "lab_kept" / "value.json")
    assert look(kept, tmp_path)["late"] == "as launched"
    assert changes(code_in_use(kept)) == []


def test_changed_files_are_named_and_a_new_code_is_told_from_the_old(kept, lab):
    before = code_in_use(kept)
    assert explain_changes(kept) == ""
    look(kept, lab)
    near, dynamic = lab / "lab_kept" / "near.py", lab / "lab_kept" / "dynamic.py"
    near.write_text("VALUE = 7\n")
    dynamic.write_text("VALUE = 8\n")
    assert {change.file for change in changes(before)} == {near, dynamic}
    assert str(near) in explain_changes(kept)
    new = keep_code(kept, found(lab))
    assert new != before.name
    assert look(kept, lab)["near"] == 7
    assert code_of_trial(kept, before.name) == before
    assert code_of_trial(kept, f"{before.name}+{new}") == code_in_use(kept)
    assert code_of_trial(kept, "") == code_in_use(kept)


@pytest.mark.parametrize("first", ["VALUE = 'as launched'\n", "VALUE = broken(\n"])
def test_the_current_code_has_a_module_that_a_trial_has_imported_as_it_is_now(kept, lab, first):
    dynamic, launched = lab / "lab_kept" / "dynamic.py", code_in_use(kept).name

    def text(code):
        return (kept.code_folder(code) / "files" / "lab_kept" / "dynamic.py").read_text()

    def keep():
        return keep_code(kept, found(lab, imported_later(kept)))

    first_imported(kept, dynamic, first)
    assert keep() == launched  # nothing has changed
    dynamic.write_text("VALUE = 'mended'\n")
    mended = keep()
    assert mended != launched
    seen = look(kept, lab)
    assert (seen["late"], seen["code"]) == ("mended", mended)
    assert (text(launched), text(mended)) == (first, "VALUE = 'mended'\n")  # the trials' codes stay what they were
    assert keep() == mended
    assert changes(code_in_use(kept)) == []
    dynamic.write_text("VALUE = 'again'\n")
    assert [change.file for change in changes(code_in_use(kept))] == [dynamic]
    again = keep()
    assert again not in (launched, mended)
    (lab / "lab_kept" / "near.py").write_text("VALUE = 7\n")
    later = keep()
    dynamic.write_text("VALUE = 'after the resume'\n")
    assert look(kept, lab) == look(kept, lab) | {"late": "again", "near": 7, "code": later}  # as of the resume
    dynamic.write_text(first)
    (lab / "lab_kept" / "near.py").write_text(FILES["lab_kept/near.py"])
    assert keep() == launched


def first_imported(paths, file, source):
    """Copy a module as a worker does that imports it first."""
    file.write_text(source)
    FrozenImporter(code_in_use(paths))._keep("lab_kept.dynamic", file)


def test_a_module_that_became_a_package_or_is_gone_since_a_trial_imported_it(kept, lab):
    dynamic, launched = lab / "lab_kept" / "dynamic.py", code_in_use(kept).name
    first_imported(kept, dynamic, "VALUE = 1\n")
    dynamic.unlink()
    assert keep_code(kept, found(lab, imported_later(kept))) == launched  # as of any module that is not there
    package = lab / "lab_kept" / "dynamic" / "__init__.py"
    package.parent.mkdir()
    package.write_text("VALUE = 2\n")
    assert keep_code(kept, found(lab, imported_later(kept))) != launched
    assert look(kept, lab)["late"] == 2


@pytest.mark.parametrize("text", ['{"id"', "", "[]", '{"id": "a", "roots": [], "modules": {"a": 3}}', None])
def test_of_a_damaged_record_it_is_said_which_it_is_and_what_to_do(kept, lab, text):
    file = code_in_use(kept) / MANIFEST
    whole = file.read_text()
    file.unlink()
    if text is not None:
        file.write_text(text)
    with pytest.raises(DamagedFileError, match=r"let `--code current` take the modules as they are now$") as caught:
        changes(file.parent)
    assert str(caught.value).startswith(f"{file} {'is damaged' if text is not None else 'cannot be read'} (")
    assert explain_changes(kept) == str(caught.value)
    assert keep_code(kept, found(lab, imported_later(kept))) == file.parent.name
    assert file.read_text() == whole


def test_the_methods_own_repository_is_written_down_with_its_changes(lab):
    def git(*command):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=lab, check=True)

    git("init", "-q")
    git("add", "lab_kept")
    git("commit", "-qm", "first")
    (lab / "lab_kept" / "near.py").write_text("VALUE = 9\n")
    facts = repository_facts(found(lab))
    assert (facts["repository"], facts["git_dirty"], len(facts["git_commit"])) == (str(lab), True, 40)
    assert "+VALUE = 9" in facts["git_diff"]
    assert "?? beside_kept.py" in facts["git_status"]
