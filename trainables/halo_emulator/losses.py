"""Terms of a member's loss, its weights over simulations, and the clipping of its gradient alone."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from trainables.halo_emulator.model import Gaussian

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
MIDDLE_SHARE = 0.1
"""What physics terms are multiplied by between physics_start and physics_full."""
POISSON_1 = (0.36787944, 0.73575888, 0.91969860, 0.98101184, 0.99634015, 0.99940582, 0.99991676)
"""Cumulative probabilities of 0, 1, ... 6 of a Poisson distribution of mean 1."""


def nll(target: Array, mean: Array, variance: Array) -> Array:
    """Return -log N(target; mean, variance), element by element."""
    return 0.5 * ((target - mean) ** 2 / variance + jnp.log(variance)) + HALF_LOG_2PI


def huber(error: Array, delta: Array) -> Array:
    """Return half the squared error up to delta, linear beyond."""
    size = jnp.abs(error)
    inner = jnp.minimum(size, delta)
    return inner * (size - 0.5 * inner)


def bootstrap_weights(key: PRNGKeyArray, sim: Int[Array, " n"], num_simulations: int) -> Float[Array, " n"]:
    """Return each halo's weight, a Poisson(1) draw of its simulation: with the same key the same.

    Simulations are drawn, as haloes of one share their parameters; the Poisson bootstrap (Oza and Russell 2001, Online
    bagging and boosting) needs no list of those drawn.
    """
    uniform = jax.random.uniform(key, (num_simulations,))
    counts = jnp.sum(uniform[:, None] >= jnp.asarray(POISSON_1), axis=1)
    return counts[sim].astype(jnp.float32)


class Drawn(NamedTuple):
    """What is random in a member's step."""

    noise: Float[Array, "n inputs"]
    """What is added to the standardised inputs."""
    kept: tuple[Float[Array, "n _"], ...]
    """What each layer's hidden units are multiplied by: 0 for those that are left out."""


def draw(key: PRNGKeyArray, num: int, num_inputs: int, widths: Sequence[int], noise: Array, dropout: Array) -> Drawn:
    """Return the noise of a member's inputs, and which of its hidden units are left out; zeros and ones for none."""
    total = num_inputs + sum(widths)

    def drawn() -> tuple[Array, Array]:
        uniform = jax.random.uniform(key, (num, total), minval=1e-6)
        normal = jnp.sqrt(2.0) * jax.scipy.special.erfinv(
            jnp.clip(2 * uniform[:, :num_inputs] - 1, -1 + 1e-6, 1 - 1e-6)
        )
        return noise * normal, jnp.where(uniform[:, num_inputs:] >= dropout, 1 / (1 - dropout), 0.0)

    def none() -> tuple[Array, Array]:
        return jnp.zeros((num, num_inputs)), jnp.ones((num, total - num_inputs))

    # Random numbers for every unit would cost as much as the network.
    added, kept = jax.lax.cond((noise > 0) | (dropout > 0), drawn, none)
    return Drawn(added, tuple(jnp.split(kept, np.cumsum(widths)[:-1], axis=1)))


def weighted_mean(values: Float[Array, "n bins"], weights: Float[Array, " n"]) -> Float[Array, ""]:
    """Return the mean over haloes with these weights, and over bins; 0 if no halo has any weight."""
    return jnp.sum(weights * jnp.mean(values, axis=1)) / jnp.maximum(jnp.sum(weights), 1.0)


def smoothness(mean: Float[Array, "n bins"]) -> Float[Array, "n 1"]:
    """Return each halo's mean square second difference along the radius."""
    return jnp.mean(jnp.diff(mean, n=2, axis=1) ** 2, axis=1, keepdims=True)


def boundary(mean: Float[Array, "n bins"], target: Float[Array, "n bins"]) -> Float[Array, "n 1"]:
    """Return each halo's mean square error of the slopes between the two bins at either end."""
    error = jnp.diff(mean - target, axis=1)
    return 0.5 * (error[:, :1] ** 2 + error[:, -1:] ** 2)


def increase(mean: Float[Array, "n bins"]) -> Float[Array, "n 1"]:
    """Return each halo's mean square of what its profile increases by from one bin to the next."""
    return jnp.mean(jax.nn.relu(jnp.diff(mean, axis=1)) ** 2, axis=1, keepdims=True)


def curriculum(step: Int[Array, ""], num_steps: int, start: Array, full: Array) -> Float[Array, ""]:
    """Return what physics terms are multiplied by at a step: 0, then a tenth, then 1, from shares of all steps on."""
    done = jnp.asarray(step, jnp.float32) / num_steps
    return jnp.where(done < start, 0.0, jnp.where(done < full, MIDDLE_SHARE, 1.0))


@jax.custom_vjp
def clipped(params: PyTree[Array], largest: Float[Array, ""]) -> PyTree[Array]:
    """Return parameters as they are, whose gradient is scaled down to a norm of at most `largest`.

    A gradient that is not finite stays so: the step is then skipped and counted, for all members.
    """
    return params


def _forward(params: PyTree[Array], largest: Float[Array, ""]) -> tuple[PyTree[Array], Float[Array, ""]]:
    return params, largest


def _backward(largest: Float[Array, ""], gradient: PyTree[Array]) -> tuple[PyTree[Array], Float[Array, ""]]:
    # Of an infinite norm this is 0 times infinity, which is not a number.
    factor = largest / jnp.maximum(optax.tree.norm(gradient), largest)
    return jax.tree.map(lambda g: factor * g, gradient), jnp.zeros_like(largest)


clipped.defvjp(_forward, _backward)


def sum_gradient(values: Float[Array, " members"]) -> Float[Array, ""]:
    """Return the mean over the members, with the gradient of their sum: each member's is what it would be alone."""
    total = jnp.sum(values)
    return jax.lax.stop_gradient(jnp.mean(values)) + (total - jax.lax.stop_gradient(total))


def fit_and_nll(
    predicted: Gaussian, target: Array, delta: Array, is_nll: Array, kinds: Any
) -> tuple[Float[Array, "n bins"], Float[Array, "n bins"]]:
    """Return the error of the mean that the loss names, and the likelihood; both are minimised.

    With loss nll, the first is 0. With the others, the mean is held fixed in the likelihood: the variance alone learns.
    """
    error = predicted.mean - target
    fit = kinds.select({"nll": jnp.zeros_like(error), "huber": huber(error, delta), "mse": error**2})
    held = jax.lax.stop_gradient(predicted.mean)
    mean = held + is_nll * (predicted.mean - held)
    return fit, nll(target, mean, predicted.variance)
