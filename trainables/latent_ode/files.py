"""Series from a file: which of its samples are there, and which series train, validate and test; NumPy in float64."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool, Float64

from trainables._shared.config import ConfigError

SPLITS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of a file's series."""
WANTED = "y (series, samples, components), t (series, samples) and perhaps mask (series, samples)"
LARGEST = 1e30
"""Of a value: what is larger leaves float32 in the loss."""


def read_file(path: Path, split: str, extrapolation: float) -> dict[str, np.ndarray]:
    """Return the same arrays as `generate` for a file's series of a split, as NaN or mask leave samples out.

    The observed span is the first 1 / (1 + extrapolation) of each series' time. y is relative to the mean of the
    training series: float32, in which it is trained on, would cut off what varies about a large offset. Raises
    ConfigError for a file that cannot be read, or where a split has no series with two observed samples and one later.
    """
    y, t, mask = _arrays(path)
    mask = mask & np.isfinite(t) & np.isfinite(y).all(-1)
    order = np.argsort(np.where(mask, t, np.inf), axis=1, kind="stable")
    y, t, mask = (np.take_along_axis(x, order[..., None] if x.ndim == 3 else order, 1) for x in (y, t, mask))
    first = np.where(mask, t, np.inf).min(1, initial=np.inf)
    with np.errstate(invalid="ignore"):  # of a series without samples, which is not usable
        last = first + (np.where(mask, t, -np.inf).max(1, initial=-np.inf) - first) / (1 + extrapolation)
    before = mask & (t <= last[:, None])
    usable = np.flatnonzero((before.sum(1) >= 2) & ((mask & ~before).sum(1) >= 1))
    shuffled = np.random.default_rng(0).permutation(usable)
    ends = np.round(np.cumsum(list(SPLITS.values())) * len(shuffled)).astype(int)
    rows_of = {name: np.sort(part) for name, part in zip(SPLITS, np.split(shuffled, ends[:-1]), strict=True)}
    if not all(map(len, rows_of.values())):
        why = f"{len(usable)} of its {len(y)} series have two observed samples and a later one, too few to split"
        raise ConfigError("file", str(path), why, "at least 6 such series")
    rows, training = rows_of[split], rows_of["train"]
    y = y - y[training][mask[training]].mean(0)
    noise = np.random.default_rng(1).normal(size=y.shape)
    return {"y": y[rows], "t": t[rows], "mask": mask[rows], "last": last[rows], "noise": noise[rows]}


def check_file(path: Path, num_components: int, extrapolation: float) -> None:
    """Raise ConfigError for a file that does not hold series of so many components, or too few to split."""
    y, _, _ = _arrays(path)
    if y.shape[2] != num_components:
        raise ConfigError("file_components", num_components, f"{path} has others", str(y.shape[2]))
    read_file(path, "train", extrapolation)


def _arrays(
    path: Path,
) -> tuple[Float64[np.ndarray, "n samples d"], Float64[np.ndarray, "n samples"], Bool[np.ndarray, "n samples"]]:
    """Return y, t and mask as they are in the file."""
    try:
        # Opened here: of a damaged archive, NumPy leaves the file open.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        why = f"cannot be read: {error or type(error).__name__}"
        raise ConfigError("file", str(path), why, f"an .npz file of {WANTED}") from None
    y, t = arrays.get("y"), arrays.get("t")
    mask = arrays.get("mask", np.ones(() if t is None else t.shape, bool))
    if y is None or t is None or y.ndim != 3 or not t.shape == y.shape[:2] == mask.shape:
        held = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "nothing"
        raise ConfigError("file", str(path), f"must hold {WANTED}, but it has {held}")
    for name, array in (("y", y), ("t", t)):
        if array.dtype.kind not in "fiuMm":
            raise ConfigError("file", str(path), f"its {name} is of {array.dtype}", "real numbers")
    y, t = np.asarray(y, np.float64), np.asarray(t, np.float64)
    if (largest := np.abs(y[np.isfinite(y)]).max(initial=0.0)) > LARGEST:
        raise ConfigError("file", str(path), f"its y goes up to {largest:g}", f"at most {LARGEST:g}")
    return y, t, np.asarray(mask, bool)
