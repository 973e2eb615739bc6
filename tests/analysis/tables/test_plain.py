"""The table that needs no data frame is the one that a data frame gives."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from analysis.sources import directory
from analysis.sources.directory import load_search
from analysis.tables import plain
from analysis.tables.plain import show_plain
from analysis.tables.request import Request
from analysis.tables.show import show_table
from cluster.state.records import load_trials
from tests.conftest import ROOT


def printed(capsys, paths, top=None):
    """Return what is printed of a search without a data frame, and with one."""
    assert show_plain(paths, top)
    without = capsys.readouterr()
    show_table([load_search(paths)], Request(top=top), "terminal", None)
    return without, capsys.readouterr()


def test_every_odd_search_has_the_same_table(odd_search, capsys):
    if not load_trials(odd_search):
        assert not show_plain(odd_search, None)
        assert capsys.readouterr().out == ""
        return
    without, with_frame = printed(capsys, odd_search, 3)
    assert without == with_frame
    assert "trial" in without.out


@pytest.mark.parametrize(
    "values",
    [
        (1, 200000),
        (200000, None),
        (123456, 2.5),
        (None, None),
        (math.nan, None),
        (True, False),
        (True, None),
        (True, 3),
        (True, 0.123456),
        ("a", None),
        ("a", 123456),
        ("a\n\x1b", 1.23456),
        (2**53, -1),
    ],
    ids=str,
)
def test_values_look_as_in_a_data_frame(made_odd, monkeypatch, capsys, values):
    paths = made_odd("constrained")

    def mixed(_paths):
        return [
            replace(
                record,
                config={**record.config, "shift": values[record.number % 2]},
                params={},
                code=f"version {record.number % 2}",
            )
            for record in load_trials(paths)
        ]

    monkeypatch.setattr(plain, "load_trials", mixed)
    monkeypatch.setattr(directory, "load_trials", mixed)
    without, with_frame = printed(capsys, paths)
    assert without == with_frame
    assert "2 versions of the code" in without.out


@pytest.mark.parametrize(
    ("command", "heavy"), [("table", {"pandas", "numpy", "optuna"}), ("status", {"yaml", "search_spaces.sections"})]
)
def test_what_is_asked_for_often_loads_nothing_heavy(made_odd, command, heavy):
    """What loads longest decides how long these commands take; a clock would say how busy the machine is."""
    lines = ["import sys, swell", f"sys.argv = ['swell', '{command}', {str(made_odd('several_jobs').root)!r}]"]
    lines += ["try: swell.main()", "except SystemExit: pass", "print('loaded', *sys.modules)"]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    shown, _, loaded = done.stdout.rpartition("loaded ")
    assert "\n" in shown
    assert not heavy & {*loaded.split()}
