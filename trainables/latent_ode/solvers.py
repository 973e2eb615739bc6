"""Solutions of the latent ODE at every series' own times: a fixed number of steps between samples, or adaptive ones."""

from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trainables._shared.tsit5 import Field, State, tsit5_step
from trainables.latent_ode.config import Config


class Solution(NamedTuple):
    """Latent states at every sample, and whether every series was solved and stayed finite."""

    z: Float[Array, "samples latent n"]
    solved: Bool[Array, ""]


def _tsit5(field: Field, z: State, h: Float[Array, " n"]) -> State:
    return tsit5_step(field, z, field(z), h)[0]


def _rk4(field: Field, z: State, h: Float[Array, " n"]) -> State:
    k1 = field(z)
    k2 = field(z + 0.5 * h * k1)
    k3 = field(z + 0.5 * h * k2)
    return z + h / 6 * (k1 + 2 * (k2 + k3) + field(z + h * k3))


STEPS: dict[str, Callable[[Field, State, Float[Array, " n"]], State]] = {"tsit5": _tsit5, "rk4": _rk4}


def fixed(name: str, field: Field, z0: State, t: Float[Array, "samples n"], substeps: int) -> Solution:
    """Integrate from t = 0 with `substeps` steps to each sample, all series at once; steps may have length 0."""
    h = jnp.repeat(jnp.diff(t, axis=0, prepend=0.0) / substeps, substeps, axis=0)

    def body(z: State, h: Float[Array, " n"]) -> tuple[State, State]:
        z = STEPS[name](field, z, h)
        return z, z

    _, z = jax.lax.scan(body, z0, h)
    z = z[substeps - 1 :: substeps]
    return Solution(z, jnp.isfinite(z).all())


def adaptive(
    field: Field,
    z0: State,
    t: Float[Array, "samples n"],
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    max_steps: int,
) -> Solution:
    """Integrate every series with diffrax's adaptive Tsit5 from t = 0; one that fails is zero, and not solved."""

    def one(z0: Float[Array, " latent"], t: Float[Array, " samples"]) -> tuple[Array, Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, z, args: field(z[:, None])[:, 0]),  # pyright: ignore[reportArgumentType]
            diffrax.Tsit5(),
            0.0,
            t[-1],
            None,
            z0,
            saveat=diffrax.SaveAt(ts=t),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
            throw=False,
        )
        assert solution.ys is not None
        return solution.ys, solution.result == diffrax.RESULTS.successful

    z, solved = jax.vmap(one, in_axes=1, out_axes=(2, 0))(z0, t)
    there = jnp.isfinite(z)
    return Solution(jnp.where(there, z, 0.0), jnp.all(solved) & there.all())


def solve(
    config: Config,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    field: Field,
    z0: State,
    t: Float[Array, "samples n"],
) -> Solution:
    """Return the latent states at times t >= 0 in ascending order, from z0 at time 0, by the config's solver."""
    if config.solver == "adaptive":
        return adaptive(field, z0, t, rtol, atol, config.max_steps)
    return fixed(config.solver, field, z0, t, config.substeps)
