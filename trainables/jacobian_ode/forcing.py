"""The schedule of generalised teacher forcing (Hess et al. 2023), and the learning rate that follows it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from trainables.jacobian_ode.lyapunov import largest_exponent

EVERY = 5
"""Batches between two updates of alpha."""
LEFT = 0.01
"""Share of alpha that is left where it counts as let go."""


def next_alpha(
    alpha: Float[Array, ""],
    J: Float[Array, "batch samples n n"],
    dt: Float[Array, ""],
    gamma: Float[Array, ""],
    alpha_min: Float[Array, ""],
) -> Float[Array, ""]:
    """Return gamma alpha + (1 - gamma) max(0, max over the batch of 1 - exp(-lambda_1)), never below alpha_min.

    lambda_1 is the top Lyapunov exponent per sample along each sequence: the forcing that keeps a chaotic system's
    errors from growing.
    """
    needed = 1 - jnp.exp(-jnp.max(largest_exponent(J, dt)))
    # A Jacobian that is not finite grows without bound: all of the observed sample is needed.
    needed = jnp.where(jnp.isfinite(needed), jnp.maximum(needed, 0.0), 1.0)
    return jnp.maximum(gamma * alpha + (1 - gamma) * needed, alpha_min)


def share_that_stays(gamma: Float[Array, ""], release: Float[Array, ""], steps: int) -> Float[Array, ""]:
    """Return gamma, or where `release` is over 0 the one that leaves a hundredth of alpha after that share of steps."""
    updates = jnp.maximum(release * steps / EVERY, 1.0)
    return jnp.where(release > 0, LEFT ** (1 / updates), gamma)


def annealed(alpha: Float[Array, ""], weight: Float[Array, ""], start: Float[Array, ""]) -> Float[Array, ""]:
    """Return a weight of the loss that goes from `start` times itself at alpha 1 to itself at alpha 0."""
    return weight * (1 - alpha + alpha * start)


def rate_share(alpha: Float[Array, ""], k: Float[Array, ""]) -> Float[Array, ""]:
    """Return alpha / (alpha + (1 - alpha) exp(-k alpha)), the share of the way from the least to the peak rate."""
    return alpha / (alpha + (1 - alpha) * jnp.exp(-k * alpha))


def rate_factor(
    alpha: Float[Array, ""], k: Float[Array, ""], smallest: Float[Array, ""], peak: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the learning rate that follows alpha, over its peak."""
    return (smallest + rate_share(alpha, k) * (peak - smallest)) / peak
