"""The learned Jacobian: a network whose outputs are J(z) itself, and the neural ODE that is its baseline."""

import abc
import itertools
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

States = Float[Array, "*batch n"]
Jacobians = Float[Array, "*batch n n"]
Points = Float[Array, "*batch points n"]
Weights = Float[Array, "means points"]
Means = Float[Array, "*batch means n n"]


@jax.custom_jvp
def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return x sigmoid(x)."""
    return x * jax.nn.sigmoid(x)


@silu.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # The derivative at once: what is kept for the way back is one array, of two for jax.nn.silu.
    (x,), (change,) = primals, tangents
    sigmoid = jax.nn.sigmoid(x)
    y = x * sigmoid
    return y, (sigmoid + y * (1 - sigmoid)) * change


class Affine(eqx.Module):
    """W x + b."""

    weight: Float[Array, "outputs inputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """Return W x + b."""
        return x @ self.weight.T + self.bias


class Network(eqx.Module):
    """An MLP with SiLU between its layers."""

    layers: tuple[Affine, ...]

    def __init__(self, sizes: tuple[int, ...], key: PRNGKeyArray) -> None:
        """Draw the layers uniformly in +-1/sqrt(inputs)."""
        # Drawn at once: XLA takes 3 s to compile as many draws as there are arrays.
        num = [outputs * (inputs + 1) for inputs, outputs in itertools.pairwise(sizes)]
        drawn = jnp.split(jax.random.uniform(key, (sum(num),), minval=-1.0, maxval=1.0), np.cumsum(num)[:-1])
        layers = []
        for (inputs, outputs), layer in zip(itertools.pairwise(sizes), drawn, strict=True):
            rows = layer.reshape(outputs, inputs + 1) / inputs**0.5
            layers.append(Affine(rows[:, :-1], rows[:, -1]))
        self.layers = tuple(layers)

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """Return the outputs of the last layer."""
        return self.layers[-1](self.hidden(x))

    def hidden(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch units"]:
        """Return what the last layer is applied to."""
        flat = x.reshape(-1, x.shape[-1])  # one matrix product per layer, whatever the batch's shape
        for layer in self.layers[:-1]:
            flat = silu(layer(flat))
        return flat.reshape(*x.shape[:-1], -1)


class Untrained(eqx.Module):
    """What no gradient moves: alpha of generalised teacher forcing, and the statistics of the training data."""

    alpha: Float[Array, ""]
    mean: Float[Array, " n"]
    std: Float[Array, " n"]
    dt: Float[Array, ""]
    """Time between two samples."""
    time: Float[Array, ""]
    """Time in which a standardised state changes by about 1: the unit of the network's outputs."""


class Model(eqx.Module):
    """A network over standardised states z = (x - mean) / std; what it gives is per unit of the data's time."""

    network: Network
    untrained: Untrained

    def scaled(self, outputs: Float[Array, "*batch m"]) -> Float[Array, "*batch m"]:
        """Return the network's outputs, which are of order 1, per unit of time."""
        return outputs / self.untrained.time

    @abc.abstractmethod
    def jacobian(self, z: States) -> Jacobians:
        """Return J(z)."""

    def weighted_jacobians(self, points: Points, weights: Weights) -> Means:
        """Return weighted means of J over points, one for each row of weights; each row sums to 1."""
        return jnp.einsum("mk,...kij->...mij", weights, self.jacobian(points))

    def in_units(self, mean: States, std: States, dt: Float[Array, ""], time: Float[Array, ""]) -> Self:
        """Return the same dynamics over states that are standardised by other statistics.

        z = (x - mean) / std of the training data is an affine function of the other z, which goes into the first and
        the last layer. The same statistics give the same model, to the last bit.
        """
        old = self.untrained
        ratio, shift = std / old.std, (mean - old.mean) / old.std
        first, *between, last = self.network.layers
        factor = self._output_factor(ratio) * (time / old.time)
        layers = (
            Affine(first.weight * ratio, first.bias + first.weight @ shift),
            *between,
            Affine(last.weight * factor[:, None], last.bias * factor),
        )
        network = eqx.tree_at(lambda network: network.layers, self.network, layers)
        changed = network, Untrained(old.alpha, mean, std, dt, time)
        return eqx.tree_at(lambda model: (model.network, model.untrained), self, changed)

    @abc.abstractmethod
    def _output_factor(self, ratio: Float[Array, " n"]) -> Float[Array, " outputs"]:
        """Return what the outputs are multiplied by in units that are `ratio` times as large."""

    def physical(self, jacobian: Jacobians) -> Jacobians:
        """Return the Jacobian of dx/dt by x from that of dz/dt by z."""
        std = self.untrained.std
        return jacobian * (std[:, None] / std)


