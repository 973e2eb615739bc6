"""What the queue has given this process's job, noted in the environment under names that do not depend on the queue."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

JOB_ID = "SWELL_JOB_ID"
JOB_NODE = "SWELL_JOB_NODE"
JOB_CPUS = "SWELL_JOB_CPUS"
JOB_END_TIME = "SWELL_JOB_END_TIME"
"""The variable with the time, in seconds since 1970, at which the queue ends this job."""
VARIABLES = (JOB_ID, JOB_NODE, JOB_CPUS, JOB_END_TIME)


@dataclass(frozen=True)
class Allocation:
    """What a queue has given a job on this node; a value is empty if the queue does not say."""

    job_id: str
    node: str = ""
    cpus: str = ""
    end_time: str = ""

    def note(self) -> None:
        """Write the allocation to this process's environment, which the processes that it starts inherit."""
        values = (self.job_id, self.node, self.cpus, self.end_time)
        os.environ.update({name: value for name, value in zip(VARIABLES, values, strict=True) if value})


def forget_allocation() -> None:
    """Remove a job's allocation from this process's environment."""
    for name in VARIABLES:
        os.environ.pop(name, None)


def allocation_left_s(
    environment: Mapping[str, str] = os.environ, now: Callable[[], float] = time.time
) -> float | None:
    """Return the seconds until the queue ends this job; None outside a job, or if the queue does not say.

    The environment has the end as a time of day: it is read once, then counted down by a clock that nobody can set.
    """
    try:
        return float(environment[JOB_END_TIME]) - now()
    except (KeyError, ValueError):
        return None
