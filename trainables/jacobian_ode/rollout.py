"""The vector field from its Jacobian, and trajectories from it (Eisen et al. 2025, arXiv 2507.01946)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trainables.jacobian_ode.paths import natural_spline
from trainables.jacobian_ode.quadrature import RuleName, base_point_weights, rule

Jacobian = Callable[[Float[Array, "*batch n"]], Float[Array, "*batch n n"]]
Field = Callable[[Float[Array, "batch n"]], Float[Array, "batch n"]]


def line_integral(
    jacobian: Jacobian, start: Float[Array, "*batch n"], end: Float[Array, "*batch n"], name: RuleName, num: int
) -> Float[Array, "*batch n"]:
    """Return the integrals of J along straight lines: integral over u of J(start + u (end - start)) (end - start) du.

    All nodes of all lines go through J in one call.
    """
    nodes, weights = rule(name, num)
    along = jnp.asarray(nodes, start.dtype)[:, None]
    way = end - start
    J = jacobian(start[..., None, :] + along * way[..., None, :])
    mean = jnp.einsum("k,...kij->...ij", jnp.asarray(weights, start.dtype), J)
    return jnp.einsum("...ij,...j->...i", mean, way)


def base_point_field(
    jacobian: Jacobian, given: Float[Array, "batch samples n"], dt: Float[Array, ""] | float, points_per_interval: int
) -> Float[Array, "batch n"]:
    """Return the vector field f_b at the last of the given samples, estimated from J along a spline through them.

    f_b = (x_b - x_0 + integral of H(tau) dtau) / (t_b - t_0), H(tau) the integral of J(c) dc from tau to t_b along the
    natural cubic spline c. An integral of J is a difference of the vector field, not of the state: the paper's formula
    for the state is not used.
    """
    samples = given.shape[1]
    path = natural_spline(samples, points_per_interval)
    J = jacobian(jnp.einsum("ks,bsn->bkn", jnp.asarray(path.points, given.dtype), given))
    # By time in samples: dt of the derivative and of the inner integral cancel, that of the outer one does not.
    change = jnp.einsum("ks,bsn->bkn", jnp.asarray(path.derivatives, given.dtype), given)
    weights = base_point_weights(len(path.points)) * (samples - 1) ** 2
    integral = jnp.einsum("k,bkij,bkj->bi", jnp.asarray(weights, given.dtype), J, change)
    return (given[:, -1] - given[:, 0]) / (dt * (samples - 1)) + integral / (samples - 1)


def field_from(
    jacobian: Jacobian,
    given: Float[Array, "batch samples n"],
    dt: Any,
    points_per_interval: int,
    name: RuleName,
    num: int,
) -> Field:
    """Return f(x) = f_b + the integral of J along the line from x_b, the last given sample, to x."""
    base, at_base = given[:, -1], base_point_field(jacobian, given, dt, points_per_interval)
    return lambda x: at_base + line_integral(jacobian, base, x, name, num)


def rk4_step(field: Field, x: Float[Array, "batch n"], dt: Any) -> Float[Array, "batch n"]:
    """Return the state a time dt later, by the classical Runge-Kutta method of order 4."""
    stages = jnp.asarray([0.0, 0.5, 0.5, 1.0], x.dtype), jnp.asarray([1.0, 2.0, 2.0, 1.0], x.dtype) / 6

    def stage(carry: tuple[Array, Array], coefficients: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        k, mean = carry
        node, weight = coefficients
        k = field(x + dt * node * k)
        return (k, mean + weight * k), None

    # A loop over the stages: written out, compiling takes twice as long, and running no less.
    (_, mean), _ = jax.lax.scan(stage, (jnp.zeros_like(x), jnp.zeros_like(x)), stages)
    return x + dt * mean


def forced_run(
    field: Field, start: Float[Array, "batch n"], observed: Float[Array, "batch samples n"], dt: Any, alpha: Any
) -> Float[Array, "batch samples n"]:
    """Return the prediction of each observed sample, one RK4 step per sample, with generalised teacher forcing.

    After each step x <- (1 - alpha) x_hat + alpha x_observed: with alpha 1 every prediction starts at an observed
    sample (Hess et al. 2023).
    """

    def step(x: Array, seen: Array) -> tuple[Array, Array]:
        predicted = rk4_step(field, x, dt)
        return (1 - alpha) * predicted + alpha * seen, predicted

    _, predicted = jax.lax.scan(step, start, jnp.moveaxis(observed, 1, 0))
    return jnp.moveaxis(predicted, 0, 1)


def free_run(field: Field, start: Float[Array, "batch n"], num: int, dt: Any) -> Float[Array, "batch samples n"]:
    """Return `num` samples from a start, each predicted from the one before."""

    def step(x: Array, _: None) -> tuple[Array, Array]:
        x = rk4_step(field, x, dt)
        return x, x

    _, predicted = jax.lax.scan(step, start, None, length=num)
    return jnp.moveaxis(predicted, 0, 1)
