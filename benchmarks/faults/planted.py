"""What is not ours, planted beside what is: it must be untouched at the end, whatever was cleaned up or ended."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.faults.place import Place, alive
from cluster.machine.processes import boot_id, start_time

FILES = (
    "s/notes.txt",
    "s/swell-a1b2c3d4/r/session_1/logs/raylet.out",  # of our name, but without an owner's file
    "s/swell-notes.txt",
    "s/swell-e5f6g7h8/owner.json",  # an owner's file that says nothing
    "s/ray/session_2026-01-01_00-00-00_000000_1/logs/gcs_server.out",
    "s/ray/session_latest/x",
    "s/tmpabcd/wandb-media",
    "searches/notes.txt",
    "searches/old/study.journal",  # no search: it has no spec
    "searches/chaos-notes/supervisor.lock",
    "elsewhere/kept",
)
ELSEWHERE = "elsewhere"
LIVING_OWNER = "s/swell-i9j0k1l2"
"""Scratch of a search that is not this place's, whose owner lives."""
PROCESSES = (
    ("sleep", "ray::TrialActor.step()"),
    ("raylet", "raylet"),
    ("gcs_server", "gcs_server"),
    ("sleep", "python -P -m cluster.driver.main"),
)
"""Program and title of the foreign processes; the programs are all `sleep`, copied to a folder of their own."""


@dataclass(frozen=True)
class Planted:
    """What was planted, as it was then."""

    folder: Path
    entries: dict[str, str]
    """Of every file, folder and link: what it is, with a digest of its content."""
    processes: dict[str, psutil.Popen]

    def differences(self) -> list[str]:
        """Return what is not as it was, a sentence each."""
        now = {path: _describe(self.folder / path) for path in self.entries}
        touched = [
            f"foreign {path} is {now[path] or 'gone'}, was {was}"
            for path, was in self.entries.items()
            if now[path] != was
        ]
        for title, process in self.processes.items():
            if not alive(process):
                touched.append(f"the foreign process titled {title!r} was ended")
            elif process.status() == psutil.STATUS_STOPPED:
                touched.append(f"the foreign process titled {title!r} was stopped")
        return touched

    def end(self) -> None:
        """End the foreign processes."""
        for process in self.processes.values():
            if alive(process):
                process.kill()
            process.wait()


def plant(place: Place) -> Planted:
    """Plant foreign files, folders, links and processes in and beside the folders of a place."""
    for name in FILES:
        file = place.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"not ours: {name}\n")
    link = place.scratch / "swell-link"
    if not link.is_symlink():  # of the search before
        link.symlink_to(place.folder / ELSEWHERE)
    processes = dict(_start(place, program, title) for program, title in PROCESSES)
    owner = processes[PROCESSES[0][1]].pid
    living = place.folder / LIVING_OWNER
    living.mkdir(exist_ok=True)
    who = {"pid": owner, "start": start_time(owner), "host": os.uname().nodename, "boot": boot_id()}
    (living / "owner.json").write_text(json.dumps(who))
    entries = [place.folder / name for name in (*FILES, f"{LIVING_OWNER}/owner.json", "s/swell-link")]
    folders = {parent for path in entries for parent in path.parents if place.folder in parent.parents}
    folders -= {place.scratch, place.searches}
    paths = sorted(str(path.relative_to(place.folder)) for path in {*entries, *folders})
    return Planted(place.folder, {path: _describe(place.folder / path) for path in paths}, processes)


def _start(place: Place, program: str, title: str) -> tuple[str, psutil.Popen]:
    """Start a sleeping process with a program's name and a title; it is in a wave, but in none of ours."""
    executable = place.folder / "programs" / program
    executable.parent.mkdir(exist_ok=True)
    if not executable.exists():
        shutil.copy(shutil.which("sleep") or "/bin/sleep", executable)
    environment = {"SWELL_WAVE": "0" * 32, "SWELL_ROOT": str(place.folder / "others")}
    arguments = {"args": [title, "100000"], "executable": str(executable), "env": environment}
    return title, psutil.Popen(**arguments, stdin=subprocess.DEVNULL, start_new_session=True)


def _describe(path: Path) -> str:
    """Return what a path is, empty where there is nothing."""
    if path.is_symlink():
        return f"a link to {path.readlink()}"
    if path.is_dir():
        return f"a folder of mode {path.stat().st_mode & 0o777:o}"
    if path.is_file():
        return f"a file of {path.stat().st_size} bytes ({hashlib.sha256(path.read_bytes()).hexdigest()[:8]})"
    return ""
