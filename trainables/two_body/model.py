"""The learned field: an MLP from features of the state to an acceleration."""

import itertools
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from trainables.two_body.config import Config
from trainables.two_body.features import FEATURES, State
from trainables.two_body.heads import HEADS, Acceleration

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "leaky_relu": jax.nn.leaky_relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
}


class AccelerationField(eqx.Module):
    """The acceleration a(r, v) = head(MLP(features(r, v)), r, v)."""

    layers: tuple[eqx.nn.Linear, ...]
    features: str = eqx.field(static=True)
    head: str = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    planar: bool = eqx.field(static=True)

    def __init__(self, config: Config, key: PRNGKeyArray) -> None:
        """Draw the layers uniformly in +-1/sqrt(inputs)."""
        sizes = [FEATURES[config.features][0], *[config.width] * config.depth, HEADS[config.head][0]]
        keys = jax.random.split(key, len(sizes) - 1)
        pairs = zip(itertools.pairwise(sizes), keys, strict=True)
        self.layers = tuple(eqx.nn.Linear(inputs, outputs, key=key) for (inputs, outputs), key in pairs)
        self.features, self.head, self.activation = config.features, config.head, config.activation
        self.planar = config.is_planar

    def __call__(self, y: State) -> Acceleration:
        """Return the accelerations at states (r, v)."""
        flat = y.reshape(6, -1)
        x = FEATURES[self.features][1](flat)
        *hidden, last = self.layers
        for layer in hidden:
            x = ACTIVATIONS[self.activation](_affine(layer, x))
        a = HEADS[self.head][1](_affine(last, x), flat)
        if self.planar:
            a = jnp.concatenate([a[:2], jnp.zeros_like(a[:1])])
        return a.reshape(3, *y.shape[1:])


class Dynamics(eqx.Module):
    """The first-order system d/dt (r, v) = (v, a(r, v))."""

    acceleration: Callable[[State], Acceleration]

    def __call__(self, y: State) -> State:
        """Return dy/dt."""
        return jnp.concatenate([y[3:], self.acceleration(y)])


def _affine(layer: eqx.nn.Linear, x: Float[Array, "inputs batch"]) -> Float[Array, "outputs batch"]:
    assert layer.bias is not None
    return layer.weight @ x + layer.bias[:, None]


def exact_acceleration(y: State) -> Acceleration:
    """Return -r/|r|^3, the field that is to be learned."""
    r = y[:3]
    return -r / jnp.sum(r * r, axis=0, keepdims=True) ** 1.5
