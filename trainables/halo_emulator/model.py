"""The networks: members of an ensemble, stacked along their leaves' first axis, and the statistics that they share.

Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from trainables._shared.choice import Choice
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.features import Statistics

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"silu": jax.nn.silu, "gelu": jax.nn.gelu, "tanh": jnp.tanh}
VARIANCE_FLOOR = 1e-6
"""Least variance of a standardised bin: a thousandth of its spread."""
UNIT = 0.5413
"""The softplus of this is 1: an untrained network predicts the variance of the training profiles."""
BOOTSTRAP_STREAM = 7
"""What a member's key is folded with for the simulations that it draws."""
Activate = Callable[[Array], Array]
Kept = Sequence[Array | float]
"""What the units of each layer that may be left out are multiplied by."""


class Gaussian(NamedTuple):
    """Mean and variance of each bin of each halo."""

    mean: Float[Array, "*n bins"]
    variance: Float[Array, "*n bins"]


class Affine(eqx.Module):
    """W x + b."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, "*n inputs"]) -> Float[Array, "*n outputs"]:
        """Return W x + b."""
        return x @ self.weight.T + self.bias


class Attention(eqx.Module):
    """One head of self-attention over the parameters, each a token of its value, which is summed up by their mean."""

    embed: Float[Array, "tokens 2 width"]
    """Slope and offset of each parameter's token."""
    qkv: Float[Array, "triple width"]
    """Of queries, keys and values, without offsets: that of the keys would change nothing, and be moved by rounding."""
    out: Affine

    def __call__(self, x: Float[Array, "n tokens"], activate: Activate) -> Float[Array, "n width"]:
        """Return the mean of the tokens after attention."""
        tokens = activate(x[..., None] * self.embed[:, 0] + self.embed[:, 1])
        q, k, v = jnp.split(tokens @ self.qkv.T, 3, axis=-1)
        weights = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / q.shape[-1] ** 0.5, axis=-1)
        return activate(self.out(jnp.mean(tokens + weights @ v, axis=-2)))


class Encoders(eqx.Module):
    """An encoder for each group of inputs, and the scale and shift that the mass gives what they say together."""

    params: Affine | Attention
    mass: Affine
    ratios: Affine
    joint: Affine
    by_mass: Affine
    groups: tuple[int, int, int] = eqx.field(static=True)

    def __call__(self, x: Float[Array, "n inputs"], activate: Activate) -> Float[Array, "n width"]:
        """Return the joint features."""
        first, second, _ = self.groups
        params, mass, ratios = jnp.split(x, [first, first + second], axis=-1)
        of_params = (
            self.params(params, activate) if isinstance(self.params, Attention) else activate(self.params(params))
        )
        of_mass = activate(self.mass(mass))
        joint = self.joint(jnp.concatenate([of_params, of_mass, activate(self.ratios(ratios))], axis=-1))
        scale, shift = jnp.split(self.by_mass(of_mass), 2, axis=-1)
        return activate(joint * (1 + scale) + shift)


class Network(eqx.Module):
    """From standardised inputs to mean and variance of the standardised profile."""

    encoders: Encoders | None
    hidden: tuple[Affine, ...]
    mean: Affine
    spread: Affine

    def __call__(
        self,
        x: Float[Array, "n inputs"],
        activate: Activate,
        kept: Kept | None = None,
        share: Float[Array, ""] | float = 1.0,
    ) -> Gaussian:
        """Return mean and variance; `share` of the variance's gradient goes on to the hidden layers."""
        if self.encoders is not None:
            x = self.encoders(x, activate)
        for layer, factor in zip(self.hidden, kept or [1.0] * len(self.hidden), strict=True):
            x = activate(layer(x)) * factor
        held = jax.lax.stop_gradient(x)
        raw = self.spread(held + share * (x - held))
        return Gaussian(self.mean(x), jax.nn.softplus(raw + UNIT) + VARIANCE_FLOOR)