class JacobianModel(Model):
    """A network with n^2 outputs, J row by row (Eisen et al. 2025)."""

    def jacobian(self, z: States) -> Jacobians:
        """Return J(z)."""
        return self._matrices(self.network(z), z.shape[-1])

    def weighted_jacobians(self, points: Points, weights: Weights) -> Means:
        """Return weighted means of J over points, one for each row of weights; each row sums to 1.

        The last layer is linear, so that it is applied to the means: of n^2 outputs it is half of the network or more.
        """
        means = jnp.einsum("mk,...kh->...mh", weights, self.network.hidden(points))
        return self._matrices(self.network.layers[-1](means), points.shape[-1])

    def _output_factor(self, ratio: Float[Array, " n"]) -> Float[Array, " outputs"]:
        return (ratio / ratio[:, None]).ravel()

    def _matrices(self, outputs: Float[Array, "*batch m"], num: int) -> Jacobians:
        return self.scaled(outputs).reshape(*outputs.shape[:-1], num, num)


class AnchoredModel(JacobianModel):
    """A learned J together with the vector field at one state, the same for every run."""

    anchor: Float[Array, " n"]
    """That state, which no gradient moves: the mean of the training data."""
    at_anchor: Float[Array, " n"]
    """The vector field there, of order 1 as the network's outputs are."""

    def in_units(self, mean: States, std: States, dt: Float[Array, ""], time: Float[Array, ""]) -> Self:
        """Return the same dynamics over states that are standardised by other statistics."""
        old = self.untrained
        ratio, shift = std / old.std, (mean - old.mean) / old.std
        changed = (self.anchor - shift) / ratio, self.at_anchor * (time / old.time) / ratio
        moved = super().in_units(mean, std, dt, time)
        return eqx.tree_at(lambda model: (model.anchor, model.at_anchor), moved, changed)


class VectorFieldModel(Model):
    """A network with n outputs, the vector field; J is its derivative (Chen et al. 2018, Neural ODEs)."""

    def field(self, z: States) -> States:
        """Return dz/dt."""
        return self.scaled(self.network(z))

    def _output_factor(self, ratio: Float[Array, " n"]) -> Float[Array, " outputs"]:
        return 1 / ratio

    def jacobian(self, z: States) -> Jacobians:
        """Return J(z) by forward differentiation."""
        flat = jax.vmap(jax.jacfwd(self.field))(z.reshape(-1, z.shape[-1]))
        return flat.reshape(*z.shape, z.shape[-1])


def empty_statistics(num: int) -> Untrained:
    """Return alpha as it begins, and what stands in place of statistics in a model that has seen no data."""
    return Untrained(jnp.ones(()), jnp.zeros(num), jnp.ones(num), jnp.ones(()), jnp.ones(()))


def make_model(kind: str, num: int, widths: tuple[int, ...], key: PRNGKeyArray, anchor: str = "window") -> Any:
    """Return the initial model of n components; its statistics are filled in by the first batch."""
    untrained = empty_statistics(num)
    make, outputs = (VectorFieldModel, num) if kind == "neural_ode" else (JacobianModel, num * num)
    network = Network((num, *widths, outputs), key)
    if kind == "jacobian" and anchor == "learned":
        return AnchoredModel(network, untrained, jnp.zeros(num), jnp.zeros(num))
    return make(network, untrained)
