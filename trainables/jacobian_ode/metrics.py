"""Metrics of a learned Jacobian: the share of implausible eigenvalues, and errors by trajectory."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from trainables.jacobian_ode.metric_names import JACOBIAN_ERRORS

Estimates = Float[np.ndarray, "trajectories states n n"]


def eigenvalue_share(J: Float[Array, "states n n"], dt: Float[Array, ""]) -> Float[Array, ""]:
    """Return the share of eigenvalues with real part <= -1/dt: a decay that no sampling at dt could have shown.

    A Jacobian that is not finite counts with all of its eigenvalues.
    """
    finite = jnp.isfinite(J).all((-2, -1))
    real = jnp.linalg.eigvals(jnp.where(finite[:, None, None], J, 0.0)).real
    return jnp.mean((real <= -1 / dt) | ~finite[:, None])


def frobenius(J: Float[Array, "*batch n n"]) -> Float[Array, "*batch"]:
    """Return Frobenius norms; for metrics alone, as there is no gradient at 0."""
    return jnp.sqrt(jnp.sum(J**2, (-2, -1)))


def jacobian_errors(exact: Estimates, estimate: Estimates) -> dict[str, float]:
    """Return what JACOBIAN_ERRORS names, over all states; infinite where an estimate is not finite."""
    exact, estimate = np.asarray(exact, np.float64), np.asarray(estimate, np.float64)
    if not np.isfinite(estimate).all():
        return {name: -np.inf if name == "r2" else np.inf for name in JACOBIAN_ERRORS}
    error = exact - estimate
    values = {}
    orders: tuple[tuple[str, Literal["fro"] | float], ...] = (("frobenius", "fro"), ("spectral", 2))
    for name, order in orders:
        mean = float(np.linalg.norm(error, order, axis=(-2, -1)).mean())
        values[f"{name}_error"] = mean
        values[f"{name}_error_pct"] = 100 * mean / float(np.linalg.norm(exact, order, axis=(-2, -1)).mean())
    values["r2"] = 1 - float(np.sum(error**2) / np.sum((exact - exact.mean()) ** 2))
    return values


def by_trajectory(exact: Estimates, estimate: Estimates) -> dict[str, list[float]]:
    """Return the same of each trajectory by itself."""
    rows = [jacobian_errors(one[None], other[None]) for one, other in zip(exact, estimate, strict=True)]
    return {name: [row[name] for row in rows] for name in JACOBIAN_ERRORS}


def mean_square(error: Float[np.ndarray, "trajectories windows n"]) -> Float64[np.ndarray, " trajectories"]:
    """Return the mean square of each trajectory's errors; infinite where one is not finite."""
    # A run that left every bound overflows: it is as wrong as can be, and no warning.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.mean(np.asarray(error, np.float64) ** 2, (1, 2))
    return np.where(np.isfinite(squares), squares, np.inf)
