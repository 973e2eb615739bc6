"""A trained model as a pure function of history and action, for whoever plans with it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from trainables._shared.choice import choices
from trainables._shared.saved import SavedModel, load_model_of
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.layout import Layout
from trainables.gru_dynamics.method import method

State = Float[Array, " states"]
Action = Float[Array, " controls"]


class History(NamedTuple):
    """What a step is predicted from: the last states, the present one at the end, and the actions between them."""

    states: Float[Array, "history states"]
    controls: Float[Array, "earlier controls"]
    """One fewer than states: the action in the present state is yet to be chosen."""


class Dynamics(NamedTuple):
    """A trained model for a controller.

    `step` has no state of its own, and can be put into `jax.jit`, `jax.vmap`, `jax.lax.scan` and `jax.grad`.
    """

    step: Callable[[History, Action], State]
    """(history, action) -> next state."""
    history: int
    """Rows of a history."""
    layout: Layout
    """What states and actions are made of; `layout.state_of(qpos, qvel)` makes a simulator's state one."""
    dt: float
    """Time that a step takes."""

    def begin(self, state: State) -> History:
        """Return the history of a system of which one state is known: that state at every row, without action."""
        state = jnp.asarray(state, jnp.float32)
        repeated = jnp.broadcast_to(state, (self.history, len(state)))
        return History(repeated, jnp.zeros((self.history - 1, self.layout.num_controls)))


def dynamics(saved: SavedModel) -> Dynamics:
    """Return a model that `load_model` has read as a pure step function (history, action) -> next state.

    Raises TypeError for a model of another method.
    """
    model, config = saved.model, saved.config
    if not isinstance(config, Config):
        raise TypeError(f"a model of gru_dynamics is wanted, not one of {type(config).__module__}")
    base_step = choices(config, {})["base_step"]

    def step(history: History, action: Action) -> State:
        controls = jnp.concatenate([history.controls, jnp.reshape(action, (1, -1))])
        following, _ = model(base_step, history.states[None], controls[None])
        return following[0]

    return Dynamics(step, config.history, config.layout, float(model.dt))


def load_dynamics(path: Path) -> Dynamics:
    """Return the model of a file, such as `swell best` writes, as a pure step function.

    Raises CheckpointError for a file that holds no model of gru_dynamics.
    """
    return dynamics(load_model_of(method, path))


def followed(history: History, action: Action, state: State) -> History:
    """Return the history after an action and the state that came of it, predicted or observed."""
    controls = jnp.concatenate([history.controls, jnp.reshape(action, (1, -1))])[1:]
    return History(jnp.concatenate([history.states[1:], state[None]]), controls)
