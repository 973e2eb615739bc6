"""What Ray and W&B leave behind: what of it is deleted, and what stays because somebody may use it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster.commands.clean import RAY, SCRATCH, WANDB, Places, find
from cluster.machine.open_files import look
from cluster.machine.processes import carrying, end_carrying
from tests.cleaning import (
    BEFORE_ALL,
    DAY_S,
    OPEN,
    SOMEBODY,
    clean,
    comm,
    dead,
    end,
    fill,
    letters,
    make_old,
    needs_root,
    reasons,
)

MAP = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
with open(sys.stdin.readline().strip()) as file:  # Python's own mmap would keep the file open too
    assert libc.mmap(None, 4096, 1, 2, file.fileno(), 0) not in (None, 2**64 - 1)
"""
BIND = "import os, socket; server = socket.socket(socket.AF_UNIX); server.bind(sys.stdin.readline().strip())"
WORK = "import os; os.chdir(sys.stdin.readline().strip())"


@pytest.mark.parametrize(
    ("code", "at", "how"),
    [
        (OPEN, "logs/worker.log", "has it open"),
        (MAP, "logs/worker.log", "has it mapped"),
        (WORK, "logs", "works in it"),
    ],
)
def test_a_session_in_use_stays_until_its_user_has_ended(places, session, start, code, at, how):
    process = start(code, session / at)
    assert reasons(places) == {session: f"process {process.pid} ({comm(process)}) {how}"}
    assert clean(places) == set()
    end(process)
    assert clean(places) == {session}
    assert not session.exists()


def test_a_session_named_in_a_command_line_or_an_environment_stays(places, make_session, start):
    named, marked, in_quotes = make_session(), make_session(), make_session()
    first = start("pass", "", f"--session-dir={named}")
    second = start("pass", env={**os.environ, "RAY_SESSION": str(marked)})
    third = start("pass", "", json.dumps({"dir": f"{in_quotes}/sockets"}))
    assert reasons(places) == {
        named: f"process {first.pid} ({comm(first)}) names it in its command line",
        marked: f"process {second.pid} ({comm(second)}) names it in its environment",
        in_quotes: f"process {third.pid} ({comm(third)}) names it in its command line",
    }


def test_a_session_with_a_bound_socket_stays(places, session, start):
    # A link, as in real life: a socket's path must be short, and the folder is then known under another path.
    short = Path(tempfile.mkdtemp(prefix="sw"))
    try:
        (short / "r").symlink_to(places.ray[0])
        process = start(BIND, short / "r" / session.name / "raylet")
        make_old(session, time.time() - 2 * DAY_S)
        assert reasons(places) == {session: "a socket in it is open"}
        end(process)
        assert (session / "raylet").is_socket()
        assert reasons(places) == {session: ""}
    finally:
        shutil.rmtree(short)


def test_a_session_goes_only_when_nothing_in_it_was_modified_for_that_long(places, make_session):
    now = time.time()
    recent, old, half = make_session(now - 2 * 3600), make_session(now - 30 * 3600), make_session(now - 30 * 3600)
    os.utime(half / "logs" / "worker.log", (now - 3600, now - 3600))
    future = make_session(now + DAY_S)
    assert {path for path, reason in reasons(places).items() if not reason} == {old}
    assert reasons(places)[recent] == reasons(places)[half] == "it was modified in the last 24 h"
    assert {path for path, reason in reasons(places, 1.5).items() if not reason} == {old, recent}
    assert all(reasons(places, float("nan")).values())
    assert clean(places) == {old}
    assert recent.exists()
    assert half.exists()
    assert future.exists()


def test_only_sessions_go_from_rays_folder(places, session):
    beside = [places.ray[0] / name for name in ("session_notes", "data", f"{session.name}.tar", f"x{session.name}")]
    for other in beside:
        fill(other, mtime=BEFORE_ALL)
    (places.ray[0] / "session_latest").symlink_to(session)
    linked = places.ray[0] / "session_2026-01-02_03-04-05_000000_1"
    linked.symlink_to(beside[1])
    (places.ray[0] / "ray_current_cluster").write_text("127.0.0.1:1")
    assert clean(places) == {session}
    assert all((other / "logs" / "worker.log").exists() for other in beside)
    assert linked.is_symlink()


AS_SOMEBODY = """
import ctypes, json, os
import psutil  # from a folder that somebody else may not read
from pathlib import Path
from cluster.machine import open_files  # before this process is somebody who may not read where it lies
from cluster.commands.clean import Places, find
os.chdir("/")
os.setgroups([])
os.setgid({uid})
os.setuid({uid})  # from here on nobody but root may look into this process ...
"""
LIST = """
ctypes.CDLL(None).prctl(4, 1)  # ... unless it allows it
root = Path(sys.stdin.readline().strip())
found = find(Places((root / "s",), None, (root / "ray",)), 24.0)
print(json.dumps({leftover.kind: leftover.keep_because for leftover in found}), flush=True)
"""


