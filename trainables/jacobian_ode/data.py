"""Trajectories of known systems and recordings, split by initial condition; NumPy and SciPy in float64, no JAX."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32
from scipy.integrate import solve_ivp
from scipy.signal import savgol_filter

from trainables._shared.data_files import Source, file_state
from trainables._shared.datasets import DatasetStore
from trainables.jacobian_ode.baselines import LocalFit, fit_locally
from trainables.jacobian_ode.config import Config
from trainables.jacobian_ode.recordings import VERSION, Recording, read_recording, recording_of
from trainables.jacobian_ode.splits import split_indices
from trainables.jacobian_ode.systems import System

TOLERANCE = 1e-12
"""Of the solver: what is left after the longest trajectory of a chaotic system is still below float32."""
MAX_WINDOWS = 64
"""Validation windows: each costs a free run at every report."""
MAX_STATES = 128
"""Validation states at which J is looked at."""
TASK_STREAM = " scored on"
"""Of the trajectories of a task: none of them is among those that another config trains on."""
TEST_STATES = 100
"""States of each test trajectory at which J is compared."""
VALIDATION_STREAM = 1
"""Of the noise on validation trajectories: that on training trajectories of the same shape is another."""
SHORTEST_WINDOW = 5
"""Samples of the shortest window in which a cubic smooths anything."""
_GENERATOR_VERSION = 1


class Scaling(NamedTuple):
    """Statistics of the training trajectories: z = (x - mean) / std, and the time in which z changes by about 1."""

    mean: Float32[np.ndarray, " n"]
    std: Float32[np.ndarray, " n"]
    dt: Float32[np.ndarray, ""]
    """Time between two samples."""
    time: Float32[np.ndarray, ""]


class Training(NamedTuple):
    """Standardised training trajectories, end to end; states and noise are both smoothed where the config says so."""

    z: Float32[np.ndarray, "samples n"]
    noise: Float32[np.ndarray, "samples n"]
    """Unit noise: one draw for each sample, whatever its level, before it is smoothed."""
    starts: Int32[np.ndarray, " sequences"]
    """First samples of the sequences that lie in one trajectory."""
    scaling: Scaling


class HeldOut(NamedTuple):
    """Standardised noise-free windows and states of validation trajectories, and what makes noisy ones of them."""

    windows: Float32[np.ndarray, "windows samples n"]
    states: Float32[np.ndarray, "states n"]
    mean: Float32[np.ndarray, " n"]
    std: Float32[np.ndarray, " n"]
    dt: Float32[np.ndarray, ""]
    time: Float32[np.ndarray, ""]
    """These four are the Scaling that they are standardised by, in whose units errors are."""
    noise: Float32[np.ndarray, "windows samples n"]
    """One draw for each sample, whatever its level, times that level."""
    smoother: Float32[np.ndarray, "given given"]
    """What smooths the given samples, and knows none after them."""


class Test(NamedTuple):
    """Standardised noise-free test trajectories, and what local regression on the training data makes of them."""

    trajectories: Float32[np.ndarray, "trajectories samples n"]
    windows: Float32[np.ndarray, "trajectories windows samples n"]
    states: Float32[np.ndarray, "trajectories states n"]
    states_fit: LocalFit
    windows_fit: LocalFit
    """At the last given sample of each window."""


def generate(
    system: System, dimension: int, trajectories: int, periods: int, points_per_period: int, name: str = ""
) -> dict[str, Float64[np.ndarray, "..."]]:
    """Return `x` (trajectories, samples, n) after the transient and `dt`, solved in float64 (DOP853).

    Initial conditions are uniform in the system's box, other ones for each `name`. All are solved as one system: the
    step size is that of the most demanding one, and Python's share of the time is that of a single one.
    """
    stream = hashlib.sha256(f"jacobian_ode {system.field.__name__} {dimension}{name}".encode()).digest()
    u = np.random.default_rng(np.frombuffer(stream, np.uint32)).uniform(-1, 1, (trajectories, dimension))
    start = np.broadcast_to(system.center, (dimension,)) + u * np.broadcast_to(system.half_width, (dimension,))
    dt = system.period / points_per_period
    times = system.transient + dt * np.arange(periods * points_per_period)

    def field(_: float, flat: Float64[np.ndarray, " all"]) -> Float64[np.ndarray, " all"]:
        return system.field(flat.reshape(start.shape)).ravel()

    solution = solve_ivp(
        field, (0.0, times[-1]), start.ravel(), method="DOP853", rtol=TOLERANCE, atol=TOLERANCE, t_eval=times
    )
    x = solution.y.T.reshape(len(times), trajectories, dimension).swapaxes(0, 1)
    return {"x": np.ascontiguousarray(x), "dt": np.array(dt)}


def load(config: Config, store: DatasetStore, stream: str = "") -> Recording:
    """Return the trajectories of a config, cut into pieces where it says so.

    Raises ConfigError where a fetched recording is none, or has too few or too short trajectories.
    """
    if (system := config.known_system) is not None:
        size = (config.num_components, config.trajectories, config.periods, config.points_per_period)
        name = (f" seed {config.data_seed}" if config.data_seed else "") + stream
        recipe = json.dumps([_GENERATOR_VERSION, *size]) + name
        data = store.get(f"jacobian_ode_{config.system}", recipe, lambda: generate(system, *size, name))
        return Recording(tuple(np.asarray(data["x"])), float(data["dt"]))
    assert config.file is not None
    if config.is_fetched:
        recording = recording_of(Source(config.file), store.fetched(config.file, "file"))
        for warning in recording.warnings:  # only now: no check has seen what is fetched
            warnings.warn(warning, stacklevel=2)
    else:
        recording = _cached(config, store)
    config.check_recording(recording)
    return recording.cut(config.file_pieces)


def _cached(config: Config, store: DatasetStore) -> Recording:
    """Return a file's recording from the node's cache: a large table takes long to read."""
    file = config.file or ""

    def build() -> dict[str, np.ndarray]:
        recording = read_recording(file)
        lengths = np.array([len(x) for x in recording.x])
        return {"x": np.concatenate(recording.x), "lengths": lengths, "dt": np.array(recording.dt)}

    recipe = json.dumps([VERSION, file, *file_state(Source(file))])
    data = store.get(f"jacobian_ode_{Path(file).stem}", recipe, build)
    return Recording(tuple(np.split(data["x"], np.cumsum(data["lengths"])[:-1])), float(data["dt"]))


def _seeded(seed: int) -> tuple[int, ...]:
    """Return what a seed adds to what a draw is made of: nothing if it is 0, as before there was one."""
    return (seed,) if seed else ()


def split(recording: Recording, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return the trajectories that train, validate and test, another split for each seed."""
    parts = split_indices(len(recording.x), seed)
    return tuple([np.asarray(recording.x[index]) for index in part] for part in parts)  # pyright: ignore[reportReturnType]


