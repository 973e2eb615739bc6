"""What of a search cannot be read hides nothing else, and is said in one line."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import swell
from cluster.commands.clean import find, own_places
from cluster.state.paths import all_searches
from cluster.state.records import load_history
from tests.conftest import ROOT

JUNK = b"\x00\xff\xfe{]junk\n"


@pytest.fixture
def call():
    def run(*arguments):
        done = CliRunner().invoke(swell.app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def search(make_search):
    search = make_search(budget={"trials": 2})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    return search


def refused(done):
    """Return the one line of a command that refuses."""
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


READERS = ("status", "table", "best", "crashed", "resume", "watch", "logs")


@pytest.mark.parametrize("command", READERS[:-1])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "spec.json: it is empty; the file that the search was launched with is spec.yaml, beside it"),
        (b'{"name": "t', "spec.json: it is damaged (Unterminated string"),
        (JUNK, "spec.json: it is damaged ("),
        (b"[" * 100_000, "spec.json: it is damaged ("),
        (b"[1]", "spec.json: it is damaged, or another version of swell has written it ("),
    ],
)
def test_a_damaged_spec_is_said_in_one_line(call, search, command, content, said):
    search.paths.spec.write_bytes(content)
    assert said in refused(call(command, "try"))


def test_a_spec_of_a_later_version_is_told_by_its_keys(call, search):
    values = json.loads(search.paths.spec.read_text())
    search.paths.spec.write_text(json.dumps(values | {"colour": 1, "keep": {**values["keep"], "all": True}}))
    line = refused(call("table", "try"))
    assert "this version of swell does not know" in line
    assert "colour" in line
    assert "keep.all" in line


@pytest.mark.parametrize("name", ["status.json", "provenance.json", "supervisor.json", "stop.json", "study.json"])
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", JUNK, b'{"outcomes": {"completed": "x"}, "best": 5, "running": 7}']
)
def test_other_damaged_files_keep_nothing_from_being_shown(call, search, name, content):
    (search.paths.root / name).write_bytes(content)
    for command in (["status"], ["status", "try"], ["table", "try"], ["crashed", "try"], ["best", "try"]):
        done = call(*command)
        assert done.exit_code == 0, (command, done.stderr)
        assert "try" in done.stdout or command[0] == "table"


def test_a_snapshot_of_another_version_is_shown_as_far_as_it_is_known(call, search):
    snapshot = {"outcomes": {"completed": 2, "levitated": 1}, "last_wave": {"wave": 1}, "eta_s": "soon", "doing": 4}
    search.paths.status.write_text(json.dumps(snapshot))
    assert "2 done" in call("status", "try").stdout


@pytest.mark.parametrize(
    "content", [b"", b"[]", JUNK, b'{"on": "slurm", "job_ids": 5}', b'{"on": "slurm", "job_ids": [5]}']
)
def test_a_damaged_launch_hides_no_other_search_and_is_said(call, search, make_search, content):
    make_search(name="other")
    search.paths.launch.write_bytes(content)
    done = call("status")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:3]] in (
        [["other", "failed"], ["try", "unreadable"]],
        [["try", "unreadable"], ["other", "failed"]],
    )
    assert "launch.json is damaged" in done.stdout.replace("\n", "")
    assert "launch.json is damaged" in refused(call("status", "try"))


def test_binary_junk_in_a_history_is_passed_over(search):
    entry = {"trial": 0, "step": 10, "seconds": 1.0, "metrics": {}}
    lines = [json.dumps(entry), "[]", "7", '{"trial": "x"}', json.dumps(entry | {"step": 20})]
    search.paths.history(1).write_bytes(JUNK + "\n".join(lines).encode() + b"\n" + JUNK + b'{"trial": 1, "st')
    assert [entry["step"] for entry in load_history(search.paths)] == [10, 20]


@pytest.mark.parametrize("command", ["table", "crashed", "best"])
def test_a_journal_damaged_in_its_middle_is_said_with_its_line(call, search, command):
    lines = search.paths.journal.read_bytes().splitlines(keepends=True)
    search.paths.journal.write_bytes(b"".join([*lines[:3], JUNK, *lines[3:]]))
    assert f"line 4 of {search.paths.journal} is damaged: " in refused(call(command, "try"))


def test_what_is_no_search_is_left_out_of_every_listing(call, search, searches):
    (searches / "a_file").write_text("x")
    (searches / "dangling").symlink_to(searches / "nowhere")
    (searches / "loop").symlink_to(searches / "loop")
    (searches / "half").mkdir()
    (searches / "odd").mkdir()
    (searches / "odd" / "spec.json").mkdir()
    (searches / os.fsdecode(b"\xff\xfe")).mkdir()
    (searches / os.fsdecode(b"\xff\xfe") / "spec.json").write_text("{}")
    os.utime(search.paths.spec, (2e9, 2e9))
    (search.paths.root / "jobs").mkdir()
    (search.paths.root / "jobs" / "3x").write_text("")
    (search.paths.logs / "driver-new.log").write_text("")
    assert [os.fsencode(paths.name) for paths in all_searches()] == [b"try", b"\xff\xfe"]
    assert search.paths.next_driver() == 1
    done = call("status")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:3]] == ["try", "\\udcff\\udcfe"]
    for name in ("a_file", "x" * 5000, "a\0b", "dangling", "loop", "odd"):
        assert call("table", name).exit_code == 2


def test_a_search_that_is_deleted_while_it_is_listed_is_left_out(call, search, make_search, monkeypatch):
    from cluster.commands import status_all

    gone = make_search(name="gone").paths

    def row(look, answer, row=status_all._row):
        if look.paths.name == "gone":
            gone.spec.unlink()
        return row(look, answer)

    monkeypatch.setattr(status_all, "_row", row)
    done = call("status")
    assert done.exit_code == 0
    assert "try" in done.stdout


AS_A_USER = """
import ctypes, sys
import swell
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
sets = (ctypes.c_uint32 * 6)()
assert libc.capget(header, sets) == 0
for index in range(3):  # effective, permitted, inheritable: without the right to pass over what files permit
    sets[index] &= ~0b110
assert libc.capset(header, sets) == 0, ctypes.get_errno()
sys.argv = ["swell", *sys.argv[1:]]
swell.main()
"""
"""Root as any user is: what others have closed is closed to it. Python's own files stay open, wherever they lie."""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_what_is_another_users_is_left_out(tmp_path):
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    os.chown(other, 4321, 4321)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spec.json").write_text("{}")
    environment = {**os.environ, "SWELL_ROOT": str(tmp_path)}

    def swell_as_a_user(*arguments):
        command = [sys.executable, "-c", AS_A_USER, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)

    done = swell_as_a_user("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["search", "mine"]
    done = swell_as_a_user("status", "other")
    assert done.returncode == 2
    assert done.stderr == f"{other} cannot be looked into: it is another user's, or closed to this one\n"


def test_cleaning_passes_over_what_cannot_be_read(searches, search, monkeypatch):
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 500)
    (searches / "dangling").symlink_to(searches / "nowhere")
    (searches / "odd").mkdir()
    (searches / "odd" / "spec.json").mkdir()
    assert [leftover for leftover in find(own_places(foreign=False), 24.0) if searches in leftover.path.parents] == []
