"""How much time the queue's job leaves to this process."""

import os
import time
from collections.abc import Callable, Mapping

JOB_END_TIME = "SLURM_JOB_END_TIME"
"""Variable with the time of day, in seconds since 1970, at which SLURM ends this job."""


def allocation_left_s(
    environment: Mapping[str, str] = os.environ, now: Callable[[], float] = time.time
) -> float | None:
    """Return the seconds until SLURM ends this job; None outside a job or where SLURM does not say.

    SLURM gives a time of day: it is read once, and counted down by a clock that no one sets.
    """
    try:
        return float(environment[JOB_END_TIME]) - now()
    except (KeyError, ValueError):
        return None
