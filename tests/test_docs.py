"""What the documentation says of files is so, and the tests lie where the code does."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
OF_CLUSTER = {path.name for path in (ROOT / "cluster").iterdir() if path.is_dir()}
GENERATED = ("build", ".venv")


def paths_named(text):
    """Return the patterns of the repository's files and folders that stand in backticks: `<name>` is any name.

    Text names a module by its file alone or from `cluster` on too; what else has a slash is a search directory's.
    """
    for token in re.findall(r"`([^`\s]+)`", text):
        pattern = re.sub(r"<\w+>", "*", token)
        first, *others = pattern.split("/")
        if others and first in FOLDERS:
            yield pattern.rstrip("/")
        elif pattern.endswith(".py") and first in OF_CLUSTER:
            yield f"cluster/{pattern}"


def exists(pattern):
    return any(path.relative_to(ROOT).parts[0] not in GENERATED for path in ROOT.glob(pattern))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page):
    assert [pattern for pattern in paths_named(page.read_text()) if not exists(pattern)] == []


def test_where_a_new_line_belongs_is_told_by_paths():
    named = set(paths_named((ROOT / "docs" / "architecture.md").read_text()))
    assert len(named) > 30
    assert {"cluster/driver", "cluster/state/outcomes.py", "cluster/supervision/job_main.py"} <= named


def test_a_path_that_is_gone_is_found():
    text = "`cluster/waves/` `trainables/<method>/` `waves.py` `wire/gone.py` `jobs/003/` `tests/test_docs.py`"
    named = list(paths_named(text))
    assert named == ["cluster/waves", "trainables/*", "cluster/wire/gone.py", "tests/test_docs.py"]
    assert [exists(pattern) for pattern in named] == [False, True, False, True]


def test_the_tests_of_a_package_lie_in_a_folder_of_its_name():
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(folders) > 10
    assert [str(folder) for folder in folders if not (ROOT / folder).is_dir()] == []
    assert Path("cluster/driver") in folders
