"""Nested values by path, and when two values are the same."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from search_spaces.errors import KeyPath, show_path

ROUNDING = 1e-9
"""Floats that differ by less than this part of them are the same."""


def by_path(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values by their paths, such as `curriculum[1].window`.

    A list of plain values is one value, an empty mapping none.
    """
    return {show_path(path): value for path, value in _leaves(values, ())}


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        for place, item in enumerate(value):
            yield from _leaves(item, (*path, place))
    else:
        yield path, value


def is_same(left: Any, right: Any) -> bool:
    """Return whether two values are the same; floats are up to rounding, and true is not 1."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(is_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(is_same(left[key], right[key]) for key in left)
    if is_number(left) and is_number(right):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        if isinstance(left, int) and isinstance(right, int):
            return left == right
        return left == right or math.isclose(left, right, rel_tol=ROUNDING)
    return type(left) is type(right) and left == right


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a value is a number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)
