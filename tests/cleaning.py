"""What the tests of `swell clean` share: leftovers of processes that are dead, and processes that use them."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.commands.clean import Places, delete, find
from cluster.machine.open_files import look
from cluster.machine.scratch import OWNER_FILE

SOMEBODY = 12345
DAY_S = 86400.0
BEFORE_ALL = 10**9
"""A moment before any process here began."""
OPEN = "file = open(sys.stdin.readline().strip())"
ANNOUNCE_AND_SLEEP = "print(flush=True); import time; time.sleep(120)"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has files of another user")


@pytest.fixture
def start():
    """Return a function that starts a process; it gets a line, and is waited for until it has done what it should."""
    processes = []

    def run(code, line="", *arguments, **options):
        command = [sys.executable, "-c", f"import sys\n{code}\n{ANNOUNCE_AND_SLEEP}", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        processes.append(process)
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"
        return process

    yield run
    for process in processes:
        end(process)


def end(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def letters():
    return "".join(random.SystemRandom().choices("abcdefghij0123456789", k=8))


def fill(folder, num_bytes=100_000, mtime=None):
    """Make a folder with a file in a folder in it, as old as asked."""
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "worker.log").write_bytes(b"x" * num_bytes)
    if mtime is not None:
        make_old(folder, mtime)
    return folder


def make_old(folder, mtime):
    for at in [*folder.rglob("*"), folder]:
        os.utime(at, (mtime, mtime), follow_symlinks=False)


@pytest.fixture
def places(tmp_path):
    found = Places((tmp_path / "s",), tmp_path / "searches", (tmp_path / "ray",), (tmp_path / "t",))
    for place in (*found.scratch, found.searches, *found.ray, *found.wandb):
        place.mkdir()
    return found


@pytest.fixture
def make_scratch(places):
    def make(owner, **options):
        path = fill(places.scratch[0] / f"swell-{letters()}", **options)
        (path / OWNER_FILE).write_text(json.dumps(owner))
        return path

    return make


@pytest.fixture(scope="module")
def sight():
    """Skip what cannot be proved where a process of this user, a login's for one, lets nobody look into it."""
    if unreadable := look({"no such name"}).unreadable:
        pytest.skip(f"process {unreadable[0]} cannot be looked into")


@pytest.fixture
def make_session(places, sight):
    """Return a function that makes a Ray session of two days ago."""

    def make(mtime=None):
        number = random.SystemRandom().randrange(10**6)
        name = f"session_2026-01-02_03-04-05_{number:06d}_{os.getpid()}"
        return fill(places.ray[0] / name, mtime=time.time() - 2 * DAY_S if mtime is None else mtime)

    return make


@pytest.fixture
def session(make_session):
    return make_session()


def dead():
    """Return an owner that was a real process and was killed."""
    code = "import json; from cluster.machine.processes import identity; "
    code += "print(json.dumps(identity()), flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        owner = json.loads(process.stdout.readline())
        process.kill()
    assert owner["pid"] == process.pid
    return owner


ROOT = Path(__file__).parents[1]


def reasons(places, older_than_h=24.0):
    return {leftover.path: leftover.keep_because for leftover in find(places, older_than_h)}


def clean(places, older_than_h=24.0):
    """Find and delete; return what was deleted."""
    found = [leftover for leftover in find(places, older_than_h) if not leftover.keep_because]
    return {leftover.path for leftover in found if not delete(leftover, older_than_h).errors}


def comm(process):
    return Path(f"/proc/{process.pid}/comm").read_text().strip()


@pytest.fixture
def make_unfinished(places):
    folder = places.searches / "heads"
    (folder / "best").mkdir(parents=True)
    (folder / "spec.json").write_text("{}")

    def make(pid, mtime, name=None, folder=folder):
        path = folder / (name or f".{letters()}.json.{pid}.tmp")
        path.write_text("{")
        os.utime(path, (mtime, mtime))
        return path

    return make
