"""What a method's functions return, held against the contract before it is used: one message says what is wrong.

Nothing else looks at it again: what has passed here is a number by the time it leaves the worker.
"""

import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from trainables._shared.config import TRAINING_METRICS
from trainables._shared.contract import Loss, Phase, TestResult, TrialData

MOST_METRICS = 10_000
LONGEST_NAME = 200
LONGEST_TEXT = 1000
"""Characters of a text in a test table: the name of an example, for instance."""
OWN_METRICS = (*TRAINING_METRICS, "best_step")
"""Metrics that every trial has of us."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Of an object without a representation of its own: another in each process, by which equal failures would differ."""
_NUMBERS = (np.floating, np.integer, np.bool_)


class _Shortener(reprlib.Repr):
    """Shortens what it is given after the addresses are out of it: a part of one would tell processes apart too."""

    def repr_instance(self, x: object, level: int) -> str:
        try:
            said = repr(x)
        except Exception:
            return f"<{type(x).__name__} instance>"
        return super().repr_instance(_Said(_ADDRESS.sub("", said)), level)

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(_ADDRESS.sub("", x[:LONGEST_TEXT]), level)


class _Said(str):
    """A text that is its own representation."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


_shorten = _Shortener().repr


class ReturnedError(TypeError):
    """A method returned what the contract does not allow; says which function, what, and what it should be."""


def number(name: str, value: Any) -> float:
    """Return a metric's value as a float, finite or not; raises ReturnedError for what is no single real number."""
    if isinstance(value, bool | int | float | Decimal | Fraction):
        try:
            found = float(value)
        except (OverflowError, ValueError):
            found = math.inf
        if math.isinf(found) and value not in (math.inf, -math.inf):
            raise ReturnedError(f"{name} is {_said(value)}, which is too large for a number")
        return found
    is_text_or_many = isinstance(value, str | bytes | complex | Iterable) and not hasattr(value, "dtype")
    if value is None or is_text_or_many or _is_masked(value):
        raise ReturnedError(f"{name} is {_said(value)}, not a number")
    try:
        array = np.asarray(value)
        is_number = array.ndim == 0 and any(jnp.issubdtype(array.dtype, kind) for kind in _NUMBERS)
        if is_number and array.dtype.kind != "m":
            return float(array)
    except Exception as error:
        raise ReturnedError(f"{name} is {_said(value)}, not a number ({type(error).__name__})") from None
    raise ReturnedError(f"{name} is {_said(value)}, not a number")


def _is_masked(value: Any) -> bool:
    """Return whether a value is a masked scalar: NumPy says that it is missing, and its bytes are some number."""
    return isinstance(value, np.ma.MaskedArray) and value.ndim == 0 and bool(np.ma.getmaskarray(value))


def _said(value: Any) -> str:
    """Return a value in a few words; never raises, and never writes out what is large."""
    if value is None:
        return "None"
    if _is_masked(value):
        return "masked"
    if isinstance(value, int):
        digits = int(value.bit_length() * math.log10(2)) + 1
        return str(value) if digits < 20 else f"a whole number of about {digits} digits"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype") and not isinstance(value, str):
        return f"an array of shape {shape} and type {value.dtype}" if shape else f"of type {value.dtype}"
    kind = type(value).__name__
    try:
        short = _shorten(str(value) if isinstance(value, str) else value)
    except Exception:
        return f"of type {kind}"
    return f"the text {short}" if isinstance(value, str) else f"{short} (of type {kind})"


def _names(function: str, names: Iterable[Any], num: int) -> None:
    if num > MOST_METRICS:
        raise ReturnedError(f"{function} returned {num:,} metrics; at most {MOST_METRICS:,} can be kept of a trial")
    for name in names:
        if not isinstance(name, str):
            raise ReturnedError(f"{function} names a metric {_said(name)}: its name must be a text")
        if not name or not name.isprintable() or len(name) > LONGEST_NAME:
            most = f"1 to {LONGEST_NAME} printable characters"
            raise ReturnedError(f"{function} names a metric {reprlib.repr(name)}: its name must be {most}")


def traced_metrics(function: str, values: Any) -> dict[str, Any]:
    """Return the metrics of a traced function: scalars by name, whose values are known only when it runs."""
    if not isinstance(values, Mapping):
        raise ReturnedError(f"{function} returned {_said(values)}, not metrics by name")
    _names(function, values, len(values))
    for name, value in values.items():
        if not _is_traced_number(value):
            raise ReturnedError(f"{name} is {_said(value)}, not a number")
    return dict(values)


def _has_numbers_type(value: Any) -> bool:
    """Return whether a value says that it holds numbers.

    JAX takes None and types for numbers where a warning is no error.
    """
    if isinstance(value, bool | int | float) or hasattr(value, "__jax_array__"):
        return True
    return hasattr(value, "dtype") and not isinstance(value, str | type) and not _is_masked(value)


def _is_traced_number(value: Any) -> bool:
    if not _has_numbers_type(value):
        return False
    try:
        return jnp.ndim(value) == 0 and any(jnp.issubdtype(jnp.result_type(value), kind) for kind in _NUMBERS)
    except Exception:  # an array of objects
        return False


