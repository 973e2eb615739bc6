"""Prints the table of `swell table`, or writes it to a file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from analysis.search import Search
from analysis.tables.errors import TableError
from analysis.tables.export import Handed
from analysis.tables.formats import Format, render, write
from analysis.tables.make import Request, make
from analysis.tables.terminal import table_console, terminal_table, warn
from cluster.console import Console
from cluster.wording import count


def show_table(
    searches: Sequence[Search], request: Request, form: Format | Literal["terminal"], output: Path | None
) -> None:
    """Print the table of searches that was asked for, or write it to the file `output`.

    Raises TableError if it cannot be made, and OSError if the file cannot be written.
    """
    if form == "terminal" and output is not None:
        raise TableError("--output needs a --format: csv, parquet, markdown or latex")
    made = make(searches, request, is_short=form not in ("csv", "parquet"))
    if form == "terminal":
        console = table_console()
        console.print(terminal_table(made.frame))
        warn(console, made.warnings, made.notes)
        return
    warn(Console(stderr=True), made.warnings, made.notes)
    if output is not None:
        write(made.frame, form, output)
        return
    content = render(made.frame, form)
    if isinstance(content, bytes):
        if sys.stdout.isatty():
            raise TableError("parquet is binary: give a file with --output FILE")
        sys.stdout.buffer.write(content)
    else:
        sys.stdout.write(content)


def show_handed(handed: Handed) -> None:
    """Print what `swell export` has written, and how many trials had nothing to hand over."""
    console, num_files = Console(), len(handed.files)
    name = handed.files[0] if num_files == 1 else f"{num_files} runs (tensorboard --logdir {handed.folder})"
    console.print(f"histories of {count(handed.num_trials, 'trial')}: {name} in", soft_wrap=True)
    console.print(str(handed.folder), soft_wrap=True)
    if handed.without:
        console.print(f"note: {count(len(handed.without), 'trial')} without reports left out", style="dim")
