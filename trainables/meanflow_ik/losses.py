"""MeanFlow's objective and its two relatives: the residual whose weighted square is minimised.

With t = 0 data and t = 1 noise, z_t = (1 - t) x + t eps and v = eps - x, the average velocity from r to t is
u(z_t, r, t) = 1 / (t - r) times the integral of the velocity over [r, t]. Differentiated by t, that is the MeanFlow
identity u = v - (t - r) du/dt, du/dt = v . grad_z u + d_t u along the path (Geng et al. 2025, arXiv 2505.13447, eq. 6).

- `meanflow` (there, algorithm 1): u is regressed on v - (t - r) du/dt without its gradient; du/dt is one product of u's
  Jacobian at (z, r, t) with (v, 0, 1), where v is the conditional velocity eps - x.
- `improved` (Geng et al. 2025, arXiv 2512.02012, algorithm 1): V = u + (t - r) du/dt, du/dt without its gradient, is
  regressed on eps - x, which no network has a part in; along the path goes the model's own velocity u(z, t, t), so that
  V depends on z alone. From there, not taken here: a further head for the velocity, and what concerns guidance.
- `flow_matching` (Lipman et al. 2023, arXiv 2210.02747): r = t always, where all of them are this one.

The residual is u - (eps - x) + (t - r) du/dt for each of the first two: they differ in the velocity of the tangent.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from trainables._shared.choice import Choice
from trainables.meanflow_ik.data import METRES_PER_RADIAN
from trainables.meanflow_ik.kinematics import Pose

ROUNDED_M = 0.01
"""Distance from which on a pose's distance counts fully."""

Latent = Float[Array, "batch joints"]
Times = Float[Array, " batch"]
Velocity = Callable[..., Latent]
"""u(z, r, t), or u(z, r, t, pose)."""


def times_from(
    draws: Float[Array, "batch 2"],
    distribution: Choice,
    mean: Float[Array, ""],
    std: Float[Array, ""],
    num_equal: int,
) -> tuple[Times, Times]:
    """Return times r <= t of each example, from two standard normal draws; the first `num_equal` have r = t.

    Each draw becomes a time between 0 and 1, by the sigmoid of a Gaussian or uniform, and the two are put in order
    (Geng et al. 2025, section 4.3).
    """
    uniform, logit_normal = jax.scipy.special.ndtr(draws), jax.nn.sigmoid(mean + std * draws)
    times = distribution.select({"logit_normal": logit_normal, "uniform": uniform})
    r, t = jnp.min(times, axis=1), jnp.max(times, axis=1)
    return jnp.where(jnp.arange(len(t)) < num_equal, t, r), t


def residual(
    u: Velocity,
    z: Latent,
    r: Times,
    t: Times,
    v: Latent,
    along: Latent,
    rates: tuple[Float[Array, ""] | float, Float[Array, ""] | float] = (0.0, 1.0),
) -> Latent:
    """Return u - v + (t - r) du/dt, with a gradient through u alone.

    `v` is the conditional velocity eps - x, `along` the velocity at which z moves in du/dt. `rates` are those at which
    r and t move: 0 and 1, all others being wrong (the paper's ablation, and ours in the tests).
    """
    tangents = (along, jnp.full_like(r, rates[0]), jnp.full_like(t, rates[1]))
    value, derivative = jax.jvp(u, (z, r, t), tangents)
    return value - v + (t - r)[:, None] * jax.lax.stop_gradient(derivative)


def residuals(
    u: Velocity,
    z: Latent,
    r: Times,
    t: Times,
    v: Latent,
    pose: Float[Array, "batch features"],
    *,
    num_equal: int,
    improved: bool,
) -> Latent:
    """Return the residuals of a batch, of which the first `num_equal` examples have r = t.

    There u - v is all that is left, and costs no Jacobian-vector product. The pose has no tangent.
    """
    parts = []
    if num_equal:
        equal = slice(None, num_equal)
        parts.append(u(z[equal], t[equal], t[equal], pose[equal]) - v[equal])
    if num_equal < len(z):
        z, r, t, v, pose = (array[num_equal:] for array in (z, r, t, v, pose))
        along = jax.lax.stop_gradient(u(z, t, t, pose)) if improved else v
        parts.append(residual(lambda *moving: u(*moving, pose), z, r, t, v, along))
    return jnp.concatenate(parts)


def weights(
    squares: Float[Array, " batch"], power: Float[Array, ""], offset: Float[Array, ""]
) -> Float[Array, " batch"]:
    """Return the adaptive weights of squared residuals, 1 / (square + offset)^power, without a gradient.

    The square is the residual's own: by the distance of the data, examples would be weighted by what they are and not
    by how well they are known (Geng et al. 2025, section 4.3).
    """
    return (jax.lax.stop_gradient(squares) + offset) ** -power


def pose_distance(
    reached: Pose, target: Pose, q: Float[Array, "batch joints"], limits: tuple[Array, Array]
) -> Float[Array, ""]:
    """Return the mean distance in metres of joint angles q, which reach these poses (batch), from being solutions.

    A radian of rotation counts as `METRES_PER_RADIAN`, and so does one by which a joint is beyond its limits. Squared,
    a rotation's share is that of the 9 numbers' differences, which is the angle's where it is small and has a gradient
    everywhere. Near 0 the distance is a parabola, of `ROUNDED_M`, as that of a point has no gradient there.
    """
    moved = jnp.sum((reached.position - target.position) ** 2, axis=-1)
    turned = jnp.sum((reached.rotation - target.rotation) ** 2, axis=(-2, -1)) / 2
    low, high = limits
    beyond = jnp.sum((q - jnp.clip(q, low, high)) ** 2, axis=-1)
    square = moved + METRES_PER_RADIAN**2 * (turned + beyond)
    return jnp.mean(jnp.sqrt(square + ROUNDED_M**2) - ROUNDED_M)


def mean_over(squares: Float[Array, " batch"], start: int, stop: int) -> Float[Array, ""]:
    """Return the mean of a part of a batch, 0 if it is empty."""
    return jnp.mean(squares[start:stop]) if stop > start else jnp.zeros(())
