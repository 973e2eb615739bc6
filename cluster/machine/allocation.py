"""What a cluster's queue has given this process, noted in its environment under our own names, whatever the queue."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

JOB_ID = "SWELL_JOB_ID"
JOB_NODE = "SWELL_JOB_NODE"
JOB_CPUS = "SWELL_JOB_CPUS"
JOB_END_TIME = "SWELL_JOB_END_TIME"
"""Variable with the time of day, in seconds since 1970, at which the queue ends this job."""
VARIABLES = (JOB_ID, JOB_NODE, JOB_CPUS, JOB_END_TIME)


@dataclass(frozen=True)
class Allocation:
    """What a queue has given to a job on this node; empty if it does not say."""

    job_id: str
    node: str = ""
    cpus: str = ""
    end_time: str = ""

    def note(self) -> None:
        """Note it in this process's environment, which the processes that it starts inherit."""
        values = (self.job_id, self.node, self.cpus, self.end_time)
        os.environ.update({name: value for name, value in zip(VARIABLES, values, strict=True) if value})


def forget_allocation() -> None:
    """Remove from this process's environment what was noted of a job."""
    for name in VARIABLES:
        os.environ.pop(name, None)


def allocation_left_s(
    environment: Mapping[str, str] = os.environ, now: Callable[[], float] = time.time
) -> float | None:
    """Return the seconds until the queue ends this job; None outside a job, or if the queue does not say.

    What is noted is a time of day: it is read once, and counted down by a clock that no one sets.
    """
    try:
        return float(environment[JOB_END_TIME]) - now()
    except (KeyError, ValueError):
        return None
