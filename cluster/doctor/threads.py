"""Measures in a process of its own which threads a trial's process gets, for `swell doctor`."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.doctor.needs import Needs
from cluster.machine.asking import ask
from cluster.machine.findings import Finding, Verdict
from cluster.machine.processes import python_path
from cluster.machine.resources import THREAD_VARIABLES, thread_caps
from cluster.wording import count

THREADS = "Threads of a trial"
WORKER_TIMEOUT_S = 60.0
"""Longest an import may take; a cold network file system needs much of it."""


class WorkerError(RuntimeError):
    """A measuring process failed; the text says why."""


def run_worker(*arguments: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what `cluster.doctor.worker` measures in a process with this environment.

    Raises WorkerError if the process fails.
    """
    command = [sys.executable, "-P", "-m", "cluster.doctor.worker", *arguments]
    own = {"PYTHONPATH": python_path(Path.cwd()), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    answer = ask(command, WORKER_TIMEOUT_S, {**os.environ, **own, **environment}, limit=300)
    if answer.failure:
        raise WorkerError(answer.failure)
    return json.loads(answer.text)


def measure_trial(needs: Needs) -> dict[str, Any]:
    """Return what is measured in a process with a trial's environment; raises WorkerError if it fails."""
    environment = thread_caps(needs.resources.cpus_per_trial)
    if not needs.resources.gpus_per_trial:
        environment["JAX_PLATFORMS"] = "cpu"  # as in a wave: JAX does not even look for GPUs
    if needs.code is not None:
        environment["PYTHONPATH"] = python_path(needs.code, Path.cwd())
    arguments = [needs.trainable] if needs.trainable else []
    return run_worker("jax", *arguments, environment=environment)


def thread_findings(measured: Mapping[str, Any] | WorkerError, cpus: int) -> list[Finding]:
    """Return the thread caps that a trial of `cpus` CPUs saw in its process, and the size of XLA's pool."""
    if isinstance(measured, WorkerError):
        advice = "Mend what that names (make setup installs anew what is missing): no trial could train like this."
        return [Finding(THREADS, "XLA pool", f"not measured: {measured}", Verdict.PROBLEM, advice)]
    return [_caps(measured["variables"], cpus), _pool(measured["pool_threads"], cpus)]


def _caps(seen: Mapping[str, str], cpus: int) -> Finding:
    wrong = [f"{name}={seen[name]}" for name in THREAD_VARIABLES if seen[name] != str(cpus)]
    if wrong:
        advice = f"Find what sets them at Python's start (sitecustomize, .pth files): a trial must have {cpus} in each."
        return Finding(THREADS, "caps", f"{', '.join(wrong)} instead of {cpus}", Verdict.PROBLEM, advice)
    found = f"{cpus} in {', '.join(THREAD_VARIABLES)}"
    others = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if os.environ.get(name, str(cpus)) != str(cpus)]
    return Finding(THREADS, "caps", found + (f"; your own {', '.join(others)} does not count" if others else ""))


def _pool(threads: int, cpus: int) -> Finding:
    found = f"{count(threads, 'thread')}, counted in a process with these caps"
    if threads == cpus:
        return Finding(THREADS, "XLA pool", found)
    advice = f"It must be {cpus}: install the versions of constraints.txt, with which PJRT_NPROC sizes the pool."
    return Finding(THREADS, "XLA pool", found, Verdict.PROBLEM, advice)


def method_findings(measured: Mapping[str, Any] | WorkerError, trainable: str | None) -> list[Finding]:
    """Return whether a trial's process can load the spec's method; empty without a spec."""
    if trainable is None or isinstance(measured, WorkerError):
        return []
    failure = measured.get("trainable_failure")
    if failure:
        advice = "Mend the module, or launch from the folder that it lies below."
        return [Finding("Method", trainable, f"cannot be loaded: {failure}", Verdict.PROBLEM, advice)]
    return [Finding("Method", trainable, f"loads in {measured['trainable_s']:.1f} s, beside JAX")]
