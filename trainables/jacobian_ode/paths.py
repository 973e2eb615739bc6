"""Paths through samples as matrices: a path is linear in the samples that it passes through."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicSpline


class Path(NamedTuple):
    """Points of a path and their derivatives by time in samples, each a matrix that is applied to the samples."""

    points: Float64[np.ndarray, "nodes samples"]
    derivatives: Float64[np.ndarray, "nodes samples"]


def natural_spline(num_samples: int, points_per_interval: int) -> Path:
    """Return the natural cubic spline through samples an equal time apart, at evenly spaced nodes.

    Each interval has `points_per_interval` nodes, both of its ends included.
    """
    times = np.linspace(0.0, num_samples - 1.0, (num_samples - 1) * (points_per_interval - 1) + 1)
    spline = CubicSpline(np.arange(num_samples), np.eye(num_samples), bc_type="natural")
    return Path(spline(times), spline(times, 1))


def straight_line(nodes: Float64[np.ndarray, " nodes"]) -> Path:
    """Return the straight line from the first of two samples to the second, at nodes in [0, 1]."""
    return Path(np.stack([1 - nodes, nodes], -1), np.tile([-1.0, 1.0], (len(nodes), 1)))
