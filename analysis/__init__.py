"""What a search found: `analysis.load("quickstart")` returns its trials, histories, configs and models.

It reads a search directory, running or finished, without Ray; JAX is needed only for models. The command line, the
reports and the notebooks use what is here.
"""

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is heavy (pandas and more) is imported by the first call, so that `import analysis` is cheap
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any, Literal

    import pandas as pd

    from analysis.drawing.picture import Picture
    from analysis.evaluation.evaluate import Evaluation
    from analysis.mattered.compare import Comparison
    from analysis.search import Search

__all__ = [
    "compare",
    "diff",
    "evaluate",
    "export",
    "figure",
    "from_csv",
    "from_optuna",
    "load",
    "table",
    "write_report",
]

# In a notebook without ipywidgets, importing Optuna imports a progress bar that complains; nothing here shows one.
warnings.filterwarnings("ignore", message="IProgress not found")


def load(search: str) -> "Search":
    """Return a search by its name or path, running or finished.

    Raises SearchNotFoundError, which names the searches that exist, and DamagedFileError if its spec cannot be read.
    """
    from analysis.sources.directory import load_search

    return load_search(search)


def compare(search: "Search | str", factor: str | None = None) -> "Comparison":
    """Return which choice mattered in a search (or its name or path): levels, importance, interactions, seeds, cost.

    With `factor`, a column's name, of this factor alone. Raises NotThereError if nothing of that name was searched.
    """
    from analysis.mattered.compare import compare as compare_search

    return compare_search(load(search) if isinstance(search, str) else search, factor)


def table(
    searches: "Search | str | Sequence[Search | str]",
    *,
    where: str | None = None,
    sort: str | None = None,
    by: str | None = None,
    columns: str | None = None,
    top: int | None = None,
    by_configuration: bool = False,
) -> "pd.DataFrame":
    """Return the trials of a search, or of several, as `swell table` shows them: chosen, sorted, grouped.

    `where` is a condition such as "depth == 2 and head != 'signed'", `sort`, `by` and `columns` are names of columns
    separated by commas ("-name" sorts the largest first). Raises TableError if the table cannot be made.
    """
    from analysis.search import Search
    from analysis.tables.make import Request, make

    several = [searches] if isinstance(searches, str | Search) else searches
    loaded = [load(one) if isinstance(one, str) else one for one in several]
    return make(loaded, Request(where, sort, columns, by, by_configuration, top)).frame


def diff(*sides: "str | Path | Search | tuple[Search, int]", all_: bool = False) -> "pd.DataFrame":
    """Return what differs between trials, searches or specs: a row for each field, outcome, metric or version.

    A trial is "quickstart/3" or a search with its number, a spec is a file. With `all_`, what is the same is there too.
    Raises DiffError if they are of several kinds.
    """
    from analysis.differences.diff import differences
    from analysis.differences.sides import read_side

    return differences([read_side(side) for side in sides], all_=all_)


def export(
    search: "Search | str",
    to: 'Literal["tensorboard", "csv", "parquet"]',
    folder: "str | Path | None" = None,
    trials: "Sequence[int] | None" = None,
) -> "Path":
    """Write the histories of a search, or of some trials, for another tool; return the folder.

    TensorBoard gets a run for each trial, csv and parquet a row for each trial and step. By default the folder is
    `export` in the search directory. Raises ExportError if other files are in the way.
    """
    from pathlib import Path

    from analysis.tables.export import export_histories

    loaded = load(search) if isinstance(search, str) else search
    return export_histories(loaded, to, Path(folder) if folder is not None else None, trials).folder


def write_report(searches: "Search | str | Sequence[Search | str]", path: "str | Path | None" = None) -> "Path":
    """Write what searches (or their names or paths) asked and found as one HTML file; return the file.

    Without `path` the report of one search directory lies in it, and any other in the working directory. What could not
    be made is named in the report. Raises ReportError if the file cannot be written.
    """
    from pathlib import Path

    from analysis.report.write import write_report as write
    from analysis.search import Search

    several = [searches] if isinstance(searches, str | Search) else searches
    loaded = [load(one) if isinstance(one, str) else one for one in several]
    return write(loaded, Path(path) if path is not None else None)[0]


def figure(search: "Search | str", name: str, trials: "Sequence[int] | None" = None, **options: "Any") -> "Picture":
    """Return a figure of a search, or of some of its trials: a notebook shows it, `save` writes it to a file.

    `swell plot SEARCH --list` has the names and options. Raises FigureError if there is no such figure or option, and
    NothingToShowError if the search has nothing for it.
    """
    from analysis.drawing.picture import picture

    return picture(load(search) if isinstance(search, str) else search, name, trials, **options)


def from_csv(
    path_or_frame: "str | Path | pd.DataFrame",
    *,
    objective: "str | Sequence[str] | None" = None,
    mode: "str | Sequence[str] | None" = None,
    parameters: "str | Sequence[str] | None" = None,
    seed: str | None = None,
    steps: str | None = None,
    trial: str | None = None,
    outcome: str | None = None,
    name: str | None = None,
) -> "Search":
    """Return the search in a table with a row per trial: a csv file (a W&B export of runs, for instance), or a frame.

    Each argument names the column, or columns, in that role, and `mode` says whether small ("min") or large ("max") is
    good; what is not said is guessed from names and values, and `Search.remarks` tell how. If the column `trial`
    repeats and there are `steps`, rows are reports: the last one of a trial is its result. Raises SourceError, which
    names the line and the cell, if the table cannot be read.
    """
    from analysis.sources.roles import Told
    from analysis.sources.table import search_of_table

    told = Told(objective, mode, parameters, seed, steps, trial, outcome)
    return search_of_table(path_or_frame, told, name)


def from_optuna(storage_url: "str | Path", study_name: str | None = None) -> "Search":
    """Return the search in an Optuna study: of a database's URL, of an SQLite file, or of a journal file.

    The name may be left out if the storage has one study. Raises SourceError if the storage cannot be opened, or has no
    such study; it lists those that are there.
    """
    from analysis.sources.optuna_study import search_of_study

    return search_of_study(storage_url, study_name)


def evaluate(
    search: "Search | str",
    on: "Sequence[str]",
    trials: "Sequence[int] | None" = None,
    step: "int | str | None" = None,
) -> "Evaluation":
    """Return what kept models give on test sets, by name or from files: by default those of the ten best trials.

    They are the trials' best models, or those after `step` steps, or the `last`. It needs JAX. What was computed before
    is read from the search directory. Raises EvaluationError if there is no such set, or no model.
    """
    from analysis.evaluation.evaluate import evaluate as evaluate_search

    return evaluate_search(load(search) if isinstance(search, str) else search, on, trials, step=step)
