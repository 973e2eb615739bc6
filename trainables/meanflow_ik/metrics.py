"""How well joint angles reach poses, and how different the solutions of a pose are; NumPy in float64."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from trainables.meanflow_ik.data import Limits, Targets
from trainables.meanflow_ik.kinematics import Pose, forward_kinematics, pose_errors
from trainables.meanflow_ik.metric_names import (
    BEST_OF,
    POLISHED,
    REACHED_DEG,
    REACHED_MM,
    SUCCESS_DEG,
    SUCCESS_MM,
    prefix,
)
from trainables.meanflow_ik.robots import Robot

PAST_LIMIT = 1e-5
"""Radians by which a joint may be past its limit: float32 resolves no less at a full turn."""

Solutions = Float[np.ndarray, "n solutions joints"]


class Errors(NamedTuple):
    """Of solutions of poses."""

    position_mm: Float64[np.ndarray, "n solutions"]
    rotation_deg: Float64[np.ndarray, "n solutions"]


def errors_of(robot: Robot, target: Pose, q: Solutions) -> Errors:
    """Return the errors of solutions of poses (n), by forward kinematics in float64; infinite where q is not finite."""
    q = np.asarray(q, np.float64)
    finite = np.asarray(np.isfinite(q).all(-1))
    reached = forward_kinematics(robot, np.where(finite[..., None], q, 0.0))
    position, rotation = (np.asarray(array, np.float64)[:, None] for array in target)
    distance, angle = pose_errors(reached, Pose(position, rotation))
    return Errors(np.where(finite, 1000 * distance, np.inf), np.where(finite, np.degrees(angle), np.inf))


def is_outside(q: Solutions, limits: Limits) -> Bool[np.ndarray, "n solutions"]:
    """Return whether a joint is beyond its limits, or not a number."""
    inside = (q >= limits.low - PAST_LIMIT) & (q <= limits.high + PAST_LIMIT)
    return np.asarray(~inside.all(-1))


def figures(errors: Errors) -> dict[str, float]:
    """Return the means, medians and share of successes of errors, whatever their shape."""
    position, rotation = errors.position_mm, errors.rotation_deg
    return {
        "median_position_error_mm": float(np.median(position)),
        "mean_position_error_mm": float(np.mean(position)),
        "median_rotation_error_deg": float(np.median(rotation)),
        "mean_rotation_error_deg": float(np.mean(rotation)),
        "success_pct": 100 * float(np.mean((position < SUCCESS_MM) & (rotation < SUCCESS_DEG))),
    }


def best_of(errors: Errors) -> Errors:
    """Return the errors (n, 1) of the solution of each pose whose larger error, in those of success, is least."""
    size = np.maximum(errors.position_mm / SUCCESS_MM, errors.rotation_deg / SUCCESS_DEG)
    chosen = size.argmin(1)[:, None]
    return Errors(*(np.take_along_axis(array, chosen, 1) for array in errors))


def step_metrics(robot: Robot, target: Targets, q: Solutions, steps: int) -> dict[str, float]:
    """Return the metrics of solutions that were sampled in so many steps."""
    pose = Pose(target.position, target.rotation)
    errors = errors_of(robot, pose, q)
    clamped = errors_of(robot, pose, np.clip(q, target.limits.low, target.limits.high))
    start = prefix(steps)
    found = {f"{start}{name}": value for name, value in figures(errors).items()}
    found |= {f"{start}clamped_{name}": value for name, value in figures(clamped).items()}
    for num in BEST_OF:
        best = best_of(Errors(*(array[:, :num] for array in errors)))
        found |= {f"{start}best_of_{num}_{name}": value for name, value in figures(best).items()}
    found[f"{start}limit_violation_pct"] = 100 * float(is_outside(q, target.limits).mean())
    found[f"{start}spread_deg"] = spread_deg(q)
    return found


def spread_deg(q: Solutions, counted: Bool[np.ndarray, "n solutions"] | None = None) -> float:
    """Return the standard deviation of a joint over the solutions of a pose, in degrees, mean over joints and poses.

    Of the solutions that are counted, and the poses that have two of them; 0 if no pose has.
    """
    if counted is None:
        return float(np.degrees(np.asarray(q, np.float64).std(1)).mean())
    spreads = [
        one[is_counted].std(0).mean() for one, is_counted in zip(q, counted, strict=True) if is_counted.sum() > 1
    ]
    return float(np.degrees(np.mean(spreads))) if spreads else 0.0


def is_there(robot: Robot, target: Targets, q: Solutions) -> Bool[np.ndarray, "n solutions"]:
    """Return whether polished solutions reach their pose within the limits."""
    errors = errors_of(robot, Pose(target.position, target.rotation), q)
    is_near = (errors.position_mm < REACHED_MM) & (errors.rotation_deg < REACHED_DEG)
    return is_near & ~is_outside(q, target.limits)


def score_metrics(
    robot: Robot,
    target: Targets,
    nearest: Float[np.ndarray, "n joints"],
    solutions: Mapping[int, Solutions],
    polished: Mapping[str, Solutions],
) -> dict[str, float]:
    """Return every final metric: of solutions by their number of steps, of polished ones, and of the baselines."""
    found: dict[str, float] = {}
    for steps, q in solutions.items():
        found |= step_metrics(robot, target, q, steps)
    for name in POLISHED:
        there = is_there(robot, target, polished[name])
        found[f"test_{name}_reached_pct"] = 100 * float(there.any(1).mean())
        found[f"test_{name}_spread_deg"] = spread_deg(np.asarray(polished[name], np.float64), there)
    errors = errors_of(robot, Pose(target.position, target.rotation), nearest[:, None])
    return found | {f"test_nearest_{name}": value for name, value in figures(errors).items()}


def pose_table(
    robot: Robot, target: Targets, solutions: Mapping[int, Solutions], polished: Solutions
) -> dict[str, list[float]]:
    """Return one row for each pose: where it is, and the medians of its solutions' errors."""
    pose = Pose(target.position, target.rotation)
    table = {axis: target.position[:, k].astype(np.float64).tolist() for k, axis in enumerate("xyz")}
    for steps, q in solutions.items():
        errors = errors_of(robot, pose, q)
        table[f"{steps}_step_position_error_mm"] = np.median(errors.position_mm, axis=1).tolist()
        table[f"{steps}_step_rotation_error_deg"] = np.median(errors.rotation_deg, axis=1).tolist()
    best = best_of(errors_of(robot, pose, polished))
    table["polished_position_error_mm"] = best.position_mm[:, 0].tolist()
    table["polished_rotation_error_deg"] = best.rotation_deg[:, 0].tolist()
    return table
