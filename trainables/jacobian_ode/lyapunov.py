"""Growth along a trajectory from its Jacobians: the largest exponent, and the whole spectrum by QR sweeps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SQUARINGS = 4
TERMS = 8


def expm(A: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """Return exp(A) by Taylor's series of A / 2^4 and four squarings, to float32 rounding up to a norm of about 8.

    `jax.scipy.linalg.expm` chooses among five Pade orders, and under vmap computes all of them.
    """
    A = A / 2**SQUARINGS
    identity = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)
    power = jax.lax.fori_loop(0, TERMS, lambda i, power: identity + A @ power / (TERMS - i), identity)
    return jax.lax.fori_loop(0, SQUARINGS, lambda _, power: power @ power, power)


def largest_exponent(J: Float[Array, "batch samples n n"], dt: Float[Array, ""]) -> Float[Array, " batch"]:
    """Return the top Lyapunov exponent per sample along each sequence: the mean log of R_11 in the QR sweep.

    R_11 follows from the first column of Q alone, so no more of Q is computed.
    """
    steps = jnp.moveaxis(expm(J * dt), 1, 0)
    q = jnp.full(J.shape[:1] + J.shape[-1:], J.shape[-1] ** -0.5, J.dtype)

    def sweep(q: Array, M: Array) -> tuple[Array, Array]:
        q = jnp.einsum("bij,bj->bi", M, q)
        size = jnp.sqrt(jnp.sum(q * q, -1))
        return q / size[:, None], jnp.log(size)

    return jnp.mean(jax.lax.scan(sweep, q, steps)[1], 0)


def spectrum(J: Float[Array, "batch samples n n"], dt: Float[Array, ""] | float) -> Float[Array, "batch n"]:
    """Return the Lyapunov exponents per unit of time along each sequence, by QR sweeps of expm(J dt).

    The sum of the exponents' logs starts after the first tenth of the samples, which turns Q into its directions
    (Benettin et al. 1980; Eckmann and Ruelle 1985).
    """
    num = J.shape[1]

    def sweep(Q: Array, J: Array) -> tuple[Array, Array]:
        Q, R = jnp.linalg.qr(expm(J * dt) @ Q)
        return Q, jnp.log(jnp.abs(jnp.diagonal(R, axis1=-2, axis2=-1)))

    Q = jnp.broadcast_to(jnp.eye(J.shape[-1], dtype=J.dtype), J[:, 0].shape)
    logs = jax.lax.scan(sweep, Q, jnp.moveaxis(J, 1, 0))[1][num // 10 :]
    return jnp.mean(logs, 0) / dt