@needs_root
def test_a_process_of_the_same_user_that_cannot_be_looked_into_may_use_a_session(places, session, make_scratch, start):
    scratch = make_scratch(dead())
    for at in (places.ray[0], places.scratch[0]):
        for entry in [at, *at.rglob("*")]:
            os.chown(entry, SOMEBODY, SOMEBODY)
    as_somebody = AS_SOMEBODY.format(uid=SOMEBODY)

    def kept():
        command = [sys.executable, "-c", f"import sys\n{as_somebody}\n{LIST}"]
        return json.loads(
            subprocess.run(command, input=f"{short}\n", capture_output=True, text=True, check=True).stdout
        )

    short = Path(tempfile.mkdtemp(prefix="sw"))  # pytest's own folders are closed to others
    try:
        short.chmod(0o755)
        shutil.move(places.ray[0], short / "ray")
        shutil.move(places.scratch[0], short / "s")
        secret = start(as_somebody)
        program = Path(f"/proc/{secret.pid}/comm").read_text().strip()
        why = f"process {secret.pid} ({program}) of this user cannot be looked into and may use it"
        assert kept() == {SCRATCH: "", RAY: why}  # what is ours is known by its owner
        end(secret)
        assert kept() == {SCRATCH: "", RAY: ""}
        assert find(Places((short / "s",), None, (short / "ray",)), 24.0) == []  # root is another user
    finally:
        shutil.rmtree(short)
    assert not scratch.exists()


@needs_root
def test_another_users_folders_are_not_listed_and_one_with_their_files_stays(places, make_session, make_scratch):
    session, scratch, mixed = make_session(), make_scratch(dead()), make_session()
    for path in (session, scratch, mixed / "logs" / "worker.log"):
        os.chown(path, SOMEBODY, SOMEBODY)
    assert reasons(places) == {mixed: f"files of another user, {SOMEBODY}, are in it"}
    assert clean(places) == set()
    for path in (session, scratch, mixed):
        assert (path / "logs" / "worker.log").exists()


@needs_root
def test_a_file_system_mounted_in_a_session_keeps_it(places, session, tmp_path):
    precious = fill(tmp_path / "precious")
    (session / "mount").mkdir()
    make_old(session, time.time() - 2 * DAY_S)
    if subprocess.run(["mount", "--bind", precious, session / "mount"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert reasons(places, 0.0)[session] == "a file system is mounted in it or from it"
        assert clean(places, 0.0) == set()
    finally:
        subprocess.run(["umount", session / "mount"], check=True)
    assert (precious / "logs" / "worker.log").exists()


def wandb_names():
    return [f"tmp{letters()}wandb-media", f"tmp{letters()}wandb-artifacts", f"wandb-{dead()['pid']}-{dead()['pid']}-77"]


@pytest.mark.usefixtures("sight")
def test_folders_of_dead_runs_go_and_run_directories_never(places):
    ours = {fill(places.wandb[0] / name, mtime=BEFORE_ALL) for name in wandb_names()}
    names = ["wandb", ".wandb", "run-20260102_030405-abcdefgh", "offline-run-20260102_030405-abcdefgh", "tmpabcdefgh"]
    data = [fill(places.wandb[0] / name, mtime=BEFORE_ALL) for name in (*names, "wandb-1-2", "tmpwandb-media")]
    data.append(fill(places.wandb[0] / "wandb" / "offline-run-20260102_030405-abcdefgh", mtime=BEFORE_ALL))
    assert {leftover.kind for leftover in find(places, 24.0)} == {WANDB}
    assert clean(places) == ours
    assert all((path / "logs" / "worker.log").exists() for path in data)


@pytest.mark.usefixtures("sight")
def test_a_folder_that_a_living_python_may_own_stays(places, start):
    process = start("pass")
    now = time.time()
    mine = fill(places.wandb[0] / f"tmp{letters()}wandb-media", mtime=now)
    socket_folder = fill(places.wandb[0] / f"wandb-{dead()['pid']}-{process.pid}-5", mtime=now)
    dead_folder = fill(places.wandb[0] / f"wandb-{dead()['pid']}-{dead()['pid']}-6", mtime=now)
    assert process.pid in look({"no such name"}).python
    assert os.getpid() not in look({"no such name"}).python
    found = reasons(places, 0.0)
    assert found[mine].endswith(", which may own it, lives")
    assert found[socket_folder] == f"process {process.pid}, which may own it, lives"
    assert found[dead_folder] == ""


DRIVER = """
import sys, ray
from cluster.driver.ray_head import patient_start
with patient_start():
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20, _temp_dir=sys.argv[1])
print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
sys.stdin.read()
"""
MARK = "SWELL_TEST_MARK"


@pytest.mark.slow
@pytest.mark.usefixtures("sight")
def test_a_real_ray_session_stays_while_it_lives_and_goes_when_its_processes_have_ended():
    folder = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))  # short: Ray's sockets lie below it
    places, mark = Places(ray=(folder,)), letters()
    own = {MARK: mark, "SPT_NOENV": "1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    environment = {**os.environ, **own, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", DRIVER, str(folder)]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as driver:
            session = Path(next(line for line in driver.stdout if "session_" in line).strip())
            alive = reasons(places, 0.0)
            driver.kill()
        assert list(alive) == [session]
        assert alive[session].startswith("process ")
        while carrying(MARK, mark):  # they end by themselves, some of them after a minute
            kept = reasons(places, 0.0)[session]
            assert kept or not carrying(MARK, mark)
            end_carrying(MARK, mark)
        assert reasons(places, 0.0) == {session: ""}
        assert reasons(places, 24.0) == {session: "it was modified in the last 24 h"}
        assert clean(places, 0.0) == {session}
        assert not session.exists()
    finally:
        end_carrying(MARK, mark)
        shutil.rmtree(folder)
