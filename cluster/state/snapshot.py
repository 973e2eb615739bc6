"""The last snapshot of a search's progress, for displays; the study has everything in it too."""

from collections.abc import Callable, Mapping
from typing import Any

from cluster.machine.files import read_object
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_any(_value: Any) -> bool:
    return True


def _has(**parts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(check(value.get(key)) for key, check in parts.items())


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _is_count_of_outcomes(value: Any) -> bool:
    return isinstance(value, dict) and all(type(number) is int for number in value.values())


_RUNNING = _has(trial=_is_number, step=_is_number, objective=lambda value: value is None or _is_number(value))
_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("doing", "finished", "failed", "stopped", "paused"), _is_text),
    **dict.fromkeys(("updated_at", "wave", "slots", "max_trials", "core_hours", "eta_s"), _is_number),
    "outcomes": _is_count_of_outcomes,
    "running": lambda value: isinstance(value, list) and all(map(_RUNNING, value)),
    "best": _has(value=_is_number, trial=_is_number, trials=lambda value: value is None or _is_numbers(value)),
    "last_wave": _has(**dict.fromkeys(("wave", "trials", "trials_s", "utilisation", "tail_s"), _is_number)),
}
_OUTCOMES = {outcome.value for outcome in Outcome}


def load_status(paths: SearchPaths) -> dict[str, Any]:
    """Return the last snapshot of a search's progress; empty if there is none yet, or it is damaged.

    Values that are malformed or unknown here are left out: an outcome of a later version, for one.
    """
    snapshot = read_object(paths.status) or {}
    whole = {key: value for key, value in snapshot.items() if value is not None and _CHECKS.get(key, _is_any)(value)}
    if "outcomes" in whole:
        whole["outcomes"] = {name: number for name, number in whole["outcomes"].items() if name in _OUTCOMES}
    return whole
