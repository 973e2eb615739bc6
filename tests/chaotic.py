"""The chaos harness as the tests run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
