"""Series from a file: which of its samples are there, and which series train, validate and test; NumPy in float64."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from trainables._shared.config import ConfigError
from trainables._shared.data_files import Source, file_state, read_npz
from trainables._shared.data_numbers import (
    elapsed,
    look_at_columns,
    numbered,
    outliers,
    real_numbers,
    require_scale,
    resolution,
    truth,
)

SPLITS: Mapping[str, float] = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Shares of a file's series."""
WANTED = "y (series, samples, components), t (series, samples) and perhaps mask (series, samples)"


class _File(NamedTuple):
    """A file's series, their samples in order of time, those that are missing at the end."""

    y: Float64[np.ndarray, "n samples d"]
    t: Float64[np.ndarray, "n samples"]
    mask: Bool[np.ndarray, "n samples"]
    last: Float64[np.ndarray, " n"]
    """End of each observed span."""
    usable: Int[np.ndarray, " usable"]
    """Series that have two observed samples and a later one."""
    constant: Bool[np.ndarray, " d"]
    """Components that never change."""


def read_file(path: Path, split: str, extrapolation: float) -> dict[str, np.ndarray]:
    """Return the same arrays as `generate` for a file's series of a split, as NaN or mask leave samples out.

    The observed span is the first 1 / (1 + extrapolation) of each series' time. y is relative to the mean of the
    training series: float32, in which it is trained on, would cut off what varies about a large offset. Raises
    ConfigError for a file that cannot be read, or where a split has no series with two observed samples and one later.
    """
    y, t, mask, last, usable, constant = _read(Source(str(path)), extrapolation)
    rows, training = (_split(usable)[name] for name in (split, "train"))
    y = y - y[training][mask[training]].mean(0)
    # What rounding leaves of it is no signal, and would be scaled up to one.
    y[..., constant] = 0.0
    noise = np.random.default_rng(1).normal(size=y.shape)
    return {"y": y[rows], "t": t[rows], "mask": mask[rows], "last": last[rows], "noise": noise[rows]}


def origin_of(path: Path, extrapolation: float) -> Float64[np.ndarray, " d"]:
    """Return what the y of a file's series are relative to: the mean of its training series."""
    y, _, mask, _, usable, _ = _read(Source(str(path)), extrapolation)
    training = _split(usable)["train"]
    return np.asarray(y[training][mask[training]].mean(0))


def _split(usable: Int[np.ndarray, " usable"]) -> dict[str, Int[np.ndarray, " some"]]:
    """Return the series of each split, drawn in an order of their own, always the same."""
    shuffled = np.random.default_rng(0).permutation(usable)
    ends = np.round(np.cumsum(list(SPLITS.values())) * len(shuffled)).astype(int)
    return {name: np.sort(part) for name, part in zip(SPLITS, np.split(shuffled, ends[:-1]), strict=True)}


def check_file(path: Path, num_components: int, extrapolation: float) -> None:
    """Raise ConfigError for a file that does not hold series of so many components, or too few to split."""
    _warnings(path, file_state(Source(str(path))), num_components, extrapolation)


def file_warnings(path: Path, num_components: int, extrapolation: float) -> tuple[str, ...]:
    """Return what a user must know of a file that can be used; raises ConfigError as `check_file` does."""
    return _warnings(path, file_state(Source(str(path))), num_components, extrapolation)


@functools.lru_cache(maxsize=64)
def _warnings(path: Path, state: tuple[int, int], num_components: int, extrapolation: float) -> tuple[str, ...]:
    """Return a file's warnings: a check asks for them at every configuration."""
    source = Source(str(path))
    _read(source, extrapolation, num_components)
    return tuple(source.warnings)


