"""Folders of CSV files, a trajectory in each: `timestamp,qpos_0,..,qvel_0,..,ctrl_0,..`; NumPy in float64, no JAX."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from trainables._shared.data_files import Source, file_state
from trainables._shared.data_numbers import EVEN, centred, elapsed, even_step, look_at_columns, numbered
from trainables._shared.data_tables import Table, numbers, read_table, require_columns, require_finite
from trainables.gru_dynamics.layout import TIME, Layout

ALLOWED = "CSV with a header timestamp,qpos_0,..,qvel_0,..,ctrl_0,.. and a row of numbers for each sample"
FIELD = "folders"
VERSION = 1
"""Of what a folder is read as: a cached one of another version is read anew."""
UNLIKE = 0.2
"""By so much a velocity may differ from the rate of its position, before a warning says so."""
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")
_DECIMAL = re.compile(r"\s*[+-]?\d*\.(\d*)\s*")


class Folder(NamedTuple):
    """The trajectories of a folder, and the time between two samples."""

    files: tuple[str, ...]
    states: tuple[Float64[np.ndarray, "rows states"], ...]
    """A coordinate that varies little about a large offset is relative to its mean: the model sees differences."""
    controls: tuple[Float64[np.ndarray, "rows controls"], ...]
    dt: float
    warnings: tuple[str, ...] = ()
    """What a user must know of it, though it can be used."""


class _File(NamedTuple):
    values: Float64[np.ndarray, "rows columns"]
    """Positions, velocities and controls."""
    dt: float
    unread: tuple[str, ...]


FolderState = tuple[tuple[str, int, int], ...]


def read_folder(folder: str, layout: Layout, names: Sequence[str] = ()) -> Folder:
    """Return the trajectories of a folder's CSV files; raises ConfigError with file, line and column.

    `names` are the folders that its step of time is held against, too.
    """
    found = _read(folder, layout, folder_state(folder))
    for other in names:
        dt = _read(other, layout, folder_state(other)).dt
        if abs(found.dt - dt) > EVEN * dt:
            source = Source(folder, FIELD)
            raise source.error(
                f"is sampled every {found.dt:.6g}, and {other} every {dt:.6g}", "one step of time in all"
            )
    return found


def folder_state(folder: str) -> FolderState:
    """Return the names of a folder's CSV files, with what changes if one is written anew.

    Raises ConfigError if there is no such folder, or no such file in it.
    """
    source = Source(folder, FIELD)
    path = Path(folder)
    if not path.is_dir():
        why = "is no folder" if path.exists() else "there is no such folder"
        raise source.error(why, "a folder of CSV files that every worker can read")
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv")
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror}", "a folder of CSV files") from None
    if not files:
        inside = _folders_with_csv(path)
        where = f"; there are some in its {inside}, which are folders of their own" if inside else ""
        raise source.error(f"holds no .csv file{where}", "a CSV file for each trajectory, in the folder itself")
    return tuple((file.name, *file_state(Source(str(file), FIELD))) for file in files)


def _folders_with_csv(path: Path) -> str:
    """Return which folders in a folder hold CSV files, some of them by name."""
    found = sorted(file.parent.name for file in path.glob("*/*") if file.suffix.lower() == ".csv")
    names = list(dict.fromkeys(found))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} others" if len(names) > 5 else "")


@functools.lru_cache(maxsize=16)
def _read(folder: str, layout: Layout, state: FolderState) -> Folder:
    """Read a folder once for each state of its files: a check asks for it at every configuration."""
    source = Source(folder, FIELD)
    files = [(name, _read_file(Source(str(Path(folder) / name), FIELD), layout)) for name, *_ in state]
    first, dt = files[0][0], files[0][1].dt
    for name, file in files:
        if abs(file.dt - dt) > EVEN * dt:
            own = Source(str(Path(folder) / name), FIELD)
            why = f"column {TIME}: its rows are {file.dt:.6g} apart, and those of {first} {dt:.6g}"
            raise own.error(why, f"one step of time in all files, within {100 * EVEN:g} %")
    dt = float(np.mean([file.dt for _, file in files]))
    if unread := sorted({name for _, file in files for name in file.unread}):
        source.warn(
            f"the columns {', '.join(unread[:8])} are not read: coordinates, angles, velocities and controls name "
            "those that are"
        )
    values = _look_at(source, [file.values for _, file in files], layout, dt)
    num_q, num = len(layout.positions), len(layout.positions) + len(layout.velocities)
    states = tuple(layout.joined(one[:, :num_q], one[:, num_q:num]) for one in values)
    controls = tuple(one[:, num:] for one in values)
    return Folder(tuple(name for name, _ in files), states, controls, dt, tuple(source.warnings))


def _read_file(source: Source, layout: Layout) -> _File:
    table = read_table(source, ALLOWED)
    wanted = (TIME, *layout.columns)
    require_columns(source, table, wanted, ALLOWED)
    places = [table.names.index(name) for name in wanted]
    values = numbers(source, table, places, ALLOWED)
    if len(values) < 2:
        raise source.error(f"has {len(values)} rows below its header", "two samples or more")
    require_finite(source, table, places, values, "no missing samples")
    dt = _step(source, table, values[:, 0])
    return _File(values[:, 1:], dt, tuple(name for name in table.names if name and name not in wanted))


def _step(source: Source, table: Table, t: Float64[np.ndarray, " rows"]) -> float:
    """Return the time between two rows; raises ConfigError with the line if they are not evenly spaced."""
    cells = table.column(TIME)
    grain = float(np.finfo(np.float64).eps)
    if all(_WHOLE.fullmatch(cell) for cell in cells):
        whole = [int(cell) for cell in cells]
        if max(map(abs, whole)) >= 2**63:
            raise source.error(f"column {TIME}: {max(whole, key=abs)} is beyond 64 bits", "times in seconds")
        t = elapsed(source, TIME, np.array(whole))  # of nanoseconds since 1970, which float64 does not hold
    elif len(decimals := [found for cell in cells if (found := _DECIMAL.fullmatch(cell))]) == len(cells):
        # Times that are written with three digits after the point are rounded to those, unless the step is as short.
        unit = 10.0 ** -max(len(found[1]) for found in decimals)
        if unit <= float(t[-1] - t[0]) / (len(t) - 1) / 4:
            grain = max(grain, 0.5 * unit / max(float(np.abs(t).max()), unit))
    return even_step(source, [t], grain, lambda row: f"line {table.lines[row]}, column {TIME}")


def _look_at(
    source: Source, files: list[Float64[np.ndarray, "rows columns"]], layout: Layout, dt: float
) -> list[Float64[np.ndarray, "rows columns"]]:
    """Return the files' values, coordinates relative to their mean if that is large; note what is odd about them."""
    together = np.concatenate(files)
    lengths = np.array([len(one) for one in files])
    grain = float(np.finfo(np.float64).eps)
    columns = look_at_columns(
        source, "the columns", together, np.cumsum(lengths) - lengths, grain=grain, names=layout.columns,
        series="trajectory",
    )  # fmt: skip
    if columns.constant.all():
        raise source.error("nothing in its columns ever changes", "columns that vary")
    for k in np.flatnonzero(columns.constant):
        source.warn(f"column {layout.columns[k]} never changes: it is {together[0, k]:g}")
    _look_at_rates(source, files, layout, dt)
    num = len(layout.coordinates)
    chosen = columns._replace(**{name: getattr(columns, name)[:num] for name in columns._fields})
    offset = np.zeros(together.shape[1])
    offset[:num] = centred(source, "the columns", chosen, layout.columns)
    return [one - offset for one in files]


