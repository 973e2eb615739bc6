"""What runs on each node of a launched job: the supervisor of its search, or of a further node.

Called by submitit in a job, or run as `python -P -m cluster.supervision.job_main SEARCH_DIRECTORY` by a detached
process, which is its own even where its user has typed `swell launch --on local` inside somebody's job.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path

from cluster.console import Console
from cluster.jobs.allocation import JOB_END_TIME
from cluster.jobs.place import NODE, NODES, Place
from cluster.jobs.slurm_queue import SlurmError, ask_slurm, hours_of
from cluster.machine.files import write_json
from cluster.state.paths import SearchPaths
from cluster.supervision.foreground import conclude, supervise
from cluster.supervision.node import LeaderLostError, NodeSupervisor
from cluster.supervision.supervisor import Ending, Supervisor, clean_up_after_the_dead
from search_spaces.errors import UserError

log = logging.getLogger(__name__)

LOCK_PATIENCE_S = 180.0
"""How long a network's file system may hold the lock of a node that has died."""
REQUEUE_PATIENCE_S = 900.0
"""How long SLURM's controller may be away, if the job's own end does not come first."""
REQUEUE_PAUSE_S = 5.0
END_PATIENCE_S = 60.0
"""How long SLURM may take to end a job that it starts again."""


def work(root: str, place: Place) -> int:
    """Work on a search, in this place, until the job's part in it is over; return the exit status."""
    os.environ[NODE] = place.node
    paths = SearchPaths(Path(root), place.job, place.rank)
    return follow(paths, place) if place.rank else lead(paths, place)


def submitted(root: str) -> None:
    """Do the work of a job that submitit calls: what it returns is pickled, only how it ends reaches SLURM."""
    status = work(root, Place.in_slurm())
    if status:
        sys.exit(status)


def lead(paths: SearchPaths, place: Place) -> int:
    """Work on a search as the first node, and have SLURM start the job again where only its time was up."""
    os.environ[NODES] = str(place.num_nodes)
    job = place.slurm_job
    if job and JOB_END_TIME not in os.environ and (left_s := time_left_s(job)) is not None:
        os.environ[JOB_END_TIME] = str(int(time.time() + left_s))  # older SLURMs do not say
    console = Console(stderr=True, soft_wrap=True)
    supervisor = Supervisor(paths, LOCK_PATIENCE_S if job else 0.0)
    try:
        ending = supervise(paths, supervisor, console)
    except UserError as error:
        console.print(str(error))
        return 2
    finally:
        if place.num_nodes > 1:
            write_json(paths.session, {"incarnation": place.incarnation, "over": True})
    if job and goes_on_later(paths, supervisor, ending) and requeue(job, paths, console):
        return 0
    status = conclude(paths, ending, console)
    return 0 if ending.state == "stopped" else status  # a job that was stopped on request has not failed


def goes_on_later(paths: SearchPaths, supervisor: Supervisor, ending: Ending) -> bool:
    """Return whether a search ended only because SLURM wants the nodes back, or the job's time is up."""
    if ending.state != "stopped" or paths.stop_request.exists():
        return False
    return supervisor.was_signalled or ending.is_time_up


def time_left_s(job: str) -> float | None:
    """Return the seconds that SLURM gives a job yet; None where there is no limit, or SLURM does not answer."""
    try:
        hours = hours_of(ask_slurm("squeue", "--noheader", f"--jobs={job}", "--format=%L"))
    except SlurmError:
        return None
    return None if hours is None else 3600 * hours


def requeue(job: str, paths: SearchPaths, console: Console) -> bool:
    """Have SLURM start this process' job again, and wait for the end of this run; return whether it will."""
    until = time.monotonic() + REQUEUE_PATIENCE_S
    while True:
        try:
            state = ask_slurm("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()
            if state != "RUNNING":  # one that was cancelled must not come back, one that was preempted does by itself
                console.print(f"Stopped; SLURM says that job {job} is {state.lower()}")
                return state in ("PREEMPTED", "PENDING", "REQUEUED")
            console.print(f"Every trial has saved; job {job} goes back into the queue.")
            ask_slurm("scontrol", "requeue", job)
            break
        except SlurmError as error:  # its controller may be busy, or be started again
            if time.monotonic() > until or paths.stop_request.exists():
                said = f"job {job} could not be put back into the queue: {error}"
                console.print(said)
                return False
        time.sleep(REQUEUE_PAUSE_S)
    time.sleep(END_PATIENCE_S)  # it ends this process
    return True


def follow(paths: SearchPaths, place: Place) -> int:
    """Work on a search as a further node, until the first one says that it is over."""
    # SLURM tells every process of a job that its time is running out: it is the first node's to answer.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    paths.make_own()
    logging.basicConfig(
        filename=paths.node_log(place.rank), level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    clean_up_after_the_dead(paths)
    try:
        NodeSupervisor(paths, place).run()
    except LeaderLostError as error:
        # With `--no-kill` SLURM only takes a dead node out of the job, be it the one that led it.
        log.error("%s", error)
        if place.slurm_job and not paths.stop_request.exists():
            time.sleep(place.rank * REQUEUE_PAUSE_S)  # one of us is enough
            requeue(place.slurm_job, paths, Console(stderr=True, soft_wrap=True))
        return 1
    except UserError as error:
        log.error("%s", error)
        print(error, file=sys.stderr)
        return 2
    except Exception:
        log.exception("the supervisor of this node has failed")
        raise
    log.info("the job is over")
    return 0


if __name__ == "__main__":
    sys.exit(work(sys.argv[1], Place.alone()))
