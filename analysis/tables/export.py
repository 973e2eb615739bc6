"""Hands the histories of a search over to other tools: TensorBoard's runs, or one long table as csv or parquet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from analysis.best import ExportError
from analysis.search import Search
from analysis.tables.cells import cells
from analysis.tables.formats import write
from cluster.machine.files import read_object, write_json

To = Literal["tensorboard", "csv", "parquet"]
RECORD = "export.json"
"""The file in an export's folder that says which files are of it; a later export replaces those, and no others."""
FIRST = ("trial", "configuration", "outcome")


@dataclass(frozen=True)
class Handed:
    """What was handed over."""

    folder: Path
    files: tuple[str, ...]
    """Relative to the folder."""
    num_trials: int
    without: tuple[int, ...]
    """The trials that have reported nothing."""


def long_table(search: Search, trials: Sequence[int] | None = None) -> pd.DataFrame:
    """Return all reports of a search, or of some trials: a row for each trial and step, with what was searched.

    Columns: `trial`, `configuration`, `outcome`, a column per factor, the seed, `step`, `seconds`, and one per metric;
    a metric that is called like a column before it has the prefix "metric.". Raises NotThereError if there is no such
    trial.
    """
    for trial in trials or ():
        search.row(trial)  # says what is not there
    reports = search.histories
    if trials is not None:
        reports = reports.loc[reports["trial"].isin(list(trials))]
    searched = [factor.column for factor in search.factors] + ([search.seed] if search.seed else [])
    own = [name for name in dict.fromkeys([*FIRST, *searched]) if name in search.trials.columns]
    taken = {*own, "step", "seconds"} - {"trial"}
    own = [name for name in own if name not in ("step", "seconds")]
    metrics = {name: f"metric.{name}" for name in reports.columns if name in taken and name not in ("step", "seconds")}
    known = search.trials.loc[:, own]
    return known.merge(reports.rename(columns=metrics), on="trial").sort_values(["trial", "step"], ignore_index=True)


def export_histories(search: Search, to: To, folder: Path | None = None, trials: Sequence[int] | None = None) -> Handed:
    """Write the histories of a search, or of some trials, for another tool to a folder; return what was written.

    By default it is the folder `export` in the search directory. Files of an earlier export there are replaced. Raises
    ExportError if the folder has other files with the same names, or if there is nothing to hand over, and
    NotThereError if there is no such trial.
    """
    table = long_table(search, trials)
    numbers = sorted(set(search.trials["trial"] if trials is None else trials))
    reported = sorted(set(table["trial"]))
    if not reported:
        raise ExportError(f"{search.name} has no reports of {'its' if trials is None else 'these'} trials")
    if folder is None:
        if search.paths is None:
            raise ExportError(f"{search.name} is no search directory: say which folder to write to")
        folder = search.paths.export / to
    writers = _tensorboard_writers(search, table) if to == "tensorboard" else _table_writers(table, to)
    _claim(folder, list(writers))
    for name, put in writers.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        put(folder / name)
    without = tuple(number for number in numbers if number not in set(reported))
    return Handed(folder, tuple(writers), len(reported), without)


def _claim(folder: Path, names: Sequence[str]) -> None:
    """Delete the files of an earlier export, and note those to come; raises ExportError if another file is in the way.

    They are noted before they are written, so that those of an export that was killed can be replaced too.
    """
    earlier = {name for name in _noted(folder) if _is_inside(name)}
    foreign = [name for name in (*names, RECORD) if (folder / name).exists() and name not in {*earlier, RECORD}]
    if (folder / RECORD).exists() and not _is_ours(folder):
        foreign.append(RECORD)
    if foreign:
        raise ExportError(f"{folder} has a {foreign[0]} that is not of an earlier export; choose another --output")
    for name in earlier:
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD, {"histories": list(names)})


def _noted(folder: Path) -> list[str]:
    return [name for name in (read_object(folder / RECORD) or {}).get("histories", []) if isinstance(name, str)]


def _is_ours(folder: Path) -> bool:
    return "histories" in (read_object(folder / RECORD) or {})


def _is_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _table_writers(table: pd.DataFrame, to: Literal["csv", "parquet"]) -> dict[str, Callable[[Path], None]]:
    return {f"histories.{to}": lambda path: write(table, to, path)}


def _tensorboard_writers(search: Search, table: pd.DataFrame) -> dict[str, Callable[[Path], None]]:
    """Return what writes one run for each trial, by the names of the files."""
    from analysis.tables.tensorboard import RUN_FILE, Run

    known = {*FIRST, "step", "seconds", *(factor.column for factor in search.factors), search.seed}
    metrics = [str(name) for name in table.columns if name not in known]
    writers: dict[str, Callable[[Path], None]] = {}
    for number, reports in table.groupby("trial"):
        row = search.row(int(str(number)))
        final = {one.column: row.get(one.column) for one in search.objectives}
        run = Run(
            hparams=_hparams(search, row),
            results={name: float(value) for name, value in final.items() if isinstance(value, int | float)},
            began_at=_known_or_zero(row.get("began_at")),
            steps=[int(step) for step in reports["step"]],
            seconds=[_known_or_zero(second) for second in reports["seconds"]],
            metrics={name: cells(reports.loc[:, name]) for name in metrics},
        )
        writers[f"trial-{number:06d}/{RUN_FILE}"] = run.write
    return writers


def _hparams(search: Search, row: pd.Series) -> dict[str, Any]:
    names: Iterable[str] = [factor.column for factor in search.factors] + ([search.seed] if search.seed else [])
    values = cells(row.reindex(list(names)))
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _known_or_zero(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value == value else 0.0
