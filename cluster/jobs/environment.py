"""What the environment says of the job that this process runs in, whichever queue the job belongs to.

Each queue has a folder beside this module. Its module `job` reads the queue's variables and is imported at the start of
every command. Its module `queue` has the queue itself.
"""

import os
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import cluster.jobs
from cluster.jobs.place import Place
from cluster.machine.allocation import forget_allocation


@cache
def queue_names() -> tuple[str, ...]:
    """Return the names of all queues, as `--on` takes them, without importing the queues."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(cluster.jobs.__path__) if module.ispkg))


def _job_modules() -> Iterator[Any]:
    return (import_module(f"cluster.jobs.{name}.job") for name in queue_names())


def place_here(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return where in a job the process with this environment runs; None outside any job."""
    return next((place for module in _job_modules() if (place := module.place(environment)) is not None), None)


def note_allocation() -> None:
    """Note in the environment what the job has given this process; code that counts CPUs or time reads it there."""
    forget_allocation()
    found = (module.allocation(os.environ) for module in _job_modules())
    if (allocation := next((one for one in found if one is not None), None)) is not None:
        allocation.note()
