"""Training windows and held-out free runs of trajectories, split by trajectory; NumPy only."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32

from trainables._shared.data_files import Source
from trainables._shared.datasets import DatasetStore
from trainables.gru_dynamics import simulator
from trainables.gru_dynamics.baselines import LinearModel, Windows, features, fits, linear
from trainables.gru_dynamics.config import GENERATED, SHORTEST, Config
from trainables.gru_dynamics.layout import Layout
from trainables.gru_dynamics.metric_names import HORIZON
from trainables.gru_dynamics.recordings import VERSION, folder_state, read_folder
from trainables.gru_dynamics.splits import split_indices

NUM_HELD_OUT = 16
"""Simulated trajectories to validate on, and as many to test on."""
FIRST_ROW = 20
"""Where held-out free runs start at the earliest, if the trajectory is long enough: histories of up to 21 rows are
known whole there, so that trials that differ in them are scored on the same runs."""
MAX_VALIDATED = 512
"""Validation runs of all folders together: each report makes them all."""
MAX_TESTED = 2048
"""Runs of a test set."""
LAG = 10
"""Rows over which a coordinate's change sets the scale of what the network sees of it."""
MAX_FITTED = 20_000
"""Training windows that the linear model is fitted to, evenly chosen."""
_FIT_VERSION = 3

Rows = Sequence[Float64[np.ndarray, "rows components"]]


class Task(NamedTuple):
    """Trajectories of one folder, or of the simulated system."""

    states: Rows
    controls: Rows
    dt: float


class Statistics(NamedTuple):
    """What inputs and outputs are normalised by; in the model once it has trained."""

    mean: Float32[np.ndarray, " inputs"]
    """Of states and actions; 0 of coordinates, which are relative to the window's first row, of cosines and sines."""
    scale: Float32[np.ndarray, " inputs"]
    move: Float32[np.ndarray, " moves"]
    """Root mean square of how coordinates, angles and velocities change in a step beyond what outputs are added to."""


class Training(NamedTuple):
    """Training trajectories end to end, and where windows of a phase may start."""

    states: Float32[np.ndarray, "rows states"]
    controls: Float32[np.ndarray, "rows controls"]
    first: Int32[np.ndarray, " rows"]
    """First row of each row's trajectory: nothing is read before it."""
    bases: Int32[np.ndarray, " windows"]
    """Last known row of each window: as many rows as the phase's horizon follow it in its trajectory."""
    folder_starts: Int32[np.ndarray, " folders"]
    folder_sizes: Int32[np.ndarray, " folders"]
    """Where each folder's bases start, and how many there are."""
    horizon: Bool[np.ndarray, " horizon"]
    """Of the phase, by its length: it is part of the program."""
    dt: Float32[np.ndarray, ""]
    statistics: Statistics
    delta_weights: Float32[np.ndarray, " states"]
    state_weights: Float32[np.ndarray, " states"]
    """What squared errors of changes and of states are multiplied by in the loss."""
    linear: LinearModel | None
    """What the model's outputs are added to, if it is no base step; float32."""


class Runs(NamedTuple):
    """Free runs to predict: what is known before each, the logged actions, and the states that followed."""

    states: Float32[np.ndarray, "runs history states"]
    controls: Float32[np.ndarray, "runs earlier controls"]
    """Actions of the history's rows but the last, whose action is the first of `actions`."""
    actions: Float32[np.ndarray, "runs horizon controls"]
    future: Float32[np.ndarray, "runs horizon states"]
    weight: Float32[np.ndarray, " runs"]
    """Share of each run in a mean: each folder counts alike."""
    dt: Float32[np.ndarray, ""]


class Test(NamedTuple):
    """The runs of a test set, where they come from, and what the linear baseline has learnt from the training data."""

    runs: Runs
    trajectory: Int32[np.ndarray, " runs"]
    row: Int32[np.ndarray, " runs"]
    linear: LinearModel


def task(config: Config, folder: str | None, split: str, store: DatasetStore) -> Task:
    """Return the trajectories of a split (train, val or test), of a folder or of the simulated system."""
    if folder is None:
        num = config.num_trajectories if split == "train" else NUM_HELD_OUT
        # Those held out are the same for all draws of training trajectories.
        stream = f"train {config.data_seed}" if split == "train" else split
        recipe = simulator.recipe(num, config.samples, stream)
        made = store.get(
            f"gru_dynamics_{GENERATED}_{split}", recipe, lambda: simulator.simulate(num, config.samples, stream)
        )
        states = config.layout.state_of(made["qpos"], made["qvel"])
        return Task(list(states), list(made["ctrl"][..., list(config.controls)]), simulator.STEP_S)
    whole = _recorded(folder, config.layout, store)
    usable = [k for k, states in enumerate(whole.states) if len(states) >= SHORTEST]
    chosen = [usable[k] for k in split_indices(len(usable), config.data_seed)[split]]
    return Task([whole.states[k] for k in chosen], [whole.controls[k] for k in chosen], whole.dt)


