"""What runs on each node of a launched job: the supervisor of its search, or of a further node.

Called in a job of a queue, or run as `python -P -m cluster.supervision.job_main SEARCH_DIRECTORY` by a detached
process, which is no job's even if its user has typed `swell launch --on local` inside somebody's job.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path

from cluster.console import Console
from cluster.jobs.environment import note_allocation, place_here
from cluster.jobs.place import Place
from cluster.jobs.queue import Queue
from cluster.jobs.queue_facts import QueueError
from cluster.jobs.queues import queue_named
from cluster.machine.allocation import JOB_END_TIME
from cluster.machine.files import write_json
from cluster.state.paths import SearchPaths
from cluster.supervision.foreground import conclude, supervise
from cluster.supervision.node import LeaderLostError, NodeSupervisor
from cluster.supervision.report import write_report
from cluster.supervision.supervisor import Ending, Supervisor, clean_up_after_the_dead
from search_spaces.errors import UserError

log = logging.getLogger(__name__)

LOCK_PATIENCE_S = 180.0
"""How long a network's file system may hold the lock of a node that has died."""
REQUEUE_PATIENCE_S = 900.0
"""How long to go on asking a queue that does not answer; the job may end before."""
REQUEUE_PAUSE_S = 5.0
END_PATIENCE_S = 60.0
"""How long the queue may take to end a job that it starts again."""


def work(root: str, place: Place) -> int:
    """Work on a search in this place until the job's part is over; return the exit status."""
    note_allocation()
    queue = queue_named(place.queue) if place.queue else None
    place.note(queue.hosts(os.environ) if queue is not None and place.num_nodes > 1 else ())
    paths = SearchPaths(Path(root), place.job, place.rank)
    return follow(paths, place) if place.rank else lead(paths, place)


def submitted(root: str) -> None:
    """Do the work of a job, then exit with the status that tells the queue how it went."""
    place = place_here()
    assert place is not None, "this is called in a job"
    status = work(root, place)
    if status:
        sys.exit(status)


def lead(paths: SearchPaths, place: Place) -> int:
    """Work on a search as the first node; requeue the job if only its time was up. Return the exit status."""
    queue, job = queue_named(place.queue) if place.queue else None, place.queue_id
    if queue is not None and JOB_END_TIME not in os.environ and (left_s := queue.time_left_s(job)) is not None:
        os.environ[JOB_END_TIME] = str(int(time.time() + left_s))
    console = Console(stderr=True, soft_wrap=True)
    supervisor = Supervisor(paths, LOCK_PATIENCE_S if queue is not None else 0.0)
    try:
        ending = supervise(paths, supervisor, console)
    except UserError as error:
        console.print(str(error))
        return 2
    finally:
        if place.num_nodes > 1:
            write_json(paths.session, {"incarnation": place.incarnation, "over": True})
    if queue is not None and goes_on_later(paths, supervisor, ending) and requeue(queue, job, paths, console):
        return 0
    status = conclude(paths, ending, console)
    if write_report(paths, ending, console):
        console.print(f"Report: {paths.report}")
    return 0 if ending.state == "stopped" else status  # being stopped on request is no failure


def goes_on_later(paths: SearchPaths, supervisor: Supervisor, ending: Ending) -> bool:
    """Return whether a search stopped only because the queue takes the nodes back, or the job's time is up."""
    if ending.state != "stopped" or paths.stop_request.exists():
        return False
    return supervisor.was_signalled or ending.is_time_up


def requeue(queue: Queue, job: str, paths: SearchPaths, console: Console) -> bool:
    """Have the queue start this process's job again; return whether it will.

    If it will, this waits for the queue to end this process.
    """
    until = time.monotonic() + REQUEUE_PATIENCE_S
    while True:
        try:
            state = queue.own_state(job)
            if not state.runs:  # a cancelled job must stay away; a preempted one returns by itself
                console.print(f"Stopped; {queue.title} says that job {job} is {state.word.lower()}")
                return state.comes_back
            console.print(f"Every trial has saved; job {job} goes back into the queue.")
            queue.requeue(job)
            break
        except QueueError as error:  # its controller may be busy, or be started again
            if time.monotonic() > until or paths.stop_request.exists():
                said = f"job {job} could not be put back into the queue: {error}"
                console.print(said)
                return False
        time.sleep(REQUEUE_PAUSE_S)
    time.sleep(END_PATIENCE_S)  # it ends this process
    return True


def follow(paths: SearchPaths, place: Place) -> int:
    """Work on a search as a further node until the first node says that it is over."""
    # The queue warns every process that time is running out: only the first node handles that.
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
        # A queue that keeps a job after losing a node also keeps it after losing the first one.
        log.error("%s", error)
        if place.queue and not paths.stop_request.exists():
            time.sleep(place.rank * REQUEUE_PAUSE_S)  # one node's request is enough
            requeue(queue_named(place.queue), place.queue_id, paths, Console(stderr=True, soft_wrap=True))
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
