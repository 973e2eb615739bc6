"""Where a search stands (queued and why, running and where, ended and how), by its files and its queue."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.jobs.job_logs import job_logs
from cluster.jobs.launched import Launch, read_launch
from cluster.jobs.queue_facts import Job, QueueError, starts_in_s
from cluster.jobs.queues import queue_named
from cluster.machine.liveness import was_touched_within
from cluster.machine.processes import is_alive
from cluster.state.paths import SearchPaths
from cluster.state.snapshot import load_status
from cluster.state.supervisor_record import supervisor_of

SUBMIT_PATIENCE_S = 300.0
"""How long a launch may take to write down its job's id."""

HEARTBEAT_PATIENCE_S = 120.0
"""How old a supervisor's heartbeat may be; machines' clocks differ."""


@dataclass(frozen=True)
class QueueAnswer:
    """What queues know of some jobs; `trouble` says which queue could not be asked, and why."""

    jobs: Mapping[str, Job]
    trouble: str = ""


@dataclass(frozen=True)
class Standing:
    """What a search is doing, where and why."""

    state: str
    """queued, requeued, running, finished, stopped, paused, failed, interrupted, failed to start, or unknown if only
    its queue could say."""
    why: str = ""
    where: str = ""
    """The job and its nodes, or the process and its machine, of one that is queued or running."""
    trouble: str = ""
    """Why its queue could not be asked; the state is then what the files say."""

    @property
    def is_active(self) -> bool:
        """Whether the search runs or waits to run."""
        return self.state in ("queued", "requeued", "running")

    @property
    def is_over(self) -> bool:
        """Whether it is certain that the search neither runs nor waits to run."""
        return not self.is_active and not self.trouble


def ask_queues(launches: Iterable[Launch | None]) -> QueueAnswer:
    """Ask each queue once for the jobs of some launches; return the answers."""
    ids = defaultdict[str, list[str]](list)
    for launch in launches:
        if launch is not None and launch.is_queued:
            ids[launch.on] += launch.job_ids
    jobs, troubles = dict[str, Job](), []
    for name, wanted in ids.items():
        queue = queue_named(name)
        try:
            jobs |= queue.jobs(wanted)
        except QueueError as error:
            troubles.append(f"{queue.title} could not be asked about jobs: {error}")
    return QueueAnswer(jobs, "; ".join(troubles))


def load_snapshot(paths: SearchPaths) -> dict[str, Any]:
    """Return a search's last snapshot; with several jobs, the newest one, with the running trials of all."""
    of_jobs = [(job, snapshot) for job in paths.of_jobs() if (snapshot := load_status(job))]
    own = load_status(paths)
    if not of_jobs:
        return own
    newest = max([snapshot for _, snapshot in of_jobs] + [own], key=lambda one: one.get("updated_at", 0.0))
    live = [snapshot for job, snapshot in of_jobs if _works(job)]
    running = {entry["trial"]: entry for one in live for entry in one.get("running", [])}
    return {
        **newest,
        "running": [running[number] for number in sorted(running)],
        "slots": sum(one.get("slots") or 0 for one in live) or None,
    }


def supervisors_at_work(paths: SearchPaths) -> list[dict[str, Any]]:
    """Return the identities of a search's living supervisors: one, or one for each of several jobs."""
    return [
        supervisor
        for one in (paths, *paths.of_jobs())
        if _works(one) and (supervisor := supervisor_of(one)) is not None
    ]


def is_worked_on(paths: SearchPaths) -> bool:
    """Return whether a supervisor works on a search, in any of its jobs."""
    return bool(supervisors_at_work(paths))


def standing_of(paths: SearchPaths, snapshot: Mapping[str, Any], answer: QueueAnswer | None = None) -> Standing:
    """Return where a search stands; asks its queue for its jobs unless `answer` has them."""
    launch = read_launch(paths)
    working = supervisors_at_work(paths)
    if launch is None or not launch.is_queued or any(is_alive(supervisor) for supervisor in working):
        return _by_files(snapshot, working, launch)
    answer = answer if answer is not None else ask_queues([launch])
    if answer.trouble:
        found = _by_files(snapshot, working, launch)
        is_known = found.state not in ("interrupted", "failed to start")
        return Standing(found.state if is_known else "unknown", found.why, found.where, answer.trouble)
    known = [answer.jobs[one] for one in launch.job_ids if one in answer.jobs]
    active = [job for job in known if job.is_active]
    if active:
        return _queued_or_running(paths, active, launch)
    if not launch.job_ids and time.time() - launch.launched_at < SUBMIT_PATIENCE_S:
        return Standing("queued", "it is being submitted")
    elsewhere = [supervisor for supervisor in working if not _ran_on(supervisor["host"], known)]
    if elsewhere:  # somebody resumed it outside its jobs
        return _by_files(snapshot, elsewhere, launch)
    return _ended(paths, snapshot, known, launch)


