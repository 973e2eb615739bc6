"""Prints the ending of a search, and the results of `swell best`."""

from analysis.best import Exported
from analysis.sources.directory import load_search
from analysis.tables.columns import short_columns
from analysis.tables.configurations import by_configuration
from analysis.tables.terminal import table_console, terminal_table, warn
from cluster.console import Console
from cluster.state.paths import SearchPaths
from cluster.state.records import is_feasible, load_spec

ROWS_AT_THE_END = 10


def show_ending(paths: SearchPaths) -> None:
    """Print the best trials of a search that has ended, and where its files are."""
    console, search = table_console(), load_search(paths)
    if not search.trials.empty:
        frame = by_configuration(search) if search.seed else search.trials.filter(items=short_columns(search))
        num_ranked = len(frame.dropna(subset="rank"))
        console.print(terminal_table(frame.head(min(num_ranked or ROWS_AT_THE_END, ROWS_AT_THE_END))))
        warn(console, search.remarks)
    console.print(f"all trials: swell table {paths.name}    best model: swell best {paths.name}")
    console.print(f"everything: {paths.root}", soft_wrap=True)
    if _has_report(paths):
        console.print(f"report: {paths.report} (open it in a browser, or hand it on)", soft_wrap=True)


def _has_report(paths: SearchPaths) -> bool:
    """Return whether the search has a report of its end, and not only one from before it went on."""
    try:
        return paths.report.stat().st_mtime >= paths.status.stat().st_mtime
    except OSError:
        return False


def show_exported(paths: SearchPaths, exported: Exported) -> None:
    """Print what `swell best` has written."""
    console, record = Console(), exported.record
    console.print(f"trial {record.number} of {paths.name}: {', '.join(exported.files)} in", soft_wrap=True)
    console.print(str(exported.folder), soft_wrap=True)
    if "model.npz" not in exported.files:
        console.print("its checkpoint was not kept (keep: in the spec), so there is no model", style="yellow")
    if not is_feasible(load_spec(paths), record.metrics):
        console.print("it breaks a constraint of the spec (none keeps them all, or you chose it)", style="yellow")
