"""Declares `swell evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.commands.options import SearchName

PLACE = 12


def evaluate(
    search: SearchName,
    more: Annotated[list[str] | None, typer.Argument(metavar="[SET]...", help="Further ones.")] = None,
    on: Annotated[list[str] | None, typer.Option("--on", help="A test set's name, a file or a folder.")] = None,
    trials: Annotated[
        str | None, typer.Option(help="Trials whose models are applied, e.g. 3,15; else the ten best.")
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="The models after so many steps, or `last`, instead of the best ones.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Statistics, separated by commas; `all` for every one.")] = None,
    examples: Annotated[bool, typer.Option("--examples", help="A row per example instead of statistics.")] = False,
    form: Annotated[
        Literal["terminal", "csv", "parquet", "markdown", "latex"], typer.Option("--format", help="Form of the table.")
    ] = "terminal",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Apply kept models to further test sets: trials by sets by statistics."""
    from analysis.evaluation.show import show_evaluation
    from analysis.saved_models import step_named
    from analysis.sources.directory import load_search

    sets = [*(on or []), *(more or [])]
    show_evaluation(load_search(search), sets, trials, columns, examples, form, output, step_named(step))
