"""The tiny job of `swell doctor --site --submit`, which measures what a node of the cluster gives."""

import importlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.text import Text

from cluster.console import Console
from cluster.doctor.disks import mount_of, try_writing
from cluster.jobs.environment import note_allocation
from cluster.jobs.queue import Queue
from cluster.jobs.queue_facts import Job, QueueError, SubmissionError
from cluster.jobs.request import Request
from cluster.jobs.sites import Site
from cluster.machine.files import read_json, write_json
from cluster.machine.findings import Finding, Verdict
from cluster.machine.resources import cpu_budget
from cluster.machine.scratch import LONGEST_ROOT, others_can_change, scratch_folder
from cluster.machine.user import home_folder
from cluster.state.paths import SearchPaths, searches_root

JOB = "A job"
NUM_CPUS = 2
MINUTES = 5
QUEUE_PATIENCE_S = 300.0
"""How long the job may wait in the queue."""
ASK_EVERY_S = 3.0
PACKAGES = ("jax", "ray", "optuna", "equinox", "diffrax", "optax", "submitit")
OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM


def found_file(root: Path) -> Path:
    """Return the file in which the job leaves its results."""
    return root / "found.json"


def look(root: str) -> None:
    """Measure this node and write the results to a file; the job runs this."""
    note_allocation()
    began, failures = time.monotonic(), {}
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except Exception as error:  # an import may fail with anything; that is the finding
            failures[package] = f"{type(error).__name__}: {error}"[:200]
    import_s = time.monotonic() - began
    scratch = scratch_folder().resolve()
    with suppress(OSError):  # the missing file says it
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = {
        "host": socket.gethostname(),
        "python": sys.executable,
        "failures": failures,
        "import_s": import_s,
        "cpus": cpu_budget(None),
        "scratch": str(scratch),
        "scratch_type": mount_of(scratch).type,
        "scratch_failure": try_writing(scratch).failure or (scratch.is_dir() and others_can_change(scratch)) or "",
        "scratch_free_gb": shutil.disk_usage(scratch).free / 1e9 if scratch.exists() else 0.0,
        "home": str(home_folder() or ""),
        "mask": os.umask(0o077),
    }
    write_json(found_file(Path(root)), found)


def submit_and_wait(queue: Queue, site: Site, console: Console) -> list[Finding]:
    """Submit the job, wait for it, and return its findings, or why there are none."""
    given = os.environ.get("SWELL_ROOT")
    root = Path(site.expanded(site.searches_root)) if site.searches_root and not given else searches_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".swell-doctor-", dir=root.resolve()))
    except OSError as error:
        advice = "Mend the folder of searches first."
        return [Finding(JOB, "submission", f"no folder for it: {error.strerror}", PROBLEM, advice)]
    try:
        request = Request(nodes=1, jobs=1, cpus=min(NUM_CPUS, site.cpus_per_node or NUM_CPUS), hours=MINUTES / 60)
        paths = SearchPaths(folder)
        began = time.monotonic()
        try:
            (one,) = queue.submit(request, site, paths, look)
        except SubmissionError as error:
            advice = "Mend what it says in the site's file."
            return [Finding(JOB, "submission", str(error), PROBLEM, advice)]
        return _wait(queue, one, request, site, paths, began, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(
    queue: Queue, one: str, request: Request, site: Site, paths: SearchPaths, began: float, console: Console
) -> list[Finding]:
    job: Job | None = None
    trouble = ""
    with console.status(Text(f"Job {one} ...")) as status:
        while True:
            found = read_json(found_file(paths.root))
            if found is not None:
                return list(job_findings(found, request, site, time.monotonic() - began))
            try:
                job, trouble = queue.jobs([one]).get(one), ""
            except QueueError as error:
                trouble = str(error)
            if job is not None and not job.is_active:
                found = _late(paths.root)
                if found is not None:
                    return list(job_findings(found, request, site, time.monotonic() - began))
                return [_ended(job, paths)]
            if time.monotonic() - began > QUEUE_PATIENCE_S:
                break
            status.update(Text(f"Job {one} {job.state.lower() if job else 'submitted'} {job.why if job else ''}"))
            time.sleep(ASK_EVERY_S)
    with suppress(QueueError):
        queue.cancel([one])
    why = trouble or (f"{job.state.lower()}: {job.why}" if job else f"{queue.title} does not show it")
    advice = "Try again when the cluster is less busy, or read the reason: some never go away."
    return [Finding(JOB, f"job {one}", f"cancelled after {QUEUE_PATIENCE_S:.0f} s: {why}", WARNING, advice)]


def _late(root: Path) -> Any:
    """Return the results of a job that is over; a network file system may show them a little later."""
    for _ in range(10):
        found = read_json(found_file(root))
        if found is not None:
            return found
        time.sleep(0.5)
    return None


def _ended(job: Job, paths: SearchPaths) -> Finding:
    from cluster.jobs.job_logs import last_words

    said = " / ".join(last_words(paths, [job.id], 4)) or "it printed nothing"
    advice = "Read what it printed: its Python, modules or setup do not fit the nodes."
    return Finding(JOB, f"job {job.id}", f"{job.why} ({job.state}): {said}", PROBLEM, advice)


def job_findings(found: Mapping[str, Any], request: Request, site: Site, took_s: float) -> Iterator[Finding]:
    """Yield the findings of the job."""
    yield Finding(JOB, "node", f"{found['host']}; {took_s:.0f} s from its submission to its answer")
    if found["failures"]:
        package, why = next(iter(found["failures"].items()))
        advice = "Build the environment so that the nodes see it, and name its `python` in the site's file."
        said = f"{found['python']}: {package} cannot be imported: {why}"
        yield Finding(JOB, "environment", said, PROBLEM, advice)
    else:
        slow = found["import_s"] > 60
        advice = "Put the environment on a faster file system: every worker imports it." if slow else ""
        said = f"{found['python']}; all packages imported in {found['import_s']:.0f} s"
        yield Finding(JOB, "environment", said, WARNING if slow else OK, advice)
    cpus = f"asked for {request.cpus}, may use {found['cpus']}"
    if found["cpus"] < request.cpus:
        advice = "Ask the administrators: a job's steps are bound to fewer CPUs than it holds."
        yield Finding(JOB, "CPUs", cpus, PROBLEM, advice)
    else:
        yield Finding(JOB, "CPUs", cpus)
    yield _scratch(found)


def _scratch(found: Mapping[str, Any]) -> Finding:
    said = f"{found['scratch']} on {found['scratch_type']}, {found['scratch_free_gb']:.0f} GB free"
    home = Path(found["home"])
    if found["scratch_failure"]:
        advice = "Set `scratch` in the site's file to a folder that nodes can write to."
        return Finding(JOB, "scratch", f"{said}; cannot be used: {found['scratch_failure']}", PROBLEM, advice)
    if len(found["scratch"]) > LONGEST_ROOT:
        return Finding(JOB, "scratch", said, PROBLEM, f"Make it shorter: at most {LONGEST_ROOT} characters.")
    if home != Path("/") and Path(found["scratch"]).is_relative_to(home):
        advice = "Set `scratch` to a disk of the nodes: homes have quotas."
        return Finding(JOB, "scratch", f"{said}; in your home", PROBLEM, advice)
    return Finding(JOB, "scratch", said)
