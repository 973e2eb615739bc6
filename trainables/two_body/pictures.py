"""What figures show of a trained field: plain arrays of its values over test orbits, over radii, and of its data."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trainables._shared.contract import TrialData
from trainables._shared.datasets import DatasetStore
from trainables._shared.saved import SavedModel
from trainables._shared.tsit5 import tsit5_looped
from trainables.two_body.activations import activate
from trainables.two_body.config import Config
from trainables.two_body.data import Segments
from trainables.two_body.features import FEATURES, State
from trainables.two_body.model import AccelerationField, Dynamics, exact_acceleration
from trainables.two_body.solvers import adaptive
from trainables.two_body.timetable import TimedSegments
from trainables.two_body.windows import NUM_SAMPLES, window_samples

Arrays = dict[str, np.ndarray]
MOST_ORBITS = 100
"""Test orbits that figures show, of the largest test set: its first ones."""
MOST_SEGMENTS = 2000
"""Segments of a set that figures show."""
RADII = np.geomspace(0.02, 50.0, 241)
NUM_ANGLES = 12


_DATA: OrderedDict[str, TrialData] = OrderedDict()
MOST_DATA = 4


def _data(saved: SavedModel) -> TrialData:
    """Return the data of a model's config; those of the last few are kept, as each part of a picture asks for them."""
    key = saved.config.model_dump_json()
    _DATA[key] = _DATA.pop(key, None) or saved.method.trial_data(saved.config, DatasetStore())
    if len(_DATA) > MOST_DATA:
        _DATA.popitem(last=False)
    return _DATA[key]


def orbits(saved: SavedModel) -> Arrays:
    """Return test orbits, the field's accelerations at their true states, and the orbits that the field propagates.

    `t`, `a` and `exact` are at `y`; `propagated` is NaN if it was not reached; `inputs` and `outputs` are the
    network's. Orbits and samples are the first two axes.
    """
    config: Any = saved.config
    tests = _data(saved).tests
    test = max(tests.values(), key=lambda one: len(one["elements"]))
    y = jnp.asarray(np.moveaxis(test["orbits"].y[:MOST_ORBITS], -1, 0))
    t = jnp.asarray(test["orbits"].t[:MOST_ORBITS])
    tolerances = jnp.asarray([config.rtol, config.atol], jnp.float32)
    found = _over_orbits(saved.model, _Solver.of(config), tolerances, y, t)
    arrays = {name: np.moveaxis(np.asarray(value, np.float64), 0, -1) for name, value in found.items()}
    elements = np.asarray(test["elements"][:MOST_ORBITS], np.float64)
    return {**arrays, "t": np.asarray(t, np.float64), "elements": elements}


class _Solver(NamedTuple):
    """All of a config that a program of pictures is made for: models whose configs differ elsewhere share it."""

    substeps: int
    max_steps: int | None
    """Of the adaptive solver; None for another, which steps from sample to sample."""

    @classmethod
    def of(cls, config: Config) -> "_Solver":
        """Return what a config's propagation of whole orbits depends on, see `TwoBody.predict`."""
        is_adaptive = config.solver == "adaptive"
        max_steps = config.max_steps * -(-NUM_SAMPLES // config.segment_length)
        return cls(config.substeps, max_steps if is_adaptive else None)

    def __call__(
        self,
        model: Callable[[State], Array],
        tolerances: Float[Array, "2"],
        y0: Float[Array, "6 n"],
        t: Float[Array, "samples n"],
    ) -> Float[Array, "later 6 n"]:
        """Return a field's orbits from their first states at all later samples."""
        field = Dynamics(model)
        if self.max_steps is None:
            return _stepped(field, y0, t, self.substeps)
        return adaptive(field, y0, t, tolerances[0], tolerances[1], self.max_steps).y


def _stepped(
    field: Callable[[State], State], y0: Float[Array, "6 n"], t: Float[Array, "samples n"], substeps: int
) -> Float[Array, "later 6 n"]:
    """Return what `per_sample` returns; the field is compiled once instead of seven times."""

    def body(y: State, h: Float[Array, " n"]) -> tuple[State, State]:
        y1, _ = tsit5_looped(field, y, h)
        return y1, y1

    steps = jnp.repeat(jnp.diff(t, axis=0) / substeps, substeps, axis=0)
    return jax.lax.scan(body, y0, steps)[1][substeps - 1 :: substeps]


@eqx.filter_jit
def _over_orbits(
    model: Callable[[State], Any],
    solver: _Solver,
    tolerances: Float[Array, "2"],
    y: Float[Array, "6 n samples"],
    t: Float[Array, "n samples"],
) -> dict[str, Array]:
    solved = solver(model, tolerances, y[:, :, 0], t.T)
    reached = jnp.isfinite(solved).all(1) & (solved != 0).any(1)
    later = jnp.moveaxis(jnp.where(reached[:, None], solved, jnp.nan), 0, -1)
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
    segments = _data(saved).phases
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
    data = _data(saved)
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
