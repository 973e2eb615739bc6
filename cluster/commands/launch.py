"""`swell launch`: starts a search that goes on when its user logs out, on a cluster or detached on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cluster.commands.check import CheckReport, check
from cluster.commands.search import create_search
from cluster.console import Console
from cluster.jobs.environment import queue_names
from cluster.jobs.launched import Launch, make_submission_folder
from cluster.jobs.queue import Queue
from cluster.jobs.queue_facts import QueueError
from cluster.jobs.queues import queue_named
from cluster.jobs.request import Options, Request, RequestError, make_request, partition_of
from cluster.jobs.sites import DEFAULT_SITE, Site
from cluster.jobs.standing import is_worked_on
from cluster.machine.files import write_text
from cluster.machine.processes import python_path
from cluster.machine.resources import CPUS
from cluster.machine.variables import own_environment
from cluster.state.paths import SearchPaths, new_search_directory
from cluster.supervision.job_main import submitted
from search_spaces.errors import Problem, UserError
from search_spaces.spec import SpecFile, load_spec

INTERRUPTED = 130
_ON_A_QUEUE = " or ".join(f"--on {name}" for name in queue_names())
START_PATIENCE_S = 120.0
"""How long a detached process may take to begin its search."""


class LaunchError(UserError):
    """The search could not be started; nothing is left of the attempt."""


class StillQueuedError(LaunchError):
    """The launch failed, but one of its jobs is or may be queued, so the search's directory stays."""


@dataclass(frozen=True)
class Target:
    """Where a search shall run, as the command line says."""

    on: str
    """The name of a queue, local (detached on this machine) or here (in the foreground)."""
    site: str | None = None
    options: Options = field(default_factory=Options)

    @property
    def queue(self) -> Queue | None:
        """The queue of the cluster; None for this machine."""
        return queue_named(self.on) if self.on in queue_names() else None

    def check(self) -> None:
        """Raise RequestError if an option does not apply to this target."""
        if self.queue is not None:
            return
        given = {"--site": self.site, "--nodes": self.options.nodes, "--jobs": self.options.jobs}
        wrong = [name for name, value in {**given, "--hours": self.options.hours}.items() if value is not None]
        if wrong:
            raise RequestError(
                f"{', '.join(wrong)}: only for {_ON_A_QUEUE}; on this machine a search is one process, which the "
                "spec's budget.hours and --cpus bound"
            )


def launch_command(
    spec: Path, target: Target, *, name: str | None, dry_run: bool, console: Console, errors: Console
) -> None:
    """Launch a spec's search, and print what to type next; with `dry_run` only print its job script.

    Warnings go to `errors`. If this raises a UserError or an OSError, nothing of the search is left, unless it is a
    StillQueuedError.
    """
    target.check()
    queue = target.queue
    if dry_run and queue is None:
        raise RequestError(f"--dry-run: only for {_ON_A_QUEUE}, which has a job script")
    file = load_spec(spec)
    if queue is None:
        _launch_local(file, spec, target, name, console, errors)
        return
    site = queue.load_site(target.site or DEFAULT_SITE)
    report = check(file, here=False)
    _warn(report, errors)
    request = ask_for(queue, target.options, site, file, must_answer=not dry_run)
    moved = _use_searches_root(site)
    if dry_run:
        print(queue.render(request, site, new_search_directory(name or report.spec.name)), end="")
        return
    with _new_search(report, spec, name) as paths:
        launch = submit_search(queue, paths, request, site, target.site)
    console.print(describe(paths, launch, by_path=moved), soft_wrap=True)


def ask_for(queue: Queue, options: Options, site: Site, file: SpecFile, *, must_answer: bool = True) -> Request:
    """Return the request to a site, checked against what its queue says now.

    Raises RequestError or SpecError if the site cannot give it, and QueueError if the queue does not answer although it
    `must_answer`.
    """
    try:
        known = queue.partitions()
    except QueueError:
        if must_answer:
            raise
        return make_request(options, site, file, None)
    return make_request(options, site, file, partition_of(site, known))


def submit_search(queue: Queue, paths: SearchPaths, request: Request, site: Site, given: str | None) -> Launch:
    """Submit a search's jobs; write down and return how it was launched. To be called within `interrupts`.

    Raises SubmissionError or OSError with nothing written and nothing queued, or StillQueuedError.
    """
    launch = Launch.new(queue.name, **request.as_dict(), site=site.model_dump(mode="json"), site_given=given)
    # Written first: the job may start before its submission returns.
    with _written(paths, launch), _taken_back(queue, paths, launch) as ids:
        ids += queue.submit(request, site, paths, submitted)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late to take it back
        return launch.write(paths, ids)


