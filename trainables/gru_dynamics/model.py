"""The recurrent model: a GRU that is read anew at every step, whose output is a change of state."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from trainables._shared.choice import Choice
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.layout import Layout

States = Float[Array, "n states"]
History = Float[Array, "n history states"]
Actions = Float[Array, "n steps controls"]
TINY = 1e-12
"""Added to the square of a rotation's length: an output of length 0 has a gradient, too."""


class Scales(NamedTuple):
    """What inputs and outputs are normalised by, as arrays of the model that are not trained (see `Statistics`)."""

    mean: Float[Array, " inputs"]
    scale: Float[Array, " inputs"]
    move: Float[Array, " moves"]


class Linear(NamedTuple):
    """A linear map from states and actions of a history, row by row, to the next change; not trained, likewise."""

    weight: Float[Array, "moves features"]
    offset: Float[Array, " moves"]


class GRU(eqx.Module):
    """A gated recurrent unit (Cho et al. 2014), with the inputs' products of all rows at once."""

    from_input: Float[Array, "gates inputs"]
    from_state: Float[Array, "gates hidden"]
    bias: Float[Array, " gates"]
    state_bias: Float[Array, " hidden"]
    """Of the state's part in the new state, within the reset gate."""

    def __init__(self, num_inputs: int, hidden: int, key: PRNGKeyArray) -> None:
        limit = hidden**-0.5
        shapes = ((3 * hidden, num_inputs), (3 * hidden, hidden), (3 * hidden,), (hidden,))
        arrays = [
            jax.random.uniform(one, shape, minval=-limit, maxval=limit)
            for one, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        ]
        self.from_input, self.from_state, self.bias, self.state_bias = arrays

    def __call__(self, x: Float[Array, "n rows inputs"]) -> Float[Array, "n hidden"]:
        """Return the state after the last row, from a zero state before the first."""
        of_x = jnp.swapaxes(x, 0, 1) @ self.from_input.T + self.bias

        def read(h: Float[Array, "n hidden"], row: Float[Array, "n gates"]) -> tuple[Array, None]:
            r, u, new = jnp.split(row, 3, axis=-1)
            of_r, of_u, of_new = jnp.split(h @ self.from_state.T, 3, axis=-1)
            u = jax.nn.sigmoid(u + of_u)
            new = jnp.tanh(new + jax.nn.sigmoid(r + of_r) * (of_new + self.state_bias))
            return (1 - u) * new + u * h, None

        r, u, new = jnp.split(of_x[0], 3, axis=-1)  # of a zero state, the product with which is most of the work
        h = (1 - jax.nn.sigmoid(u)) * jnp.tanh(new + jax.nn.sigmoid(r) * self.state_bias)
        return jax.lax.scan(read, h, of_x[1:])[0] if len(of_x) > 1 else h


