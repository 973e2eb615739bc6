"""The study's notes on a trial's attempts: how often it was started, and how the machine failed it."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import Trial

from cluster.state.notes import ATTEMPTS, FAILURES, ORPHANED, REDONE, Failure
from cluster.state.outcomes import Outcome


def add_attempt(trial: Trial) -> None:
    """Add one to the number of times that a trial was started."""
    ATTEMPTS.write(trial, ATTEMPTS.of(trial) + 1)


def failures_with(trial: Trial, outcome: Outcome, result: Mapping[str, Any]) -> list[Failure]:
    """Return all failures of a trial that were the machine's: those noted before, then this one."""
    failure = Failure(
        outcome=outcome.value,
        step=result.get("step", 0),
        wave=result.get("wave"),
        error=result.get("error", ""),
    )
    return [*FAILURES.of(trial), failure]


def was_invalid(trial: Trial) -> bool:
    """Return whether an open trial was once ruled out by the method or its data, and so has never trained."""
    ends = REDONE.of(trial)
    return bool(ends) and ends[-1]["outcome"] == Outcome.INVALID_CONFIG.value


def note_dead_driver(trial: Trial, reached: list[int | None]) -> int:
    """Note that a driver died while it ran a trial; return how many died in a row without the trial getting further."""
    before = ORPHANED.of(trial)
    times = before["times"] + 1 if before is not None and before["reached"] == reached else 1
    ORPHANED.write(trial, {"times": times, "reached": reached})
    return times
