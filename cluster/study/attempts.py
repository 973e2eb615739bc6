"""How often a trial was started, and why that came to nothing: notes on the Optuna trial, for every driver to see."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import Trial

from cluster.state.notes import ATTEMPTS, FAILURES, ORPHANED, REDONE, Failure
from cluster.state.outcomes import Outcome


def add_attempt(trial: Trial) -> None:
    """Note that a trial is started once more."""
    ATTEMPTS.write(trial, ATTEMPTS.of(trial) + 1)


def failures_with(trial: Trial, outcome: Outcome, result: Mapping[str, Any]) -> list[Failure]:
    """Return each time the machine has failed a trial, this one included."""
    failure = Failure(
        outcome=outcome.value,
        step=result.get("step", 0),
        wave=result.get("wave"),
        error=result.get("error", ""),
    )
    return [*FAILURES.of(trial), failure]


def was_invalid(trial: Trial) -> bool:
    """Return whether a trial is open again that the method, or its data, had ruled out: it has never trained."""
    ends = REDONE.of(trial)
    return bool(ends) and ends[-1]["outcome"] == Outcome.INVALID_CONFIG.value


def note_dead_driver(trial: Trial, reached: list[int | None]) -> int:
    """Note that a driver died while a trial ran; return how many have in a row without its getting any further."""
    before = ORPHANED.of(trial)
    times = before["times"] + 1 if before is not None and before["reached"] == reached else 1
    ORPHANED.write(trial, {"times": times, "reached": reached})
    return times
