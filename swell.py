"""The command line: arguments in, one call, text out. Heavy imports happen inside the commands that need them."""

import os
import signal
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
SiteName = Annotated[
    str | None, typer.Option("--site", help="The cluster: a name of slurm/sites, or a YAML file; generic by default.")
]
Nodes = Annotated[int | None, typer.Option(min=1, help="Nodes of one job, which work on the search together.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Instead: as many jobs of one node, which share the search.")]
Cpus = Annotated[int | None, typer.Option(min=1, help="CPUs of each node; the spec's, else the site's by default.")]
Hours = Annotated[float | None, typer.Option(min=0.01, help="Time limit of a job; the site's by default.")]


def _fail(message: str) -> typer.Exit:
    """Say what was wrong with the user's input; exit code 2."""
    typer.echo(message, err=True)
    return typer.Exit(2)


def _find(name: str):  # noqa: ANN202 - its type would be a heavy import
    from cluster.state.paths import SearchNotFoundError, find_search

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

    from cluster.commands.check_command import check_command

    errors = Console(stderr=True)
    raise typer.Exit(check_command(spec, probe=probe, max_programs=max_programs, console=Console(), errors=errors))


@app.command()
def run(
    spec: SpecPath,
    name: Annotated[str | None, typer.Option(help="Name of the search; the spec's by default.")] = None,
) -> None:
    """Run a search in the foreground, with live progress; Ctrl-C saves every trial and stops."""
    from cluster.commands.check import check
    from cluster.commands.search import create_search
    from cluster.machine.capacity import OversubscribedError, check_fits
    from cluster.machine.scratch import ScratchError, node_cache, scratch_root
    from cluster.state.paths import SearchNameError
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
        node_cache()
        check_fits(report.spec.resources)
        paths = create_search(report.spec, spec, name)
    except (SearchNameError, ScratchError, OversubscribedError, OSError) as error:
        raise _fail(str(error)) from None
    _foreground(paths)


@app.command()
def launch(
    spec: SpecPath,
    on: Annotated[
        Literal["slurm", "local"], typer.Option("--on", help="A SLURM cluster, or detached on this machine.")
    ],
    site: SiteName = None,
    nodes: Nodes = None,
    jobs: Jobs = None,
    cpus: Cpus = None,
    hours: Hours = None,
    name: Annotated[str | None, typer.Option(help="Name of the search; the spec's by default.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the job script, exactly as it would go.")
    ] = False,
) -> None:
    """Start a search that goes on when you log out: on a SLURM cluster, or detached on this machine."""
    from rich.console import Console

    from cluster.commands.launch import LaunchError, Target, launch_command
    from cluster.jobs.request import Options, RequestError
    from cluster.jobs.slurm_queue import SlurmError
    from cluster.jobs.submission import SubmissionError
    from cluster.machine.capacity import OversubscribedError
    from cluster.machine.scratch import ScratchError
    from cluster.state.paths import SearchNameError
    from search_spaces.errors import SpecError

    target = Target(on, site, Options(nodes, jobs, cpus, hours))
    try:
        launch_command(spec, target, name=name, dry_run=dry_run, console=Console(), errors=Console(stderr=True))
    except (SpecError, RequestError, SlurmError, SubmissionError, LaunchError) as error:
        raise _fail(str(error)) from None
    except (SearchNameError, ScratchError, OversubscribedError, OSError) as error:
        raise _fail(str(error)) from None


