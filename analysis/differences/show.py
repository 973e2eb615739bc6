"""Prints what differs, or writes it as markdown or csv."""

import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.differences.diff import DIFFERENCE, PART, differences
from analysis.differences.sides import Side, read_side
from analysis.tables.formats import render
from analysis.tables.terminal import table_console, terminal_table
from analysis.yardsticks import differ
from cluster.console import Console


def show_differences(
    names: Sequence[str], form: Literal["terminal", "markdown", "csv"], output: Path | None, *, all_: bool
) -> None:
    """Print what differs between trials, specs or searches, or write it to the file `output`.

    Raises DiffError if they cannot be compared, and what `read_side` raises if one is not there.
    """
    sides = [read_side(name) for name in dict.fromkeys(names)]
    frame = differences(sides, all_=all_)
    if form == "terminal" and output is None:
        console = table_console()
        _print(frame, console)
        if apart := measured_apart(sides):
            console.print(apart, style="yellow", soft_wrap=True)
        return
    text = str(render(frame if form == "csv" else legible(frame), "csv" if form == "csv" else "markdown"))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)


def measured_apart(sides: Sequence[Side]) -> str:
    """Return a sentence if objectives of two sides are measured by different yardsticks; empty if not."""
    first, *others = sides
    for other in others:
        if differ(first.measured_by(), other.measured_by()):
            return (
                f"{first.label} and {other.label} were measured by different yardsticks (other validation data, or "
                "weights): their objectives cannot be compared"
            )
    return ""


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