class GRUDynamics(eqx.Module):
    """A controlled mechanical system, one step at a time.

    To predict a step the GRU reads the last rows of states and actions from a zero hidden state, coordinates relative
    to the first of these rows. Its output is a change of state on top of a base step or a linear map of these rows:
    coordinates and velocities by addition, angles by rotation, (c, s) -> (c c' - s s', s c' + c s'), normalised to unit
    length. The output layer starts at the identity: zeros, and (1, 0) for the rotations.
    """

    gru: GRU
    weight: Float[Array, "states hidden"]
    bias: Float[Array, " states"]
    scales: Scales
    linear: Linear | None
    """What the output is added to, if it is no base step."""
    dt: Float[Array, ""]
    """Time between two rows."""
    is_fitted: Float[Array, ""]
    """1 once a training has set the scales and the linear map: one that starts from this model keeps them."""
    layout: Layout = eqx.field(static=True)

    def __init__(self, config: Config, key: PRNGKeyArray) -> None:
        layout = config.layout
        num_inputs = layout.num_states + layout.num_controls
        self.layout = layout
        self.gru = GRU(num_inputs, config.hidden, key)
        self.weight = jnp.zeros((layout.num_states, config.hidden))
        self.bias = jnp.zeros(layout.num_states)
        self.scales = Scales(jnp.zeros(num_inputs), jnp.ones(num_inputs), jnp.ones(layout.num_moves))
        num_features = config.history * num_inputs
        zeros = Linear(jnp.zeros((layout.num_moves, num_features)), jnp.zeros(layout.num_moves))
        self.linear = zeros if config.linear_base else None
        self.dt, self.is_fitted = jnp.zeros(()), jnp.zeros(())

    def rows(self, states: History, controls: Float[Array, "n history controls"]) -> Float[Array, "n history inputs"]:
        """Return what is read: states and actions, coordinates relative to the first row."""
        num = len(self.layout.coordinates)
        return jnp.concatenate([states.at[..., :num].add(-states[:, :1, :num]), controls], axis=-1)

    def outputs(self, rows: Float[Array, "n history inputs"]) -> States:
        """Return what the network adds, before it is scaled: zeros where it has not been trained."""
        return self.gru((rows - self.scales.mean) / self.scales.scale) @ self.weight.T + self.bias

    def __call__(
        self, base_step: Choice, states: History, controls: Float[Array, "n history controls"]
    ) -> tuple[States, States]:
        """Return the next states, and how they differ from the last ones (an angle's change as cosine and sine)."""
        num, num_angles = len(self.layout.coordinates), len(self.layout.angles)
        rows = self.rows(states, controls)
        last, out, move = states[:, -1], self.outputs(rows), self.scales.move
        if self.linear is not None:
            base = rows.reshape(len(rows), -1) @ self.linear.weight.T + self.linear.offset
        else:
            base = base_step.select(
                {"constant_velocity": self._at_rates(last), "persistence": jnp.zeros((len(last), len(move)))}
            )
        angles = slice(num, num + num_angles)
        of_angles = _pairs(out, num, num_angles) * move[angles, None]
        turn = rotated(circle(base[..., angles]), _unit(of_angles + jnp.asarray([1.0, 0.0])))
        turned = _unit(rotated(_pairs(last, num, num_angles), turn))
        shift = base[..., :num] + out[:, :num] * move[:num]
        faster = base[..., num + num_angles :] + out[:, num + 2 * num_angles :] * move[num + num_angles :]
        changes = [shift, turn.reshape(len(out), -1), faster]
        following = [last[:, :num] + shift, turned.reshape(len(out), -1), last[:, num + 2 * num_angles :] + faster]
        return jnp.concatenate(following, axis=-1), jnp.concatenate(changes, axis=-1)

    def _at_rates(self, last: States) -> Float[Array, "n moves"]:
        """Return how states change in a step at their rates: positions alone."""
        velocities = last[:, self.layout.num_states - len(self.layout.velocities) :]
        padded = jnp.concatenate([velocities, jnp.zeros((len(last), 1))], axis=-1)  # of a position without rate: -1
        positions = self.dt * padded[:, np.array(self.layout.rates, int)]
        return jnp.concatenate([positions, jnp.zeros_like(velocities)], axis=-1)

    def run(self, base_step: Choice, states: History, controls: Actions, actions: Actions) -> tuple[Array, Array]:
        """Return the states of free runs, and their changes: each predicted state becomes the last row.

        `controls` are the actions of all rows of the history but the last, `actions` that of the last and those after.
        """

        def step(carry: tuple[Array, Array], action: Float[Array, "n controls"]) -> tuple[Any, Any]:
            states, controls = carry
            controls = jnp.concatenate([controls, action[:, None]], axis=1)
            following, change = self(base_step, states, controls)
            return (jnp.concatenate([states[:, 1:], following[:, None]], axis=1), controls[:, 1:]), (following, change)

        _, (found, changes) = jax.lax.scan(step, (states, controls), jnp.swapaxes(actions, 0, 1))
        return jnp.swapaxes(found, 0, 1), jnp.swapaxes(changes, 0, 1)


def circle(angle: Float[Array, "*n"]) -> Float[Array, "*n 2"]:
    """Return cosine and sine."""
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def rotated(x: Float[Array, "*n 2"], by: Float[Array, "*n 2"]) -> Float[Array, "*n 2"]:
    """Return points (c, s) rotated by others: (c c' - s s', s c' + c s')."""
    c, s = x[..., 0] * by[..., 0] - x[..., 1] * by[..., 1], x[..., 1] * by[..., 0] + x[..., 0] * by[..., 1]
    return jnp.stack([c, s], axis=-1)


def changes_between(
    layout: Layout, later: Float[Array, "*n states"], earlier: Float[Array, "*n states"]
) -> Float[Array, "*n states"]:
    """Return how states differ: by difference, and of an angle the cosine and sine of the rotation between them."""
    num, num_angles = len(layout.coordinates), len(layout.angles)
    back = _pairs(earlier, num, num_angles) * jnp.asarray([1.0, -1.0])
    turn = rotated(_pairs(later, num, num_angles), back).reshape(*later.shape[:-1], -1)
    end = num + 2 * num_angles
    return jnp.concatenate([(later - earlier)[..., :num], turn, (later - earlier)[..., end:]], axis=-1)


def _pairs(x: Float[Array, "*n states"], num: int, num_angles: int) -> Float[Array, "*n angles 2"]:
    return x[..., num : num + 2 * num_angles].reshape(*x.shape[:-1], num_angles, 2)


def _unit(x: Float[Array, "*n 2"]) -> Float[Array, "*n 2"]:
    return x / jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True) + TINY)
