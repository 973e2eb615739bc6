"""How a trial ended, and whose fault it was."""

import errno
from enum import Enum


class Outcome(Enum):
    """The end of a trial; the value is what tables show, `sentence` says it in words."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> "Outcome":
        """Make a member of a value and its sentence."""
        member = object.__new__(cls)
        member._value_ = value
        member.sentence = sentence
        return member

    COMPLETED = "completed", "Trained to its last step."
    PRUNED = "pruned", "Stopped early: at its rung others were better."
    DIVERGED = "diverged", "The loss or its gradient left the finite numbers, or the loss exploded."
    SOLVER_FAILED = "solver_failed", "The ODE solver gave up on too many batches in a row."
    INVALID_CONFIG = "invalid_config", "The method or its data rule this configuration out."
    CRASHED = "crashed", "The method raised an exception; its traceback is in the trial's record."
    TIMED_OUT = "timed_out", "It did not report for too long, more often than it may be retried."
    OUT_OF_MEMORY = "out_of_memory", "It needed more memory than it may use, more often than it may be retried."
    WORKER_LOST = "worker_lost", "Its worker process died, more often than it may be retried."
    NODE_LOST = "node_lost", "Its node was lost, more often than it may be retried."
    DISK_FULL = "disk_full", "The disk was full, more often than it may be retried."
    STOPPED = "stopped", "The search was stopped, or its budget was used up; it can go on from its checkpoint."

    @property
    def is_own(self) -> bool:
        """Whether the configuration or the method brought this end about; only such ends are told to the sampler."""
        return self in _OWN

    @property
    def is_machines(self) -> bool:
        """Whether the machine brought this end about: such a trial is taken up again, up to the spec's `retries`."""
        return self in _MACHINES

    @property
    def is_failure(self) -> bool:
        """Whether the trial ended without a result that can be compared."""
        return self not in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.STOPPED)


_OWN = frozenset(
    {
        Outcome.COMPLETED,
        Outcome.PRUNED,
        Outcome.DIVERGED,
        Outcome.SOLVER_FAILED,
        Outcome.INVALID_CONFIG,
        Outcome.CRASHED,
    }
)

_MACHINES = frozenset(
    {Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY, Outcome.WORKER_LOST, Outcome.NODE_LOST, Outcome.DISK_FULL}
)


def outcome_of(error: BaseException) -> Outcome:
    """Return how a trial ended that raised this: a machine that was too small is not the method's own failure."""
    if isinstance(error, MemoryError) or (
        type(error).__name__ == "JaxRuntimeError" and str(error).startswith("RESOURCE_EXHAUSTED")
    ):
        return Outcome.OUT_OF_MEMORY
    return Outcome.DISK_FULL if is_disk_full(error) else Outcome.CRASHED


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception, or one that it came from, says that a disk, its inodes or a quota are used up."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
