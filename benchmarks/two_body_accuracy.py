"""Largest relative error of two-body's solvers against Kepler, by segment length and eccentricity, as a table.

    PJRT_NPROC=1 python -m benchmarks.two_body_accuracy

Segments start at every tenth of an orbit with semi-major axis 1; samples are one degree of mean anomaly apart.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.kepler import kepler_states
from trainables.two_body.data import as_segments
from trainables.two_body.mesh import Mesh, meshed
from trainables.two_body.model import Dynamics, exact_acceleration
from trainables.two_body.solvers import Solution, adaptive, per_sample
from trainables.two_body.timetable import on_timetables

EXACT = Dynamics(exact_acceleration)
ECCENTRICITIES = (0.0, 0.3, 0.6, 0.8, 0.849)


def segments(length: int, e: float) -> tuple[np.ndarray, np.ndarray]:
    """Return states (n, samples, 6) and times of segments in float64; the hardest, around periapsis, is one of them."""
    M = np.deg2rad(np.arange(-360.0, 360.0))[None]
    y = kepler_states(np.array([[1.0, e, 0.0, 0.0, 30.0, 0.0]]), M)[0]
    starts = sorted({*range(0, 360, 36), 360 - length // 2})
    return np.stack([y[start : start + length] for start in starts]), np.tile(
        M[0, 360 : 360 + length], (len(starts), 1)
    )


def errors(length: int, e: float, single: bool) -> dict[str, float]:
    """Return the largest error of each solver, and the steps of a mean segment on a mesh."""
    y, t = segments(length, e)
    timed = on_timetables([as_segments(y, t)], len(y))[0]
    order = np.argsort(-timed.effort[: len(y), -1], kind="stable")
    with jax.enable_x64(not single):
        dtype = jnp.float32 if single else jnp.float64
        exact, times, effort = (jnp.asarray(array[order], dtype) for array in (y, t, timed.effort[: len(y)]))
        exact, times = jnp.transpose(exact, (1, 2, 0)), times.T
        tolerances = jnp.asarray(1e-6, dtype), jnp.asarray(1e-8, dtype)

        def largest(solution: Solution) -> float:
            error = jnp.linalg.norm(solution.y - exact[1:], axis=1) / jnp.linalg.norm(exact[1:], axis=1)
            return float(error.max())

        return {
            "per_sample": largest(per_sample(EXACT, exact[0], times)),
            "adaptive": largest(adaptive(EXACT, exact[0], times, *tolerances, 2000)),
            "mesh": largest(meshed(EXACT, exact[0], times, Mesh(effort.T, jnp.asarray(len(y)), timed.table))),
            "steps": float((timed.table.share > 0).sum() / len(y)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=[2, 4, 10, 18, 36, 90, 360])
    options = parser.parse_args()
    print("| samples | solver | " + " | ".join(f"e = {e:g}" for e in ECCENTRICITIES) + " |")
    print("|---" * (len(ECCENTRICITIES) + 2) + "|")
    for length in options.lengths:
        found = [(errors(length, e, False), errors(length, e, True)) for e in ECCENTRICITIES]
        for solver in ("per_sample", "adaptive", "mesh"):
            cells = [f"{wide[solver]:.1e} / {single[solver]:.1e}" for wide, single in found]
            print(f"| {length} | {solver} | " + " | ".join(cells) + " |", flush=True)
        print(f"| {length} | steps of a mesh | " + " | ".join(f"{wide['steps']:.1f}" for wide, _ in found) + " |")


if __name__ == "__main__":
    main()
