"""What is searched: parameters, their conditions, and the configurations they stand for. Plain data, no sampler."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator

from search_spaces.errors import MISSING, BrokenRule, KeyPath, Problem, nearest, show_value

Scalar = None | bool | int | float | str
Item = TypeVar("Item")
Many = Annotated[tuple[Item, ...], Field(strict=False)]
"""A list of the file, frozen; what is in it stays strict."""


class SpecModel(BaseModel):
    """A frozen part of a spec that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def as_tuple(value: Any) -> Any:
    """Return a list as it is, and anything else as the only entry of one."""
    return value if isinstance(value, list | tuple) else (value,)


def same(left: object, right: object) -> bool:
    """Return whether two values are one and the same setting: true is not 1, but 2 is 2.0."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


class _Conditional(SpecModel):
    when: dict[str, Annotated[Many[Scalar], Field(min_length=1), BeforeValidator(as_tuple, Scalar | list[Scalar])]] = {}
    """Searched only where each of these parameters has this value, or one of these; else the method's default holds."""


class Choice(_Conditional):
    """One of a list of values; a list of one is that value, and overrides the method's default."""

    choices: Many[Any] = Field(json_schema_extra={"items": {"type": ["null", "boolean", "number", "string"]}})
    """The values."""

    @model_validator(mode="after")
    def _check_values(self) -> "Choice":
        problems: list[Problem] = []
        if not self.choices:
            problems.append(Problem((), "an empty list leaves nothing to choose from"))
        for index, value in enumerate(self.choices):
            if isinstance(value, list | dict):
                problems.append(_structured_item(index, value))
            elif isinstance(value, float) and not math.isfinite(value):
                problems.append(Problem(("choices", index), "must be a finite number", value))
            elif any(type(value) is type(other) and value == other for other in self.choices[:index]) or (
                any(same(value, other) for other in self.choices[:index])
            ):
                problems.append(Problem(("choices", index), "this choice is given twice", value))
        if problems:
            raise BrokenRule(problems)
        return self


def _structured_item(index: int, value: object) -> Problem:
    kind = "a list" if isinstance(value, list) else "a mapping"
    return Problem(
        ("choices", index),
        f"one of the choices is itself {kind}: structured choices have names, so that the table can show them",
        value,
        allowed=f"{{choices: {{first_name: {show_value(value, 40)}, second_name: ...}}}}; "
        "a value that is not searched belongs under base",
    )


class NamedChoice(_Conditional):
    """One of several structures (lists or mappings), each under a name that stands for it in the table."""

    choices: dict[str, JsonValue]
    """Name to value."""

    @model_validator(mode="after")
    def _check_values(self) -> "NamedChoice":
        problems: list[Problem] = []
        if not self.choices:
            problems.append(Problem((), "an empty mapping leaves nothing to choose from"))
        names = list(self.choices)
        for index, name in enumerate(names):
            for other in names[:index]:
                if self.choices[name] == self.choices[other]:
                    problems.append(Problem(("choices", name), f"has the same value as {other!r}"))
        if problems:
            raise BrokenRule(problems)
        return self


class Range(_Conditional):
    """A number between two ends, both included."""

    low: int | float
    """The lower end."""
    high: int | float
    """The upper end."""
    log: bool = False
    """Whether to search evenly over orders of magnitude."""
    type: Literal["float", "int"] = "float"
    """Whether values are numbers or whole numbers."""
    step: int | float | None = None
    """Distance between neighbouring values; null searches all of them."""

    @model_validator(mode="after")
    def _check_ends(self) -> "Range":
        problems = [
            Problem((key,), "an int range wants whole numbers, without a decimal point or an exponent", value)
            for key, value in (("low", self.low), ("high", self.high), ("step", self.step))
            if self.type == "int" and isinstance(value, float)
        ]
        if self.low > self.high:
            got = f"but got low {show_value(self.low)} and high {show_value(self.high)}"
            problems.append(Problem((), f"low <= high must hold, {got}"))
        smallest = 1 if self.type == "int" else 0
        if self.log and (self.low < 1 if self.type == "int" else self.low <= 0):
            rule = "at least 1" if smallest else "greater than 0"
            problems.append(Problem(("low",), f"must be {rule} where log is true", self.low))
        if self.step is not None:
            problems += self._step_problems(self.step)
        if problems:
            raise BrokenRule(problems)
        return self

    def _step_problems(self, step: float) -> list[Problem]:
        if step <= 0:
            return [Problem(("step",), "must be greater than 0", step)]
        if self.log:
            return [Problem(("step",), "cannot be combined with log: leave one of them out", step)]
        steps = (self.high - self.low) / step
        if abs(steps - round(steps)) > 1e-8 * max(1.0, steps):
            return [Problem(("step",), "must lead from low to high in a whole number of steps", step)]
        return []

    @property
    def ends(self) -> tuple[int | float, int | float]:
        """Both ends, as values of the range's own type."""
        return (self.low, self.high) if self.type == "int" else (float(self.low), float(self.high))

    def values(self) -> list[int | float] | None:
        """Return every value of the range, or None where they are not countable."""
        low, high = self.ends
        if self.type == "int":
            return list(range(int(low), int(high) + 1, int(self.step or 1)))
        if low == high:
            return [low]
        if self.step is None:
            return None
        return [low + index * float(self.step) for index in range(round((high - low) / self.step) + 1)]


