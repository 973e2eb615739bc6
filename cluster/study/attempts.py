"""How often a trial was started, and why that came to nothing: notes on the Optuna trial, for every driver to see."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import Trial

from cluster.state.outcomes import Outcome


def add_attempt(trial: Trial) -> None:
    """Note that a trial is started once more."""
    trial.set_user_attr("attempts", num_attempts(trial) + 1)


def num_attempts(trial: Trial) -> int:
    """Return how often a trial was started."""
    return trial.user_attrs.get("attempts", 1)


def failures_with(trial: Trial, outcome: Outcome, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each time the machine has failed a trial, this one included."""
    failure = {"outcome": outcome.value, "step": result.get("step", 0), "wave": result.get("wave")}
    return [*trial.user_attrs.get("failures", []), {**failure, "error": result.get("error", "")}]


def note_dead_driver(trial: Trial, reached: list[int | None]) -> int:
    """Note that a driver died while a trial ran; return how many have in a row without its getting any further."""
    before = trial.user_attrs.get("orphaned", {})
    times = before.get("times", 0) + 1 if before.get("reached") == reached else 1
    trial.set_user_attr("orphaned", {"times": times, "reached": reached})
    return times
