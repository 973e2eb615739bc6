"""The network u(z, r, t | pose): the average velocity from time r to t, of joint angles that are z at t."""

import itertools
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from trainables.meanflow_ik.config import Config, JointAnglesName
from trainables.meanflow_ik.coordinates import Seen
from trainables.meanflow_ik.data import limits_of
from trainables.meanflow_ik.robots import ROBOTS, Robot
from trainables.meanflow_ik.rotations import six_d_from_matrix

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
}
TIME_FREQUENCIES = (1.0, 2.0, 4.0)
"""In half turns from 0 to 1: the loss has the derivative by t in it, which higher ones would make large."""

EARLIEST = 0.05
"""Where the output is a sample, velocities are as if t were no less: they would grow as 1 / t."""

Latent = Float[Array, "batch joints"]
Times = Float[Array, " batch"]
Condition = Float[Array, "batch features"]


class Affine(eqx.Module):
    """W x + b."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, "batch inputs"], dtype: jnp.dtype) -> Float[Array, "batch outputs"]:
        """Return W x + b in float32; the product is computed in `dtype`."""
        product = x.astype(dtype) @ self.weight.T.astype(dtype)
        return product.astype(jnp.float32) + self.bias


def _normalised(h: Float[Array, "batch width"]) -> Float[Array, "batch width"]:
    return h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + 1e-6)


def condition(
    robot: Robot,
    frequencies: int,
    position: Float[Array, "batch 3"],
    rotation: Float[Array, "batch 3 3"],
    seen: Seen | None = None,
) -> Condition:
    """Return what the network sees of target poses: position in units of the workspace, and rotation in 6-D.

    With `seen`, the wrist from there, the flange's axis, and sine and cosine of azimuth and roll. And sines and cosines
    of the position, if there are to be frequencies. Positions are in metres.
    """
    if seen is None:
        scaled = (position - jnp.array([0.0, 0.0, robot.shoulder])) / robot.reach
        rest = [six_d_from_matrix(rotation)]
    else:
        scaled = (seen.wrist - jnp.array([0.0, robot.shoulder])) / robot.reach
        turns = jnp.stack([seen.azimuth, seen.roll], axis=-1)
        rest = [seen.axis, jnp.sin(turns), jnp.cos(turns)]
    angles = [jnp.pi * 2.0**k * scaled for k in range(frequencies)]
    waves = [wave(angle) for angle in angles for wave in (jnp.sin, jnp.cos)]
    return jnp.concatenate([scaled, *rest, *waves], axis=-1)


def num_conditions(frequencies: int, joint_angles: JointAnglesName) -> int:
    """Return how many features `condition` has."""
    return 9 + (4 if joint_angles == "relative" else 6) * frequencies


def time_features(r: Times, t: Times) -> Float[Array, "batch features"]:
    """Return t and t - r, and their sines and cosines: the network sees the span and not r (Geng et al. 2025)."""
    times = jnp.stack([t, t - r], axis=-1)
    angles = jnp.concatenate([jnp.pi * k * times for k in TIME_FREQUENCIES], axis=-1)
    return jnp.concatenate([times, jnp.sin(angles), jnp.cos(angles)], axis=-1)


NUM_TIME_FEATURES = 2 + 4 * len(TIME_FREQUENCIES)


class VelocityNetwork(eqx.Module):
    """A residual MLP: each block adds W2 f(W1 h + b1) + b2 of the normalised h, f the activation."""

    first: Affine
    blocks: tuple[tuple[Affine, Affine], ...]
    last: Affine
    activation: str = eqx.field(static=True)
    precision: str = eqx.field(static=True)
    prediction: str = eqx.field(static=True)

    def __init__(self, config: Config, key: PRNGKeyArray) -> None:
        """Draw the layers uniformly in +-1/sqrt(inputs); what each block adds, and u, are 0 at first."""
        joints = ROBOTS[config.robot].num_joints
        inputs = joints + NUM_TIME_FEATURES + num_conditions(config.pose_frequencies, config.joint_angles)
        shapes = [(config.width, inputs), *[(config.width, config.width)] * config.blocks]
        # Drawn at once: XLA takes seconds to compile as many draws as there are arrays.
        sizes = [outputs * (inputs + 1) for outputs, inputs in shapes]
        ends = [0, *itertools.accumulate(sizes)]
        drawn = jax.random.uniform(key, (ends[-1],), minval=-1.0, maxval=1.0)
        layers = []
        for (start, stop), (outputs, inputs) in zip(itertools.pairwise(ends), shapes, strict=True):
            rows = drawn[start:stop].reshape(outputs, inputs + 1) / inputs**0.5
            layers.append(Affine(rows[:, :-1], rows[:, -1]))
        zeros = [Affine(jnp.zeros((config.width, config.width)), jnp.zeros(config.width)) for _ in range(config.blocks)]
        self.first = layers[0]
        self.blocks = tuple(zip(layers[1:], zeros, strict=True))
        self.last = Affine(jnp.zeros((joints, config.width)), jnp.zeros(joints))
        self.activation = config.activation
        self.precision = config.precision
        self.prediction = config.prediction

    def __call__(self, z: Latent, r: Times, t: Times, pose: Condition) -> Latent:
        """Return u(z, r, t | pose), the average velocity from r to t; with r = t, the velocity itself."""
        dtype = jnp.dtype(self.precision)
        h = self.first(jnp.concatenate([z, time_features(r, t), pose], axis=-1), dtype)
        for inner, outer in self.blocks:
            h = h + outer(ACTIVATIONS[self.activation](inner(_normalised(h), dtype)), dtype)
        output = self.last(_normalised(h), dtype)
        return output if self.prediction == "velocity" else (z - output) / jnp.maximum(t, EARLIEST)[:, None]


class Model(eqx.Module):
    """The network that is trained, the moving average of it that is used, and the limits that joints are scaled by."""

    network: VelocityNetwork
    average: VelocityNetwork
    low: Float[Array, " joints"]
    high: Float[Array, " joints"]

    def __init__(self, config: Config, key: PRNGKeyArray) -> None:
        """Draw the network; its average begins as itself."""
        self.network = VelocityNetwork(config, key)
        self.average = self.network
        self.low, self.high = map(jnp.asarray, limits_of(config))


def averaged(average: VelocityNetwork, network: VelocityNetwork, decay: Float[Array, ""]) -> VelocityNetwork:
    """Return the moving average one step later: decay times what it was, and the rest of the network."""
    old, rest = eqx.partition(average, eqx.is_inexact_array)
    new = eqx.filter(network, eqx.is_inexact_array)
    moved = jax.tree.map(lambda a, b: decay * a + (1 - decay) * jax.lax.stop_gradient(b), old, new)
    return eqx.combine(moved, rest)
