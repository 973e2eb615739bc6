"""Poses from a CSV file: every mistake is named by file, line and column; no JAX."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trainables.meanflow_ik.files import OFF_UNIT, POSE_COLUMNS
from trainables.meanflow_ik.kinematics import Pose
from trainables.meanflow_ik.rotations import matrix_from_quaternion

FARTHEST_M = 100.0
"""A position beyond is taken for another unit."""


class PosesError(ValueError):
    """A file of poses cannot be used; the message has file, line and column, and what is allowed."""

    def __init__(self, path: Path, line: int | None, column: str | None, message: str, allowed: str) -> None:
        place = f"{path}:{line}: " if line else f"{path}: "
        named = f"column {column}: " if column else ""
        super().__init__(f"{place}{named}{message} (allowed: {allowed})")


def read_poses(path: Path) -> Pose:
    """Return the poses (n) of a CSV file, position in metres, float64.

    Its first line names the columns, x, y, z, qw, qx, qy, qz in any order; others are not read. Quaternions are of
    length 1 within 0.001. Raises PosesError.
    """
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            columns = _columns(path, next(reader, []))
            rows = list(_rows(path, reader, columns))
    except OSError as error:
        raise PosesError(path, None, None, f"cannot be read: {error.strerror or error}", "a CSV file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise PosesError(path, None, None, f"is no CSV file in UTF-8: {error}", "a CSV file") from None
    if not rows:
        raise PosesError(path, None, None, "has no poses", "a line for each pose, after the names of the columns")
    values = np.array(rows)
    return Pose(values[:, :3], matrix_from_quaternion(values[:, 3:]))


def _columns(path: Path, header: Sequence[str]) -> list[int]:
    """Return where in a line each number of a pose is."""
    names = [name.strip().lower() for name in header]
    for name in POSE_COLUMNS:
        if names.count(name) != 1:
            why = "occurs twice" if name in names else f"is missing: its first line is {', '.join(header) or 'empty'}"
            raise PosesError(path, 1, name, why, f"a first line with {','.join(POSE_COLUMNS)}, each once")
    return [names.index(name) for name in POSE_COLUMNS]


def _rows(path: Path, reader: Iterator[list[str]], columns: Sequence[int]) -> Iterator[list[float]]:
    for row in reader:
        line = reader.line_num  # pyright: ignore[reportAttributeAccessIssue]
        if not any(cell.strip() for cell in row):
            continue
        pose = [_number(path, line, name, row, k) for name, k in zip(POSE_COLUMNS, columns, strict=True)]
        for name, value in zip(POSE_COLUMNS[:3], pose[:3], strict=True):
            if abs(value) > FARTHEST_M:
                raise PosesError(path, line, name, f"is {value:g}", f"metres, at most {FARTHEST_M:g}")
        length = math.hypot(*pose[3:])
        if abs(length - 1) > OFF_UNIT:
            raise PosesError(path, line, "qw, qx, qy, qz", f"have length {length:g}", "a quaternion of length 1")
        yield pose


def _number(path: Path, line: int, name: str, row: Sequence[str], k: int) -> float:
    if k >= len(row) or not row[k].strip():
        raise PosesError(path, line, name, "is empty", "a number")
    try:
        value = float(row[k])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise PosesError(path, line, name, f"is {row[k].strip()!r}", "a finite number")
    return value
