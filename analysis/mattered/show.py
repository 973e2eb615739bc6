"""Prints a comparison: its sentences first, then its tables; or writes it as markdown, csv or JSON."""

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.mattered.compare import Comparison, FactorReport
from analysis.tables.formats import render
from analysis.tables.terminal import terminal_table
from cluster.console import Console
from cluster.wording import on_one_line

Form = Literal["terminal", "markdown", "csv", "json"]
COST = ("core_hours", "core_hours_mean", "wall_time_s_mean")
COUNTED = ("ended", "failed")
"""Columns that the shares say already, where there is no room for all."""
VERDICT = ("better", "worse", "difference", "low", "high", "wins", "pairs", "num_seeds", "num_settings", "p_corrected")


def show_comparison(found: Comparison, form: Form, output: Path | None) -> None:
    """Print a comparison in a form, or write it to the file `output`."""
    if form == "terminal" and output is None:
        _print(found)
        return
    text = as_text(found, "markdown" if form == "terminal" else form)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)


def as_text(found: Comparison, form: Literal["markdown", "csv", "json"]) -> str:
    """Return a comparison as markdown (sentences and tables), csv (the levels of all factors) or JSON (all of it)."""
    if form == "json":
        return json.dumps(as_plain(found), indent=1, allow_nan=False) + "\n"
    if form == "csv":
        return str(render(all_levels(found), "csv"))
    parts = [f"# What mattered in {on_one_line(found.search)}\n"]
    parts += [f"- {_escaped(text)}" for text in found.sentences]
    for title, table in tables(found):
        parts += [f"\n## {_escaped(title)}\n", str(render(table, "markdown")).rstrip()]
    if found.remarks:
        parts.append("\n## Remarks\n")
        parts += [f"- {_remark(text)}" for text in found.remarks]
    return "\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Return a text on one line as markdown that shows it as it is: a name may have signs that markdown reads."""
    return "".join(f"\\{sign}" if sign in "\\`*_<>[]|" else sign for sign in on_one_line(text))


def _remark(text: str) -> str:
    """Return a remark, with the lines of a spec that it may end with as a block of code."""
    first, *lines = text.split("\n")
    if not lines:
        return _escaped(first)
    return "\n".join([_escaped(first), "", "  ```yaml", *(f"  {on_one_line(line)}" for line in lines), "  ```"])


def _print(found: Comparison) -> None:
    console = Console(width=None if sys.stdout.isatty() else 400)
    for text in found.sentences:
        console.print(on_one_line(text), soft_wrap=not sys.stdout.isatty())
        console.print()
    for title, table in tables(found):
        console.print(on_one_line(title), style="bold", soft_wrap=True)
        console.print(terminal_table(table))
        console.print()
    for text in found.remarks:
        first, *lines = text.split("\n")
        for line in (f"note: {on_one_line(first)}", *map(on_one_line, lines)):
            console.print(line, style="dim", soft_wrap=True)


def tables(found: Comparison) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of a comparison that people read, each with its title."""
    if found.front is not None:
        yield "Pareto front", found.front
    several = bool(found.views)
    for view in (found, *found.views):
        by = f", by {view.objective}" if several else ""
        for title, table in _tables_of(view):
            yield f"{title}{by}", table
        if view.early is not None:
            for title, table in _tables_of(view.early):
                yield f"At step {view.early.step:g}: {title}{by}", table


def _tables_of(found: Comparison) -> Iterator[tuple[str, pd.DataFrame]]:
    if found.importance is not None:
        yield "Importance", _without_empty(found.importance)
    for report in found.factors:
        levels = report.levels.drop(columns=[name for name in COUNTED if name in report.levels.columns])
        if len(levels):
            yield f"{report.column}: its levels ({report.basis})", _without_empty(levels)
        if report.held.method:
            unit = "worse_by: a ratio" if report.held.is_ratio else "worse_by: a difference"
            yield f"{report.column}: other factors held ({report.held.basis}; {unit})", _without_empty(report.marginals)
        if report.verdicts:
            rows = pd.DataFrame([asdict(one) for one in report.verdicts])
            yield f"{report.column}: what the seeds say", rows.filter(items=[*VERDICT, "is_supported"])
    if found.stability is not None:
        yield "Ranks at each rung and at the end", found.stability
    if found.saving is not None:
        yield "What early stopping saved, and stopped trials that were then ahead", _without_empty(found.saving)


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without columns in which nothing is known."""
    kept = [name for name, column in table.items() if not all(_is_empty(value) for value in column)]
    return table.filter(items=kept)


def _is_empty(value: object) -> bool:
    return value is None or value is pd.NA or value == "" or value != value


def all_levels(found: Comparison) -> pd.DataFrame:
    """Return the levels of all factors in one table, with their values while the other factors are held."""
    parts = []
    for view in (found, *found.views):
        for report in view.factors:
            levels = report.levels.assign(objective=view.objective, factor=report.column)
            held = report.marginals.drop(columns="n").add_prefix("held_").rename(columns={"held_level": "level"})
            parts.append(levels.merge(held.astype({"level": levels["level"].dtype}), on="level", how="left"))
    if not parts:
        return pd.DataFrame({"objective": [], "factor": [], "level": []})
    whole = pd.concat(parts, ignore_index=True)
    first = ["objective", "factor", "level"]
    return whole.reindex(columns=[*first, *(name for name in whole.columns if name not in first)])


def as_plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON can hold it; what is not a finite number is null."""
    return {
        "search": found.search,
        "objective": found.objective,
        "sentences": found.sentences,
        "importance": _plain(found.importance),
        "no_importance": found.no_importance,
        "factors": [_factor(report) for report in found.factors],
        "interactions": found.interactions,
        "stability": _plain(found.stability),
        "saving": _plain(found.saving),
        "front": _plain(found.front),
        "remarks": found.remarks,
        "step": found.step,
        "early": None if found.early is None else as_plain(found.early),
        "views": [as_plain(view) for view in found.views],
    }


def _factor(report: FactorReport) -> dict[str, Any]:
    return {
        "column": report.column,
        "sentence": report.sentence,
        "basis": report.basis,
        "levels": _plain(report.levels),
        "marginals": _plain(report.marginals),
        "held": report.held.basis,
        "p": _value(report.chance.p),
        "p_corrected": _value(report.chance.p_corrected),
        "verdicts": [{name: _value(value) for name, value in asdict(one).items()} for one in report.verdicts],
    }


def _plain(table: pd.DataFrame | None) -> list[dict[str, Any]] | None:
    if table is None:
        return None
    return [{str(name): _value(value) for name, value in row.items()} for row in table.to_dict("records")]


def _value(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