def measure(training: list[Float64[np.ndarray, "samples n"]], dt: float) -> Scaling:
    """Return the statistics of the training trajectories."""
    together = np.concatenate(training)
    std = together.std(0)
    # Of a component that does not change in the training split alone: any scale does.
    std = np.where(std > 0, std, 1.0)
    speed = np.concatenate([np.diff(x, axis=0) for x in training]) / std / dt
    time = 1 / max(float(np.sqrt(np.mean(speed**2))), 1e-12)
    return Scaling(*(np.asarray(value, np.float32) for value in (together.mean(0), std, dt, time)))


def smooth(x: Float32[np.ndarray, "samples n"], window: int) -> Float32[np.ndarray, "samples n"]:
    """Return samples smoothed by the cubic that fits the window around each best (Savitzky and Golay 1964).

    Near the ends the window is the first or the last one; of fewer samples it is as long as they are. Fewer than five
    samples are what they were: a cubic goes through four.
    """
    window = min(window, len(x) - 1 + len(x) % 2)
    return x if window < SHORTEST_WINDOW else np.asarray(savgol_filter(x, window, 3, axis=0), np.float32)


def build(config: Config, store: DatasetStore, stream: str = "") -> tuple[Training, HeldOut, Test]:
    """Return training, validation and test data of a config; of generated ones, those of a stream."""
    recording = load(config, store, stream)
    training, validation, test = split(recording, config.data_seed)
    scaling = measure(training, recording.dt)

    def standard(x: Float64[np.ndarray, "samples n"]) -> Float32[np.ndarray, "samples n"]:
        return ((x - scaling.mean) / scaling.std).astype(np.float32)

    z = np.concatenate([standard(x) for x in training])
    noise = np.random.default_rng((*z.shape, *_seeded(config.data_seed))).standard_normal(z.shape, np.float32)
    ends = np.cumsum([len(x) for x in training])
    z, noise = (
        np.concatenate([smooth(one, config.smoothing) for one in np.split(array, ends[:-1])]) for array in (z, noise)
    )
    starts = [np.arange(end - len(x), end - config.sequence_length + 1) for x, end in zip(training, ends, strict=True)]
    train = Training(z, noise, np.concatenate(starts).astype(np.int32), scaling)

    held_out = [standard(x) for x in validation]
    states = np.concatenate(held_out)
    # Drawn for each sample of the trajectories, not of the windows: trials with other windows see the same noise.
    draws = np.random.default_rng((*states.shape, VALIDATION_STREAM, *_seeded(config.data_seed)))
    windows, unit = (
        _evenly(np.concatenate([_windows(x, config, config.horizon) for x in each]), MAX_WINDOWS)
        for each in (held_out, [draws.standard_normal(x.shape, np.float32) for x in held_out])
    )
    level, given = np.float32(config.noise), np.eye(config.traj_init_steps, dtype=np.float32)
    held = HeldOut(windows, _evenly(states, MAX_STATES), *scaling, level * unit, smooth(given, config.smoothing))
    return train, held, _test(config, store, train, [standard(x) for x in test], states)


