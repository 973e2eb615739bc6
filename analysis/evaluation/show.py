"""Prints the table of `swell evaluate`, or writes it to a file."""

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.evaluation.apply import EvaluationError
from analysis.evaluation.evaluate import chosen_columns, evaluate
from analysis.saved_models import Step
from analysis.search import Search
from analysis.tables.formats import Format, render, write
from analysis.tables.terminal import terminal_table
from analysis.tables.trial_numbers import numbers_in
from cluster.console import Console


def show_evaluation(
    search: Search,
    on: Sequence[str],
    trials: str | None,
    columns: str | None,
    examples: bool,
    form: Format | str,
    output: Path | None,
    step: Step = None,
) -> None:
    """Print how models of some trials do on test sets, or write it to the file `output`.

    Raises EvaluationError as `evaluate` and `chosen_columns` do, or if a file has no form.
    """
    if output is not None and form == "terminal":
        raise EvaluationError("--output needs a --format: csv, parquet, markdown or latex")
    progress = Console(stderr=True)
    found = evaluate(
        search,
        on,
        numbers_in(trials) if trials else None,
        step=step,
        told=lambda line: progress.print(line, style="dim"),
    )
    whole = columns == "all" or (columns is None and form in ("csv", "parquet"))
    frame = found.examples if examples else chosen_columns(found.table, "all" if whole else columns)
    if form == "terminal":
        Console(width=None if sys.stdout.isatty() else 400).print(terminal_table(frame))
    elif output is not None:
        write(frame, form, output)  # pyright: ignore[reportArgumentType]  # Typer has checked the form
    else:
        content = render(frame, form)  # pyright: ignore[reportArgumentType]
        if isinstance(content, bytes):
            raise EvaluationError("parquet is binary: give a file with --output FILE")
        sys.stdout.write(content)
