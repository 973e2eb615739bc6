"""Checks the conditions, `when`, of searched parameters."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from search_spaces.errors import MISSING, KeyPath, Problem, nearest
from search_spaces.parameters import Parameter, labels, place_of, plain_text
from search_spaces.space import Space

MOST_LISTED = 30
"""Values that a message lists; of a longer range it shows the ends."""


def condition_problems(space: Space, base: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of a space's conditions: unknown parents, values never taken, cycles."""
    problems = []
    known = [*space, *base]
    for name, parameter in space.items():
        for parent, wanted in parameter.when.items():
            path: KeyPath = ("space", name, "when", parent)
            if parent not in known or parent == name:
                near = nearest(parent, [key for key in known if key != name])
                rule = "a condition must ask for another key of space or base"
                problems.append(Problem(path, rule, MISSING, tuple(key for key in known if key != name), near=near))
            else:
                problems += _never_taken(path, wanted, space.get(parent), base.get(parent))
    cycle = _cycle(space)
    if cycle and not problems:
        path = ("space", cycle[0], "when")
        problems.append(Problem(path, f"conditions must not go in a circle: {' -> '.join((*cycle, cycle[0]))}"))
    return problems


def _never_taken(path: KeyPath, wanted: Iterable[Any], parent: Parameter | None, fixed: Any) -> list[Problem]:
    taken = [fixed] if parent is None else labels(parent)
    if taken is None:
        return [Problem(path, "a condition cannot ask for a value of a float range; it needs a list of choices")]
    if len(taken) <= MOST_LISTED:
        choices, allowed = tuple(plain_text(value) for value in taken), None
    else:
        shown = [plain_text(taken[index]) for index in (0, 1, -1)]
        choices, allowed = (), f"{shown[0]}, {shown[1]}, ..., {shown[2]}"
    rule = f"{path[-1]} never takes this value, so the parameter would never be searched"
    return [Problem(path, rule, value, choices, allowed) for value in wanted if place_of(taken, value) is None]


def _cycle(space: Space) -> list[str]:
    """Return the names of one cycle of conditions, each before the one that it depends on; empty if there is none."""
    sorter = TopologicalSorter({name: [key for key in space[name].when if key in space] for name in space})
    try:
        sorter.prepare()
    except CycleError as error:
        names: list[str] = error.args[1][:0:-1]
        first = names.index(min(names, key=list(space).index))
        return names[first:] + names[:first]
    return []