def whole_folder(config: Config) -> Task:
    """Return all trajectories of a config's only folder that are long enough to be scored.

    Raises ConfigError if it cannot be read, or none is.
    """
    (folder,) = config.folders
    found = read_folder(folder, config.layout)
    usable = [k for k, states in enumerate(found.states) if len(states) >= SHORTEST]
    if not usable:
        source = Source(folder, "folders")
        raise source.error(f"none of its {len(found.states)} trajectories has {SHORTEST} rows", f"{SHORTEST} rows")
    return Task([found.states[k] for k in usable], [found.controls[k] for k in usable], found.dt)


def _recorded(folder: str, layout: Layout, store: DatasetStore) -> Task:
    """Return a folder's trajectories from the node's cache: large tables take long to read."""

    def read() -> dict[str, np.ndarray]:
        found = read_folder(folder, layout)
        lengths = np.array([len(states) for states in found.states])
        parts = {"states": np.concatenate(found.states), "controls": np.concatenate(found.controls)}
        return {**parts, "lengths": lengths, "dt": np.array(found.dt)}

    recipe = json.dumps([VERSION, folder, layout, folder_state(folder)])
    data = store.get(f"gru_dynamics_{Path(folder).name}", recipe, read)
    ends = np.cumsum(data["lengths"])[:-1]
    return Task(np.split(data["states"], ends), np.split(data["controls"], ends), float(data["dt"]))


def moves(layout: Layout, states: Float64[np.ndarray, "rows states"]) -> Float64[np.ndarray, "steps moves"]:
    """Return the changes from row to row: of coordinates and velocities by difference, of angles by rotation."""
    num, end = len(layout.coordinates), len(layout.coordinates) + 2 * len(layout.angles)
    difference = np.diff(states, axis=0)
    c, s = states[:, num:end:2], states[:, num + 1 : end : 2]
    angles = np.arctan2(s[1:] * c[:-1] - c[1:] * s[:-1], c[1:] * c[:-1] + s[1:] * s[:-1])
    return np.concatenate([difference[:, :num], angles, difference[:, end:]], axis=1)


def base_moves(
    layout: Layout, states: Float64[np.ndarray, "*n states"], dt: float, base_step: str
) -> Float64[np.ndarray, "*n moves"]:
    """Return how a base step changes states: positions by their rates times the time, or nothing."""
    found = np.zeros((*states.shape[:-1], layout.num_moves))
    if base_step == "constant_velocity":
        end = len(layout.coordinates) + 2 * len(layout.angles)
        for k, rate in enumerate(layout.rates):
            if rate >= 0:
                found[..., k] = dt * states[..., end + rate]
    return found


def _beyond(
    config: Config,
    one: Task,
    states: Float64[np.ndarray, "rows states"],
    controls: Float64[np.ndarray, "rows controls"],
    fitted: LinearModel | None,
) -> Float64[np.ndarray, "steps moves"]:
    """Return the changes of a trajectory beyond what the model's outputs are added to."""
    layout, found = config.layout, moves(config.layout, states)
    if fitted is None:
        return found - base_moves(layout, states[:-1], one.dt, config.base_step)
    rows = np.arange(_first_base(config, len(found)), len(found))
    past, acted = _windows(states, controls, rows, config.history)
    return found[rows] - features(layout, past, acted) @ fitted.weight.T - fitted.offset


def _first_base(config: Config, num: int) -> int:
    """Return the first of so many rows of a trajectory from which training predicts.

    A linear map's free run explodes if it starts from a first state that is repeated, which says nothing of how the
    state changes.
    """
    return min(config.history - 1, max(num - 1, 0)) if config.linear_base else 0


