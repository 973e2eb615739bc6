"""Stops a search from outside, like Ctrl-C in its terminal, wherever it runs."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cluster.console import Console
from cluster.jobs.launched import Launch, read_launch
from cluster.jobs.queue_facts import QueueError
from cluster.jobs.queues import queue_named
from cluster.jobs.standing import Standing, load_snapshot, standing_of, supervisors_at_work
from cluster.machine.files import write_json
from cluster.machine.processes import is_alive
from cluster.state.paths import SearchPaths
from search_spaces.errors import UserError

LINE_EVERY_S = 15.0
ASK_EVERY_S = 3.0
"""How often a queue is asked whether a job has ended."""


class NotRunningError(UserError):
    """Nothing is running that could be stopped from here."""


def stop_search(paths: SearchPaths, console: Console, *, now: bool = False, wait: bool = True) -> None:
    """Ask a search's supervisors to save every trial and end, or with `now` to end at once; wait until they have.

    Jobs that wait in a queue are cancelled. Raises NotRunningError if nobody works on the search and no job of it is
    queued, or if the queue does not cancel its jobs.
    """
    launch, working = read_launch(paths), supervisors_at_work(paths)
    here = [supervisor for supervisor in working if is_alive(supervisor)]
    if working and len(here) == len(working) and (launch is None or not launch.is_queued):
        _signal(here, now)
        gone: Callable[[], bool] = lambda: not any(map(is_alive, here))  # noqa: E731
    else:
        standing = standing_of(paths, load_snapshot(paths))
        if not standing.is_active and not (standing.trouble and working):
            raise NotRunningError(f"search {paths.name} is not running; `swell status {paths.name}` says how far it is")
        write_json(paths.stop_request, {"now": now})
        _signal(here, now)
        if launch is not None and launch.is_queued:
            _take_out_of_the_queue(paths, launch, console)
        gone = _Gone(paths)
    if wait:
        _wait(gone, console)
        console.print(f"Stopped. Go on with: swell resume {paths.name}", soft_wrap=True)
    else:
        console.print(f"Asked to stop; `swell status {paths.name}` says when it has.", soft_wrap=True)


def _signal(here: Sequence[Mapping[str, Any]], now: bool) -> None:
    for number in range(2 if now else 1):  # the second request ends at once
        if number:
            time.sleep(0.1)  # two equal signals at the same moment arrive as one
        for supervisor in filter(is_alive, here):
            os.kill(supervisor["pid"], signal.SIGTERM)


def _take_out_of_the_queue(paths: SearchPaths, launch: Launch, console: Console) -> None:
    """Cancel a search's waiting jobs; its running ones save their trials and end by the stop request."""
    queue = queue_named(launch.on)
    try:
        waiting = [job.id for job in queue.jobs(launch.job_ids).values() if job.is_waiting]
        queue.cancel(waiting)
    except QueueError as error:
        raise NotRunningError(
            f"search {paths.name}: what runs of it is asked to stop, but {queue.title} cannot be asked to take its "
            f"jobs out of the queue: {error}. Try again, or: {queue.cancel_command(launch.job_ids, paths.name)}"
        ) from None
    if waiting:
        console.print(f"Out of the queue: {', '.join(waiting)}", soft_wrap=True)


class _Gone:
    """Tells whether a search that runs elsewhere has ended, by its files and its queue."""

    def __init__(self, paths: SearchPaths) -> None:
        self._paths = paths
        self._asked = float("-inf")

    def __call__(self) -> bool:
        if time.monotonic() - self._asked < ASK_EVERY_S:
            return False
        self._asked = time.monotonic()
        standing: Standing = standing_of(self._paths, load_snapshot(self._paths))
        return not standing.is_active and not (standing.trouble and supervisors_at_work(self._paths))


def _wait(gone: Callable[[], bool], console: Console) -> None:
    began = said = time.monotonic()
    while not gone():
        if time.monotonic() - said > LINE_EVERY_S:
            said = time.monotonic()
            console.print(f"{said - began:.0f} s: running trials save at their next report")
        time.sleep(0.1)
