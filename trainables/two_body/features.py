"""Features of a state (r, v): what the network sees. Components come first, so that loops run over the batch."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

State = Float[Array, "6 *batch"]
Features = Float[Array, "features *batch"]


def norm(x: Float[Array, " n *batch"]) -> Float[Array, " 1 *batch"]:
    """Return the Euclidean norm over the components, with the gradient 0 where it is 0 (jnp.linalg.norm has NaN)."""
    squared = jnp.sum(x * x, axis=0, keepdims=True)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def inverse(x: Float[Array, " *batch"]) -> Float[Array, " *batch"]:
    """Return 1/x, and 0 with the gradient 0 where x is 0."""
    there = x != 0
    return jnp.where(there, 1.0 / jnp.where(there, x, 1.0), 0.0)


def cross(a: Float[Array, " 3 *batch"], b: Float[Array, " 3 *batch"]) -> Float[Array, " 3 *batch"]:
    """Return a x b."""
    return jnp.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def cartesian(y: State) -> Features:
    """Return [r, v]."""
    return y


def sph_4D_rinv_vel(y: State) -> Features:  # noqa: N802  the source's name
    """Return [1/|r|, r/|r|, v]."""
    r, v = y[:3], y[3:]
    r_inv = inverse(norm(r))
    return jnp.concatenate([r_inv, r * r_inv, v])


def sph_4D_rinv_vel_rt(y: State) -> Features:  # noqa: N802
    """Return [1/|r|, r/|r|, v, <r/|r|, v>, |r x v|/|r|]: with the radial and the transverse velocity."""
    r, v = y[:3], y[3:]
    r_inv = inverse(norm(r))
    r_hat = r * r_inv
    radial = jnp.sum(r_hat * v, axis=0, keepdims=True)
    return jnp.concatenate([r_inv, r_hat, v, radial, norm(cross(r_hat, v))])


def sph_4D_rinv_vel_harmonics(y: State) -> Features:  # noqa: N802
    """Return [1/|r|, r/|r|, v, cos k theta, sin k theta for k = 1, 2, 3], theta the angle of (x, y) in the x-y plane.

    The name comes from a source that never defined it: this definition is ours.
    """
    rho_inv = inverse(norm(y[:2]))
    c, s = y[:1] * rho_inv, y[1:2] * rho_inv
    harmonics = [(c, s)]
    for _ in range(2):
        ck, sk = harmonics[-1]
        harmonics.append((ck * c - sk * s, sk * c + ck * s))
    return jnp.concatenate([sph_4D_rinv_vel(y), *(x for pair in harmonics for x in pair)])


FEATURES: Mapping[str, tuple[int, Callable[[State], Features]]] = {
    "cartesian": (6, cartesian),
    "sph_4D_rinv_vel": (7, sph_4D_rinv_vel),
    "sph_4D_rinv_vel_rt": (9, sph_4D_rinv_vel_rt),
    "sph_4D_rinv_vel_harmonics": (13, sph_4D_rinv_vel_harmonics),
}
"""Feature layers by name: how many features, and the function."""