@contextmanager
def interrupts() -> Iterator[None]:
    """Turn Ctrl-C into an exception, so that what is half done is undone; then end as an interrupted process does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _taken_back(queue: Queue, paths: SearchPaths, launch: Launch) -> Iterator[list[str]]:
    """Yield a list for the ids of jobs; if anything fails, take the search's jobs out of the queue again.

    A submission that failed or was interrupted may have queued a job nevertheless. Raises StillQueuedError if the queue
    does not answer, or does not cancel it.
    """
    ids: list[str] = []
    try:
        yield ids
    except BaseException as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt this
        try:
            ids = ids or queue.submitted_from(paths.submission, paths.name)
            queue.cancel(ids)
        except QueueError as trouble:
            with suppress(OSError):  # so that `swell stop` knows them
                launch.write(paths, ids)
            job = f"job {' '.join(ids)} stays" if ids else "a job of it may be"
            raise StillQueuedError(
                f"{str(error) or 'interrupted'}; {job} in the queue, as {queue.title} cannot be asked ({trouble}): "
                f"{queue.cancel_command(ids, paths.name)}. Its search stays too: {paths.root}"
            ) from None
        raise


@contextmanager
def _written(paths: SearchPaths, launch: Launch) -> Iterator[None]:
    """Write down how a search is launched; if the launch fails, restore what was written before."""
    before = paths.launch.read_text() if paths.launch.exists() else None
    launch.write(paths)
    try:
        yield
    except StillQueuedError:
        raise
    except BaseException:
        if before is None:
            paths.launch.unlink()
        else:
            write_text(paths.launch, before)
        raise


def _launch_local(
    file: SpecFile, spec: Path, target: Target, name: str | None, console: Console, errors: Console
) -> None:
    from cluster.machine.capacity import check_fits
    from cluster.machine.scratch import node_cache, scratch_root

    report = check(file)
    _warn(report, errors)
    scratch_root()  # before there is a search directory
    node_cache()
    check_fits(report.spec.resources)
    cpus, per_trial = target.options.cpus, report.spec.resources.cpus_per_trial
    if cpus and cpus < per_trial:
        rule = f"a trial cannot get more CPUs than there are for the search ({cpus} by --cpus)"
        raise file.source.error([Problem(("resources", "cpus_per_trial"), rule, per_trial)])
    with _new_search(report, spec, name) as paths:
        launch = start_local(paths, cpus)
    console.print(describe(paths, launch), soft_wrap=True)


@contextmanager
def _new_search(report: CheckReport, spec: Path, name: str | None) -> Iterator[SearchPaths]:
    """Make a search directory; delete it if its launch fails or is interrupted."""
    paths = create_search(report.spec, spec, name, searched=report.searched, warnings=report.warnings)
    with interrupts():
        try:
            yield paths
        except StillQueuedError:
            raise
        except BaseException:
            shutil.rmtree(paths.root, ignore_errors=True)
            raise


def _warn(report: CheckReport, errors: Console) -> None:
    for warning in report.warnings:
        errors.print(f"warning: {warning}", soft_wrap=True)


def _use_searches_root(site: Site) -> bool:
    """Use the site's folder for new searches, unless the user has named one; return whether it is used."""
    if os.environ.get("SWELL_ROOT") or not site.searches_root:
        return False
    os.environ["SWELL_ROOT"] = site.expanded(site.searches_root)
    return True


def start_local(paths: SearchPaths, cpus: int | None) -> Launch:
    """Start a detached process that works on a search; return once it does.

    Raises LaunchError, with the process's last words, if it ends before.
    """
    make_submission_folder(paths)
    environment = own_environment() | {"PYTHONPATH": python_path()}
    if cpus:
        environment[CPUS] = str(cpus)
    launch, log = Launch.new("local", cpus=cpus), local_log(paths)
    said, worked = _size(log), _size(paths.supervisor_log)
    with _written(paths, launch):
        with log.open("ab") as output:
            process = subprocess.Popen(
                local_command(paths),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_for_work(paths, process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode and _size(paths.supervisor_log) == worked:  # otherwise `swell status` tells how it ended
            words = log.read_bytes()[said:].decode(errors="replace").strip()
            raise LaunchError(words or f"the process ended at once, with status {process.returncode}")
    process.returncode = 0  # it outlives us: this avoids Python's warning
    return launch


def _wait_for_work(paths: SearchPaths, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process works on a search, or has ended; raises LaunchError if that takes too long."""
    until = time.monotonic() + START_PATIENCE_S
    while not is_worked_on(paths) and process.poll() is None:
        if time.monotonic() > until:
            raise LaunchError(f"the process did not begin to work within {START_PATIENCE_S:.0f} s, and was ended")
        time.sleep(0.05)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def local_command(paths: SearchPaths) -> list[str]:
    """Return the command line of a detached process that works on a search."""
    # -P: `-m` would put the working directory, which is the user's, before our own packages.
    return [sys.executable, "-P", "-m", "cluster.supervision.job_main", str(paths.root)]


def local_log(paths: SearchPaths) -> Path:
    """Return the file that a detached process prints to."""
    return paths.submission / "local.log"


def describe(paths: SearchPaths, launch: Launch, *, by_path: bool = False) -> str:
    """Return a text on what was launched and what to type next; names the search's path if `by_path`."""
    if launch.on == "local":
        head = f"{paths.name} runs on this machine ({launch.host}), and goes on when you log out."
    else:
        ids = launch.job_ids[0].split("_")[0]
        what = f"jobs {ids}_0 to {ids}_{launch.jobs - 1}" if launch.jobs > 1 else f"job {ids}"
        size = f"{launch.jobs} of " if launch.jobs > 1 else ""
        nodes = f"{launch.nodes} nodes" if launch.nodes > 1 else "1 node"
        site = (launch.site or {}).get("name")
        head = f"{paths.name} is {what} on {site}: {size}{nodes}, {launch.cpus} CPUs each, {launch.hours:g} h."
    name = str(paths.root) if by_path else paths.name
    lines = [head, ""]
    lines += [
        f"  swell status {name:<20}  where it is, and why it waits",
        f"  swell watch {name:<21}  its progress, live",
        f"  swell logs {name:<22}  what it says",
        f"  swell stop {name:<22}  save every trial and end",
    ]
    if by_path:
        lines += ["", f"With `export SWELL_ROOT={paths.root.parent}` in your shell, its name {paths.name} is enough."]
    return "\n".join(lines)
