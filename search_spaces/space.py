"""What is searched: parameters under their conditions, and the configurations they stand for."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from search_spaces.parameters import (
    Choice,
    FloatRange,
    IntRange,
    NamedChoice,
    Parameter,
    labels,
    same,
    value_of,
)

__all__ = [
    "Choice",
    "FloatRange",
    "IntRange",
    "NamedChoice",
    "Parameter",
    "Searched",
    "Space",
    "grid_points",
    "grid_size",
    "is_active",
    "iterate_grid",
    "labels",
    "order",
    "resolve",
    "value_of",
]

Space = Mapping[str, Parameter]


class Searched(Protocol):
    """The part of a spec that says what is searched."""

    @property
    def base(self) -> Mapping[str, Any]:
        """Fixed values."""
        ...

    @property
    def space(self) -> Space:
        """Searched parameters."""
        ...


def order(space: Space) -> list[tuple[str, Parameter]]:
    """Return the parameters as they must be suggested: whatever a condition asks for comes before it."""
    done: dict[str, Parameter] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a cycle of conditions: {' -> '.join((*above, name))}"
        if name not in done:
            for parent in space[name].when:
                if parent in space:
                    visit(parent, (*above, name))
            done[name] = space[name]

    for name in space:
        visit(name, ())
    return list(done.items())


def is_active(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Return whether a parameter's condition holds; `values` are the fixed ones and the labels chosen so far."""
    return all(
        parent in values and any(same(values[parent], wanted) for wanted in allowed)
        for parent, allowed in parameter.when.items()
    )


def resolve(spec: Searched, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values a configuration is made of: base, and over it what each chosen label stands for.

    `params` are labels by parameter (values, and names of structures). Inactive ones are left out, so that the
    method's default holds. The seed of a repeat is not among them.
    """
    unknown = set(params) - set(spec.space)
    assert not unknown, f"not in the space: {sorted(unknown)}"
    chosen: dict[str, Any] = {}
    for name, parameter in order(spec.space):
        if name in params and is_active(parameter, {**spec.base, **chosen}):
            chosen[name] = params[name]
    return {**spec.base, **{name: value_of(spec.space[name], label) for name, label in chosen.items()}}


def iterate_grid(spec: Searched) -> Iterator[dict[str, Any]]:
    """Yield every combination of labels once, inactive parameters left out; the last one changes fastest."""
    ordered = order(spec.space)

    def expand(index: int, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if index == len(ordered):
            yield {name: chosen[name] for name in spec.space if name in chosen}
            return
        name, parameter = ordered[index]
        if not is_active(parameter, {**spec.base, **chosen}):
            yield from expand(index + 1, chosen)
            return
        countable = labels(parameter)
        assert countable is not None, f"the values of {name} cannot be counted"
        for label in countable:
            yield from expand(index + 1, {**chosen, name: label})

    return expand(0, {})


def grid_points(spec: Searched) -> list[dict[str, Any]]:
    """Return every configuration of a grid once, as labels by parameter."""
    return list(iterate_grid(spec))


class _Parents(NamedTuple):
    base: Mapping[str, Any]
    space: Space


def grid_size(spec: Searched) -> int | None:
    """Return the number of configurations, or None where a range has values that cannot be counted."""
    counts = {name: labels(parameter) for name, parameter in spec.space.items()}
    if any(found is None for found in counts.values()):
        return None
    # Only what conditions ask about has to be expanded: all else multiplies.
    parents = _ancestors(spec.space)
    total = 0
    for point in iterate_grid(_Parents(spec.base, {name: spec.space[name] for name in spec.space if name in parents})):
        values = {**spec.base, **point}
        leaves = (name for name in spec.space if name not in parents and is_active(spec.space[name], values))
        total += math.prod(len(counts[name] or ()) for name in leaves)
    return total


def _ancestors(space: Space) -> set[str]:
    return {parent for parameter in space.values() for parent in parameter.when if parent in space}
