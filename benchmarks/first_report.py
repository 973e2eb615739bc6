"""From `swell run` to a search's first report: seconds and CPU of every process, all programs compiled before.

    python -m benchmarks.first_report [--spec search_spaces/quickstart.yaml] [--runs 3]

A first run, which is not counted, compiles. Seconds and CPU are those of the run with the median of its CPU.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROLES = {
    "cluster.driver.main": "driver",
    "gcs_server": "Ray's GCS",
    "raylet": "Ray's raylet",
    "ray::DashboardAgent": "Ray's dashboard agent",
    "ray::RuntimeEnvAgent": "Ray's runtime environment agent",
    "ray::": "worker",
    "default_worker.py": "worker",
}
"""What a process of a search is, by a part of its command line; the first that fits."""
SUPERVISOR = "swell run (supervisor)"
OTHER = "others"
POLL_S = 0.01
PATIENCE_S = 300.0
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Used:
    """What the processes of one role had used when the first report came."""

    number: int = 0
    cpu_s: float = 0.0
    began_s: float = 0.0
    """When the first of them began, in seconds after the command."""


@dataclass
class FirstReport:
    """One run of a search until its first report."""

    seconds: float
    used: dict[str, Used] = field(default_factory=dict)

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
            role = SUPERVISOR if process == root else _role(process)
            times = process.cpu_times()
            one = found.setdefault(role, Used(began_s=float("inf")))
            one.number += 1
            one.cpu_s += times.user + times.system + times.children_user + times.children_system
            one.began_s = min(one.began_s, process.create_time() - root.create_time())
    return found


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

    Raises RuntimeError, with what it printed, if it ended before.
    """
    with tempfile.TemporaryDirectory(prefix="first") as folder, tempfile.TemporaryFile("w+") as output:
        own = {**os.environ, **environment, "SWELL_ROOT": folder}
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


def main() -> None:
    """Measure some starts and print a table of the median one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, default=ROOT / "search_spaces" / "quickstart.yaml")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cache") as cache:
        spec, environment = options.spec.resolve(), {"SWELL_CACHE": cache}
        _, *runs = [first_report(spec, sys.executable, ROOT, environment) for _ in range(options.runs + 1)]
    median = sorted(runs, key=lambda run: run.cpu_s)[len(runs) // 2]
    print(f"First report after {median.seconds:.1f} s and {median.cpu_s:.1f} s of CPU.\n")
    print("| process | number | began after, s | CPU s |\n|---|---|---|---|")
    for role, used in sorted(median.used.items(), key=lambda item: item[1].began_s):
        print(f"| {role} | {used.number} | {used.began_s:.1f} | {used.cpu_s:.1f} |")


if __name__ == "__main__":
    main()
