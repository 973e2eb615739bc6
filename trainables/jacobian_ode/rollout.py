"""The vector field from its Jacobian, and trajectories from it (Eisen et al. 2025, arXiv 2507.01946)."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trainables.jacobian_ode.paths import (
    SplineRuleName,
    integrals_from_each,
    natural_spline,
    spline_nodes,
    spline_nodes_from_each,
)
from trainables.jacobian_ode.quadrature import RuleName, rule

States = Float[Array, "batch n"]
Field = Callable[[States], States]
Step = Callable[[States], States]
"""From states to those one sample later."""


class Jacobian(Protocol):
    """The Jacobian of a vector field."""

    def jacobian(self, z: Float[Array, "*batch n"]) -> Float[Array, "*batch n n"]:
        """Return J(z)."""
        ...

    def weighted_jacobians(
        self, points: Float[Array, "*batch points n"], weights: Float[Array, "means points"]
    ) -> Float[Array, "*batch means n n"]:
        """Return weighted means of J over points, one for each row of weights; each row sums to 1."""
        ...


class Line(NamedTuple):
    """Straight lines as their quadrature sees them."""

    way: Float[Array, "*batch n"]
    points: Float[Array, "*batch nodes n"]
    weights: Float[Array, " nodes"]


def times(matrix: Float[Array, "*batch n n"], vector: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    """Return the products of matrices with vectors."""
    return jnp.einsum("...ij,...j->...i", matrix, vector)


def straight_line(start: Float[Array, "*batch n"], end: Float[Array, "*batch n"], name: RuleName, num: int) -> Line:
    """Return straight lines with the nodes of a rule on each."""
    nodes, weights = (jnp.asarray(values, start.dtype) for values in rule(name, num))
    way = end - start
    return Line(way, start[..., None, :] + nodes[:, None] * way[..., None, :], weights)


def line_integral(
    jacobian: Jacobian, start: Float[Array, "*batch n"], end: Float[Array, "*batch n"], name: RuleName, num: int
) -> Float[Array, "*batch n"]:
    """Return the integrals of J along straight lines: integral over u of J(start + u (end - start)) (end - start) du.

    All nodes of all lines go through J in one call.
    """
    line = straight_line(start, end, name, num)
    return times(jacobian.weighted_jacobians(line.points, line.weights[None])[..., 0, :, :], line.way)


def base_point_field(
    jacobian: Jacobian,
    given: Float[Array, "batch samples n"],
    dt: Float[Array, ""] | float,
    name: SplineRuleName,
    points_per_interval: int,
) -> Float[Array, "batch n"]:
    """Return the vector field f_b at the last of the given samples, estimated from J along a spline through them.

    f_b = (x_b - x_0 + integral of H(tau) dtau) / (t_b - t_0), H(tau) the integral of J(c) dc from tau to t_b along the
    natural cubic spline c. An integral of J is a difference of the vector field, not of the state: the paper's formula
    for the state is not used.
    """
    samples = given.shape[1]
    times, weights = spline_nodes(name, samples, points_per_interval)
    path = natural_spline(samples, times)
    J = jacobian.jacobian(jnp.einsum("ks,bsn->bkn", jnp.asarray(path.points, given.dtype), given))
    # By time in samples: dt of the derivative and of the inner integral cancel, that of the outer one does not.
    change = jnp.einsum("ks,bsn->bkn", jnp.asarray(path.derivatives, given.dtype), given)
    integral = jnp.einsum("k,bkij,bkj->bi", jnp.asarray(weights, given.dtype), J, change)
    return (given[:, -1] - given[:, 0]) / (dt * (samples - 1)) + integral / (samples - 1)


class BasePoint(NamedTuple):
    """Where a run starts, and the vector field at the last given sample."""

    start: States
    at_base: States


def fitted_base_point(
    jacobian: Jacobian,
    given: Float[Array, "batch samples n"],
    dt: Float[Array, ""] | float,
    name: SplineRuleName,
    points_per_interval: int,
) -> BasePoint:
    """Return the base point's state and vector field that fit all of the given samples best, by least squares.

    Each sample says x_s = x_b - (t_b - t_s) f_b + the double integral of J from t_s, as `base_point_field` says it of
    the first one: a straight line in t_b - t_s, whose ends are x_b and f_b. Of samples with independent noise the line
    through the first and the last has about three times the variance in f_b, and four times in x_b.
    """
    samples = given.shape[1]
    times, weights = spline_nodes_from_each(name, samples, points_per_interval)
    path = natural_spline(samples, times)
    J = jacobian.jacobian(jnp.einsum("ks,bsn->bkn", jnp.asarray(path.points, given.dtype), given))
    change = jnp.einsum("ks,bsn->bkn", jnp.asarray(path.derivatives, given.dtype), given)
    bends = jnp.einsum("sk,bki->bsi", jnp.asarray(weights, given.dtype), jnp.einsum("bkij,bkj->bki", J, change))
    before = np.arange(samples - 1.0, -1.0, -1.0)
    fit = jnp.asarray(np.linalg.pinv(np.stack([np.ones(samples), -before], 1)), given.dtype)
    line = jnp.einsum("ms,bsn->bmn", fit, given - dt * bends)
    return BasePoint(line[:, 0], line[:, 1] / dt)


def fitted_start(
    field: Field, given: Float[Array, "batch samples n"], dt: Float[Array, ""] | float, name: SplineRuleName, num: int
) -> States:
    """Return the state at the last given sample that fits all of them best, by least squares, of a known vector field.

    Each sample says x_b = x_s + the integral of f from t_s, along the natural cubic spline through them (`num` nodes in
    each interval): x_b is the mean of what they say.
    """
    samples = given.shape[1]
    times, _ = spline_nodes(name, samples, num)
    points = jnp.einsum("ks,bsn->bkn", jnp.asarray(natural_spline(samples, times).points, given.dtype), given)
    weights = jnp.asarray(integrals_from_each(name, samples, num).mean(0), given.dtype)
    return jnp.mean(given, 1) + dt * jnp.einsum("k,bkn->bn", weights, field(points))


class Anchored(NamedTuple):
    """The vector field that J gives, anchored where it is known: f(x) = at_base + integral of J from base to x."""

    jacobian: Jacobian
    base: Float[Array, "*batch n"]
    at_base: Float[Array, "*batch n"]
    """One state of each run, or a single one of all of them."""
    name: RuleName
    num: int

    def field(self, x: States) -> States:
        """Return f(x)."""
        return self.at_base + line_integral(self.jacobian, self.base, x, self.name, self.num)

    def field_and_jacobian(self, x: States) -> tuple[States, Float[Array, "batch n n"]]:
        """Return f(x) and J(x), from one call of J."""
        line = straight_line(self.base, x, self.name, self.num)
        points = jnp.concatenate([line.points, x[:, None]], 1)
        weights = jnp.zeros((2, self.num + 1), x.dtype).at[0, :-1].set(line.weights).at[1, -1].set(1.0)
        J = self.jacobian.weighted_jacobians(points, weights)
        return self.at_base + times(J[:, 0], line.way), J[:, 1]


def rk4_step(field: Field, x: States, dt: Any) -> States:
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


def rk4_step_along(anchored: Anchored, x: States, dt: Any) -> States:
    """Return the state a time dt later: RK4 of order 4 for state and field together, dx/dt = f and df/dt = J(x) f.

    f is integrated from the base point once, and then follows the trajectory: two further states at which J is
    needed, where `rk4_step` needs three further line integrals. Of the last stage only f is.
    """
    f1, J = anchored.field_and_jacobian(x)
    jacobian = anchored.jacobian.jacobian
    f2 = f1 + dt / 2 * times(J, f1)
    f3 = f1 + dt / 2 * times(jacobian(x + dt / 2 * f1), f2)
    f4 = f1 + dt * times(jacobian(x + dt / 2 * f2), f3)
    return x + dt / 6 * (f1 + 2 * f2 + 2 * f3 + f4)


def forced_run(
    step: Step, start: States, observed: Float[Array, "batch samples n"], alpha: Any
) -> Float[Array, "batch samples n"]:
    """Return the prediction of each observed sample, one step per sample, with generalised teacher forcing.

    After each step x <- (1 - alpha) x_hat + alpha x_observed: with alpha 1 every prediction starts at an observed
    sample (Hess et al. 2023).
    """

    def forced(x: Array, seen: Array) -> tuple[Array, Array]:
        predicted = step(x)
        return (1 - alpha) * predicted + alpha * seen, predicted

    _, predicted = jax.lax.scan(forced, start, jnp.moveaxis(observed, 1, 0))
    return jnp.moveaxis(predicted, 0, 1)


def free_run(step: Step, start: States, num: int) -> Float[Array, "batch samples n"]:
    """Return `num` samples from a start, each predicted from the one before."""

    def free(x: Array, _: None) -> tuple[Array, Array]:
        x = step(x)
        return x, x

    _, predicted = jax.lax.scan(free, start, None, length=num)
    return jnp.moveaxis(predicted, 0, 1)
