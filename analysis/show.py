"""Prints the ending of a search, and the results of `swell best`."""

from typing import TYPE_CHECKING

from analysis.tables.plain import show_plain
from analysis.tables.terminal import table_console, warn
from cluster.console import Console
from cluster.state.paths import SearchPaths
from cluster.state.records import is_feasible, load_spec

if TYPE_CHECKING:
    from analysis.best import Exported

ROWS_AT_THE_END = 10


def show_ending(paths: SearchPaths) -> None:
    """Print the best trials of a search that has ended, and where its files are."""
    console = table_console()
    if load_spec(paths).repeats:
        _show_configurations(paths, console)
    else:
        show_plain(paths, ROWS_AT_THE_END, is_of_ranked=True)
    console.print(f"all trials: swell table {paths.name}    best model: swell best {paths.name}")
    console.print(f"everything: {paths.root}", soft_wrap=True)
    if _has_report(paths):
        console.print(f"report: {paths.report} (open it in a browser, or hand it on)", soft_wrap=True)


def _show_configurations(paths: SearchPaths, console: Console) -> None:
    """Print the best configurations of a search that repeats each; pandas, which averages them, loads slowly."""
    from analysis.sources.directory import load_search
    from analysis.tables.configurations import by_configuration
    from analysis.tables.terminal import terminal_table

    search = load_search(paths)
    if search.trials.empty:
        return
    frame = by_configuration(search)
    num_ranked = len(frame.dropna(subset="rank"))
    console.print(terminal_table(frame.head(min(num_ranked or ROWS_AT_THE_END, ROWS_AT_THE_END))))
    warn(console, search.remarks)


def _has_report(paths: SearchPaths) -> bool:
    """Return whether the search has a report of its end, and not only one from before it went on."""
    try:
        return paths.report.stat().st_mtime >= paths.status.stat().st_mtime
    except OSError:
        return False


def show_exported(paths: SearchPaths, exported: "Exported") -> None:
    """Print what `swell best` has written."""
    console, record = Console(), exported.record
    console.print(f"trial {record.number} of {paths.name}: {', '.join(exported.files)} in", soft_wrap=True)
    console.print(str(exported.folder), soft_wrap=True)
    if "model.npz" not in exported.files:
        console.print("its checkpoint was not kept (keep: in the spec), so there is no model", style="yellow")
    if not is_feasible(load_spec(paths), record.metrics):
        console.print("it breaks a constraint of the spec (none keeps them all, or you chose it)", style="yellow")