class Ensemble(eqx.Module):
    """Networks of equal shapes, stacked, and what inputs and targets are normalised by."""

    networks: Network
    """Every leaf has the members as its first axis."""
    statistics: Statistics
    """Of the training haloes; moved by no gradient, as is what follows."""
    numbers: Int[Array, " members"]
    draws: UInt32[Array, "members words"]
    """The data of each member's key that says which simulations it draws, the same ones in every step."""

    def __init__(self, config: Config, key: PRNGKeyArray, numbers: Int[Array, " members"]) -> None:
        """Draw a network for each member, by its number."""
        keys = member_keys(key, numbers)
        self.networks = jax.vmap(lambda key: draw(config, key))(keys)
        self.numbers = numbers
        self.draws = jax.vmap(lambda key: jax.random.key_data(jax.random.fold_in(key, BOOTSTRAP_STREAM)))(keys)
        self.statistics = empty_statistics(config.num_parameters, sum(config.groups), config.num_bins)


def empty_statistics(num_parameters: int, num_inputs: int, num_bins: int) -> Statistics:
    """Return what stands in place of statistics in a model that has seen no data."""
    zeros, ones = jnp.zeros, jnp.ones
    return Statistics(zeros(num_parameters), zeros(num_inputs), ones(num_inputs), zeros(num_bins), ones(num_bins))


def draw(config: Config, key: PRNGKeyArray) -> Network:
    """Return a network, every layer uniform in +-1/sqrt(inputs)."""
    groups, widths, width = config.groups, config.widths, max(2, config.width // 2)
    sizes: list[tuple[int, int]] = []
    if config.model == "grouped":
        sizes += [(groups[1], width), (groups[2], width), (3 * width, config.width), (width, 2 * config.width)]
        sizes += [(width, 3 * width), (width, width)] if config.attention else [(groups[0], width)]
        first = config.width
    else:
        first = sum(groups)
    num_encoder = len(sizes)
    sizes += itertools.pairwise((first, *widths))
    sizes += [(widths[-1], config.num_bins)] * 2
    layer_key, token_key = jax.random.split(key)
    layers = draw_layers(sizes, layer_key)
    encoders = None
    if config.model == "grouped":
        mass, ratios, joint, by_mass, *rest = layers[:num_encoder]
        params = rest[0]
        if config.attention:
            embed = jax.random.normal(token_key, (groups[0], 2, width))
            params = Attention(embed, rest[0].weight, rest[1])
        encoders = Encoders(params, mass, ratios, joint, by_mass, groups)
    return Network(encoders, layers[num_encoder:-2], *layers[-2:])


def draw_layers(sizes: Sequence[tuple[int, int]], key: PRNGKeyArray) -> tuple[Affine, ...]:
    """Return affine layers of these numbers of inputs and outputs, drawn at once: many draws take long to compile."""
    num = [outputs * (inputs + 1) for inputs, outputs in sizes]
    drawn = jnp.split(jax.random.uniform(key, (sum(num),), minval=-1.0, maxval=1.0), np.cumsum(num)[:-1])
    layers = []
    for (inputs, outputs), layer in zip(sizes, drawn, strict=True):
        rows = layer.reshape(outputs, inputs + 1) / inputs**0.5
        layers.append(Affine(rows[:, :-1], rows[:, -1]))
    return tuple(layers)


def member_keys(key: PRNGKeyArray, numbers: Int[Array, " members"]) -> PRNGKeyArray:
    """Return each member's key, which its number says and not how many there are."""
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def activation(choice: Choice) -> Activate:
    """Return the chosen activation."""
    return lambda x: choice.switch(ACTIVATIONS, x)


def members_in_dex(model: Ensemble, x: Float[Array, "n inputs"], activate: Activate) -> Gaussian:
    """Return each member's mean and variance of the transformed profile, in dex, members first, of raw inputs."""
    stats = model.statistics
    x = (x - stats.center) / stats.scale
    arrays, rest = eqx.partition(model.networks, eqx.is_array)

    def member(arrays: Any) -> Gaussian:
        return eqx.combine(arrays, rest)(x, activate)

    mean, variance = jax.vmap(member)(arrays)
    return Gaussian(mean * stats.target_scale + stats.target_center, variance * stats.target_scale**2)


def mixture(members: Gaussian) -> tuple[Gaussian, Float[Array, "n bins"]]:
    """Return mean and variance of the members' mixture, and the variance of their means."""
    mean = jnp.mean(members.mean, axis=0)
    disagreement = jnp.mean((members.mean - mean) ** 2, axis=0)
    return Gaussian(mean, jnp.mean(members.variance, axis=0) + disagreement), disagreement