def loss(value: Any) -> Loss:
    """Return what `loss` returned."""
    if not isinstance(value, Loss):
        raise ReturnedError(f"loss() returned {_said(value)}, not a Loss")
    traced_metrics("loss()", {"the loss": value.value})
    if "loss" in traced_metrics("loss()", value.components):
        raise ReturnedError("loss() names a component loss, which is the name of the whole: give it another name")
    return value


def report(own: Mapping[str, float], values: Mapping[str, Any]) -> dict[str, float]:
    """Return a report's metrics: the training losses, and what `validate` returned."""
    for name in values:
        if name in own or name in OWN_METRICS:
            raise ReturnedError(f"validate() returned {name}, which every report has already: give it another name")
    return {**own, **{name: float(value) for name, value in values.items()}}


def phases(values: Any) -> list[Phase]:
    """Return what `phases` returned."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not all(isinstance(p, Phase) for p in values):
        raise ReturnedError(f"phases() returned {_said(values)}, not a list of Phase")
    for index, phase in enumerate(values):
        if isinstance(phase.steps, bool) or not isinstance(phase.steps, int | np.integer) or phase.steps < 0:
            raise ReturnedError(f"phases()[{index}].steps is {_said(phase.steps)}, not a number of steps")
        number(f"phases()[{index}].learning_rate", phase.learning_rate)
    if not sum(phase.steps for phase in values):
        raise ReturnedError("phases() returned no steps to train")
    return list(values)


def selection(value: Any) -> tuple[str, str]:
    """Return what `selection` returned."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and value[1] in ("min", "max"):
        return value
    raise ReturnedError(f"selection() returned {_said(value)}, not a metric's name with 'min' or 'max'")


def selected(metric: str, metrics: Mapping[str, float]) -> float:
    """Return the value that the best model is chosen by."""
    if metric not in metrics:
        names = ", ".join(list(metrics)[:20])
        raise ReturnedError(f"selection() names {metric}, which no report has; a report has {names}")
    return metrics[metric]


def data(value: Any, num_phases: int) -> TrialData:
    """Return what `data` returned."""
    if not isinstance(value, TrialData):
        raise ReturnedError(f"data() returned {_said(value)}, not a TrialData")
    if not isinstance(value.phases, Sequence) or len(value.phases) < num_phases:
        raise ReturnedError(f"data() returned {_said(value.phases)} as phases, not the arrays of each of {num_phases}")
    if not isinstance(value.tests, Mapping):
        raise ReturnedError(f"data() returned {_said(value.tests)} as tests, not test sets by name")
    return value


def test_results(value: Any) -> dict[str, TestResult]:
    """Return what `score` returned, its metrics as floats and its tables as lists."""
    if not isinstance(value, Mapping):
        raise ReturnedError(f"score() returned {_said(value)}, not a TestResult for each test set")
    found: dict[str, TestResult] = {}
    measured_on: dict[str, str] = {}
    for name, result in value.items():
        if not isinstance(name, str) or not isinstance(result, TestResult):
            raise ReturnedError(f"score() returned {_said(result)} for {_said(name)}, not a TestResult")
        where = f"score() of {name}"
        if not isinstance(result.metrics, Mapping):
            raise ReturnedError(f"{where} has {_said(result.metrics)} as metrics, not numbers by name")
        _names(where, result.metrics, len(result.metrics) + len(measured_on))
        for metric in result.metrics:
            if metric in OWN_METRICS:
                raise ReturnedError(f"{where} measures {metric}, which every trial has already: give it another name")
            if metric in measured_on:
                raise ReturnedError(
                    f"score() measures {metric} on {measured_on[metric]} and on {name}: name them apart"
                )
            measured_on[metric] = name
        metrics = {metric: number(metric, one) for metric, one in result.metrics.items()}
        found[name] = TestResult(metrics, _table(where, result.table))
    return found


def _table(where: str, table: Any) -> dict[str, list[Any]]:
    if not isinstance(table, Mapping):
        raise ReturnedError(f"{where} has {_said(table)} as its table, not columns by name")
    _names(f"the table of {where}", table, len(table))
    columns = {name: _column(f"{where}, column {name}", values) for name, values in table.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        some = ", ".join(f"{name} {len(values)}" for name, values in list(columns.items())[:5])
        raise ReturnedError(f"{where} has a table with columns of unequal lengths: {some}")
    return columns


def _column(where: str, values: Any) -> list[Any]:
    if isinstance(values, np.ma.MaskedArray) and values.ndim == 1 and values.dtype.kind in "biuf":
        return values.tolist()  # has None for what is masked
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ReturnedError(f"{where} is {_said(values)}, not a list")
    has_masked = isinstance(values, Sequence | np.ma.MaskedArray) and any(map(_is_masked, values))
    try:
        array = None if has_masked else np.asarray(values)
    except Exception:
        array = None
    if array is not None and array.ndim == 1 and array.dtype.kind in "biuf":
        return array.tolist()
    if array is not None and array.ndim != 1 and array.dtype.kind != "O":
        raise ReturnedError(f"{where} is {_said(array)}, not a list")
    return [_cell(where, value) for value in values]


def _cell(where: str, value: Any) -> Any:
    if value is None or _is_masked(value):
        return None
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise ReturnedError(f"{where} has a text of {len(value):,} characters; at most {LONGEST_TEXT}")
        return value.encode(errors="backslashreplace").decode()
    return number(where, value)
