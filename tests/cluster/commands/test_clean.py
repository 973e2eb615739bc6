import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from rich.console import Console

from cluster.commands.clean import RAY, SCRATCH, UNFINISHED, WANDB, Places, delete, find, own_places
from cluster.commands.clean_command import clean_command
from cluster.machine.files import write_json
from cluster.machine.open_files import began_before, look, shared_file_system
from cluster.machine.processes import carrying, end_carrying, identity
from cluster.machine.scratch import OWNER_FILE, Scratch

SOMEBODY = 12345
DAY_S = 86400.0
BEFORE_ALL = 10**9
"""A moment before any process here began."""
OPEN = "file = open(sys.stdin.readline().strip())"
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


ROOT = Path(__file__).parents[3]


def reasons(places, older_than_h=24.0):
    return {leftover.path: leftover.keep_because for leftover in find(places, older_than_h)}


def clean(places, older_than_h=24.0):
    """Find and delete; return what was deleted."""
    found = [leftover for leftover in find(places, older_than_h) if not leftover.keep_because]
    return {leftover.path for leftover in found if not delete(leftover, older_than_h).errors}


# Our own scratch.


def test_the_scratch_of_a_killed_owner_is_deleted_and_nothing_beside_it(places, make_scratch):
    ours = make_scratch(dead())
    beside = [places.scratch[0] / name for name in ("swell-notes", "session", "swell", "other-abcdefgh", OWNER_FILE)]
    for other in beside[:-1]:
        shutil.copytree(ours, other)
    beside[-1].write_text(json.dumps(dead()))
    [leftover] = find(places, 24.0)
    assert (leftover.path, leftover.kind, leftover.keep_because) == (ours, SCRATCH, "")
    assert delete(leftover, 24.0).freed_bytes == leftover.num_bytes
    assert not ours.exists()
    assert all(other.exists() for other in beside)
    assert all((other / "logs" / "worker.log").stat().st_size == 100_000 for other in beside[:-1])


def test_what_the_supervisor_makes_as_scratch_is_found(places, monkeypatch):
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.setenv("SWELL_SCRATCH", str(places.scratch[0]))
    path = Scratch.create({}).path
    assert reasons(places) == {path: f"its owner, process {os.getpid()}, lives"}
    (path / OWNER_FILE).write_text(json.dumps(dead()))
    assert clean(places) == {path}
    assert not path.exists()


@pytest.mark.parametrize("shift_s", [-400 * DAY_S, 400 * DAY_S])
def test_the_scratch_of_a_living_owner_stays_whatever_the_clock_says(places, make_scratch, monkeypatch, shift_s):
    path = make_scratch(identity(), mtime=BEFORE_ALL)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + shift_s)
    assert reasons(places, 0.0) == {path: f"its owner, process {os.getpid()}, lives"}


def test_an_owner_on_another_host_cannot_be_seen_so_its_scratch_stays(places, make_scratch):
    path = make_scratch({**dead(), "host": "elsewhere"})
    assert reasons(places) == {path: "its owner ran on elsewhere, which cannot be seen from here"}


DAMAGED = ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "1", "start": "1", "host": "h", "boot": "b"}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_owner_file_says_nothing_so_its_scratch_stays(places, make_scratch, text):
    path = make_scratch({})
    (path / OWNER_FILE).write_text(text)
    assert reasons(places) == {path: "its owner file is damaged"}


def test_without_an_owner_file_or_with_a_link_for_one_a_folder_is_not_known_as_ours(places, make_scratch, tmp_path):
    without, linked = make_scratch(dead()), make_scratch(dead())
    (without / OWNER_FILE).unlink()
    (linked / OWNER_FILE).rename(tmp_path / "elsewhere.json")
    (linked / OWNER_FILE).symlink_to(tmp_path / "elsewhere.json")
    assert reasons(places) == {without: "it carries no owner file", linked: "its owner file is damaged"}
    assert clean(places) == set()


def test_a_scratch_that_outlives_its_owner_in_another_process_stays_until_that_has_ended(places, make_scratch, start):
    path = make_scratch(dead())
    process = start("pass", env={**os.environ, "TMPDIR": str(path / "tmp")})
    assert reasons(places) == {path: f"process {process.pid} ({comm(process)}) names it in its environment"}
    end(process)
    assert clean(places) == {path}


def comm(process):
    return Path(f"/proc/{process.pid}/comm").read_text().strip()


