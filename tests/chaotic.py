"""The chaos harness as the tests run it, and the tests of a search that was struck, a file for each search."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

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