def _kind(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return type(value).__name__
    if not isinstance(value, Mapping):
        return None
    if "choices" in value:
        return "NamedChoice" if isinstance(value["choices"], Mapping) else "Choice"
    return "Range"


def _parameter(value: Any) -> Any:
    """Turn a list into a choice, and say what a parameter looks like where there is none."""
    if isinstance(value, list | tuple):
        return {"choices": list(value)}
    if isinstance(value, BaseModel):
        return value
    forms = "a list [a, b], a range {low: a, high: b}, or named choices {choices: {name: value, ...}}"
    if not isinstance(value, Mapping):
        instead = f"to override the default with one value, write [{_plain(value)}] or put it under base"
        raise BrokenRule([Problem((), f"is a single value, not something to search; {instead}", value, allowed=forms)])
    if not {"choices", "low", "high"} & set(value):
        raise BrokenRule([Problem((), "is a mapping without choices, and without low and high", value, allowed=forms)])
    return value


def _plain(value: object) -> str:
    return value if isinstance(value, str) else show_value(value)


Parameter = Annotated[
    Annotated[Choice, Tag("Choice")] | Annotated[NamedChoice, Tag("NamedChoice")] | Annotated[Range, Tag("Range")],
    Discriminator(_kind),
]
"""One searched parameter."""
AnyParameter = Annotated[Parameter, BeforeValidator(_parameter, Parameter | list[Scalar])]
"""A parameter as it may be written: a plain list is a choice."""
Space = Mapping[str, Parameter]


def options(parameter: Parameter) -> list[Any] | None:
    """Return what a sampler chooses from: values, or names of structures; None for a range of uncountable values."""
    if isinstance(parameter, Range):
        return parameter.values()
    return list(parameter.choices)


def value_of(parameter: Parameter, option: Any) -> Any:
    """Return the value an option stands for: the structure of a name, else the option itself."""
    return parameter.choices[option] if isinstance(parameter, NamedChoice) else option


def order(space: Space) -> list[str]:
    """Return the parameters' names as they must be suggested: whatever a condition asks for comes before it."""
    done: dict[str, None] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a cycle of conditions: {' -> '.join((*above, name))}"
        if name not in done:
            for parent in space[name].when:
                if parent in space:
                    visit(parent, (*above, name))
            done[name] = None

    for name in space:
        visit(name, ())
    return list(done)


def is_active(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Return whether a parameter's condition holds; `values` are the fixed ones and the options chosen so far."""
    return all(
        parent in values and any(same(values[parent], wanted) for wanted in allowed)
        for parent, allowed in parameter.when.items()
    )


def grid_points(space: Space, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every combination of options once, inactive parameters left out; the last one changes fastest."""
    names = order(space)

    def expand(index: int, chosen: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if index == len(names):
            yield {name: chosen[name] for name in space if name in chosen}
            return
        name = names[index]
        if not is_active(space[name], {**base, **chosen}):
            yield from expand(index + 1, chosen)
            return
        for option in _countable(name, space[name]):
            yield from expand(index + 1, {**chosen, name: option})

    return expand(0, {})


def grid_size(space: Space, base: Mapping[str, Any]) -> int | None:
    """Return the number of combinations, or None where a range has uncountably many values."""
    if any(options(parameter) is None for parameter in space.values()):
        return None
    # Only what conditions ask about has to be expanded: all else multiplies.
    parents = {parent for parameter in space.values() for parent in parameter.when if parent in space}
    leaves = [parameter for name, parameter in space.items() if name not in parents]
    total = 0
    for point in grid_points({name: space[name] for name in space if name in parents}, base):
        values = {**base, **point}
        total += math.prod(len(options(leaf) or ()) for leaf in leaves if is_active(leaf, values))
    return total


def _countable(name: str, parameter: Parameter) -> list[Any]:
    found = options(parameter)
    assert found is not None, f"{name} has uncountably many values"
    return found


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
    if isinstance(parent, Range) and parent.values() is None:
        return [Problem(path, "a condition cannot ask for a value of a float range; it needs a list of choices")]
    taken = [fixed] if parent is None else options(parent) or []
    choices = tuple(_plain(value) for value in taken)
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
