"""Puts trials, specs or searches side by side, and keeps what differs."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.differences.sides import USAGE, DiffError, Side
from analysis.differences.values import is_number, is_same
from cluster.wording import visible
from search_spaces.errors import MISSING, show_value

PART, NAME, DIFFERENCE = "part", "name", "difference"
_LONGEST = 2000


def differences(sides: Sequence[Side], *, all_: bool = False) -> pd.DataFrame:
    """Return a row for each value that is not the same on all sides, or with `all_` for each.

    Columns: `part`, `name`, one per side, and of two sides the `difference` of numbers (the second less the first).
    Raises DiffError if there are not two sides, or if they are of several kinds.
    """
    sides = _of_one_kind(_distinct(sides))
    rows = []
    for part in dict.fromkeys(part for side in sides for part in side.parts):
        for name in dict.fromkeys(name for side in sides for name in side.parts.get(part, {})):
            values = [side.parts.get(part, {}).get(name, MISSING) for side in sides]
            first, *others = values
            if all_ or (part != USAGE and not all(is_same(first, other) for other in others)):
                row = {PART: part, NAME: name} | dict(zip(_columns(sides), map(_shown, values), strict=True))
                rows.append(row | _difference(values))
    columns = [PART, NAME, *_columns(sides)]
    frame = pd.DataFrame(rows, columns=[*columns, DIFFERENCE], dtype=object)
    return frame if any(row.get(DIFFERENCE) is not None for row in rows) else frame.filter(items=columns)


def _distinct(sides: Sequence[Side]) -> list[Side]:
    found = list({(side.kind, side.label): side for side in sides}.values())
    if len(found) < 2:
        raise DiffError("name at least two different trials (SEARCH/NUMBER), searches, or specs (their files)")
    return found


def _of_one_kind(sides: list[Side]) -> list[Side]:
    """Return sides of one kind; searches beside specs are compared by their specs."""
    kinds = {side.kind for side in sides}
    if kinds == {"search", "spec"}:
        sides = [side.as_spec() if side.as_spec else side for side in sides]
        kinds = {side.kind for side in sides}
    if len(kinds) > 1:
        listed = ", ".join(f"{side.label} is a {side.kind}" for side in sides)
        raise DiffError(f"{listed}: compare trials with trials, searches with searches, specs with specs or searches")
    return sides


def _columns(sides: Sequence[Side]) -> list[str]:
    """Return the names of the sides' columns, which differ from those of the others."""
    taken = (PART, NAME, DIFFERENCE)
    return [f"{side.kind} {side.label}" if side.label in taken else side.label for side in sides]


def _shown(value: Any) -> Any:
    if value is MISSING:
        return None
    if is_number(value):
        return value
    return visible(value) if isinstance(value, str) else show_value(value, _LONGEST)


def _difference(values: Sequence[Any]) -> dict[str, Any]:
    if len(values) != 2 or not all(map(is_number, values)):
        return {}
    first, second = values
    return {DIFFERENCE: second - first}
