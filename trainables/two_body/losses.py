"""Losses on predicted segments: missing samples are masked before any operation, so that no NaN reaches a gradient."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trainables.two_body.features import norm

States = Float[Array, "later 6 n"]
Mask = Bool[Array, "later n"]
SMALLEST = 1e-8


def masked_mean(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """Return the mean of x where the mask holds; 0 where it holds nowhere."""
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(jnp.sum(mask), 1)


def _masked(y: States, predicted: States, mask: Mask) -> tuple[States, States]:
    there = mask[:, None]
    return jnp.where(there, y, 1.0), jnp.where(there, predicted, 1.0)


def percent_error(y: States, predicted: States, mask: Mask) -> Float[Array, ""]:
    """Return 100 mean(|y - predicted| / max(|y|, 1e-8)), |.| the norm of a state."""
    y, predicted = (jnp.moveaxis(x, 1, 0) for x in _masked(y, predicted, mask))
    return 100 * masked_mean(norm(y - predicted)[0] / jnp.maximum(norm(y)[0], SMALLEST), mask)


def mse(y: States, predicted: States, mask: Mask) -> Float[Array, ""]:
    """Return the mean over samples and components of (y - predicted)^2."""
    y, predicted = _masked(y, predicted, mask)
    return masked_mean((y - predicted) ** 2, jnp.broadcast_to(mask[:, None], y.shape))


def nmse(y: States, predicted: States, mask: Mask) -> Float[Array, ""]:
    """Return 100 sqrt(mean((y - predicted)^2) / mean(y^2) + 1e-8)."""
    power = mse(y, jnp.zeros_like(y), mask)
    return 100 * jnp.sqrt(mse(y, predicted, mask) / jnp.where(power > 0, power, 1.0) + SMALLEST)


def attraction(predicted: States, derivative: States, mask: Mask) -> Float[Array, ""]:
    """Return mean(relu(a.r)) along the predicted segments: gravity never points outward."""
    there = mask[:, None]
    r, a = jnp.where(there, predicted, 0.0)[:, :3], jnp.where(there, derivative, 0.0)[:, 3:]
    return masked_mean(jnp.maximum(jnp.sum(a * r, axis=1), 0.0), mask)


LOSSES: Mapping[str, Callable[[Mapping[str, Array], Array], Float[Array, ""]]] = {
    "percent_error": lambda parts, weight: parts["percent_error"],
    "percent_error_plus_nmse": lambda parts, weight: parts["percent_error"] + weight * parts["nmse"],
    "mse": lambda parts, weight: parts["mse"],
}
"""The error that is minimised, from its parts and nmse_weight."""
