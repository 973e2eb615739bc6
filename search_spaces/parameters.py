"""One searched parameter: a choice of values, a choice of named structures, or a range. Plain data, no sampler."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator

from search_spaces.errors import BrokenRule, Problem, show_value
from search_spaces.loader import plain_scalar
from search_spaces.steps import Steps, is_whole, num_steps

Scalar = None | bool | int | float | str
Item = TypeVar("Item")
Many = Annotated[tuple[Item, ...], Field(strict=False)]
"""A list of the file, frozen; what is in it stays strict."""


class SpecModel(BaseModel):
    """A frozen part of a spec that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def as_tuple(value: Any) -> Any:
    """Return a list as it is, and any other value as the only entry of a tuple."""
    return value if isinstance(value, list | tuple) else (value,)


def same(left: object, right: object) -> bool:
    """Return whether two values are the same setting: true is not 1, but 2 is 2.0, and 3 * 0.1 is 0.3."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, float) and isinstance(right, int | float):
        return left == right or math.isclose(left, right, rel_tol=_LAST_DIGITS)
    return left == right


_LAST_DIGITS = 1e-12
"""Relative difference that only the way of computing a number makes."""
MOST_STEPS = 1_000_000
"""Steps of a range that can still be told apart from no step at all."""
LARGEST_INT = 2**53
"""The largest whole number of a range: beyond it samplers, which compute with floats, miss every other one."""


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
        seen: set[Scalar] = set()
        if not self.choices:
            problems.append(Problem((), "an empty list leaves nothing to choose from"))
        for index, value in enumerate(self.choices):
            if isinstance(value, list | dict):
                problems.append(_structured_item(index, value))
            elif isinstance(value, float) and not math.isfinite(value):
                problems.append(Problem(("choices", index), "must be a finite number", value))
            elif value in seen:  # the study cannot tell true from 1
                problems.append(Problem(("choices", index), "this choice is given twice", value))
            else:
                seen.add(value)
        _raise_any(problems)
        return self

    @property
    def labels(self) -> tuple[Any, ...]:
        """The labels that stand for the choices in the study and in the table."""
        return tuple(self.choices)


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
        _raise_any(problems)
        return self

    @property
    def labels(self) -> tuple[Any, ...]:
        """The labels that stand for the choices in the study and in the table."""
        return tuple(self.choices)


class FloatRange(_Conditional):
    """A number between two ends, both included."""

    low: float
    """The lower end."""
    high: float
    """The upper end."""
    log: bool = False
    """Whether to search evenly over orders of magnitude."""
    type: Literal["float"] = "float"
    """Numbers; `int` for whole numbers."""
    step: float | None = None
    """Distance between neighbouring values; null searches all of them."""

    @model_validator(mode="after")
    def _check_ends(self) -> "FloatRange":
        smallest = "greater than 0" if self.log and self.low <= 0 else ""
        _raise_any(_range_problems(self, smallest))
        return self

    def values(self) -> Sequence[float] | None:
        """Return all values of the range; None if they cannot be counted."""
        if self.low == self.high:
            return [self.low]
        return None if self.step is None else Steps(self.low, self.high, self.step)


class IntRange(_Conditional):
    """A whole number between two ends, both included."""

    low: int
    """The lower end."""
    high: int
    """The upper end."""
    log: bool = False
    """Whether to search evenly over orders of magnitude."""
    type: Literal["int"]
    """Whole numbers."""
    step: int | None = None
    """Distance between neighbouring values; null is 1."""

    @model_validator(mode="after")
    def _check_ends(self) -> "IntRange":
        smallest = "at least 1" if self.log and self.low < 1 else ""
        _raise_any(_range_problems(self, smallest))
        return self

    def values(self) -> range:
        """Return all values of the range, each made only when it is asked for."""
        return range(self.low, self.high + 1, self.step or 1)


def _raise_any(problems: list[Problem]) -> None:
    if problems:
        raise BrokenRule(problems)


def _range_problems(given: FloatRange | IntRange, smallest: str) -> list[Problem]:
    """Return a problem per rule between its fields that a range breaks.

    `smallest` is what a logarithmic range demands of `low`.
    """
    problems = _end_problems(given)
    if smallest:
        problems.append(Problem(("low",), f"must be {smallest} where log is true", given.low))
    if given.step is not None:
        if given.step <= 0:
            problems.append(Problem(("step",), "must be greater than 0", given.step))
        elif given.log:
            problems.append(Problem(("step",), "cannot be combined with log; leave one of them out", given.step))
        elif not problems:
            problems += _step_problems(given, given.step)
    return problems


def _end_problems(given: FloatRange | IntRange) -> list[Problem]:
    ends: list[tuple[str, float]] = [("low", given.low), ("high", given.high)]
    if isinstance(given, IntRange):
        rule = f"must be between {-LARGEST_INT} and {LARGEST_INT}: samplers cannot tell larger ones apart"
        if wide := [Problem((key,), rule, value) for key, value in ends if abs(value) > LARGEST_INT]:
            return wide
    elif math.isinf(given.high - given.low):
        return [Problem(("high",), "is too far from low: their difference is no finite number", given.high)]
    if given.low <= given.high:
        return []
    got = f"but got low {show_value(given.low)} and high {show_value(given.high)}"
    return [Problem((), f"low <= high must hold, {got}")]


def _step_problems(given: FloatRange | IntRange, step: float) -> list[Problem]:
    """Return a problem if steps of this width do not lead from `low` to exactly `high`."""
    steps = num_steps(given.low, given.high, step)
    if isinstance(given, IntRange):
        is_exact = (given.high - given.low) % step == 0
    elif steps > MOST_STEPS:
        return [Problem(("step",), f"makes more than {MOST_STEPS:,} values; leave it out", step)]
    elif step < math.ulp(max(abs(given.low), abs(given.high))):
        return [Problem(("step",), "is too small to tell neighbouring values apart; leave it out", step)]
    else:
        is_exact = is_whole(steps) and (round(steps) > 0 or given.low == given.high)
    if is_exact:
        return []
    ends = [_end(given, int(steps) + more, step) for more in (0, 1)]
    allowed = f"high: {show_value(ends[0])} or high: {show_value(ends[1])}, or another step"
    rule = "must lead from low to high in a whole number of steps"
    return [Problem(("step",), rule, step, allowed=allowed)]


def _end(given: FloatRange | IntRange, steps: int, step: float) -> float:
    if isinstance(given, IntRange):
        return given.low + steps * int(step)
    return float(Decimal(repr(given.low)) + steps * Decimal(repr(step)))


def _kind(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return type(value).__name__
    if not isinstance(value, Mapping):
        return None
    if "choices" in value:
        return "NamedChoice" if isinstance(value["choices"], Mapping) else "Choice"
    return "IntRange" if value.get("type") == "int" else "FloatRange"


def _parameter(value: Any) -> Any:
    """Turn a list into a choice; reject a value that is no parameter, saying what one looks like."""
    if isinstance(value, list | tuple):
        return {"choices": list(value)}
    if isinstance(value, BaseModel):
        return value
    forms = "a list [a, b], a range {low: a, high: b}, or named choices {choices: {name: value, ...}}"
    if not isinstance(value, Mapping):
        instead = f"to override the default with one value, write [{plain_text(value)}] or put it under base"
        raise BrokenRule([Problem((), f"is a single value, not something to search; {instead}", value, allowed=forms)])
    if not {"choices", "low", "high"} & set(value):
        raise BrokenRule([Problem((), "is a mapping without choices, and without low and high", value, allowed=forms)])
    if "choices" not in value and value.get("type", "float") not in ("float", "int"):
        raise BrokenRule([Problem(("type",), "is not one of the choices", value["type"], choices=("float", "int"))])
    return value


def plain_text(value: object) -> str:
    """Return a value as an entry of a YAML list: text without quotes, unless YAML would then not read it as text."""
    if not isinstance(value, str):
        return show_value(value)
    try:
        return value if isinstance(plain_scalar(value), str) else show_value(value)
    except ValueError:  # digits without end
        return show_value(value)


Parameter = Choice | NamedChoice | FloatRange | IntRange
"""One searched parameter."""
_Tagged = Annotated[
    Annotated[Choice, Tag("Choice")]
    | Annotated[NamedChoice, Tag("NamedChoice")]
    | Annotated[FloatRange, Tag("FloatRange")]
    | Annotated[IntRange, Tag("IntRange")],
    Discriminator(_kind),
]
AnyParameter = Annotated[_Tagged, BeforeValidator(_parameter, _Tagged | list[Scalar])]
"""A parameter as it may be written: a plain list is a choice."""


def labels(parameter: Parameter) -> Sequence[Any] | None:
    """Return what a parameter chooses from: values, or names of structures; None if a range cannot be counted."""
    return parameter.values() if isinstance(parameter, FloatRange | IntRange) else list(parameter.labels)


def value_of(parameter: Parameter, label: Any) -> Any:
    """Return the value that a label stands for: the structure with that name, else the label itself."""
    return parameter.choices[label] if isinstance(parameter, NamedChoice) else label


def place_of(labels: Sequence[Any], wanted: Any) -> int | None:
    """Return the index of a condition's value among labels; None if it is not there. Does not walk through a range."""
    if not isinstance(labels, Steps | range):
        return next((place for place, label in enumerate(labels) if same(label, wanted)), None)
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not math.isfinite(wanted):
        return None
    if isinstance(labels, Steps):
        place = labels.place(wanted)
        return place if same(labels[place], wanted) else None
    return labels.index(int(wanted)) if wanted == int(wanted) and int(wanted) in labels else None
