"""The rules of `when`: what a condition may ask for."""

from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.errors import MISSING, KeyPath, Problem, nearest
from search_spaces.parameters import FloatRange, Parameter, labels, plain_text, same
from search_spaces.space import Space

MOST_VALUES = 1000
"""Values of a range that conditions may ask about: each is a case of its own."""


def condition_problems(space: Space, base: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the conditions: unknown parents, values never taken, cycles."""
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
    if isinstance(parent, FloatRange) and parent.values() is None:
        return [Problem(path, "a condition cannot ask for a value of a float range; it needs a list of choices")]
    taken = [fixed] if parent is None else labels(parent) or []
    if len(taken) > MOST_VALUES:
        rule = f"a condition cannot ask for one of {len(taken):,} values of a range; it needs a list of choices"
        return [Problem(path, rule)]
    choices = tuple(plain_text(value) for value in taken)
    return [
        Problem(path, f"{path[-1]} never takes this value, so the parameter would never be searched", value, choices)
        for value in wanted
        if not any(same(value, other) for other in taken)
    ]


def _cycle(space: Space) -> list[str]:
    """Return the names of one cycle of conditions, if there is any."""
    finished: set[str] = set()

    def visit(name: str, above: list[str]) -> list[str]:
        if name in above:
            return above[above.index(name) :]
        if name in finished:
            return []
        for parent in space[name].when:
            found = visit(parent, [*above, name]) if parent in space else []
            if found:
                return found
        finished.add(name)
        return []

    return next((found for name in space if (found := visit(name, []))), [])
