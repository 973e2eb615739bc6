"""Recordings from files: trajectories of any length, sampled evenly in time, without a known Jacobian."""

import csv
import functools
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float64

from trainables._shared.config import ConfigError

ALLOWED_ARRAYS = "x (trajectories, samples, n) or (samples, n), and t (samples) or (trajectories, samples), or dt"
ALLOWED_TABLE = "a header trajectory,t,NAME,... (trajectory may be missing), then numbers"
SMALLEST_SPREAD = 1e-12
"""Of a component that counts as varying, over its largest value."""
EVEN = 1e-3
"""Largest deviation from even sampling, over the time between two samples."""


class Recording(NamedTuple):
    """Trajectories of one process, and the time between two samples."""

    x: tuple[Float64[np.ndarray, "samples n"], ...]
    dt: float

    @property
    def num_components(self) -> int:
        """Components of a state."""
        return self.x[0].shape[1]


def read_recording(file: str) -> Recording:
    """Return the recording of an .npz or .csv file; raises ConfigError that says what is wrong with it."""
    path = Path(file)
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise ConfigError("file", file, f"cannot be read ({error.strerror})", "a file that exists") from None
    return _read(file, modified)


@functools.lru_cache(maxsize=4)
def _read(file: str, modified: int) -> Recording:
    """Read a file once for each time that it was written: a check asks for it at every configuration."""
    try:
        if file.endswith(".csv"):
            return _from_table(file)
        # Opened here: of a damaged archive, NumPy leaves the file open.
        with Path(file).open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            return recording_of(file, {name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error, csv.Error) as error:
        if isinstance(error, ConfigError):
            raise
        allowed = ALLOWED_TABLE if file.endswith(".csv") else ALLOWED_ARRAYS
        raise ConfigError("file", file, f"cannot be read: {error}", allowed) from None


def recording_of(file: str, arrays: Mapping[str, np.ndarray]) -> Recording:
    """Return the recording of named arrays; raises ConfigError where they hold none."""
    shapes = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "nothing"
    x = arrays.get("x")
    if x is None or x.ndim not in (2, 3) or ("t" in arrays) == ("dt" in arrays):
        raise ConfigError("file", file, f"holds {shapes}", ALLOWED_ARRAYS)
    x = x if x.ndim == 3 else x[None]
    t = np.arange(x.shape[1])[None] * arrays["dt"] if "dt" in arrays else np.atleast_2d(arrays["t"])
    if t.shape not in ((1, x.shape[1]), x.shape[:2]) or not all(np.issubdtype(a.dtype, np.number) for a in (x, t)):
        raise ConfigError("file", file, f"holds {shapes}", ALLOWED_ARRAYS)
    t = np.broadcast_to(t, x.shape[:2])
    return _checked(file, list(np.asarray(x, np.float64)), list(np.asarray(t, np.float64)))


def _from_table(file: str) -> Recording:
    with Path(file).open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets begin with a mark
        reader = csv.reader(lines)
        header = next(reader, [])
        numbered = [(reader.line_num, row) for row in reader if row]
    rows = [row for _, row in numbered]
    names = [name.strip() for name in header]
    first = names.index("t") + 1 if "t" in names else 0
    if names[:first] not in (["t"], ["trajectory", "t"]) or first == len(names) or not rows:
        raise ConfigError("file", file, f"has the header {','.join(names)!r} and {len(rows)} rows", ALLOWED_TABLE)
    for number, row in numbered:
        if len(row) != len(names):
            why = f"line {number} has {len(row)} values, and the header {len(names)}"
            raise ConfigError("file", file, why, ALLOWED_TABLE)
    labels = [row[0] for row in rows] if first == 2 else [""] * len(rows)
    values = np.array([[_number(file, text, number) for text in row[first - 1 :]] for number, row in numbered])
    x, t = [], []
    for label in dict.fromkeys(labels):
        chosen = values[[other == label for other in labels]]
        x.append(chosen[:, 1:])
        t.append(chosen[:, 0])
    return _checked(file, x, t)


def _number(file: str, text: str, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError("file", file, f"line {line} holds {text!r}, which is no number", ALLOWED_TABLE) from None


def _checked(
    file: str, x: list[Float64[np.ndarray, "samples n"]], t: list[Float64[np.ndarray, " samples"]]
) -> Recording:
    """Return trajectories that are finite, evenly sampled alike, and not constant in a component."""
    if not x or min(map(len, x)) < 2 or x[0].shape[1] < 1:
        raise ConfigError("file", file, "holds a trajectory of fewer than two samples", "longer trajectories")
    dt = float(t[0][1] - t[0][0])
    for index, (states, times) in enumerate(zip(x, t, strict=True)):
        which = f"trajectory {index + 1} of {len(x)}"
        if not (np.isfinite(states).all() and np.isfinite(times).all()):
            bad = int(np.argmin(np.isfinite(states).all(-1) & np.isfinite(times)))
            raise ConfigError("file", file, f"{which} is not finite at sample {bad + 1}", "no missing samples")
        if not dt > 0 or np.abs(np.diff(times) - dt).max() > EVEN * dt:
            why = f"{which} is not sampled every {dt:g}, as the first two samples of the file are"
            raise ConfigError("file", file, why, "times that increase by the same step everywhere")
    together = np.concatenate(x)
    # Not exactly 0 of a constant like 0.1: the mean is rounded.
    still = together.std(0) <= SMALLEST_SPREAD * np.abs(together).max(0)
    if still.any():
        component = int(np.argmax(still))
        raise ConfigError("file", file, f"component {component + 1} never changes", "components that vary")
    return Recording(tuple(x), dt)
