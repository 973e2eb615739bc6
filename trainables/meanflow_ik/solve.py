"""Solves poses with a trained model: several solutions each, polished on request, with errors before and after.

    python -m trainables.meanflow_ik.solve MODEL poses.csv --solutions 8 --polish

MODEL is a file such as `swell best` writes. The CSV file has a line for each pose, with columns x, y, z in metres and a
quaternion qw, qx, qy, qz of the flange in the frame of the robot's base.
"""

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from trainables._shared.config import ConfigError
from trainables._shared.model_file import CheckpointError
from trainables._shared.saved import SavedModel, load_model_of
from trainables.meanflow_ik.data import Limits
from trainables.meanflow_ik.kinematics import Pose
from trainables.meanflow_ik.method import method, polish_all, solutions
from trainables.meanflow_ik.metric_names import REACHED_DEG, REACHED_MM, SUCCESS_DEG, SUCCESS_MM
from trainables.meanflow_ik.metrics import Errors, best_of, errors_of, is_outside
from trainables.meanflow_ik.poses import read_poses
from trainables.meanflow_ik.robots import ROBOTS, joint_limits

WRONG_INPUT = 2
POLISHED_INSIDE_RAD = 1e-6
"""By how much polished joints stay within their limits, so that rounding carries none beyond."""


class Solved(NamedTuple):
    """Solutions of poses, and how far they are from them."""

    q: Float[np.ndarray, "n solutions joints"]
    """In radians."""
    errors: Errors
    before: Errors
    """What the errors were before they were polished; the same if they were not."""
    is_outside: np.ndarray
    """Whether a joint is beyond its limits, (n, solutions)."""


def solve_poses(
    saved: SavedModel,
    pose: Pose,
    num_solutions: int = 8,
    *,
    steps: int = 1,
    polished: bool = False,
    seed: int = 0,
) -> Solved:
    """Return so many solutions of each pose (n), sampled in so many steps by a trained model.

    Poses are of the flange, in metres. With `polished`, solutions are within the limits that the model was trained on.
    Errors are by forward kinematics in float64.
    """
    config: Any = saved.config
    robot = ROBOTS[config.robot]
    noise = np.random.default_rng(seed).normal(size=(len(pose.position), num_solutions, robot.num_joints))
    low, high = map(np.array, joint_limits(config.robot, config.limits))
    inner = jnp.asarray(low + POLISHED_INSIDE_RAD, jnp.float32), jnp.asarray(high - POLISHED_INSIDE_RAD, jnp.float32)

    @jax.jit
    def solve(target: Pose, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        (q,) = solutions(config, config.latent_scale, saved.model, target, noise, [steps])
        return q, polish_all(config, inner, target, q) if polished else q

    target = Pose(*(jnp.asarray(array, jnp.float32) for array in pose))
    rough, q = (np.asarray(array, np.float64) for array in solve(target, jnp.asarray(noise, jnp.float32)))
    limits = Limits(low, high)
    return Solved(q, errors_of(robot, pose, q), errors_of(robot, pose, rough), is_outside(q, limits))


def _line(name: str, errors: Errors) -> str:
    position, rotation = errors
    success = 100 * np.mean((position < SUCCESS_MM) & (rotation < SUCCESS_DEG))
    reached = 100 * np.mean((position < REACHED_MM) & (rotation < REACHED_DEG))
    medians = f"{np.median(position):>12.4g} {np.median(rotation):>14.4g}"
    return f"{name:<24} {medians} {success:>18.1f} {reached:>22.1f}"


def report(solved: Solved, *, polished: bool) -> str:
    """Return a table of the errors before and after, of all solutions and of the best of each pose."""
    num, each = solved.errors.position_mm.shape
    lines = [
        f"{num} poses, {each} solutions each",
        f"{'':<24} {'median in mm':>12} {'median in deg':>14} {f'< {SUCCESS_MM:g} mm, {SUCCESS_DEG:g} deg, %':>18} "
        f"{f'< {REACHED_MM:g} mm, {REACHED_DEG:g} deg, %':>22}",
    ]
    stages = [("before", solved.before), ("after", solved.errors)] if polished else [("", solved.errors)]
    for name, errors in stages:
        lines += [_line(f"{name} all".strip(), errors), _line(f"{name} best of {each}".strip(), best_of(errors))]
    lines.append(f"joints beyond their limits in {100 * solved.is_outside.mean():.1f} % of the solutions")
    return "\n".join(lines)


def write(path: Path, solved: Solved) -> None:
    """Write a line for each solution: pose and solution from 1, joint angles in radians, errors, 1 if within limits."""
    num, each, joints = solved.q.shape
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        angles = [f"q{joint + 1}" for joint in range(joints)]
        writer.writerow(["pose", "solution", *angles, "position_error_mm", "rotation_error_deg", "within_limits"])
        for i in range(num):
            for k in range(each):
                errors = (f"{array[i, k]:.6g}" for array in solved.errors)
                angles = (f"{angle:.8f}" for angle in solved.q[i, k])
                writer.writerow([i + 1, k + 1, *angles, *errors, int(not solved.is_outside[i, k])])


def _whole(text: str, least: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least {least}")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _natural(text: str) -> int:
    return _whole(text, 0)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m trainables.meanflow_ik.solve", description="Solve poses with a trained model of meanflow_ik."
    )
    parser.add_argument("model", type=Path, help="file of a trained model, such as `swell best` writes")
    parser.add_argument("poses", type=Path, help="CSV file with columns x, y, z, qw, qx, qy, qz")
    parser.add_argument("--solutions", type=_positive, default=8, help="solutions of each pose (8)")
    parser.add_argument("--steps", type=_positive, default=1, help="sampling steps (1)")
    parser.add_argument("--polish", action="store_true", help="polish them by damped Gauss-Newton steps")
    parser.add_argument("--seed", type=_natural, default=0, help="seed of the noise that solutions are made from (0)")
    parser.add_argument("--output", type=Path, help="CSV file to write the solutions to")
    return parser.parse_args(given)


def _require_place(output: Path, poses: Path, model: Path) -> None:
    """Raise ConfigError if solutions cannot be written to a file: told before they are computed."""
    if output.is_dir():
        raise ConfigError("output", str(output), "is a folder", "a CSV file to be written")
    if not output.parent.is_dir():
        raise ConfigError(
            "output", str(output), f"there is no folder {output.parent}", "a file in a folder that exists"
        )
    for file, what in ((poses, "poses"), (model, "model")):
        if output.exists() and file.exists() and output.samefile(file):
            raise ConfigError("output", str(output), f"is the file of the {what}", "another file")


def main(given: Sequence[str] | None = None) -> int:
    """Solve what the command line names, print the errors, and return the exit status: 2 if the input is wrong."""
    arguments = _arguments(given)
    try:
        pose = read_poses(arguments.poses)
        if arguments.output:
            _require_place(arguments.output, arguments.poses, arguments.model)
        saved = load_model_of(method, arguments.model)
    except (ConfigError, CheckpointError) as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    solved = solve_poses(
        saved, pose, arguments.solutions, steps=arguments.steps, polished=arguments.polish, seed=arguments.seed
    )
    print(report(solved, polished=arguments.polish))
    if arguments.output:
        try:
            write(arguments.output, solved)
        except OSError as error:
            print(f"{arguments.output}: cannot be written: {error.strerror}", file=sys.stderr)
            return WRONG_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
