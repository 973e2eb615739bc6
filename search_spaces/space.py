"""The searched parameters with their conditions, and the values that a choice of labels stands for."""

from collections.abc import Mapping
from typing import Any, Protocol

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
    "is_active",
    "labels",
    "order",
    "resolve",
    "value_of",
]

Space = Mapping[str, Parameter]


class Searched(Protocol):
    """The part of a spec that says what is searched; code that needs only that takes this."""

    @property
    def base(self) -> Mapping[str, Any]:
        """Fixed values."""
        ...

    @property
    def space(self) -> Space:
        """Searched parameters."""
        ...


def order(space: Space) -> list[tuple[str, Parameter]]:
    """Return the parameters in the order to suggest them: those that a condition asks for come before it."""
    done: dict[str, Parameter] = {}
    for start in space:
        waiting = [start]
        while waiting:  # no recursion: conditions may nest to any depth
            name = waiting[-1]
            missing = [parent for parent in space[name].when if parent in space and parent not in done]
            assert len(waiting) <= len(space), f"a cycle of conditions: {' -> '.join(waiting)}"
            if missing:
                waiting.append(missing[0])
                continue
            done[waiting.pop()] = space[name]
    return list(done.items())


def is_active(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Return whether a parameter's condition holds; `values` are the fixed values and the labels chosen so far."""
    return all(
        parent in values and any(same(values[parent], wanted) for wanted in allowed)
        for parent, allowed in parameter.when.items()
    )


def resolve(spec: Searched, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's values: `base`, overridden by what each chosen label stands for.

    `params` are labels by parameter (values, or names of structures). Inactive parameters are left out, so that the
    method's defaults hold. A repeat's seed is not among them.
    """
    unknown = set(params) - set(spec.space)
    assert not unknown, f"not in the space: {sorted(unknown)}"
    chosen: dict[str, Any] = {}
    for name, parameter in order(spec.space):
        if name in params and is_active(parameter, {**spec.base, **chosen}):
            chosen[name] = params[name]
    return {**spec.base, **{name: value_of(spec.space[name], label) for name, label in chosen.items()}}
