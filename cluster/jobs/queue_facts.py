"""What a queue says of its partitions, of jobs and of accounts, in terms that every queue has."""

import time
from dataclasses import dataclass

from search_spaces.errors import UserError


class QueueError(UserError):
    """The queue cannot be asked: its commands are missing here, fail, or do not answer in time."""


class NoQueueHereError(QueueError):
    """This machine has none of the queue's commands."""


class SubmissionError(UserError):
    """The queue does not take the job: its commands are missing here, or it refuses for the reason in the message."""


@dataclass(frozen=True)
class Partition:
    """A partition and its limits on a job; a limit is None if there is none, or if it is not known."""

    name: str
    is_default: bool = False
    is_up: bool = True
    max_hours: float | None = None
    max_nodes: int | None = None
    num_nodes: int | None = None
    cpus_per_node: int | None = None
    """CPUs of its largest node."""
    gpus_per_node: int = 0
    memory_gb_per_node: float | None = None
    allowed_accounts: tuple[str, ...] = ()
    """The accounts that may use it; empty if all may."""


@dataclass(frozen=True)
class Account:
    """An account that the user may charge, with its partition, if it is for one only, and its qualities of service."""

    account: str
    partition: str
    qos: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A job, or one job of an array, as the queue or its accounting describes it."""

    id: str
    state: str
    """The queue's own word for its state."""
    why: str = ""
    """Why it waits, or how it ended, in words."""
    is_active: bool = False
    """Whether it waits or runs."""
    is_waiting: bool = False
    """Whether it waits in the queue."""
    was_cancelled: bool = False
    ended_well: bool = False
    start: str = ""
    """When it started or is expected to start, as 2026-01-31T14:05:00 in local time; empty if that is not known."""
    nodes: str = ""
    """Its nodes as the queue writes them."""
    hosts: tuple[str, ...] = ()
    """The names of its nodes."""
    elapsed: str = ""


@dataclass(frozen=True)
class OwnState:
    """The state of the job that this process runs in."""

    word: str
    """The queue's own word for the state."""
    runs: bool
    comes_back: bool = False
    """Whether the queue starts the job again by itself, since it was preempted or is queued again already."""


def starts_in_s(job: Job, now: float | None = None) -> float | None:
    """Return in how many seconds a waiting job is expected to start; None if that is not known."""
    try:
        start = time.mktime(time.strptime(job.start, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
    return max(start - (time.time() if now is None else now), 0.0)
