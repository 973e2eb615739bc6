"""Changes the budget of a search that goes on: checks it against what was used, and records the change and its date."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.machine.files import read_json, write_json, write_text
from cluster.state.paths import SearchPaths
from cluster.state.records import StudyRecords
from cluster.study.budget import Bound
from search_spaces.errors import Problem, Source, UserError
from search_spaces.grid import grid_size
from search_spaces.spec import Spec, parse_spec


@dataclass(frozen=True)
class Progress:
    """What a search has used of its budget."""

    num_trials: int
    """Trials that have begun, including those that have ended."""
    num_open: int
    """How many of them have not ended."""
    hours: float
    core_hours: float


class NothingLeftError(UserError):
    """The search would end at once; the message says which bound of its budget is used up."""


def progress_of(paths: SearchPaths, spec: Spec) -> Progress:
    """Return what a search has used so far."""
    records, notes = StudyRecords(paths).read_with_notes()
    active_s = float(notes.get("active_s", 0.0))
    core_s = sum(record.seconds for record in records) * spec.resources.cpus_per_trial
    return Progress(len(records), sum(record.is_open for record in records), active_s / 3600, core_s / 3600)


def changed_budget(paths: SearchPaths, spec: Spec, changes: Mapping[str, Any], progress: Progress) -> Spec:
    """Return a search's spec with `changes` to its budget.

    Raises SpecError if a bound is one that no budget may have, or is below what the search has used.
    """
    values = spec.model_dump(mode="json")
    source = Source(paths.spec, {})
    new = parse_spec(values | {"budget": values["budget"] | dict(changes)}, source)
    used = {"trials": progress.num_trials, "hours": progress.hours, "core_hours": progress.core_hours}
    problems = [
        Problem(("budget", key), f"the search has used {used[key]:.6g}", value, allowed=f"at least {used[key]:.6g}")
        for key, value in changes.items()
        if key in used and value < used[key]
    ]
    if problems:
        raise source.error(problems)
    return new


def write_budget(paths: SearchPaths, spec: Spec, new: Spec) -> None:
    """Write a search's `new` spec, and record when its budget changed, from what to what."""
    budgets = [one.budget.model_dump(mode="json", exclude_none=True) for one in (spec, new)]
    if budgets[0] == budgets[1]:
        return
    change = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "from": budgets[0], "to": budgets[1]}
    write_json(paths.budget_changes, [*load_budget_changes(paths), change])
    write_text(paths.spec, new.model_dump_json(indent=1) + "\n")


def load_budget_changes(paths: SearchPaths) -> list[dict[str, Any]]:
    """Return the changes of a search's budget, oldest first: `at`, `from` and `to`."""
    changes = read_json(paths.budget_changes)
    return [one for one in changes if isinstance(one, dict)] if isinstance(changes, list) else []


def most_trials(spec: Spec) -> int | None:
    """Return the most trials that a search may have; None for no bound."""
    bounds = [spec.budget.trials] if spec.budget.trials else []
    if spec.is_grid and (size := grid_size(spec)) is not None:
        bounds.append(size * len(spec.seeds))
    return min(bounds, default=None)


def require_left(name: str, spec: Spec, progress: Progress) -> None:
    """Raise NothingLeftError if a bound of a search's budget would end it at once."""
    budget, most = spec.budget, most_trials(spec)
    for bound, used, limit in (
        (Bound.HOURS, progress.hours, budget.hours),
        (Bound.CORE_HOURS, progress.core_hours, budget.core_hours),
    ):
        if limit is not None and used >= limit:
            option = f"--{bound.value.replace('_', '-')}"
            said = f"budget.{bound.value} = {limit:g}: {used:.3g} of it are used. Raise it too, with {option}"
            raise NothingLeftError(f"{name}: {said}")
    if most is not None and progress.num_trials >= most and not progress.num_open:
        raise NothingLeftError(f"{name}: all {most} trials {'of its grid ' if is_grids_end(spec, most) else ''}"
                               f"have ended. {way_on(name, spec)}")  # fmt: skip


def is_grids_end(spec: Spec, num_trials: int) -> bool:
    """Return whether `num_trials` trials exhaust a search's grid."""
    size = grid_size(spec) if spec.is_grid else None
    return size is not None and num_trials >= size * len(spec.seeds)


def way_on(name: str, spec: Spec) -> str:
    """Return what a user can do to let a finished search go on."""
    if is_grids_end(spec, most_trials(spec) or 0):
        return (
            "Every point of its grid has been tried: more values are a new search; failed trials are taken up again by "
            f"swell resume {name} --failed"
        )
    bounds = spec.budget.model_dump(exclude_none=True)
    has = ", ".join(f"{key} {value:g}" for key, value in bounds.items())
    options = " ".join(f"--{key.replace('_', '-')} ..." for key in bounds)
    return f"Its budget is {has}; to go on with more: swell resume {name} {options}"
