"""From `swell run` to a search's first report: seconds, and the CPU of every process, all programs compiled before."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

ROLES = {
    "cluster.driver.main": "driver",
    "gcs_server": "Ray's GCS",
    "/raylet": "Ray's raylet",
    "ray::DashboardAgent": "Ray's dashboard agent",
    "ray::RuntimeEnvAgent": "Ray's runtime environment agent",
    "default_worker.py": "worker",
    "ray::": "worker",
}
"""What a process of a search is, by a part of its command line; the first that fits."""
SUPERVISOR, OTHER = "swell run (supervisor)", "others"
ORDER = (SUPERVISOR, *dict.fromkeys(ROLES.values()), OTHER)
POLL_S = 0.01
PATIENCE_S = 300.0


@dataclass
class Used:
    """What the processes of one role had used when the first report came."""

    number: int = 0
    cpu_s: float = 0.0
    began_s: float = float("inf")
    """When the first of them began, in seconds after the command."""


@dataclass(frozen=True)
class FirstReport:
    """One run of a search until its first report."""

    seconds: float
    used: Mapping[str, Used]
    """By role."""

    @property
    def cpu_s(self) -> float:
        """The CPU seconds of all processes together."""
        return sum(one.cpu_s for one in self.used.values())


def _role(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    return next((role for part, role in ROLES.items() if part in line), OTHER)


def _used(root: psutil.Process) -> dict[str, Used]:
    """Return what a process and its descendants have used by now."""
    found: dict[str, Used] = {}
    for process in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            one = found.setdefault(SUPERVISOR if process == root else _role(process), Used())
            one.number += 1
            one.cpu_s += times.user + times.system + times.children_user + times.children_system
            one.began_s = min(one.began_s, process.create_time() - root.create_time())
    return found


def with_reports_every(spec: Path, steps: int, folder: Path) -> Path:
    """Write the same search with a report after so many steps; return its file."""
    content = yaml.safe_load(spec.read_text())
    content["base"] = {**content.get("base", {}), "report_every": steps}
    changed = folder / spec.name
    changed.write_text(yaml.safe_dump(content))
    return changed


def _has_reported(histories: Path) -> bool:
    return any(file.stat().st_size for file in histories.glob("*.jsonl"))


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """End a search at once when the block is left, and wait until all that it started is gone."""
    try:
        yield
    finally:
        for _ in range(2):  # the first saves, the second ends at once
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        process.wait(60.0)


def first_report(spec: Path, python: str, checkout: Path, environment: Mapping[str, str]) -> FirstReport:
    """Run a search of a checkout until its first report, end it, and return what that took.

    Raises RuntimeError, with what it printed, if none came.
    """
    with tempfile.TemporaryDirectory(prefix="first") as folder, tempfile.TemporaryFile("w+") as output:
        # A scratch of its own: there, no other search uses CPUs.
        own = {**os.environ, **environment, "SWELL_ROOT": folder, "SWELL_SCRATCH": f"{folder}/s"}
        command = [python, "-m", "swell", "run", str(spec)]
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=checkout, env=own, stdout=output, stderr=subprocess.STDOUT)
        with _ended(process):
            root = psutil.Process(process.pid)
            while not any(map(_has_reported, Path(folder).glob("*/histories"))):
                if process.poll() is not None or time.monotonic() - began > PATIENCE_S:
                    output.seek(0)
                    raise RuntimeError(f"no report within {time.monotonic() - began:.0f} s:\n{output.read()}")
                time.sleep(POLL_S)
            return FirstReport(time.monotonic() - began, _used(root))
