"""Encoder, latent vector field and decoder; components come first and series last, so that loops run over the series.

Chen et al. 2018, Neural Ordinary Differential Equations; Rubanova et al. 2019, Latent Ordinary Differential
Equations for Irregularly-Sampled Time Series.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from trainables.latent_ode.config import Config

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
}
ABSENT = 1e4
"""What a masked-out sample adds to the update gate's argument: the gate is 1 then, to the last bit."""
Samples = Float[Array, "samples components n"]
Times = Float[Array, "samples n"]
Mask = Bool[Array, "samples n"]


class Affine(eqx.Module):
    """W x + b, the components of x first."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, " inputs *n"]) -> Float[Array, " outputs *n"]:
        """Return W x + b."""
        return jnp.tensordot(self.weight, x, 1) + self.bias.reshape(-1, *[1] * (x.ndim - 1))


class MLP(eqx.Module):
    """Affine layers with an activation between."""

    layers: tuple[Affine, ...]
    activation: str = eqx.field(static=True)

    def __call__(self, x: Float[Array, " inputs *n"]) -> Float[Array, " outputs *n"]:
        """Return the last layer's outputs."""
        *hidden, last = self.layers
        for layer in hidden:
            x = ACTIVATIONS[self.activation](layer(x))
        return last(x)


class LinearField(eqx.Module):
    """z' = W z."""

    weight: Float[Array, "latent latent"]

    def __call__(self, z: Float[Array, "latent n"]) -> Float[Array, "latent n"]:
        """Return W z."""
        return self.weight @ z


class BoundedField(eqx.Module):
    """z' = s tanh(MLP(z)), with a learnt number s: however far a state goes, it goes no faster.

    As in Diffrax's example of a latent ODE (Kidger 2021, On Neural Differential Equations).
    """

    mlp: MLP
    scale: Float[Array, ""]

    def __call__(self, z: Float[Array, "latent n"]) -> Float[Array, "latent n"]:
        """Return s tanh(MLP(z))."""
        return self.scale * jnp.tanh(self.mlp(z))


class BackwardGRU(eqx.Module):
    """A GRU that reads the samples of each series from its last to its first (Cho et al. 2014)."""

    from_input: Affine
    from_state: Affine

    def __call__(self, x: Samples, mask: Mask) -> Float[Array, "hidden n"]:
        """Return the state after the first sample; samples that are masked out leave it as it is."""
        # One product of the sample, whether it is absent, and the state gives all that the gates need. On a CPU, XLA
        # makes scalar code of what it fuses with the reading of a scan's inputs: here that is the concatenation alone.
        weight, bias = self._joint()
        absent = jnp.where(mask, 0.0, 1.0)[:, None]

        def read(h: Float[Array, "hidden n"], sample: Float[Array, "inputs n"]) -> tuple[Array, None]:
            r, u, new, of_h = jnp.split(weight @ jnp.concatenate([sample, h]) + bias[:, None], 4)
            u = jax.nn.sigmoid(u)
            return (1 - u) * jnp.tanh(new + jax.nn.sigmoid(r) * of_h) + u * h, None

        start = jnp.zeros((self.from_state.weight.shape[1], x.shape[-1]))
        return jax.lax.scan(read, start, jnp.concatenate([x, absent], axis=1), reverse=True)[0]

    def _joint(self) -> tuple[Float[Array, "outputs inputs"], Float[Array, " outputs"]]:
        """Return weights and biases of both gates, and of the inputs' and the state's parts of the new state."""
        (r_x, u_x, new_x), (r_h, u_h, new_h) = (
            jnp.split(layer.weight, 3) for layer in (self.from_input, self.from_state)
        )
        none = jnp.zeros((len(r_x), 1))
        rows = [
            [r_x, none, r_h],
            [u_x, none + ABSENT, u_h],
            [new_x, none, jnp.zeros_like(new_h)],
            [jnp.zeros_like(new_x), none, new_h],
        ]
        r, u, new = jnp.split(self.from_input.bias, 3)
        more_r, more_u, of_h = jnp.split(self.from_state.bias, 3)
        return jnp.block(rows), jnp.concatenate([r + more_r, u + more_u, new, of_h])


class PrefixMLP(eqx.Module):
    """An MLP over the first samples of each series and which of them are there."""

    mlp: MLP
    num_samples: int = eqx.field(static=True)

    def __call__(self, x: Samples, mask: Mask) -> Float[Array, "hidden n"]:
        """Return the hidden features; a series of fewer samples is padded with zeros."""
        x = jnp.concatenate([x, mask[:, None].astype(x.dtype)], axis=1)[: self.num_samples]
        x = jnp.pad(x, ((0, self.num_samples - x.shape[0]), (0, 0), (0, 0)))
        return self.mlp(x.reshape(-1, x.shape[-1]))


