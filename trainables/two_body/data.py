"""Orbits of the two-body problem from Kepler's equation, by dataset name; NumPy only, units with mu = 1."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from trainables._shared.data_files import Source
from trainables._shared.data_numbers import elapsed, numbered, real_numbers
from trainables._shared.kepler import elements_from, kepler_states, mean_anomaly
from trainables.two_body.dataset_names import DatasetName
from trainables.two_body.windows import NUM_SAMPLES, Sampling, num_missing, window_samples

_GENERATOR_VERSION = 1
WANTED = f"y (orbits, {NUM_SAMPLES}, 6) and t (orbits, {NUM_SAMPLES}), with mu = 1"
OTHER_UNITS = 10.0
"""Factor that the median of a r^2 is off by in other units: AU and years give 39, kilometres and seconds 4e5. Orbits
that are perturbed, or sampled a few times each, are far within."""
FARTHEST = 1e6
"""Of a radius: features and forces have its third power, in float32."""


def draw_elements(name: DatasetName, fix_nu0: bool, data_seed: int = 0) -> Float64[np.ndarray, "n 6"]:
    """Return the orbital elements of a dataset, the same ones for the same name, option and seed.

    Each split of a family has its own stream; of one stream, fewer orbits are the first of more, so that training
    sets of different sizes differ by the added orbits alone.
    """
    own = f" {data_seed}" if data_seed else ""  # 0 is the stream of before there were others
    stream = hashlib.sha256(f"two_body {name.family} {name.plane} {name.split}{own}".encode()).digest()
    # One row of draws per orbit: the first orbits do not depend on how many follow.
    u = np.random.default_rng(np.frombuffer(stream, np.uint32)).random((name.num_orbits, 6))
    return elements_from(u, name.family, planar=name.plane == "planar", fix_nu0=fix_nu0)


def generate(
    name: DatasetName, *, fix_nu0: bool, sampling: Sampling, missing_tail: float, data_seed: int = 0
) -> dict[str, Float64[np.ndarray, "..."]]:
    """Return `y` (orbits, 360, 6), `t` (orbits, 360) from 0, and `elements` (orbits, 6); missing y are NaN."""
    elements = draw_elements(name, fix_nu0, data_seed)
    a, e, nu0 = elements[:, 0, None], elements[:, 1, None], np.deg2rad(elements[:, 5, None])
    degrees = np.deg2rad(np.arange(NUM_SAMPLES, dtype=np.float64))[None]
    M0 = mean_anomaly(nu0, e)
    M = M0 + degrees if sampling == "mean_anomaly" else mean_anomaly(nu0 + degrees, e)
    y = kepler_states(elements, M)
    y[:, NUM_SAMPLES - num_missing(missing_tail) :] = np.nan
    return {"y": y, "t": (M - M0) * a**1.5, "elements": elements}


def check_fetched(
    name: str, data: Mapping[str, np.ndarray], missing_tail: float, field: str = "dataset"
) -> dict[str, np.ndarray]:
    """Return the orbits of a fetched dataset, `y` and `t` as of `generate`, with the tail of each made missing.

    Raises ConfigError, which names the config's `field`, if it does not hold them. What is odd about them is a Python
    warning: no check of a search has seen what is fetched.
    """
    source = Source(name, field)
    y, t = data.get("y"), data.get("t")
    if y is None or t is None or y.ndim != 3 or y.shape[1:] != (NUM_SAMPLES, 6) or t.shape != y.shape[:2]:
        raise source.error(f"must hold the arrays {WANTED}, but it has {source.holds(data)}")
    y, t = real_numbers(source, "y", y), elapsed(source, "t", t)
    _require_orbits(source, y, t)
    for warning in source.warnings:
        warnings.warn(warning, stacklevel=2)
    if missing := num_missing(missing_tail):
        y = np.array(y)
        y[:, NUM_SAMPLES - missing :] = np.nan
    return {"y": y, "t": t}


def _require_orbits(source: Source, y: Float64[np.ndarray, "n samples 6"], t: Float64[np.ndarray, "n samples"]) -> None:
    """Raise ConfigError if states are not those of orbits in units with mu = 1, or times do not increase."""
    late = np.asarray(np.diff(t, axis=1) > 0)
    if not late.all():
        orbit = int(np.argmin(late.all(1)))
        why = f"times of {int((~late.all(1)).sum())} of its {len(y)} orbits do not increase, first of orbit {orbit + 1}"
        raise source.error(why, "finite times that increase strictly, of missing states too")
    if num := int(np.isinf(y).any(-1).sum()):
        source.warn(f"{num} of {y.shape[0] * NUM_SAMPLES} states are infinite, and count as missing")
    there = np.asarray(np.isfinite(y).all(-1))
    if len(few := np.flatnonzero(there.sum(1) < 2)):
        source.warn(f"{len(few)} of its {len(y)} orbits have fewer than two states (orbits {numbered(few)})")
    r, v = (np.where(there[..., None], part, np.nan) for part in (y[..., :3], y[..., 3:]))
    with np.errstate(over="ignore", invalid="ignore"):  # that is what is looked for
        radius = np.linalg.norm(r, axis=-1)
        acceleration = np.linalg.norm(v[:, 2:] - v[:, :-2], axis=-1) / (t[:, 2:] - t[:, :-2])
        mu = acceleration * radius[:, 1:-1] ** 2
    mu, radius = mu[~np.isnan(mu)], radius[~np.isnan(radius)]
    if not mu.size:
        raise source.error("has no three states in a row", f"the arrays {WANTED}")
    if not 1 / OTHER_UNITS < np.median(mu) < OTHER_UNITS:
        why = f"its accelerations are {float(np.median(mu)):.4g} / r^2 (the median), and with mu = 1 they are 1 / r^2"
        raise source.error(why, "lengths and times in units with mu = 1")
    if not FARTHEST**-1 <= radius.min() <= radius.max() <= FARTHEST:
        why = f"its radii are {radius.min():.3g} to {radius.max():.3g}, which float32 does not hold to the third power"
        raise source.error(why, f"a unit of length in which they are {1 / FARTHEST:g} to {FARTHEST:g}")


def recipe(fix_nu0: bool, sampling: Sampling, missing_tail: float, data_seed: int = 0) -> str:
    """Return what, beside its name, decides a dataset's numbers."""
    drawn = [data_seed] if data_seed else []
    return json.dumps([_GENERATOR_VERSION, fix_nu0, sampling, missing_tail, *drawn])


