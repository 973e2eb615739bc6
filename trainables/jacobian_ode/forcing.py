"""The schedule of generalised teacher forcing (Hess et al. 2023), and the learning rate that follows it."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from trainables.jacobian_ode.lyapunov import largest_exponent

EVERY = 5
"""Batches between two updates of alpha."""


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


def rate_share(alpha: Float[Array, ""], k: Float[Array, ""]) -> Float[Array, ""]:
    """Return alpha / (alpha + (1 - alpha) exp(-k alpha)), the share of the way from the least to the peak rate."""
    return alpha / (alpha + (1 - alpha) * jnp.exp(-k * alpha))


def rate_factor(
    alpha: Float[Array, ""], k: Float[Array, ""], smallest: Float[Array, ""], peak: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the learning rate that follows alpha, over its peak."""
    return (smallest + rate_share(alpha, k) * (peak - smallest)) / peak
