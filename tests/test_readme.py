"""What the README and its pages show is run as it stands there."""

import re
import sys

import pytest
import yaml

from cluster.tables import TABLES
from search_spaces.spec import load_spec
from tests.conftest import ROOT
from trainables._shared.conformance import CHECKS
from trainables._shared.conformance_case import Case
from trainables._shared.discovery import load_method

README = (ROOT / "README.md").read_text()


def block(page, language, containing):
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return found


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "my_lab").mkdir()
    (folder / "my_lab" / "fit.py").write_text(block("docs/own_method.md", "python", "class Fit"))
    sys.path.insert(0, str(folder))
    try:
        yield Case("my_lab.fit", load_method("my_lab.fit"), folder)
    finally:
        sys.path.remove(str(folder))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_method_shown_conforms(case, check):
    check(case)


@pytest.mark.parametrize("page", ["README.md", "docs/searches.md"])
def test_the_spec_shown_is_valid(tmp_path, page):
    from cluster.commands.check import check

    path = tmp_path / "spec.yaml"
    path.write_text(block(page, "yaml", "trainable: two_body"))
    report = check(load_spec(path))
    assert report.spec.trainable == "two_body"
    assert set(report.spec.space) == set(yaml.safe_load(path.read_text())["space"])


def test_every_command_shown_exists():
    from swell import Found

    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"^ *(?:\$ )?swell ([a-z]+) ", page.read_text(), flags=re.M)}
    assert {"check", "run", "launch", "table"} <= shown <= set(Found())


def test_no_placeholder_is_left_and_every_link_leads_somewhere():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text()
        assert "<!--" not in text, page
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_all_keys_is_current():
    from cluster.reference import REFERENCE_FILE, reference_text

    assert REFERENCE_FILE.read_text() == reference_text()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page} {table.head[0]}")
def test_the_tables_that_are_made_from_the_code_are_current(table):
    text = (ROOT / table.page).read_text()
    assert table.written_into(text) == text, "write it anew with: make schema"
