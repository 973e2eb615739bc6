"""Measures in a process of its own which threads a trial's process gets, for `swell doctor`."""

import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from cluster.doctor.needs import Needs
from cluster.machine.asking import ask
from cluster.machine.findings import Finding, Verdict
from cluster.machine.resources import THREAD_VARIABLES
from cluster.machine.scratch import ScratchError
from cluster.machine.variables import overruled, settings
from cluster.wording import count
from cluster.worker.environment import Origin, training_environment

THREADS = "Threads of a trial"
ENVIRONMENT = "Environment"
LOG_PREFIX = re.compile(r"^[FE]\d{4} [^\]]*\] ")
"""Of XLA's log: the time, the process and the line that a message came from."""
WORKER_TIMEOUT_S = 60.0
"""The longest that an import may take; on a cold network file system it takes long."""


class WorkerError(RuntimeError):
    """A measuring process failed; the text says why."""


def run_worker(*arguments: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what `cluster.doctor.worker` measures in a process with this environment.

    Raises WorkerError if the process fails.
    """
    command = [sys.executable, "-P", "-m", "cluster.doctor.worker", *arguments]
    own = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    answer = ask(command, WORKER_TIMEOUT_S, {**Origin.here().variables(), **own, **environment}, limit=300)
    if answer.failure:
        raise WorkerError(LOG_PREFIX.sub("", answer.failure))
    return json.loads(answer.text)


def measure_trial(needs: Needs) -> dict[str, Any]:
    """Return what is measured in a process with a trial's environment; raises WorkerError if it fails."""
    try:
        environment = training_environment(needs.resources, Origin.here(needs.code))
    except ScratchError as error:
        raise WorkerError(str(error)) from None
    arguments = [needs.trainable] if needs.trainable else []
    return run_worker("jax", *arguments, environment=environment)


def setting_findings(environment: Mapping[str, str]) -> list[Finding]:
    """Return which of the user's variables change numbers, and which of them no trial gets."""
    changing = [f"{name}={value}" for name, value in settings(environment).items()]
    said = ", ".join(changing) if changing else "none that changes numbers"
    findings = [Finding(ENVIRONMENT, "settings", said)]
    for what, why in overruled(environment).items():
        advice = "Unset it: it only misleads."
        findings.append(Finding(ENVIRONMENT, "overruled", f"{what} does not count: {why}", Verdict.WARNING, advice))
    return findings


def thread_findings(measured: Mapping[str, Any] | WorkerError, cpus: int) -> list[Finding]:
    """Return the thread caps that a trial of `cpus` CPUs saw in its process, and the size of XLA's pool."""
    if isinstance(measured, WorkerError):
        advice = "Mend what that names (make setup installs anew what is missing): no trial could train like this."
        if named := [name for name in settings(os.environ) if name in str(measured)]:
            advice = f"Unset {named[0]}, or give it a value that this JAX knows: no trial could train like this."
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
