"""Recordings from files: trajectories of any length, sampled evenly in time, without a known Jacobian."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from trainables._shared.data_files import Source, file_state, read_npz
from trainables._shared.data_numbers import (
    centred,
    elapsed,
    even_step,
    look_at_columns,
    real_numbers,
    resolution,
)
from trainables._shared.data_tables import numbers, read_table
from trainables.jacobian_ode.splits import split_indices

ALLOWED_ARRAYS = "x (trajectories, samples, n) or (samples, n), and t (samples) or (trajectories, samples), or dt"
ALLOWED_TABLE = "a header trajectory,t,NAME,... (trajectory may be missing), then numbers"
LARGEST_RATIO = 1e8
"""Of the components' scales: J in the data's units has their ratios, in float32."""
LONGEST_STEP = 1e12
"""Time between two samples, and one over the shortest: loop losses and penalties have its powers, in float32."""
MOST_SAMPLES = 2**31 - 1
"""Of all trajectories together: programs count them in 32 bits."""
VERSION = 2
"""Of what a file is read as: a cached recording of another version is read anew."""


class Recording(NamedTuple):
    """Trajectories of one process, and the time between two samples."""

    x: tuple[Float64[np.ndarray, "samples n"], ...]
    """A component that varies little about a large offset is relative to its mean."""
    dt: float
    warnings: tuple[str, ...] = ()
    """What a user must know of it, though it can be used."""

    @property
    def num_components(self) -> int:
        """Components of a state."""
        return self.x[0].shape[1]

    def cut(self, num: int) -> "Recording":
        """Return the recording with each trajectory cut into equally long pieces, one after the other in time."""
        pieces = [x[k * (len(x) // num) : (k + 1) * (len(x) // num)] for x in self.x for k in range(num)]
        return Recording(tuple(pieces), self.dt, self.warnings)


def read_recording(file: str) -> Recording:
    """Return the recording of an .npz or .csv file; raises ConfigError that says what is wrong with it."""
    return _read(file, file_state(Source(file)))


def recording_warnings(file: str, pieces: int, seed: int = 0) -> tuple[str, ...]:
    """Return what a user must know of a recording that is cut into pieces; raises ConfigError as `read_recording`.

    Which pieces train is drawn from the seed.
    """
    return _warnings(file, file_state(Source(file)), pieces, seed)


@functools.lru_cache(maxsize=64)
def _warnings(file: str, state: tuple[int, int], pieces: int, seed: int) -> tuple[str, ...]:
    recording = _read(file, state)
    trajectories = recording.cut(pieces).x
    training = np.concatenate([trajectories[index] for index in split_indices(len(trajectories), seed)[0]])
    source = Source(file)
    for k in np.flatnonzero(np.ptp(training, axis=0) == 0):
        source.warn(f"component {k + 1} of x changes in no training trajectory, only in others: it is not scaled")
    return (*recording.warnings, *source.warnings)


@functools.lru_cache(maxsize=4)
def _read(file: str, state: tuple[int, int]) -> Recording:
    """Read a file once for each time that it was written: a check asks for it at every configuration."""
    source = Source(file)
    if not file.endswith(".csv"):
        return recording_of(source, read_npz(source, ALLOWED_ARRAYS, ("x", "t", "dt")))
    return _from_table(source)


def recording_of(source: Source, arrays: Mapping[str, np.ndarray]) -> Recording:
    """Return the recording of named arrays; raises ConfigError if they hold none."""
    x = arrays.get("x")
    if x is None or x.ndim not in (2, 3) or ("t" in arrays) == ("dt" in arrays):
        raise source.error(f"holds {source.holds(arrays)}", ALLOWED_ARRAYS)
    x = x if x.ndim == 3 else x[None]
    grain, values = resolution(x), list(real_numbers(source, "x", x))
    if "dt" in arrays:
        return _checked(source, values, None, _given_step(source, arrays["dt"]), grain)
    t = np.atleast_2d(arrays["t"])
    if t.shape not in ((1, x.shape[1]), x.shape[:2]):
        raise source.error(f"holds {source.holds(arrays)}", ALLOWED_ARRAYS)
    times = np.broadcast_to(elapsed(source, "t", t), x.shape[:2])
    return _checked(source, values, list(times), resolution(t), grain)


def _given_step(source: Source, array: np.ndarray) -> float:
    dt = real_numbers(source, "dt", array)
    if dt.size != 1 or not (np.isfinite(dt).all() and dt.item() > 0):
        held = f"{dt.item():g}" if dt.size == 1 else f"an array {dt.shape}"
        raise source.error(f"its dt is {held}", "one positive number")
    return dt.item()


def _from_table(source: Source) -> Recording:
    table = read_table(source, ALLOWED_TABLE)
    names, rows = list(table.names), table.rows
    first = names.index("t") + 1 if "t" in names else 0
    if names[:first] not in (["t"], ["trajectory", "t"]) or first == len(names) or not rows:
        raise source.error(f"has the header {','.join(names)!r} and {len(rows)} rows", ALLOWED_TABLE)
    values = numbers(source, table, range(first - 1, len(names)), ALLOWED_TABLE)
    labels = [row[0] for row in rows] if first == 2 else [""] * len(rows)
    x, t = [], []
    for label in dict.fromkeys(labels):
        chosen = values[[other == label for other in labels]]
        x.append(chosen[:, 1:])
        t.append(chosen[:, 0])
    grain = float(np.finfo(np.float64).eps)
    return _checked(source, x, t, grain, grain, names[first:])


def _checked(
    source: Source,
    x: list[Float64[np.ndarray, "samples n"]],
    t: list[Float64[np.ndarray, " samples"]] | None,
    step: float,
    grain: float,
    names: Sequence[str] = (),
) -> Recording:
    """Return trajectories that are finite, evenly sampled alike, and not constant in a component.

    `step` is the time between two samples if there are no times, else what these resolve; `grain` what x resolves.
    """
    if not x or x[0].shape[1] < 1:
        raise source.error("holds no trajectory, or no component", "trajectories of two samples or more")
    lengths = np.array([len(states) for states in x])
    if (short := np.flatnonzero(lengths < 2)).size:
        why = f"{len(short)} of {len(x)} trajectories have fewer than two samples, first trajectory {short[0] + 1}"
        raise source.error(why, "longer trajectories")
    if lengths.sum() > MOST_SAMPLES:
        raise source.error(f"holds {lengths.sum():,} samples", f"at most {MOST_SAMPLES:,}")
    for index, states in enumerate(x):
        there = np.isfinite(states).all(-1)
        there = there if t is None else there & np.isfinite(t[index])
        if not there.all():
            which = f"trajectory {index + 1} of {len(x)}"
            bad, num = int(np.argmin(there)) + 1, int((~there).sum())
            raise source.error(f"{which} is not finite at sample {bad} ({num} such samples)", "no missing samples")
    dt = step if t is None else even_step(source, t, step)
    if not 1 / LONGEST_STEP <= dt <= LONGEST_STEP:
        why = f"the time between two samples is {dt:.3g}, whose powers float32 does not hold"
        raise source.error(why, f"another unit, in which it is {1 / LONGEST_STEP:g} to {LONGEST_STEP:g}")
    together = np.concatenate(x)
    starts = np.cumsum(lengths) - lengths
    columns = look_at_columns(source, "x", together, starts, grain=grain, names=names, series="trajectory")
    for k in np.flatnonzero(columns.constant):
        named = f" ({names[int(k)]})" if names else ""
        why = f"component {k + 1}{named} never changes: it is {together[0, k]:g}"
        raise source.error(why, "components that vary")
    if columns.spread.max() > LARGEST_RATIO * columns.spread.min():
        most, least = int(columns.spread.argmax()), int(columns.spread.argmin())
        source.warn(
            f"component {most + 1} of x varies by {columns.spread[most]:.3g} and component {least + 1} by "
            f"{columns.spread[least]:.3g}: in float32, the smallest Lyapunov exponents of a Jacobian of both are lost"
        )
    offset = centred(source, "x", columns, names)
    if offset.any():
        x = [states - offset for states in x]
    return Recording(tuple(x), dt, tuple(source.warnings))
