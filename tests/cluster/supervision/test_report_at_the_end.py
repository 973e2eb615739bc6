"""The report at the end of a search: whatever becomes of it, the search has ended as it has."""

import stat
import sys

import pytest

from cluster.console import Console
from cluster.machine.allocation import JOB_END_TIME
from cluster.supervision import report
from cluster.supervision.report import write_report
from cluster.supervision.supervisor import Ending

FINISHED = Ending("finished", "trials: all have ended")


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Return a function that puts a shell script in the place of Python; it notes how it was called."""

    def be(script):
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(program))
        return tmp_path / "called"

    return be


@pytest.mark.parametrize("state", ["finished", "paused", "failed"])
def test_a_search_that_has_ended_by_itself_gets_its_report(make_search, python, capsys, state):
    paths, called = make_search().paths, python("exit 0")
    assert write_report(paths, Ending(state, "so it is"), Console(stderr=True))
    assert called.read_text().split() == ["-P", "-m", "swell", "report", str(paths.root)]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("state", "wanted"), [("stopped", True), ("finished", False)])
def test_a_stopped_search_gets_none_nor_does_one_whose_spec_says_not_to(make_search, python, capsys, state, wanted):
    called = python("exit 0")
    assert not write_report(make_search(report=wanted).paths, Ending(state, "so it is"), Console(stderr=True))
    assert not called.exists()
    assert capsys.readouterr().err == ""


def test_a_report_that_fails_is_told_in_one_line_and_what_it_said_is_kept(make_search, python, capsys):
    paths = make_search().paths
    python("echo Traceback; echo 'ValueError: all is lost'; exit 1")
    assert not write_report(paths, FINISHED, Console(stderr=True))
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "The report could not be written (ValueError: all is lost); try again: swell report try"
    assert "Traceback" in paths.report_log.read_text()


def test_a_report_that_takes_too_long_is_ended(make_search, python, capsys, monkeypatch):
    monkeypatch.setattr(report, "PATIENCE_S", 0.2)
    paths = make_search().paths
    python("exec sleep 600")
    assert not write_report(paths, FINISHED, Console(stderr=True))
    assert "it took longer than" in capsys.readouterr().err
    assert "was ended" in paths.report_log.read_text()


def test_a_job_whose_time_is_up_does_not_begin_its_report(make_search, python, capsys, monkeypatch):
    monkeypatch.setenv(JOB_END_TIME, "100")
    called = python("exit 0")
    assert not write_report(make_search().paths, FINISHED, Console(stderr=True))
    assert "the job's time is up" in capsys.readouterr().err
    assert not called.exists()


def test_no_fault_of_its_own_ends_the_search_otherwise(make_search, capsys, monkeypatch):
    paths = make_search().paths
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert not write_report(paths, FINISHED, Console(stderr=True))
    assert "No such file or directory" in capsys.readouterr().err
    paths.spec.write_text("{")
    assert not write_report(paths, FINISHED, Console(stderr=True))
    assert "could not be written" in capsys.readouterr().err
