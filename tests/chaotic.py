"""The chaos harness as the tests run it, and the tests of a search that was struck, a file for each search."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.faults.inject import KILLS

ROOT = Path(__file__).parents[1]


def chaos(folder, *arguments, timeout=3000):
    """Run the harness; return what it wrote, and what it printed."""
    report = folder / "report.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "chaos.py", "--json", report, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert report.exists(), done.stdout
    return json.loads(report.read_text()), done


def survived(kind, report, done):
    """Assert that every fault of a kind struck, that its search recovered, and that it violated nothing."""
    (row,) = [row for row in report["kinds"] if row["kind"] == kind]
    assert row["injected"] == row["recovered"] >= 1, done.stdout
    assert row["violations"] == 0, done.stdout


class Killed:
    """Searches of one sampler, killed once in each way; the kills of one that ended too soon strike the next."""

    sampler: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def killed(cls, tmp_path_factory):
        options = ["--faults", len(KILLS), "--per-search", len(KILLS), "--kinds", ",".join(KILLS), "--seed", 2]
        return chaos(tmp_path_factory.mktemp("killed"), *options, "--samplers", cls.sampler)

    def test_killed_and_resumed_again_and_again_it_ends_with_the_table_of_an_undisturbed_one(self, killed):
        report, done = killed
        tables = [search["rows"] for search in report["searches"]]
        assert len(tables) >= 2, done.stdout
        struck = [one for search in report["searches"] for one in search["injections"] if one["injected"]]
        assert len(struck) == len(KILLS), done.stdout
        assert all(table == tables[0] for table in tables), done.stdout
        assert Counter(row[1] for row in tables[0].values()) == {"completed": 18}
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("kind", KILLS)
    def test_it_survives(self, kind, killed):
        survived(kind, *killed)


class Struck:
    """A grid that is struck by faults of several kinds, each once."""

    kinds: ClassVar[tuple[str, ...]]

    @pytest.fixture(scope="class")
    @classmethod
    def struck(cls, tmp_path_factory):
        options = ["--kinds", ",".join(cls.kinds), "--per-search", len(cls.kinds), "--samplers", "grid", "--seed", 1]
        return chaos(tmp_path_factory.mktemp("struck"), "--faults", len(cls.kinds), *options)

    def test_a_search_survives(self, kind, struck):
        report, done = struck
        survived(kind, report, done)
        assert [search["violations"] for search in report["searches"]] == [[] for _ in report["searches"]], done.stdout
        assert done.returncode == 0, done.stdout
