"""The learned field: an MLP from features of the state to an acceleration."""

import itertools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from trainables._shared.choice import Choice
from trainables._shared.contract import Hyper
from trainables.two_body.activations import activate
from trainables.two_body.config import SIX_OUTPUTS, Config
from trainables.two_body.features import FEATURES, State
from trainables.two_body.heads import HEAD_FUNCTIONS, HEADS, MAGNITUDE_STARTS_AT_ONE, Acceleration, Outputs


class Affine(eqx.Module):
    """W x + b, the components of x first."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, "inputs batch"]) -> Float[Array, "outputs batch"]:
        """Return W x + b."""
        return self.weight @ x + self.bias[:, None]


class AccelerationField(eqx.Module):
    """The acceleration a(r, v) = head(MLP(features(r, v)), r, v), and with `mlp_simple` the velocity too."""

    layers: tuple[Affine, ...]
    features: str = eqx.field(static=True)
    head: Choice
    activation: Choice
    planar: bool = eqx.field(static=True)

    def __init__(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> None:
        """Draw the layers uniformly in +-1/sqrt(inputs); see MAGNITUDE_STARTS_AT_ONE for the one exception."""
        sizes = [FEATURES[config.features][0], *[config.width] * config.depth, HEADS[config.head][0]]
        # Drawn at once: XLA takes 3 s to compile as many draws as there are arrays.
        num = [outputs * (inputs + 1) for inputs, outputs in itertools.pairwise(sizes)]
        drawn = jnp.split(jax.random.uniform(key, (sum(num),), minval=-1.0, maxval=1.0), np.cumsum(num)[:-1])
        layers = []
        for (inputs, outputs), layer in zip(itertools.pairwise(sizes), drawn, strict=True):
            rows = layer.reshape(outputs, inputs + 1) / inputs**0.5
            layers.append(Affine(rows[:, :-1], rows[:, -1]))
        self.head, self.activation = hyper["head"], hyper["activation"]
        bias = layers[-1].bias
        starts_at_one = self.head.is_in(MAGNITUDE_STARTS_AT_ONE)
        layers[-1] = Affine(layers[-1].weight, bias.at[0].set(jnp.where(starts_at_one, 1.0, bias[0])))
        self.layers = tuple(layers)
        self.features = config.features
        self.planar = config.is_planar

    @property
    def learns_velocity(self) -> bool:
        """Whether the network also gives dr/dt, which is v with all other heads."""
        return set(self.head.values) <= set(SIX_OUTPUTS)

    def __call__(self, y: State) -> Acceleration:
        """Return the accelerations at states (r, v)."""
        return self._acceleration(self._outputs(y), y)

    def derivative(self, y: State) -> State:
        """Return d/dt (r, v) at states (r, v); the first half is v unless the network gives it."""
        if not self.learns_velocity:
            return jnp.concatenate([y[3:], self(y)])
        out = self._outputs(y)
        velocity = self._in_plane(out[:3]).reshape(3, *y.shape[1:])
        return jnp.concatenate([velocity, self._acceleration(out, y)])

    def _outputs(self, y: State) -> Outputs:
        x = FEATURES[self.features][1](y.reshape(6, -1))
        *hidden, last = self.layers
        for layer in hidden:
            x = activate(self.activation, layer(x))
        return last(x)

    def _acceleration(self, out: Outputs, y: State) -> Acceleration:
        a = self.head.switch(HEAD_FUNCTIONS, out, y.reshape(6, -1))
        return self._in_plane(a).reshape(3, *y.shape[1:])

    def _in_plane(self, vector: Float[Array, " 3 *batch"]) -> Float[Array, " 3 *batch"]:
        return jnp.concatenate([vector[:2], jnp.zeros_like(vector[:1])]) if self.planar else vector


class Dynamics(eqx.Module):
    """The first-order system d/dt (r, v) = (v, a(r, v))."""

    acceleration: Callable[[State], Acceleration]

    def __call__(self, y: State) -> State:
        """Return dy/dt."""
        if isinstance(self.acceleration, AccelerationField):
            return self.acceleration.derivative(y)
        return jnp.concatenate([y[3:], self.acceleration(y)])


def exact_acceleration(y: State) -> Acceleration:
    """Return -r/|r|^3, the field that is to be learned."""
    r = y[:3]
    return -r / jnp.sum(r * r, axis=0, keepdims=True) ** 1.5
