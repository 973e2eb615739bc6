"""How a trial ended, whose fault it was, and what follows from it: one line here for each outcome."""

import errno
from enum import Enum


class Fault(Enum):
    """Who brought an end about."""

    ITS_OWN = "the configuration or the method"
    MACHINES = "the machine"
    NOBODYS = "nobody"


class Told(Enum):
    """What Optuna is told of an end.

    With several objectives, Optuna knows no early stopping: pruned ends are then told as failed.
    """

    VALUE = "its value"
    PRUNED = "pruned"
    WORST = "pruned, with the worst value at its step"
    FAILED = "failed"
    NOTHING = "nothing"


class Stays(Enum):
    """Whether a trial that ended so stays open, to be taken up again from its checkpoint."""

    ENDED = "no"
    OPEN = "yes"
    RETRIED = "up to `retries` times"


class Outcome(Enum):
    """The end of a trial; the value is what tables show.

    `sentence` says it in words, `fault` who brought it about, `told` what the sampler learns of it, `stays` whether the
    trial is taken up again, and `is_failure` whether it gave no result that can be compared.
    """

    sentence: str
    fault: Fault
    told: Told
    stays: Stays
    is_failure: bool

    def __new__(
        cls,
        value: str,
        fault: Fault,
        told: Told,
        stays: Stays,
        sentence: str,
        is_failure: bool = True,
    ) -> "Outcome":
        """Make an outcome from its entry in the list below."""
        member = object.__new__(cls)
        member._value_ = value
        member.fault, member.told, member.stays = fault, told, stays
        member.sentence, member.is_failure = sentence, is_failure
        return member

    # fmt: off
    COMPLETED = "completed", Fault.ITS_OWN, Told.VALUE, Stays.ENDED, "Trained to its last step.", False
    PRUNED = "pruned", Fault.ITS_OWN, Told.PRUNED, Stays.ENDED, "Stopped early: at its rung others were better.", False
    DIVERGED = (
        "diverged", Fault.ITS_OWN, Told.WORST, Stays.ENDED,
        "The loss or its gradient left the finite numbers, or the loss exploded.",
    )
    SOLVER_FAILED = (
        "solver_failed", Fault.ITS_OWN, Told.WORST, Stays.ENDED,
        "The ODE solver gave up on too many batches in a row.",
    )
    INVALID_CONFIG = (
        "invalid_config", Fault.ITS_OWN, Told.FAILED, Stays.ENDED,
        "The method or its data rule this configuration out.",
    )
    CRASHED = (
        "crashed", Fault.ITS_OWN, Told.FAILED, Stays.ENDED,
        "The method raised an exception; its traceback is in the trial's record.",
    )
    TIMED_OUT = (
        "timed_out", Fault.MACHINES, Told.FAILED, Stays.RETRIED,
        "It did not report for too long, more often than it may be retried.",
    )
    OUT_OF_MEMORY = (
        "out_of_memory", Fault.MACHINES, Told.FAILED, Stays.RETRIED,
        "It needed more memory than it may use, more often than it may be retried.",
    )
    WORKER_LOST = (
        "worker_lost", Fault.MACHINES, Told.FAILED, Stays.RETRIED,
        "Its worker process died, more often than it may be retried.",
    )
    NODE_LOST = (
        "node_lost", Fault.MACHINES, Told.FAILED, Stays.RETRIED,
        "Its node was lost, more often than it may be retried.",
    )
    DISK_FULL = (
        "disk_full", Fault.MACHINES, Told.FAILED, Stays.RETRIED,
        "The disk was full, more often than it may be retried.",
    )
    STOPPED = (
        "stopped", Fault.NOBODYS, Told.NOTHING, Stays.OPEN,
        "The search was stopped, or its budget was used up; it can go on from its checkpoint.", False,
    )
    # fmt: on

    @property
    def is_own(self) -> bool:
        """Whether the configuration or the method brought this end about; only such ends are told to the sampler."""
        return self.fault is Fault.ITS_OWN

    @property
    def is_machines(self) -> bool:
        """Whether the machine brought this end about: such a trial is taken up again, up to the spec's `retries`."""
        return self.fault is Fault.MACHINES

    def stays_open(self, *, retry: bool) -> bool:
        """Return whether a trial that ended so is taken up again; `retry` says that it has retries left."""
        return self.stays is Stays.OPEN or (self.stays is Stays.RETRIED and retry)


def outcome_of(error: BaseException) -> Outcome:
    """Return how a trial ended that raised this: a machine that was too small is not the method's own failure."""
    if _is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY
    return Outcome.DISK_FULL if is_disk_full(error) else Outcome.CRASHED


def _is_out_of_memory(error: BaseException) -> bool:
    if type(error).__name__ != "JaxRuntimeError":
        return isinstance(error, MemoryError)
    try:
        return str(error).startswith("RESOURCE_EXHAUSTED")
    except BaseException:  # a user's own class may raise anything here
        return False


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception or one of its causes says that a disk, its inodes or a quota are used up."""
    seen: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or any(one is before for before in seen):
            continue
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        seen.append(one)
        left.append(one.__cause__ if one.__cause__ is not None else one.__context__)
        if isinstance(one, BaseExceptionGroup):
            left.extend(one.exceptions)
    return False
