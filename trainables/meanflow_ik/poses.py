"""Poses from a CSV file: every mistake is named by file, line and column; no JAX."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from trainables._shared.data_files import Source
from trainables._shared.data_tables import Table, numbers, read_table, require_columns, require_finite
from trainables.meanflow_ik.files import OFF_UNIT, POSE_COLUMNS
from trainables.meanflow_ik.kinematics import Pose
from trainables.meanflow_ik.rotations import matrix_from_quaternion

FARTHEST_M = 100.0
"""A position beyond is taken for another unit."""
ALLOWED = f"a first line with {','.join(POSE_COLUMNS)}, then for each pose metres and a quaternion of length 1"


def read_poses(path: Path) -> Pose:
    """Return the poses (n) of a CSV file, position in metres, float64.

    Its first line names the columns, x, y, z, qw, qx, qy, qz in any order; others are not read. Quaternions are of
    length 1 within 0.001. Raises ConfigError with file, line and column.
    """
    source = Source(str(path), field="poses")
    table = read_table(source, ALLOWED)
    require_columns(source, table, POSE_COLUMNS, ALLOWED)
    if not table.rows:
        raise source.error("has no poses", ALLOWED)
    places = [table.names.index(name) for name in POSE_COLUMNS]
    values = numbers(source, table, places, ALLOWED)
    require_finite(source, table, places, values, ALLOWED)
    _require_poses(source, table, values)
    return Pose(values[:, :3], matrix_from_quaternion(values[:, 3:]))


def _require_poses(source: Source, table: Table, values: Float64[np.ndarray, "n 7"]) -> None:
    """Raise ConfigError if a position is not in metres, or a quaternion has not length 1."""
    if (far := np.argwhere(np.abs(values[:, :3]) > FARTHEST_M)).size:
        row, column = (int(index) for index in far[0])
        why = f"line {table.lines[row]}, column {POSE_COLUMNS[column]} holds {values[row, column]:g}"
        raise source.error(why, f"metres, at most {FARTHEST_M:g}")
    lengths = np.sqrt((values[:, 3:] ** 2).sum(1))
    if (off := np.flatnonzero(np.abs(lengths - 1) > OFF_UNIT)).size:
        row = int(off[0])
        why = f"line {table.lines[row]}, columns qw, qx, qy, qz hold a quaternion of length {lengths[row]:g}"
        raise source.error(why, "length 1")
