"""Joint angles and poses from a file: checked against the robot's forward kinematics, in float64; no JAX."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from trainables._shared.config import ConfigError
from trainables._shared.data_files import Source, read_npz
from trainables._shared.data_numbers import look_at_columns, numbered, real_numbers, resolution
from trainables.meanflow_ik.kinematics import Pose, forward_kinematics, pose_errors
from trainables.meanflow_ik.robots import ROBOTS, LimitsName, RobotName, joint_limits
from trainables.meanflow_ik.rotations import matrix_from_quaternion

WANTED = "q (samples, joints) and pose (samples, 7)"
POSE_COLUMNS = ("x", "y", "z", "qw", "qx", "qy", "qz")
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Shares of a file's samples."""
FEWEST_SAMPLES = 20
LONGEST_MM, LARGEST_DEG = 1.0, 0.1
"""How far a file's pose may be from the robot's own at its joint angles."""
OFF_UNIT = 1e-3
"""By how much a quaternion's length may differ from 1."""
PAST_LIMIT = 1e-4
"""By how many radians an angle may be past its limit, for limits that were rounded."""


class Samples(NamedTuple):
    """Joint angles, and the poses that they reach."""

    q: Float64[np.ndarray, "n joints"]
    position: Float64[np.ndarray, "n 3"]
    rotation: Float64[np.ndarray, "n 3 3"]


def read_file(path: Path, robot: RobotName, limits: LimitsName, split: str) -> Samples:
    """Return a file's samples of a split: train, val or test.

    Raises ConfigError for a file that cannot be read, or whose samples are not the robot's.
    """
    samples = _read(Source(str(path)), robot, limits)
    rows = split_rows(len(samples.q))[split]
    return Samples(*(array[rows] for array in samples))


def split_rows(num: int) -> dict[str, Int[np.ndarray, " some"]]:
    """Return the rows of each split of so many, drawn in an order of their own, always the same."""
    shuffled = np.random.default_rng(0).permutation(num)
    ends = np.round(np.cumsum(list(SPLITS.values())) * num).astype(int)
    return {name: np.sort(part) for name, part in zip(SPLITS, np.split(shuffled, ends[:-1]), strict=True)}


def file_warnings(path: Path, robot: RobotName, limits: LimitsName) -> tuple[str, ...]:
    """Return what a user must know of a file that can be used; raises ConfigError for one that cannot."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError("file", str(path), f"cannot be read: {error.strerror}", "a file that exists") from None
    return _warnings(path, (status.st_mtime_ns, status.st_size), robot, limits)


@functools.lru_cache(maxsize=64)
def _warnings(path: Path, state: tuple[int, int], robot: RobotName, limits: LimitsName) -> tuple[str, ...]:
    """Return a file's warnings: a check asks for them at every configuration."""
    source = Source(str(path))
    _read(source, robot, limits)
    return tuple(source.warnings)


def _read(source: Source, robot: RobotName, limits: LimitsName) -> Samples:
    arrays = read_npz(source, WANTED, ("q", "pose"))
    q, pose = arrays.get("q"), arrays.get("pose")
    joints = ROBOTS[robot].num_joints
    if q is None or pose is None or q.shape != (len(pose), joints) or pose.shape != (len(q), 7):
        allowed = f"{WANTED}, as many samples of both, and {joints} joints of {robot}"
        raise source.error(f"holds {source.holds(arrays)}", allowed)
    if len(q) < FEWEST_SAMPLES:
        raise source.error(f"holds {len(q)} samples, too few to split", f"at least {FEWEST_SAMPLES}")
    grains = resolution(q), resolution(pose)
    q, pose = real_numbers(source, "q", q), real_numbers(source, "pose", pose)
    _require_finite(source, "q", q, [f"joint {k + 1}" for k in range(joints)])
    _require_finite(source, "pose", pose, POSE_COLUMNS)
    for name, values, grain in (("q", q, grains[0]), ("pose", pose, grains[1])):
        look_at_columns(source, name, values, np.array([0]), grain=grain)
    q = _within_limits(source, q, robot, limits)
    lengths = np.sqrt((pose[:, 3:] ** 2).sum(1))
    if (off := np.flatnonzero(np.abs(lengths - 1) > OFF_UNIT)).size:
        k = int(off[0])
        why = (
            f"{len(off)} quaternions of its pose (columns 4 to 7) have not length 1, such as row {k + 1}: "
            f"{lengths[k]:g}"
        )
        raise source.error(why, "unit quaternions, in the order qw qx qy qz")
    samples = Samples(q, pose[:, :3], matrix_from_quaternion(pose[:, 3:]))
    _require_robot(source, samples, robot)
    return samples


def _require_finite(
    source: Source, name: str, values: Float64[np.ndarray, "n columns"], columns: Sequence[str]
) -> None:
    if (bad := np.argwhere(~np.isfinite(values))).size:
        row, column = (int(k) for k in bad[0])
        why = (
            f"{len(bad)} values of its {name} are missing or infinite, first row {row + 1}, column {column + 1} "
            f"({columns[column]})"
        )
        raise source.error(why, "finite numbers")


def _within_limits(
    source: Source, q: Float64[np.ndarray, "n joints"], robot: RobotName, limits: LimitsName
) -> Float64[np.ndarray, "n joints"]:
    low, high = map(np.array, joint_limits(robot, limits))
    if (bad := np.argwhere((q < low - PAST_LIMIT) | (q > high + PAST_LIMIT))).size:
        row, column = (int(k) for k in bad[0])
        why = (
            f"{len(bad)} of its joint angles are beyond the limits of {robot}, first row {row + 1}, column "
            f"{column + 1}: {q[row, column]:g}"
        )
        raise source.error(why, f"{low[column]:g} to {high[column]:g} rad in this column (limits: {limits})")
    return np.clip(q, low, high)


def _require_robot(source: Source, samples: Samples, robot: RobotName) -> None:
    """Raise ConfigError if poses are not those of the robot's flange: of another tool, frame or order of numbers."""
    distance, angle = pose_errors(forward_kinematics(ROBOTS[robot], samples.q), Pose(*samples[1:]))
    distance, angle = 1000 * distance, np.degrees(angle)
    if not (bad := np.flatnonzero((distance > LONGEST_MM) | (angle > LARGEST_DEG))).size:
        return
    worst = int(bad[np.argmax(distance[bad])])
    why = (
        f"{len(bad)} of its {len(samples.q)} poses are not where {robot} has its flange at these joint angles (rows "
        f"{numbered(bad)}); the farthest, row {worst + 1}, is {distance[worst]:.1f} mm and "
        f"{angle[worst]:.2f} degrees off"
    )
    raise source.error(why, "poses of the flange in the base's frame, x y z in metres, then qw qx qy qz")