def _read(source: Source, extrapolation: float, num_components: int | None = None) -> _File:
    y, t, mask, grain = _arrays(source)
    if num_components not in (None, y.shape[2]):
        raise ConfigError("file_components", num_components, f"{source.name} has others", str(y.shape[2]))
    order = np.argsort(np.where(mask, t, np.inf), axis=1, kind="stable")
    y, t, mask = (np.take_along_axis(x, order[..., None] if x.ndim == 3 else order, 1) for x in (y, t, mask))
    first = np.where(mask, t, np.inf).min(1, initial=np.inf)
    with np.errstate(invalid="ignore"):  # of a series without samples, which is not usable
        last = first + (np.where(mask, t, -np.inf).max(1, initial=-np.inf) - first) / (1 + extrapolation)
    before = mask & (t <= last[:, None])
    is_usable = (before.sum(1) >= 2) & ((mask & ~before).sum(1) >= 1)
    usable = np.flatnonzero(is_usable)
    if not all(map(len, _split(usable).values())):
        why = f"{len(usable)} of its {len(y)} series have two observed samples and a later one, too few to split"
        raise source.error(why, "at least 6 such series")
    if len(left_out := np.flatnonzero(~is_usable)):
        source.warn(
            f"{len(left_out)} of its {len(y)} series are left out, as they have not two observed samples and a later "
            f"one: series {numbered(left_out)}"
        )
    constant = _look_at(source, y[usable], t[usable], mask[usable], grain, usable)
    training = _split(usable)["train"]
    observed = y[training][before[training]]
    for k in np.flatnonzero(~constant & (np.ptp(observed, axis=0) == 0)):
        source.warn(
            f"component {k + 1} of y changes in no observed span of a training series, only elsewhere: it is not scaled"
        )
    return _File(y, t, mask, last, usable, constant)


def _look_at(
    source: Source,
    y: Float64[np.ndarray, "n samples d"],
    t: Float64[np.ndarray, "n samples"],
    mask: Bool[np.ndarray, "n samples"],
    grain: float,
    rows: Int[np.ndarray, " n"],
) -> Bool[np.ndarray, " d"]:
    """Return which components of usable series never change; note what is odd about values and times."""
    lengths = mask.sum(1)
    columns = look_at_columns(source, "y", y[mask], np.cumsum(lengths) - lengths, grain=grain, rows=rows)
    if columns.constant.all():
        raise source.error("its y never changes", "a component that varies")
    for k in np.flatnonzero(columns.constant):
        source.warn(f"component {k + 1} of y never changes: it is predicted by its mean, and its error is 0")
    span = np.where(mask, t, -np.inf).max(1) - t[:, 0]
    require_scale(source, "the longest time of a series is", float(span.max()))
    if (far := outliers(span)).any():
        source.warn(
            f"{int(far.sum())} of {len(span)} usable series last {span[far].max():.3g}, the others at most "
            f"{span[~far].max():.3g}: they set the scale of the times (series "
            f"{numbered(rows[far])})"
        )
    there = mask[:, 1:]
    same = (np.diff(t, axis=1) == 0) & there
    if same.any():
        source.warn(f"{int(same.sum())} samples of {int(same.any(1).sum())} series have the time of another sample")
    with np.errstate(invalid="ignore", over="ignore"):  # of missing samples
        close = (np.diff((t - t[:, :1]).astype(np.float32), axis=1) == 0) & there & ~same
    if close.any():
        source.warn(
            f"{int(close.sum())} samples of {int(close.any(1).sum())} series are so near the one before that float32, "
            "in which models are trained, gives both the same time"
        )
    return columns.constant


def _arrays(
    source: Source,
) -> tuple[Float64[np.ndarray, "n samples d"], Float64[np.ndarray, "n samples"], Bool[np.ndarray, "n samples"], float]:
    """Return y, t and which samples are there, as they are in the file, and what the numbers of y resolve."""
    arrays = read_npz(source, WANTED, ("y", "t", "mask"))
    y, t = arrays.get("y"), arrays.get("t")
    held = arrays.get("mask", np.ones(() if t is None else t.shape, bool))
    if y is None or t is None or y.ndim != 3 or y.shape[2] < 1 or not t.shape == y.shape[:2] == held.shape:
        raise source.error(f"must hold {WANTED}, but it has {source.holds(arrays)}", "such arrays")
    grain, mask = resolution(y), truth(source, "mask", held)
    y, t = real_numbers(source, "y", y), elapsed(source, "t", t, mask)
    finite = np.isfinite(y)
    whole = finite.all(-1)
    if num := int((np.isinf(y).any(-1) & mask).sum()):
        source.warn(f"{num} of {mask.sum()} samples of y are infinite, and count as missing")
    if num := int((finite.any(-1) & ~whole & ~np.isinf(y).any(-1) & mask).sum()):
        source.warn(f"{num} of {mask.sum()} samples of y lack some components, and count as missing as a whole")
    if num := int((~np.isfinite(t) & whole & mask).sum()):
        source.warn(f"{num} of {mask.sum()} samples have no finite time, and count as missing")
    return y, t, mask & np.isfinite(t) & whole, grain
