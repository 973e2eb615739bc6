"""Our own leftovers: which are deleted, and which stay because somebody may use them."""

import json
import os
import shutil
import socket
import time

import pytest

from cluster.commands.clean import SCRATCH, delete, find
from cluster.machine.files import write_json
from cluster.machine.processes import identity
from cluster.machine.scratch import OWNER_FILE, Scratch
from tests.cleaning import (
    BEFORE_ALL,
    DAY_S,
    OPEN,
    clean,
    comm,
    dead,
    end,
    fill,
    letters,
    reasons,
)


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
