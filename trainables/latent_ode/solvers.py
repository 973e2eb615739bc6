"""Solutions of the latent ODE at every series' own times: on a mesh, by steps between samples, or by adaptive ones."""

from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trainables._shared.tsit5 import ERROR, Field, State, combine, tsit5_step
from trainables.latent_ode.config import Config
from trainables.latent_ode.mesh import meshed


class Solution(NamedTuple):
    """Latent states at every sample, and whether every series was solved and stayed finite."""

    z: Float[Array, "samples latent n"]
    solved: Bool[Array, ""]
    error: Float[Array, ""]
    """The estimated errors of the steps, root mean squares over series and relative to the states', summed."""


def _tsit5(field: Field, z: State, h: Float[Array, " n"]) -> tuple[State, State]:
    z1, k = tsit5_step(field, z, field(z), h)
    return z1, h * combine(ERROR, k)


def _rk4(field: Field, z: State, h: Float[Array, " n"]) -> tuple[State, State]:
    k1 = field(z)
    k2 = field(z + 0.5 * h * k1)
    k3 = field(z + 0.5 * h * k2)
    z1 = z + h / 6 * (k1 + 2 * (k2 + k3) + field(z + h * k3))
    return z1, jnp.full_like(z1, jnp.nan)


STEPS: dict[str, Callable[[Field, State, Float[Array, " n"]], tuple[State, State]]] = {"tsit5": _tsit5, "rk4": _rk4}
"""Steps of a fixed length: the state after one, and its estimated error, if the method has one."""


def _solution(z: Float[Array, "samples latent n"], error: Float[Array, "steps latent n"]) -> Solution:
    rms = jnp.sqrt(jnp.mean(error**2, axis=(1, 2)))
    return Solution(z, jnp.isfinite(z).all(), jnp.sum(rms) / jnp.sqrt(jnp.mean(z**2)))


def fixed(name: str, field: Field, z0: State, t: Float[Array, "samples n"], substeps: int) -> Solution:
    """Integrate from t = 0 with `substeps` steps to each sample, all series at once; steps may have length 0."""
    h = jnp.repeat(jnp.diff(t, axis=0, prepend=0.0) / substeps, substeps, axis=0)

    def body(z: State, h: Float[Array, " n"]) -> tuple[State, tuple[State, State]]:
        z, error = STEPS[name](field, z, h)
        return z, (z, error)

    _, (z, error) = jax.lax.scan(body, z0, h)
    return _solution(z[substeps - 1 :: substeps], error)


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
    return Solution(jnp.where(there, z, 0.0), jnp.all(solved) & there.all(), jnp.full((), jnp.nan))


def solve(
    config: Config,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    field: Field,
    z0: State,
    t: Float[Array, "samples n"],
    num_observed: int,
) -> Solution:
    """Return the latent states at times t >= 0 in ascending order, from z0 at time 0, by the config's solver.

    The first `num_observed` times are those of the observed span; if there are more, the others are of the later one.
    """
    if config.solver == "adaptive":
        return adaptive(field, z0, t, rtol, atol, config.max_steps)
    if config.solver == "mesh":
        return _solution(*meshed(field, z0, t, config.mesh_steps(num_observed, whole=len(t) > num_observed)))
    return fixed(config.solver, field, z0, t, config.substeps)