def _look_at_rates(source: Source, files: list[Float64[np.ndarray, "rows columns"]], layout: Layout, dt: float) -> None:
    """Warn if a position does not change as the velocity of its index says: angles in degrees, another unit of time."""
    num_q = len(layout.positions)
    for k, rate in enumerate(layout.rates):
        if rate < 0:
            continue
        moved = np.concatenate([np.diff(one[:, k]) for one in files])
        mean = np.concatenate([(one[1:, num_q + rate] + one[:-1, num_q + rate]) / 2 for one in files]) * dt
        # A jump of a whole turn is where an angle is wrapped.
        smooth = np.abs(moved) < np.pi if k >= len(layout.coordinates) else np.ones(len(moved), bool)
        power = float((mean[smooth] ** 2).sum())
        ratio = float((moved[smooth] * mean[smooth]).sum()) / power if power > 0 else 1.0
        if abs(ratio - 1) > UNLIKE:
            q, v = layout.columns[k], layout.columns[num_q + rate]
            source.warn(
                f"{v} is not the rate of {q}, which changes {ratio:.4g} times as fast (angles in degrees: 57.3): "
                "angles are in radians, and velocities per unit of timestamp; if they have to differ, set base_step: "
                "persistence"
            )


def left_out(source: Source, lengths: Sequence[int], needed: int) -> tuple[str, ...]:
    """Return the warning that says which of a folder's trajectories are too short to be used, if any are."""
    short = np.flatnonzero(np.asarray(lengths) < needed)
    if not len(short):
        return ()
    which = f"{len(short)} of its {len(lengths)} trajectories are left out, as they have fewer than {needed} rows"
    return (f"{source.name}: {which}: trajectory {numbered(short)}, in order of the files' names",)