class Segments(NamedTuple):
    """Initial-value problems of equal length, component axis last; missing samples are zero and masked."""

    y: Float32[np.ndarray, "n samples 6"]
    t: Float32[np.ndarray, "n samples"]
    """Time since the segment's first sample."""
    mask: Bool[np.ndarray, "n samples"]


def as_segments(y: Float[np.ndarray, "n samples 6"], t: Float[np.ndarray, "n samples"]) -> Segments:
    """Return float32 segments of float64 series, with the times counted from each one's start."""
    mask = np.asarray(np.isfinite(y).all(-1))
    return Segments(np.where(mask[..., None], y, 0.0).astype(np.float32), (t - t[:, :1]).astype(np.float32), mask)


def cut(data: Mapping[str, Float64[np.ndarray, "..."]], window: tuple[float, float], segment_length: int) -> Segments:
    """Cut the window of every orbit into segments that share no sample, and keep the usable ones."""
    first, stop = window_samples(window)
    num = (stop - first) // segment_length
    y = np.asarray(data["y"][:, first : first + num * segment_length]).reshape(-1, segment_length, 6)
    t = np.asarray(data["t"][:, first : first + num * segment_length]).reshape(-1, segment_length)
    usable = np.isfinite(y[:, :2]).reshape(len(y), -1).all(-1)
    return as_segments(y[usable], t[usable])
