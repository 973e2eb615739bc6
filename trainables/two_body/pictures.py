"""What figures show of a trained field: plain arrays of its values over test orbits, over radii, and of its data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import traced_numbers
from trainables._shared.saved import SavedModel
from trainables.two_body.activations import activate
from trainables.two_body.config import Config
from trainables.two_body.data import Segments
from trainables.two_body.features import FEATURES, State
from trainables.two_body.method import solve
from trainables.two_body.model import AccelerationField, exact_acceleration
from trainables.two_body.timetable import TimedSegments
from trainables.two_body.windows import NUM_SAMPLES, window_samples

Arrays = dict[str, np.ndarray]
MOST_ORBITS = 100
"""Test orbits that figures show, of the largest test set: its first ones."""
MOST_SEGMENTS = 2000
"""Segments of a set that figures show."""
RADII = np.geomspace(0.02, 50.0, 241)
NUM_ANGLES = 12


def orbits(saved: SavedModel) -> Arrays:
    """Return test orbits, the field's accelerations at their true states, and the orbits that the field propagates.

    `t`, `a` and `exact` are at `y`; `propagated` is NaN if it was not reached; `inputs` and `outputs` are the
    network's. Orbits and samples are the first two axes.
    """
    config: Any = saved.config
    tests = saved.method.data(config, DatasetStore()).tests
    test = max(tests.values(), key=lambda one: len(one["elements"]))
    y = jnp.asarray(np.moveaxis(test["orbits"].y[:MOST_ORBITS], -1, 0))
    t = jnp.asarray(test["orbits"].t[:MOST_ORBITS])
    found = _over_orbits(saved.model, config, traced_numbers(config), y, t)
    arrays = {name: np.moveaxis(np.asarray(value, np.float64), 0, -1) for name, value in found.items()}
    elements = np.asarray(test["elements"][:MOST_ORBITS], np.float64)
    return {**arrays, "t": np.asarray(t, np.float64), "elements": elements}


@eqx.filter_jit
def _over_orbits(
    model: Callable[[State], Any], config: Config, hyper: Any, y: Float[Array, "6 n samples"], t: Float[Array, "n s"]
) -> dict[str, Array]:
    max_steps = config.max_steps * -(-NUM_SAMPLES // config.segment_length)
    solution = solve(config, hyper, model, y[:, :, 0], t.T, max_steps)
    reached = jnp.isfinite(solution.y).all(1) & (solution.y != 0).any(1)
    later = jnp.moveaxis(jnp.where(reached[:, None], solution.y, jnp.nan), 0, -1)
    found = {"y": y, "a": model(y), "exact": exact_acceleration(y)}
    found["propagated"] = jnp.concatenate([y[:, :, :1], later], -1)
    if isinstance(model, AccelerationField):
        inputs, outputs = _network(model, y.reshape(6, -1))
        found["inputs"] = inputs.reshape(-1, *y.shape[1:])
        found["outputs"] = outputs.reshape(-1, *y.shape[1:])
    return found


@eqx.filter_jit
def _apply(model: Callable[[State], Any], y: State) -> Array:
    return model(y)


def _network(model: AccelerationField, flat: Float[Array, "6 n"]) -> tuple[Array, Array]:
    """Return what the network of a field sees and gives, before its head."""
    x = inputs = FEATURES[model.features][1](flat)
    *hidden, last = model.layers
    for layer in hidden:
        x = activate(model.activation, layer(x))
    return inputs, last(x)


def radii(saved: SavedModel) -> Arrays:
    """Return the field on circles in the x-y plane: its strength and its radial part, by radius and direction.

    Velocities are those of circular orbits. `trained` is the least and the largest radius of the training segments.
    """
    angles = np.arange(NUM_ANGLES) * 2 * np.pi / NUM_ANGLES
    r, angle = (grid.ravel() for grid in np.meshgrid(RADII, angles, indexing="ij"))
    c, s, none = np.cos(angle), np.sin(angle), np.zeros_like(r)
    y = np.stack([r * c, r * s, none, -s / np.sqrt(r), c / np.sqrt(r), none])
    a = np.asarray(_apply(saved.model, jnp.asarray(y, jnp.float32)), np.float64)
    shape = (len(RADII), NUM_ANGLES)
    segments = saved.method.data(saved.config, DatasetStore()).phases
    distances = np.concatenate([np.linalg.norm(phase.y[..., :3], axis=-1)[phase.mask] for phase in segments])
    return {
        "radius": RADII,
        "strength": np.linalg.norm(a, axis=0).reshape(shape),
        "radial": (a[0] * c + a[1] * s).reshape(shape),
        "trained": np.array([distances.min(), distances.max()]),
    }


def data_sets(saved: SavedModel) -> Arrays:
    """Return positions of the training segments by phase (`phase_1`, ...), of the validation and of the test orbits.

    Missing samples are NaN.
    """
    data = saved.method.data(saved.config, DatasetStore())
    sets = {f"phase_{number}": _segments(phase) for number, phase in enumerate(data.phases, 1)}
    sets["validation"] = data.validation
    sets |= {name: test["orbits"] for name, test in data.tests.items()}
    return {name: np.where(one.mask[..., None], one.y[..., :3], np.nan)[:MOST_SEGMENTS] for name, one in sets.items()}


def _segments(phase: Segments | TimedSegments) -> Segments:
    """Return a phase's segments without the rows that hold none."""
    return Segments(*(array[: phase.num] for array in phase[:3])) if isinstance(phase, TimedSegments) else phase


def phases(saved: SavedModel) -> Arrays:
    """Return the phases of training: their last steps, and their windows' first samples and those after their last."""
    config: Any = saved.config
    resolved = config.resolved_phases()
    return {
        "last_step": np.cumsum([phase.steps for phase in resolved]),
        "window": np.array([window_samples(phase.window) for phase in resolved]),
    }