def _by_files(snapshot: Mapping[str, Any], working: Sequence[Mapping[str, Any]], launch: Launch | None) -> Standing:
    if working:
        where = "; ".join(f"process {supervisor['pid']} on {supervisor['host']}" for supervisor in working)
        return Standing("running", snapshot.get("doing", "starting"), where)
    return _ending(snapshot, launch) or Standing("interrupted" if snapshot else "failed to start")


def _ending(snapshot: Mapping[str, Any], launch: Launch | None) -> Standing | None:
    """Return how a search ended according to its own snapshot; None if there is none since its last launch."""
    if snapshot.get("finished"):
        return Standing("finished", snapshot["finished"])
    if launch is not None and snapshot.get("updated_at", launch.launched_at) < launch.launched_at:
        return None
    for state in ("failed", "paused", "stopped"):
        if snapshot.get(state):
            return Standing(state, snapshot[state])
    return None


def _queued_or_running(paths: SearchPaths, active: Sequence[Job], launch: Launch) -> Standing:
    running = [job for job in active if not job.is_waiting]
    waiting = [job for job in active if job.is_waiting]
    if not running:
        first = min(waiting, key=lambda job: job.start or "unknown")
        again = any(_has_run(paths, job) for job in waiting)
        start = f"; expected to start {_when(first)}" if first.start else ""
        many = f"{len(waiting)} jobs: " if len(waiting) > 1 else ""
        return Standing("requeued" if again else "queued", f"{many}{first.why}{start}", _name(waiting))
    where = ", ".join(f"{job.nodes or '?'} ({_name([job])}, for {job.elapsed})" for job in running)
    doing = load_snapshot(paths).get("doing", "starting") if supervisors_at_work(paths) else "starting"
    why = f"{doing}; {len(running)} of {launch.jobs} jobs" if launch.jobs > 1 else doing
    if waiting:
        why += f", {len(waiting)} queued: {waiting[0].why}"
    return Standing("running", why, where)


def _name(some: Sequence[Job]) -> str:
    """Return a short name for jobs: job 12, jobs 12_0 to 12_3."""
    if len(some) == 1:
        return f"job {some[0].id}"
    return f"jobs {some[0].id} to {some[-1].id}"


def _when(job: Job) -> str:
    """Return when a job is expected to start: at 14:05, or with its date if that is not soon."""
    seconds = starts_in_s(job)
    day, _, clock = job.start.partition("T")
    soon = seconds is not None and seconds < 12 * 3600
    return f"at {clock[:5]}" if soon else f"on {day} at {clock[:5]}"


def _has_run(paths: SearchPaths, job: Job) -> bool:
    """Return whether a waiting job has run before: the queue has requeued it."""
    return any(file.stat().st_size for file in job_logs(paths, job.id))


def _ended(paths: SearchPaths, snapshot: Mapping[str, Any], known: Sequence[Job], launch: Launch) -> Standing:
    """Return how a search ended whose jobs are over: as its snapshot says, else as its queue says."""
    said = _ending(snapshot, launch)
    if said is not None:
        return said
    state = "interrupted" if snapshot else "failed to start"
    worst = next((job for job in known if not job.ended_well), known[0] if known else None)
    if worst is None:
        ids = ", ".join(launch.job_ids) or "no job"
        return Standing(state, f"{queue_named(launch.on).title} does not know {ids} any more")
    if worst.was_cancelled and paths.stop_request.exists():
        return Standing("stopped", "taken out of the queue on request")
    return Standing(state, f"job {worst.id}: {worst.why} ({worst.state})")


def _works(paths: SearchPaths) -> bool:
    """Return whether a job's supervisor is alive; by its heartbeat if its process cannot be seen from here."""
    supervisor = supervisor_of(paths)
    if supervisor is None:
        return False
    return bool(is_alive(supervisor)) or was_touched_within(paths.supervisor_heartbeat, HEARTBEAT_PATIENCE_S)


def _ran_on(host: str, known: Sequence[Job]) -> bool:
    """Return whether jobs ran on a machine; True also if it is not known where they ran."""
    short = host.split(".")[0]
    return any(not job.hosts or short in {name.split(".")[0] for name in job.hosts} for job in known)
