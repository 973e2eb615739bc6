"""The command line: arguments in, one call, text out. Heavy imports happen inside the commands that need them."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

OWN = str(Path(__file__).resolve().parent)
if sys.path[0] != OWN:  # `python -m` puts the working directory first: a user's folder named `cluster` is not ours
    sys.path.insert(0, OWN)

app = typer.Typer(
    name="swell",
    help="Hyperparameter searches for scientific machine learning, in waves, with nothing lost.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it takes longer than all else of `swell --help` together
)

SpecPath = Annotated[Path, typer.Argument(help="The search's YAML file.")]
SearchName = Annotated[str, typer.Argument(help="A search, by its name or by its path.")]
OutputFile = Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")]


def _fail(message: str) -> typer.Exit:
    """Say what was wrong with the user's input; exit code 2."""
    typer.echo(message, err=True)
    return typer.Exit(2)


def _find(name: str):  # noqa: ANN202 - its type would be a heavy import
    from cluster.paths import SearchNotFoundError, find_search

    try:
        return find_search(name)
    except SearchNotFoundError as error:
        raise _fail(str(error)) from None


@app.command("check")
def check_(
    spec: SpecPath,
    probe: Annotated[
        bool, typer.Option("--probe", help="Run one short trial per distinct program; estimate time and memory.")
    ] = False,
    max_programs: Annotated[int, typer.Option(min=1, help="Probe at most this many programs.")] = 8,
) -> None:
    """Validate everything that can be known before launch, and say how many trials there will be."""
    from rich.console import Console

    from cluster.check_command import check_command

    errors = Console(stderr=True)
    raise typer.Exit(check_command(spec, probe=probe, max_programs=max_programs, console=Console(), errors=errors))


@app.command()
def run(
    spec: SpecPath,
    name: Annotated[str | None, typer.Option(help="Name of the search; the spec's by default.")] = None,
) -> None:
    """Run a search in the foreground, with live progress; Ctrl-C saves every trial and stops."""
    from cluster.check import check
    from cluster.paths import SearchNameError
    from cluster.scratch import ScratchError, scratch_root
    from cluster.search import create_search
    from search_spaces.errors import SpecError
    from search_spaces.spec import load_spec

    try:
        report = check(load_spec(spec))
    except SpecError as error:
        raise _fail(str(error)) from None
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    try:
        scratch_root()  # before there is a search directory
        paths = create_search(report.spec, spec, name)
    except (SearchNameError, ScratchError, OSError) as error:
        raise _fail(str(error)) from None
    _foreground(paths)


@app.command()
def resume(search: SearchName) -> None:
    """Go on with a search that was stopped or killed, in the foreground, under the same trial numbers."""
    _foreground(_find(search))


def _foreground(paths) -> None:  # noqa: ANN001 - its type would be a heavy import
    from cluster.foreground import run_search
    from cluster.scratch import ScratchError
    from cluster.supervisor import SearchBusyError

    try:
        code = run_search(paths)
    except (SearchBusyError, ScratchError) as error:
        raise _fail(str(error)) from None
    from analysis.show import show_ending

    show_ending(paths)
    raise typer.Exit(code)


@app.command()
def status(search: Annotated[str | None, typer.Argument(help="A search; all of them when left out.")] = None) -> None:
    """Show how far a search is, or list all searches."""
    from cluster.display import show_all, show_one

    if search is None:
        show_all()
    else:
        show_one(_find(search))


@app.command()
def table(
    search: SearchName,
    form: Annotated[
        Literal["terminal", "csv", "parquet", "markdown", "latex"], typer.Option("--format", help="Form of the table.")
    ] = "terminal",
    output: OutputFile = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only this many rows, best first.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Only these columns, separated by commas; `all` for every one.")
    ] = None,
    by_configuration: Annotated[
        bool, typer.Option("--by-configuration", help="One row per configuration: mean and spread over its seeds.")
    ] = False,
) -> None:
    """Print the trials, best first; csv and parquet have every column unless told otherwise."""
    from analysis.show import TableError, show_table

    try:
        show_table(_find(search), form, output, top, columns, by_configuration)
    except (TableError, OSError) as error:
        raise _fail(str(error)) from None


@app.command()
def best(
    search: SearchName,
    trial: Annotated[int | None, typer.Option(min=0, help="Another trial than the best.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; `best` in the search directory by default."),
    ] = None,
) -> None:
    """Export the best trial's config and model."""
    from analysis.best import ExportError, export_best
    from analysis.show import show_exported

    paths = _find(search)
    try:
        show_exported(paths, export_best(paths, output or paths.best, trial))
    except (ExportError, OSError) as error:
        raise _fail(str(error)) from None


def main() -> None:
    """Run the command line; a closed pipe (`swell table ... | head`) is no error."""
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