def test_a_link_is_no_scratch_and_links_in_one_are_not_followed(places, make_scratch, tmp_path):
    precious = fill(tmp_path / "precious")
    (precious / OWNER_FILE).write_text(json.dumps(dead()))
    path = make_scratch(dead())
    (path / "logs" / "folder").symlink_to(precious)
    (path / "folder").symlink_to(precious)
    (path / "file").symlink_to(precious / "logs" / "worker.log")
    (places.scratch[0] / f"swell-{letters()}").symlink_to(precious)
    [leftover] = find(places, 24.0)
    assert leftover.num_bytes < 200_000
    assert delete(leftover, 24.0).errors == ()
    assert not path.exists()
    assert (precious / "logs" / "worker.log").stat().st_size == 100_000
    assert (precious / OWNER_FILE).exists()


def test_sizes_are_blocks_on_the_disk_and_a_file_with_a_name_elsewhere_frees_nothing(places, make_scratch, tmp_path):
    path = make_scratch(dead(), num_bytes=0)
    [bare] = find(places, 24.0)
    with (path / "sparse").open("wb") as file:
        file.truncate(10**9)
    (tmp_path / "kept").write_bytes(b"x" * 2**20)
    (path / "another name").hardlink_to(tmp_path / "kept")
    (path / "twice").write_bytes(b"x" * 2**20)
    (path / "twice again").hardlink_to(path / "twice")
    [leftover] = find(places, 24.0)
    assert 2**20 <= leftover.num_bytes - bare.num_bytes < 2**20 + 2**14


def test_what_has_come_into_use_since_it_was_found_is_not_deleted(places, make_scratch, start):
    path = make_scratch(dead())
    [leftover] = find(places, 24.0)
    process = start(OPEN, path / "logs" / "worker.log")
    deletion = delete(leftover, 24.0)
    assert deletion.leftover.keep_because == f"process {process.pid} ({comm(process)}) has it open"
    assert deletion.freed_bytes == 0
    assert (path / "logs" / "worker.log").exists()


def test_what_another_has_deleted_meanwhile_is_no_error(places, make_scratch):
    path = make_scratch(dead())
    [leftover] = find(places, 24.0)
    shutil.rmtree(path)
    assert (delete(leftover, 24.0).freed_bytes, delete(leftover, 24.0).errors) == (0, ())


# Unfinished files of search directories.


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


def test_an_unfinished_file_goes_if_its_writer_was_killed(places, make_unfinished):
    pid, now = dead()["pid"], time.time()
    old, below = (
        make_unfinished(pid, now - 3700),
        make_unfinished(pid, now - 3700, None, places.searches / "heads/best"),
    )
    young = make_unfinished(pid, now - 3500)
    assert reasons(places) == {
        old: "",
        below: "",
        young: "it may still be being written: it is less than an hour old",
    }
    others = ["status.json", ".hidden", ".a.tmp", f".a.{pid}.tmp.npz", f"a.{pid}.tmp", f".a.{pid}x.tmp"]
    others = [make_unfinished(pid, BEFORE_ALL, name) for name in others]
    others.append(make_unfinished(pid, BEFORE_ALL, None, places.searches))  # beside the searches, not in one
    assert clean(places) == {old, below}
    assert not old.exists()
    assert all(path.exists() for path in (young, *others))


def test_an_unfinished_file_stays_while_a_process_that_may_write_it_lives(places, make_unfinished, start):
    process = start("pass")
    later = time.time() + 7200
    mine, before_it = make_unfinished(process.pid, time.time()), make_unfinished(process.pid, BEFORE_ALL)
    with pytest.MonkeyPatch.context() as patch:  # the hour in which any write may go on has passed
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        patch.setattr(time, "time", lambda: later)
        patch.setattr(time, "clock_gettime", lambda _: later - booted)
        assert reasons(places) == {mine: f"process {process.pid}, which may be writing it, lives", before_it: ""}


@pytest.mark.parametrize(
    ("holder", "who"),
    [(identity(), f"{os.getpid()} on {socket.gethostname()}"), ({**identity(), "host": "elsewhere"}, None)],
    ids=["here", "elsewhere"],
)
def test_unfinished_files_of_a_search_that_is_worked_on_stay(places, make_unfinished, holder, who):
    path = make_unfinished(dead()["pid"], BEFORE_ALL)
    write_json(places.searches / "heads" / "supervisor.json", holder)
    assert reasons(places) == {path: f"process {who or f'{os.getpid()} on elsewhere'} works on this search"}
    write_json(places.searches / "heads" / "supervisor.json", dead())
    assert reasons(places) == {path: ""}


