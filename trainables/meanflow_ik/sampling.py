"""Solutions from noise: one step from t = 1 to 0, or a few."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trainables.meanflow_ik.model import Condition, VelocityNetwork


def sample(
    network: VelocityNetwork,
    noise: Float[Array, "batch joints"],
    pose: Condition,
    numbers: Sequence[int],
    *,
    by_average: bool,
) -> list[Float[Array, "batch joints"]]:
    """Return what noise at t = 1 becomes at t = 0, once for each number of equal steps.

    A step is z_r = z_t - (t - r) u(z_t, r, t). `by_average` says whether the network knows average velocities;
    otherwise (flow matching) these are Euler's steps, with the velocity at t.
    """
    # One after the other in one loop: the network is compiled once, whatever the numbers are.
    steps = [(k / num, (k - 1) / num, k == num) for num in numbers for k in range(num, 0, -1)]
    t, r, is_first = (np.array(column) for column in zip(*steps, strict=True))

    def step(z: Array, times: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        t, r, is_first = times
        z = jnp.where(is_first, noise, z)
        later, earlier = jnp.full(len(z), t), jnp.full(len(z), r)
        z = z - (t - r) * network(z, earlier if by_average else later, later, pose)
        return z, z

    columns = (jnp.asarray(t, jnp.float32), jnp.asarray(r, jnp.float32), jnp.asarray(is_first))
    _, found = jax.lax.scan(step, noise, columns)
    return [found[end - 1] for end in np.cumsum(numbers)]
