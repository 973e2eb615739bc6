"""`swell clean`: what it prints, deletes and exits with."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from cluster.commands.clean import RAY, UNFINISHED, Places, find, own_places
from cluster.commands.clean_output import clean_command
from cluster.console import Console
from cluster.machine.processes import identity
from cluster.machine.scratch import OWNER_FILE, ScratchError
from tests.cleaning import BEFORE_ALL, dead, needs_root


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
    with pytest.raises(ScratchError, match="Set SWELL_SCRATCH to a shorter path"):
        run(None, dry_run=True)