@app.command()
def resume(
    search: SearchName,
    here: Annotated[bool, typer.Option("--here", help="In the foreground, however it was launched.")] = False,
    on: Annotated[Literal["slurm", "local"] | None, typer.Option("--on", help="Elsewhere than it was.")] = None,
    site: SiteName = None,
    nodes: Nodes = None,
    jobs: Jobs = None,
    cpus: Cpus = None,
    hours: Hours = None,
) -> None:
    """Go on with a search that was stopped or killed, the way it was launched, under the same trial numbers."""
    from rich.console import Console

    from cluster.commands.launch import LaunchError
    from cluster.commands.resume import BusyError, resume_elsewhere
    from cluster.jobs.request import Options, RequestError
    from cluster.jobs.slurm_queue import SlurmError
    from cluster.jobs.submission import SubmissionError
    from search_spaces.errors import SpecError

    if here and on:
        raise _fail(f"--here --on {on}: give one of them")
    paths, options = _find(search), Options(nodes, jobs, cpus, hours)
    try:
        is_done = resume_elsewhere(paths, "here" if here else on, site, options, Console())
    except (BusyError, RequestError, SpecError, SlurmError, SubmissionError, LaunchError, OSError) as error:
        raise _fail(str(error)) from None
    if not is_done:
        _foreground(paths)


def _foreground(paths) -> None:  # noqa: ANN001 - its type would be a heavy import
    from cluster.machine.capacity import OversubscribedError
    from cluster.machine.scratch import ScratchError
    from cluster.supervision.foreground import run_search
    from cluster.supervision.supervisor import SearchBusyError

    try:
        code = run_search(paths)
    except (SearchBusyError, ScratchError, OversubscribedError) as error:
        raise _fail(str(error)) from None
    from analysis.show import show_ending
    from cluster.state.storage_errors import StorageError

    try:
        show_ending(paths)
    except (StorageError, OSError) as error:  # how the search ended is known all the same
        typer.echo(str(error), err=True)
    raise typer.Exit(code)


@app.command()
def stop(
    search: SearchName,
    now: Annotated[bool, typer.Option("--now", help="End at once: trials go on from their last checkpoint.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has stopped.")] = True,
) -> None:
    """Save every running trial of a search and stop it, wherever it runs or waits; `swell resume` goes on."""
    from rich.console import Console

    from cluster.commands.stop import NotRunningError, stop_search

    try:
        stop_search(_find(search), Console(), now=now, wait=wait)
    except NotRunningError as error:
        raise _fail(str(error)) from None


@app.command()
def status(search: Annotated[str | None, typer.Argument(help="A search; all of them when left out.")] = None) -> None:
    """Show how far a search is, or list all searches."""
    from cluster.commands.status import show_all, show_one

    if search is None:
        show_all()
    else:
        show_one(_find(search))


@app.command()
def watch(search: SearchName) -> None:
    """Show the progress of a search that runs elsewhere, live, until it ends; Ctrl-C leaves it alone."""
    from rich.console import Console

    from cluster.commands.watch import watch as watch_search

    raise typer.Exit(watch_search(_find(search), Console()))


@app.command()
def logs(
    search: SearchName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until it ends.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Last lines of each log.")] = 40,
    job: Annotated[int | None, typer.Option(min=0, help="Of one of several jobs.")] = None,
    node: Annotated[int | None, typer.Option(min=0, help="Of one of several nodes.")] = None,
    driver: Annotated[bool, typer.Option("--driver", help="The newest wave driver's, with its Ray.")] = False,
) -> None:
    """Print what a search's job and its supervisor have written."""
    from rich.console import Console

    from cluster.commands.logs import NoLogError, Wanted, show_logs
    from cluster.jobs.standing import load_snapshot, standing_of

    paths = _find(search)

    def is_over() -> bool:
        return standing_of(paths, load_snapshot(paths)).is_over

    try:
        show_logs(paths, Wanted(job, node, driver), Console(), lines=lines, follow=follow, is_over=is_over)
    except NoLogError as error:
        raise _fail(str(error)) from None


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


@app.command()
def crashed(search: SearchName) -> None:
    """Show why trials failed: grouped by how they ended and where, with their numbers."""
    from rich.console import Console

    from analysis.crashed import show_crashed

    raise typer.Exit(show_crashed(_find(search), Console()))