def _test(config: Config, store: DatasetStore, train: Training, test: list[np.ndarray], validation: np.ndarray) -> Test:
    shortest = min(map(len, test))
    trajectories = np.stack([x[:shortest] for x in test])
    windows = np.stack([_windows(x, config, max(config.test_horizons)) for x in trajectories])
    states = np.stack([_evenly(x, TEST_STATES) for x in trajectories])
    lengths = np.diff(np.flatnonzero(np.diff(train.starts, prepend=-2) != 1), append=len(train.starts))
    lengths = lengths + config.sequence_length - 1
    observed = train.z + np.float32(config.noise) * train.noise
    bases = windows[:, :, config.traj_init_steps - 1]

    def fit() -> dict[str, np.ndarray]:
        queries = [states, bases]
        fits = fit_locally(np.split(observed, np.cumsum(lengths)[:-1]), validation, queries, float(train.scaling.dt))
        return {f"{name}_{index}": array for index, one in enumerate(fits) for name, array in one._asdict().items()}

    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in (observed, validation, states, bases)))
    found = store.get("jacobian_ode_lwlr", f"{_GENERATOR_VERSION} {digest.hexdigest()} {train.scaling.dt}", fit)
    fits = [LocalFit(found[f"field_{index}"], found[f"jacobian_{index}"]) for index in range(2)]
    return Test(trajectories, windows, states, *fits)


def _windows(x: Float[np.ndarray, "samples n"], config: Config, horizon: int) -> Float[np.ndarray, "windows length n"]:
    """Cut a trajectory into windows of given samples and free runs, which share no sample.

    Free runs start at the same samples whatever `traj_init_steps` is: trials that differ in it are scored alike.
    """
    base = config.base_sample
    length = base + horizon
    num = len(x) // length
    return x[: num * length].reshape(num, length, -1)[:, base - config.traj_init_steps :]


def _evenly(x: Float[np.ndarray, "num ..."], most: int) -> Float[np.ndarray, "fewer ..."]:
    return x[np.linspace(0, len(x) - 1, min(most, len(x))).round().astype(int)]
