"""Prints what differs, or writes it as markdown or csv."""

import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.differences.diff import DIFFERENCE, PART, differences
from analysis.differences.sides import read_side
from analysis.tables.formats import render
from analysis.tables.terminal import table_console, terminal_table
from cluster.console import Console


def show_differences(
    names: Sequence[str], form: Literal["terminal", "markdown", "csv"], output: Path | None, *, all_: bool
) -> None:
    """Print what differs between trials, specs or searches, or write it to the file `output`.

    Raises DiffError if they cannot be compared, and what `read_side` raises if one is not there.
    """
    frame = differences([read_side(name) for name in dict.fromkeys(names)], all_=all_)
    if form == "terminal" and output is None:
        _print(frame, table_console())
        return
    text = str(render(frame if form == "csv" else legible(frame), "csv" if form == "csv" else "markdown"))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)


def legible(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its numbers as texts of few digits, but of as many as tell those of a row apart."""
    rows = [_few_digits(row) for row in frame.to_dict("records")]
    return pd.DataFrame(rows, columns=frame.columns, dtype=object)


def _few_digits(row: dict[Hashable, Any]) -> dict[Hashable, Any]:
    floats = [value for name, value in row.items() if isinstance(value, float) and name != DIFFERENCE]
    digits = next((one for one in range(4, 17) if len({f"{value:.{one}g}" for value in floats}) == len({*floats})), 17)
    numbers = {name: digits if name != DIFFERENCE else 4 for name, value in row.items() if isinstance(value, float)}
    return {name: f"{row[name]:.{numbers[name]}g}" if name in numbers else value for name, value in row.items()}


def _print(frame: pd.DataFrame, console: Console) -> None:
    if frame.empty:
        console.print("nothing differs (--all shows what is the same)")
    for part, rows in legible(frame).groupby(PART, sort=False):
        console.print(str(part), style="bold")
        console.print(terminal_table(rows.drop(columns=PART)))
        console.print()
