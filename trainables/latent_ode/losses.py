"""The terms of the evidence bound, and what tells whether its KL term has collapsed."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SMALLEST_KL = 0.01
"""Nats below which a latent dimension counts as collapsed."""
SMALLEST_VARIANCE = 0.01
"""Variance of the posterior mean over the series above which a latent dimension is active.

Burda et al. 2016, Importance Weighted Autoencoders, section 4.
"""


def kl_to_normal(mean: Float[Array, "*shape"], log_std: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return KL(N(mean, std^2) || N(0, 1)) in nats, element by element."""
    return 0.5 * (mean**2 + jnp.exp(2 * log_std) - 2 * log_std - 1)


def squared_error(
    x: Float[Array, "samples components n"],
    predicted: Float[Array, "samples components n"],
    mask: Bool[Array, "samples n"],
) -> Float[Array, "samples components n"]:
    """Return (x - predicted)^2, and 0 with the gradient 0 where the mask is false."""
    there = mask[:, None]
    return (jnp.where(there, x, 0.0) - jnp.where(there, predicted, 0.0)) ** 2


def beta(weight: Float[Array, ""], warmup_steps: Float[Array, ""], step: Array) -> Float[Array, ""]:
    """Return the KL term's weight at a step: linear from `weight / warmup_steps` to `weight`, constant after."""
    done = (jnp.asarray(step, jnp.float32) + 1) / jnp.maximum(warmup_steps, 1.0)
    return weight * jnp.minimum(1.0, done)


def collapse(mean: Float[Array, "latent n"], kl: Float[Array, "latent n"] | None) -> dict[str, Float[Array, ""]]:
    """Return active units, collapsed share in percent, total KL in nats and the flag, of posteriors over series.

    `kl` is None if nothing is sampled: then only the units can go silent. All are NaN if a posterior is not finite:
    compared with the bounds, it would count as one that has not collapsed.
    """
    variance = jnp.var(mean, axis=1)
    known = jnp.isfinite(variance).all() & (True if kl is None else jnp.isfinite(kl).all())
    return {name: jnp.where(known, value, jnp.nan) for name, value in _collapse(variance, kl).items()}


def _collapse(variance: Float[Array, " latent"], kl: Float[Array, "latent n"] | None) -> dict[str, Float[Array, ""]]:
    active = jnp.sum(variance > SMALLEST_VARIANCE).astype(jnp.float32)
    if kl is None:
        zero = jnp.zeros(())
        silent = (active == 0).astype(jnp.float32)
        return {"active_units": active, "collapsed_pct": zero, "kl": zero, "kl_collapse": silent}
    silent = jnp.mean(kl, axis=1) < SMALLEST_KL
    return {
        "active_units": active,
        "collapsed_pct": 100 * jnp.mean(silent.astype(jnp.float32)),
        "kl": jnp.sum(jnp.mean(kl, axis=1)),
        "kl_collapse": ((active == 0) | silent.all()).astype(jnp.float32),
    }
