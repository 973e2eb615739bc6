"""Tsit5 by equally long steps over each series, fewer than it has samples, which are read from between."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from trainables._shared.tsit5 import ERROR, Field, State, combine, interpolant, tsit5_step

_Samples = Float[Array, "samples latent n"]
_Pieces = tuple[Float[Array, "steps latent n"], ...]
"""The polynomials of a step's solution in theta, a coefficient each, from theta^0 on."""


def meshed(
    field: Field, z0: State, t: Float[Array, "samples n"], num_steps: int
) -> tuple[_Samples, Float[Array, "steps latent n"]]:
    """Return the states at times t >= 0 in ascending order, and the estimated error of every step.

    Differentiable in `field` and `z0`; the times are data.
    """
    t = jax.lax.stop_gradient(t)
    h = t[-1] / num_steps
    # In units of a step; a series of one sample goes nowhere.
    passed = t / jnp.where(h > 0, h, 1.0)
    step = jnp.clip(jnp.ceil(passed) - 1, 0, num_steps - 1)

    def body(now: tuple[State, State], _: None) -> tuple[tuple[State, State], tuple[_Pieces, State]]:
        z, k1 = now
        z1, k = tsit5_step(field, z, k1, h)
        return (z1, k[-1]), ((z, *(h * part for part in interpolant(k))), h * combine(ERROR, k))

    _, (pieces, error) = jax.lax.scan(body, (z0, field(z0)), length=num_steps)
    return _read(pieces, passed - step, step.astype(jnp.int32)), error


@jax.custom_vjp
def _read(pieces: _Pieces, theta: Float[Array, "samples n"], step: Int[Array, "samples n"]) -> _Samples:
    """Return the states at shares theta of the steps that samples lie in."""
    theta, step = theta[:, None], step[:, None]

    # Measured on a CPU: to gather each sample's own polynomial, or to sum over all of them with weights, takes longer.
    # And it is a compiled loop because XLA would do the work of an unrolled one again for each user of its result.
    def body(z: _Samples, piece: tuple[Array, _Pieces]) -> tuple[_Samples, None]:
        index, (a, b, c, d, e) = piece
        return jnp.where(step == index, a + theta * (b + theta * (c + theta * (d + theta * e))), z), None

    none = jnp.zeros((theta.shape[0], *pieces[0].shape[1:]), pieces[0].dtype)
    return jax.lax.scan(body, none, (jnp.arange(len(pieces[0])), pieces))[0]


def _read_forward(pieces: _Pieces, theta: Array, step: Array) -> tuple[_Samples, tuple[Array, Array, _Pieces]]:
    return _read(pieces, theta, step), (theta, step, jax.tree.map(jnp.zeros_like, pieces))


def _read_backward(residuals: tuple[Array, Array, _Pieces], to_z: _Samples) -> tuple[_Pieces, None, None]:
    """Add up, sample by sample: XLA's own transpose of the above takes up to five times as long."""
    theta, step, none = residuals
    steps = jnp.arange(len(none[0]))[:, None]

    def body(to_pieces: _Pieces, sample: tuple[Array, Array, Array]) -> tuple[_Pieces, None]:
        to_z, theta, step = sample
        weight, sums = (steps == step).astype(to_z.dtype), []
        for total in to_pieces:
            sums.append(total + weight[:, None] * to_z)
            weight = weight * theta
        return tuple(sums), None

    return jax.lax.scan(body, none, (to_z, theta, step))[0], None, None


_read.defvjp(_read_forward, _read_backward)