# Ray's sessions.


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


# W&B's folders.


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


# What is known of processes and file systems.


def test_a_process_began_before_what_it_wrote_and_not_before_what_is_older():
    assert began_before(os.getpid(), time.time())
    assert not began_before(os.getpid(), BEFORE_ALL)
    assert not began_before(dead()["pid"], time.time())


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:30 / /tmp rw - tmpfs tmpfs rw
24 22 0:31 /export /tmp/shared\\040space rw shared:5 - nfs4 server:/export rw
25 22 0:32 / /home rw - lustre server:/fs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/ray/session", ""),
        ("/tmp/shared space/ray", "nfs4"),
        ("/tmp/shared", ""),
        ("/home/me/ray", "lustre"),
        ("/homes/me", ""),
    ],
)
def test_a_file_system_that_other_machines_see_is_known(path, kind):
    assert shared_file_system(Path(path), MOUNTS) == kind


# The command.


def run(places, **options):
    console = Console(record=True, width=60, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    arguments = {"foreign": True, "dry_run": False, "older_than_h": 24.0} | options
    try:
        return clean_command(console=console, places=places, **arguments), console.export_text()
    finally:
        console.file.close()


def test_a_dry_run_says_what_would_go_and_deletes_nothing(places, make_session, make_scratch):
    session, ours, living = make_session(time.time() - 50 * 3600), make_scratch(dead()), make_scratch(identity())
    sizes = {leftover.path: leftover.num_bytes for leftover in find(places, 24.0)}
    code, text = run(places, dry_run=True)
    lines = text.splitlines()
    assert code == 0
    assert len(lines) == 4
    assert lines[0].startswith("kept ")
    assert lines[0].endswith(f"{living}: its owner, process {os.getpid()}, lives")
    assert any(line.startswith("would go") and f"2 d  {RAY}" in line and str(session) in line for line in lines)
    assert lines[3] == f"{(sizes[ours] + sizes[session]) / 1000:.1f} kB would be freed: 2 of 3 would go"
    assert session.exists()
    assert ours.exists()


def test_the_command_deletes_and_says_how_much_was_freed(places, session, make_scratch, make_unfinished):
    ours, file = make_scratch(dead(), num_bytes=2_000_000), make_unfinished(dead()["pid"], BEFORE_ALL)
    code, text = run(places)
    assert code == 0
    assert not any(path.exists() for path in (ours, session, file))
    assert f"{ours}: its owner has ended and nothing uses it" in text
    assert UNFINISHED in text
    assert text.splitlines()[-1].startswith("2.1 MB freed: 3 of 3 deleted")
    assert run(places) == (0, "0 bytes freed: 0 of 0 deleted\n")


@needs_root
def test_what_cannot_be_deleted_is_named_with_exit_code_1(places, make_scratch):
    ours, other = make_scratch(dead()), make_scratch(dead())
    stuck = ours / "logs" / "worker.log"
    if subprocess.run(["chattr", "+i", stuck], capture_output=True).returncode:
        pytest.skip("files cannot be made immutable here")
    try:
        code, text = run(places)
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    assert code == 1
    assert f"NOT deleted: {ours}" in text
    assert f"{stuck}: Operation not permitted" in text
    assert not other.exists()
    assert (ours / OWNER_FILE).exists()  # the next run knows it as ours
    assert run(places)[0] == 0
    assert not ours.exists()


def test_own_places_are_where_our_scratch_searches_ray_and_wandb_lie(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "own"))
    monkeypatch.setenv("SWELL_ROOT", str(tmp_path / "searches"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "rays"))
    scratch = (tmp_path / "own", tmp_path / "system")
    assert own_places(foreign=False) == Places(scratch, tmp_path / "searches")
    ray = [Path("/tmp/ray").resolve(), *(tmp_path / at for at in ("system/ray", "rays", "rays/ray"))]
    assert own_places(foreign=True) == Places(scratch, tmp_path / "searches", tuple(ray), (tmp_path / "system",))


def test_a_root_for_scratch_that_cannot_be_used_is_the_users_error(tmp_path, monkeypatch):
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / ("x" * 80)))
    code, text = run(None, dry_run=True)
    assert code == 2
    assert "Set SWELL_SCRATCH to a shorter path" in text


DRIVER = """
import sys, ray
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
