"""Prints the table of one search that is asked for most often, without pandas: loading it takes longer than all else.

What it prints is what the table of the same search's data frame would be.
"""

from collections.abc import Sequence

from analysis.sources.trial_rows import (
    ORIGINS,
    columns_judged,
    columns_on_a_page,
    config_column,
    mixture,
    num_origins,
    trial_rows,
)
from analysis.tables.terminal import RowTable, table_console, warn
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec, load_trials


def show_plain(paths: SearchPaths, top: int | None, *, is_of_ranked: bool = False) -> bool:
    """Print the trials of a search, best first, at most `top` of them; return False if it has none.

    With `is_of_ranked` those without a rank are left out if any has one. Raises DamagedFileError if the spec cannot be
    read.
    """
    spec, records = load_spec(paths), load_trials(paths)
    if not records:
        return False
    rows = trial_rows(spec, records)
    if is_of_ranked:
        num_ranked = sum(row.get("rank") is not None for row in rows)
        top = num_ranked if num_ranked and (top is None or num_ranked < top) else top
    there = dict.fromkeys(name for row in rows for name in row)
    metrics = columns_judged(spec, there)
    judged = [metrics.get(one.metric, one.metric) for one in (*spec.objectives, *spec.constraints)]
    searched = list(map(config_column, [*spec.space, *(["seed"] if spec.repeats else [])]))
    measured_by_none = [one.metric for one in spec.objectives if one.metric not in metrics]
    origins = {name: num_origins(row.get(name) for row in rows) for name in ORIGINS}
    mixed = [name for name, number in origins.items() if number > 1]
    names = columns_on_a_page(judged, searched, mixed, [*there, *map(config_column, spec.space), *measured_by_none])
    columns = [_Column(name, [row.get(name) for row in rows]) for name in names]
    shown = zip(*(column.values[:top] for column in columns), strict=True)
    console = table_console()
    console.print(RowTable([(column.name, column.is_number) for column in columns], shown))
    warn(console, list(filter(None, [mixture(origins)])))
    return True


class _Column:
    """A column as a data frame would have it: whole numbers are whole only if all are there."""

    def __init__(self, name: str, values: Sequence[object]) -> None:
        self.name = name
        kinds = {type(value) for value in values if value is not None}
        has_all = None not in values
        self.is_number = name == "rank" or (kinds <= {int, float} and bool(kinds)) or (kinds == {bool} and has_all)
        is_float = name != "rank" and kinds <= {int, float} and (float in kinds or not has_all)
        self.values = [float(v) if is_float and isinstance(v, int) else v for v in values]
