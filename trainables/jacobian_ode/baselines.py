"""Locally weighted linear regression of the vector field, the baseline of every Jacobian estimate; NumPy and SciPy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.spatial import KDTree

NEIGHBOURS_PER_UNKNOWN = (2, 8, 32, 128, 512)
"""Sizes of the neighbourhood that are tried, over the number of unknowns of a fit."""
MOST_NEIGHBOURS = 4096
CHOOSING_STATES = 64
"""Validation states that the size is chosen on."""


class LocalFit(NamedTuple):
    """The vector field and its Jacobian at some states."""

    field: Float32[np.ndarray, "*states n"]
    jacobian: Float32[np.ndarray, "*states n n"]


def fit_locally(
    trajectories: Sequence[Float[np.ndarray, "samples n"]],
    validation: Float[np.ndarray, "samples n"],
    queries: Sequence[Float[np.ndarray, "*states n"]],
    dt: float,
) -> list[LocalFit]:
    """Return the fit at each set of queries: central differences regressed on the states near a query.

    Weights are tricube in the distance over that of the farthest neighbour (Cleveland 1979). The number of neighbours
    is the one whose one-step prediction is best on the validation trajectory (states `dt` apart).
    """
    x = np.concatenate([one[1:-1] for one in trajectories]).astype(np.float64)
    dx = np.concatenate([(one[2:] - one[:-2]) / (2 * dt) for one in trajectories]).astype(np.float64)
    tree = KDTree(x)
    chosen = np.linspace(0, len(validation) - 2, min(CHOOSING_STATES, len(validation) - 1)).round().astype(int)

    def error(num: int) -> float:
        found = _fit(tree, x, dx, validation[chosen].astype(np.float64), num)
        return float(np.median(np.abs(one_step(validation[chosen], found, dt) - validation[chosen + 1]).max(-1)))

    unknowns = x.shape[1] + 1
    num = min((min(ratio * unknowns, MOST_NEIGHBOURS, len(x)) for ratio in NEIGHBOURS_PER_UNKNOWN), key=error)
    found = []
    for query in queries:
        flat = _fit(tree, x, dx, query.reshape(-1, query.shape[-1]).astype(np.float64), num)
        found.append(
            LocalFit(
                flat.field.reshape(query.shape).astype(np.float32),
                flat.jacobian.reshape(*query.shape, -1).astype(np.float32),
            )
        )
    return found


def one_step(
    x: Float[np.ndarray, "*states n"], fit: LocalFit, dt: float | Float[np.ndarray, ""]
) -> Float[np.ndarray, "*states n"]:
    """Return x + dt f + dt^2/2 J f, the next sample to second order."""
    return x + dt * fit.field + dt**2 / 2 * np.einsum("...ij,...j->...i", fit.jacobian, fit.field)


def _fit(
    tree: KDTree,
    x: Float64[np.ndarray, "samples n"],
    dx: Float64[np.ndarray, "samples n"],
    query: Float64[np.ndarray, "states n"],
    num: int,
) -> LocalFit:
    distances, neighbours = tree.query(query, num)
    weights = (1 - (distances / np.maximum(distances[:, -1:] * (1 + 1e-9), 1e-300)) ** 3) ** 3
    fields, jacobians = [], []
    for state, near, weight in zip(query, np.asarray(neighbours), weights, strict=True):
        root = np.sqrt(weight)[:, None]
        design = np.concatenate([np.ones((num, 1)), x[near] - state], 1) * root
        # The least-norm solution: on a limit cycle the neighbours do not span all directions.
        solution = np.linalg.lstsq(design, dx[near] * root, rcond=1e-6)[0]
        fields.append(solution[0])
        jacobians.append(solution[1:].T)
    return LocalFit(np.stack(fields), np.stack(jacobians))
