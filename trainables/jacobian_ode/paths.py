"""Paths through samples as matrices: a path is linear in the samples that it passes through."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicSpline

from trainables.jacobian_ode.quadrature import Nodes, base_point_weights, cumulative_trapezoid, rule

SplineRuleName = Literal["trapezoid", "gauss_legendre"]


class Path(NamedTuple):
    """Points of a path and their derivatives by time in samples, each a matrix that is applied to the samples."""

    points: Float64[np.ndarray, "nodes samples"]
    derivatives: Float64[np.ndarray, "nodes samples"]


def natural_spline(num_samples: int, times: Nodes) -> Path:
    """Return the natural cubic spline through samples a time of 1 apart, at some times from 0."""
    spline = CubicSpline(np.arange(num_samples), np.eye(num_samples), bc_type="natural")
    return Path(spline(times), spline(times, 1))


def evenly(num_samples: int, points_per_interval: int) -> Nodes:
    """Return evenly spaced times, `points_per_interval` between two samples, both of them included."""
    return np.linspace(0.0, num_samples - 1.0, (num_samples - 1) * (points_per_interval - 1) + 1)


def spline_nodes(name: SplineRuleName, num_samples: int, points_per_interval: int) -> tuple[Nodes, Nodes]:
    """Return times between samples a time of 1 apart, and weights w of the base-point estimate's double integral.

    w.g is the integral over tau of the integral of g from tau to the last sample, which is that of r g(r): the
    trapezoid of trapezoids, or Gauss-Legendre on each interval, whose nodes are all inside.
    """
    if name == "trapezoid":
        times = evenly(num_samples, points_per_interval)
        return times, base_point_weights(len(times)) * (num_samples - 1) ** 2
    nodes, weights = rule(name, points_per_interval)
    times = (np.arange(num_samples - 1)[:, None] + nodes).ravel()
    return times, np.tile(weights, num_samples - 1) * times


def spline_nodes_from_each(
    name: SplineRuleName, num_samples: int, points_per_interval: int
) -> tuple[Nodes, Float64[np.ndarray, "samples nodes"]]:
    """Return the times of `spline_nodes`, and for each sample the weights of the same integral from there to the last.

    Row s integrates over tau from s the integral of g from tau to the last sample; the first row is `spline_nodes`'.
    """
    times, _ = spline_nodes(name, num_samples, points_per_interval)
    rows = np.zeros((num_samples, len(times)))
    for start in range(num_samples - 1):
        _, weights = spline_nodes(name, num_samples - start, points_per_interval)
        rows[start, len(times) - len(weights) :] = weights
    return times, rows


def integrals_from_each(
    name: SplineRuleName, num_samples: int, points_per_interval: int
) -> Float64[np.ndarray, "samples nodes"]:
    """Return for each sample the weights of the integral from there to the last, at the times of `spline_nodes`."""
    if name == "trapezoid":
        times = evenly(num_samples, points_per_interval)
        rows = cumulative_trapezoid(len(times)) / (points_per_interval - 1)
        return rows[:: points_per_interval - 1]
    _, weights = rule(name, points_per_interval)
    after = np.arange(num_samples - 1) >= np.arange(num_samples)[:, None]
    return np.kron(after, weights)


def straight_line(nodes: Float64[np.ndarray, " nodes"]) -> Path:
    """Return the straight line from the first of two samples to the second, at nodes in [0, 1]."""
    return Path(np.stack([1 - nodes, nodes], -1), np.tile([-1.0, 1.0], (len(nodes), 1)))