def statistics(config: Config, tasks: Sequence[Task], fitted: LinearModel | None = None) -> Statistics:
    """Return what the training trajectories normalise by; nothing, if the config says so.

    `fitted` is the linear map that the model's outputs are added to, if it is no base step.
    """
    layout = config.layout
    num, end = len(layout.coordinates), len(layout.coordinates) + 2 * len(layout.angles)
    mean, scale = np.zeros(layout.num_states + layout.num_controls), np.ones(layout.num_states + layout.num_controls)
    if not config.normalise:
        return Statistics(*(np.asarray(x, np.float32) for x in (mean, scale, np.ones(layout.num_moves))))
    rows = np.concatenate([np.concatenate(pair, axis=1) for one in tasks for pair in zip(*one[:2], strict=True)])
    far = [x[min(LAG, len(x) - 1) :, :num] - x[: -min(LAG, len(x) - 1), :num] for one in tasks for x in one.states]
    mean[end:], scale[end:] = rows[:, end:].mean(0), rows[:, end:].std(0)
    scale[:num] = _rms(np.concatenate(far))
    beyond = [_beyond(config, one, *pair, fitted) for one in tasks for pair in zip(*one[:2], strict=True)]
    move = _rms(np.concatenate(beyond))
    return Statistics(*(np.asarray(x, np.float32) for x in (mean, _positive(scale), _positive(move))))


def loss_weights(config: Config, tasks: Sequence[Task]) -> tuple[Float32[np.ndarray, " states"], ...]:
    """Return what squared errors of changes and of states are multiplied by: one over the variance, or 1.

    Cosine and sine of an angle have the angle's change in common, and a variance of 1/2 as states.
    """
    layout = config.layout
    if config.loss_units == "data":
        return np.ones(layout.num_states, np.float32), np.ones(layout.num_states, np.float32)
    num, end = len(layout.coordinates), len(layout.coordinates) + 2 * len(layout.angles)
    change = _positive(_rms(np.concatenate([moves(layout, x) for one in tasks for x in one.states])))
    twice = np.repeat(np.arange(layout.num_moves), [1] * num + [2] * len(layout.angles) + [1] * len(layout.velocities))
    spread = np.concatenate([x for one in tasks for x in one.states]).std(0)
    spread[num:end] = np.sqrt(0.5)
    return tuple(np.asarray(x**-2.0, np.float32) for x in (change[twice], _positive(spread)))


def _rms(x: Float64[np.ndarray, "rows components"]) -> Float64[np.ndarray, " components"]:
    return np.sqrt(np.mean(x**2, axis=0))


def _positive(scale: Float64[np.ndarray, " components"]) -> Float64[np.ndarray, " components"]:
    """Return scales with 1 for a component that does not vary: any does."""
    return np.where(scale > 1e-12, scale, 1.0)


def phases(config: Config, tasks: Sequence[Task], fitted: LinearModel | None = None) -> list[Training]:
    """Return the training data of each phase: they differ in their horizon, and thereby in their windows.

    `fitted` is the linear model of these tasks, which a config with `linear_base` needs.
    """
    lengths = [len(x) for one in tasks for x in one.states]
    starts = np.cumsum([0, *lengths[:-1]])
    folder_of = np.repeat(np.arange(len(tasks)), [len(one.states) for one in tasks])
    first = np.repeat(starts, lengths).astype(np.int32)
    states = np.concatenate([x for one in tasks for x in one.states]).astype(np.float32)
    controls = np.concatenate([x for one in tasks for x in one.controls]).astype(np.float32)
    base = None
    if config.linear_base:
        assert fitted is not None
        base = LinearModel(*(np.asarray(x, np.float32) for x in fitted))
    stats, weights = statistics(config, tasks, base), loss_weights(config, tasks)
    found = []
    for horizon in config.horizons:
        nums = [max(length - horizon, 0) for length in lengths]
        bases = [start + np.arange(_first_base(config, num), num) for start, num in zip(starts, nums, strict=True)]
        sizes = np.bincount(folder_of, [len(one) for one in bases], len(tasks)).astype(np.int32)
        ends = np.cumsum(sizes).astype(np.int32)
        found.append(
            Training(
                states, controls, first, np.concatenate(bases).astype(np.int32), ends - sizes, sizes,
                np.ones(horizon, bool), np.asarray(tasks[0].dt, np.float32), stats, weights[0], weights[1], base,
            )
        )  # fmt: skip
    return found


def history_of(
    states: Float64[np.ndarray, "rows states"],
    controls: Float64[np.ndarray, "rows controls"],
    rows: Int[np.ndarray, " runs"],
    history: int,
) -> tuple[Float64[np.ndarray, "runs history states"], Float64[np.ndarray, "runs earlier controls"]]:
    """Return the states of a trajectory up to each row, and the actions before it; missing ones as in training."""
    wanted = rows[:, None] - np.arange(history - 1, -1, -1)
    there = (wanted >= 0)[..., None]
    return states[np.maximum(wanted, 0)], np.where(there, controls[np.maximum(wanted, 0)], 0.0)[:, :-1]