@app.command()
def rerun(
    search: SearchName,
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
    here: Annotated[
        bool,
        typer.Option("--here", help="In this terminal, without Ray: with its traceback, and a debugger if wanted."),
    ] = False,
) -> None:
    """Run one trial again, as a search of its own or right here, and compare it with its record."""
    from rich.console import Console

    from cluster.commands.rerun import RerunError, rerun_command

    try:
        raise typer.Exit(rerun_command(_find(search), trial, here=here, console=Console()))
    except RerunError as error:
        raise _fail(str(error)) from None


@app.command()
def sync(
    search: SearchName,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the search has ended and all is synced.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many runs are in which state.")] = False,
    delete_synced: Annotated[
        bool, typer.Option("--delete-synced", help="Afterwards delete the runs here that W&B has.")
    ] = False,
) -> None:
    """Upload a search's finished W&B runs, from a machine that reaches the internet; each once, however often."""
    from rich.console import Console

    from cluster.commands.sync_command import sync_command
    from cluster.machine.scratch import ScratchError

    paths, console, errors = _find(search), Console(), Console(stderr=True)
    try:
        code = sync_command(paths, watch=watch, dry_run=dry_run, delete=delete_synced, console=console, errors=errors)
    except (ScratchError, OSError) as error:
        raise _fail(str(error)) from None
    raise typer.Exit(code)


@app.command()
def clean(
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Also Ray's and W&B's own leftovers of yours that nothing uses any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, with sizes.")] = False,
    older_than_h: Annotated[
        float, typer.Option(min=0, help="Leave alone foreign leftovers changed within this many hours.")
    ] = 24.0,
) -> None:
    """Delete the scratch of searches that have died."""
    from rich.console import Console

    from cluster.commands.clean_command import clean_command

    raise typer.Exit(clean_command(foreign=foreign, dry_run=dry_run, older_than_h=older_than_h, console=Console()))


@app.command()
def doctor(
    spec: Annotated[Path | None, typer.Argument(help="A search's YAML file, to be held against this machine.")] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Instead: a cluster, by a name of slurm/sites or by a YAML file.")
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="With --site: send a tiny job, and wait for it.")] = False,
) -> None:
    """Show what this machine gives a search (CPUs, threads, memory, disks), or whether a cluster is as described."""
    from rich.console import Console

    from cluster.commands.doctor_command import doctor_command, site_command

    if spec is not None and site is not None:
        raise _fail("SPEC --site: give one of them")
    if submit and site is None:
        raise _fail("--submit: only with --site")
    errors = Console(stderr=True)
    if site is not None:
        raise typer.Exit(site_command(site, submit=submit, console=Console(), errors=errors))
    raise typer.Exit(doctor_command(spec, console=Console(), errors=errors))


def _on_interrupt(_signum: int, _frame: object) -> None:
    # Until a search runs, which saves first. An exception could get lost in whatever is being imported.
    os._exit(130)


def _of_database(error: BaseException) -> str:
    """Return what a database has refused, such as tables that are not there; empty where an exception is none of it."""
    from search_spaces.errors import hide_passwords

    seen: BaseException | None = error
    while seen is not None:  # SQLAlchemy and Optuna wrap what the driver raises
        if type(seen).__module__.split(".")[0] == "psycopg":
            first, *_ = str(seen).splitlines() or [type(seen).__name__]
            return f"the database cannot be used: {hide_passwords(first)}"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return ""


def main() -> None:
    """Run the command line; a closed pipe (`swell table ... | head`) is no error, and Ctrl-C no fault.

    A disk or a database that cannot be used is said in one line, whichever command has met it.
    """
    signal.signal(signal.SIGINT, _on_interrupt)
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from cluster.state.storage_errors import StorageError  # only where it is needed

        said = str(error) if isinstance(error, StorageError | OSError) else _of_database(error)
        if not said:
            raise
        sys.exit(_fail(said).exit_code)
    finally:
        # Python gives signals their default back when it ends: a Ctrl-C then would make another exit code of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