def empty_statistics(num_components: int) -> tuple[Array, Array, Array]:
    """Return what stands in place of mean, scale and time scale in a model that has seen no data."""
    return jnp.zeros(num_components), jnp.ones(num_components), jnp.ones(())


class LatentODE(eqx.Module):
    """q(z0 | series), z' = field(z), yhat = decoder(z), in normalised observations and times.

    With `lift`, the state of the ODE is another one, which starts at lift(z0).
    """

    encoder: BackwardGRU | PrefixMLP
    posterior: Affine
    field: MLP | LinearField | BoundedField
    decoder: MLP
    lift: MLP | None
    mean: Float[Array, " components"]
    scale: Float[Array, " components"]
    time_scale: Float[Array, ""]
    """What observations and times are normalised by: the training series' statistics, moved by no gradient."""

    def __init__(self, config: Config, key: PRNGKeyArray) -> None:
        """Draw every layer uniformly in +-1/sqrt(inputs)."""
        d, hidden, latent = config.num_components, config.hidden, config.latent
        between = [config.width] * config.depth
        sizes = [(hidden, latent if config.deterministic else 2 * latent)]
        if config.encoder == "gru":
            sizes += [(d + 2, 3 * hidden), (hidden, 3 * hidden)]
        else:
            sizes += _pairs([config.prefix * (d + 3), *[hidden] * config.depth, hidden])
        num_encoder = len(sizes)
        state = latent if config.state is None else config.state
        sizes += [(state, state)] if config.field == "linear" else _pairs([state, *between, state])
        num_field = len(sizes)
        sizes += _pairs([state, *(between if config.decoder == "mlp" else []), d])
        num_decoder = len(sizes)
        sizes += [] if config.state is None else _pairs([latent, *between, state])
        layers = _draw(sizes, key)
        self.posterior = layers[0]
        read = layers[1:num_encoder]
        self.encoder = (
            BackwardGRU(*read) if config.encoder == "gru" else PrefixMLP(MLP(read, config.activation), config.prefix)
        )
        self.field = _field(config, layers[num_encoder:num_field])
        self.decoder = MLP(layers[num_field:num_decoder], config.activation)
        self.lift = None if config.state is None else MLP(layers[num_decoder:], config.activation)
        self.mean, self.scale, self.time_scale = empty_statistics(d)

    def encode(
        self, x: Samples, t: Times, mask: Mask
    ) -> tuple[Float[Array, "latent n"], Float[Array, "latent n"] | None]:
        """Return mean and log standard deviation (None where deterministic) of q(z0), from normalised samples.

        A sample is read with its time since the first one and the time since the one before: the ODE is autonomous,
        so that the time of the first one says nothing.
        """
        gaps = jnp.diff(t, axis=0, prepend=0.0)
        read = jnp.concatenate([x, t[:, None], gaps[:, None]], axis=1)
        out = self.posterior(self.encoder(jnp.where(mask[:, None], read, 0.0), mask))
        if out.shape[0] == self._num_latent:
            return out, None
        mean, log_std = jnp.split(out, 2)
        return mean, log_std

    def start(self, z0: Float[Array, "latent n"]) -> Float[Array, "state n"]:
        """Return the state at the first sample: z0, or what it is lifted to."""
        return z0 if self.lift is None else self.lift(z0)

    def decode(self, z: Float[Array, "samples latent n"]) -> Samples:
        """Return the normalised observations of latent states."""
        return jnp.moveaxis(self.decoder(jnp.moveaxis(z, 0, 1)), 1, 0)

    @property
    def _num_latent(self) -> int:
        return (self.decoder if self.lift is None else self.lift).layers[0].weight.shape[1]


def _field(config: Config, layers: tuple[Affine, ...]) -> MLP | LinearField | BoundedField:
    if config.field == "linear":
        return LinearField(layers[0].weight)
    mlp = MLP(layers, config.activation)
    return mlp if config.field == "mlp" else BoundedField(mlp, jnp.ones(()))


def _pairs(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise(sizes))


def _draw(sizes: Sequence[tuple[int, int]], key: PRNGKeyArray) -> tuple[Affine, ...]:
    """Return affine layers of these numbers of inputs and outputs, drawn at once: many draws take long to compile."""
    num = [outputs * (inputs + 1) for inputs, outputs in sizes]
    drawn = jnp.split(jax.random.uniform(key, (sum(num),), minval=-1.0, maxval=1.0), np.cumsum(num)[:-1])
    layers = []
    for (inputs, outputs), layer in zip(sizes, drawn, strict=True):
        rows = layer.reshape(outputs, inputs + 1) / inputs**0.5
        layers.append(Affine(rows[:, :-1], rows[:, -1]))
    return tuple(layers)