def _windows(
    states: Float64[np.ndarray, "rows states"],
    controls: Float64[np.ndarray, "rows controls"],
    rows: Int[np.ndarray, " runs"],
    history: int,
) -> tuple[Float64[np.ndarray, "runs history states"], Float64[np.ndarray, "runs history controls"]]:
    """Return the states and actions of a trajectory up to each row."""
    past, earlier = history_of(states, controls, rows, history)
    return past, np.concatenate([earlier, controls[rows][:, None]], axis=1)


def run_rows(length: int, horizon: int = HORIZON) -> Int[np.ndarray, " runs"]:
    """Return the last known rows of the free runs of a trajectory: a horizon apart, whatever the history is."""
    return np.arange(min(FIRST_ROW, length - horizon - 1), length - horizon, HORIZON)


def runs(
    config: Config, one: Task, most: int, horizon: int = HORIZON
) -> tuple[Runs, Int32[np.ndarray, " runs"], Int32[np.ndarray, " runs"]]:
    """Return the free runs of a task's trajectories, at most so many, with the trajectory and the row of each."""
    long = [k for k, x in enumerate(one.states) if len(x) > horizon]
    rows = [run_rows(len(one.states[k]), horizon) for k in long]
    trajectory, row = np.repeat(long, [len(x) for x in rows]), np.concatenate(rows)
    kept = np.linspace(0, len(row) - 1, min(most, len(row))).round().astype(int)
    trajectory, row = trajectory[kept], row[kept]
    parts = []
    for k in np.unique(trajectory):
        chosen, states, controls = row[trajectory == k], one.states[k], one.controls[k]
        after = chosen[:, None] + np.arange(horizon)
        parts.append((*history_of(states, controls, chosen, config.history), controls[after], states[after + 1]))
    past, earlier, actions, future = (np.concatenate(part).astype(np.float32) for part in zip(*parts, strict=True))
    weight = np.full(len(row), 1 / len(row), np.float32)
    found = Runs(past, earlier, actions, future, weight, np.asarray(one.dt, np.float32))
    return found, trajectory.astype(np.int32), row.astype(np.int32)


def together(each: Sequence[Runs]) -> Runs:
    """Return the runs of several folders as one, each folder with the same share of the whole."""
    first, *_ = each
    weight = np.concatenate([one.weight for one in each]) / np.float32(len(each))
    past, earlier, actions, future = (np.concatenate([one[k] for one in each]) for k in range(4))
    return Runs(past, earlier, actions, future, weight.astype(np.float32), first.dt)


def linear_windows(config: Config, tasks: Sequence[Task]) -> Windows:
    """Return the windows of the training trajectories that the linear baseline is fitted to, evenly chosen."""
    found = []
    num = sum(len(x) - 1 for one in tasks for x in one.states)
    stride = max(1, -(-num // MAX_FITTED))
    for one in tasks:
        for states, controls in zip(one.states, one.controls, strict=True):
            rows = np.arange(0, len(states) - 1, stride)
            changes = moves(config.layout, np.asarray(states))[rows]
            found.append((*_windows(states, controls, rows, config.history), changes, rows >= config.history - 1))
    return Windows(*(np.concatenate(part) for part in zip(*found, strict=True)))


def linear_model(config: Config, tasks: Sequence[Task], held_out: Runs, store: DatasetStore) -> LinearModel:
    """Return the linear baseline, of as long a history as the model's, fitted to the training data, from the cache.

    Its ridge is the one with the least error of the free runs that validate models, too; likewise whether it is fitted
    to windows whose history is not known whole.
    """
    windows = linear_windows(config, tasks)
    arrays = (*windows, *held_out)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

    def error(model: LinearModel) -> float:
        predicted = linear(config.layout, model, held_out.states, held_out.controls, held_out.actions)
        return float(held_out.weight @ ((predicted - held_out.future) ** 2).mean((1, 2)))

    def fit() -> dict[str, np.ndarray]:
        return min((one.model for one in fits(config.layout, windows)), key=error)._asdict()

    found = store.get("gru_dynamics_linear", f"{_FIT_VERSION} {digest} {config.layout}", fit)
    return LinearModel(np.asarray(found["weight"]), np.asarray(found["offset"]))
