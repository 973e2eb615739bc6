"""Irregularly sampled series with an observed and an extrapolation span; NumPy only, float64."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64

from trainables._shared.datasets import DatasetStore
from trainables._shared.kepler import elements_from, kepler_states
from trainables.latent_ode.config import FEWEST_OBSERVED, Config
from trainables.latent_ode.files import origin_of, read_file

SPIRAL = np.array([[-0.1, 1.3], [-1.0, -0.1]])
"""The damped spirals' x' = A x: eigenvalues -0.1 +- 1.140 i."""
NUM_HELD_OUT = 256
"""Series to validate on, and as many to test on."""

SMALLEST_SPREAD = 1e-6
"""Of a component that counts as varying, over its largest value: float32 resolves no less."""

_GENERATOR_VERSION = 1


class Span(NamedTuple):
    """Samples of a part of every series, padded at the end; where the mask is false, y is 0 and t the last time."""

    y: Float32[np.ndarray, "n samples components"]
    t: Float32[np.ndarray, "n samples"]
    """Time since the series' first observed sample."""
    mask: Bool[np.ndarray, "n samples"]
    noise: Float32[np.ndarray, "n samples components"]
    """Standard normal draws, to be scaled by the noise level; the series' own, the same in every batch."""


class Series(NamedTuple):
    """The two spans of every series, cut at the same share of its whole length."""

    observed: Span
    later: Span


class Statistics(NamedTuple):
    """What the training series' observed spans are normalised by; in the model once it has trained."""

    mean: Float32[np.ndarray, " components"]
    scale: Float32[np.ndarray, " components"]
    """Standard deviation of a component."""
    time_scale: Float32[np.ndarray, ""]
    """Half the mean observed span."""


class HeldOut(NamedTuple):
    """Series to validate on, and the units in which errors on them are measured."""

    observed: Span
    later: Span
    statistics: Statistics
    """Of the training series that belong to them; a model that was trained on others is normalised by theirs."""
    shift: Float32[np.ndarray, " components"]
    """What is to be added to them to have them relative to the same value as the series that were trained on."""


def spiral_states(x0: Float64[np.ndarray, "n 2"], t: Float64[np.ndarray, "n samples"]) -> Float64[np.ndarray, "..."]:
    """Return exp(A t) x0, by the closed form of the exponential of a 2 by 2 matrix with complex eigenvalues.

    With A = a I + B, B of trace 0 and B^2 = -w^2 I: exp(A t) = e^(a t) (cos(w t) I + sin(w t) / w B).
    """
    a = np.trace(SPIRAL) / 2
    B = SPIRAL - a * np.eye(2)
    w = np.sqrt(np.linalg.det(B))
    decay = np.exp(a * t)[..., None]
    return decay * (np.cos(w * t)[..., None] * x0[:, None] + (np.sin(w * t) / w)[..., None] * (x0 @ B.T)[:, None])


def _family(config: Config) -> str:
    """Return the family that decides the series: spirals have none, and are always those of the default's stream."""
    return config.orbit_family if config.dataset == "orbits" else "simple"


def generate(config: Config, split: str, num: int) -> dict[str, np.ndarray]:
    """Return `y` (num, samples, components), `t`, `mask` and `last` (num,), the end of each observed span.

    Each split has its own stream of random numbers. Of a spiral: a start N(0, I), an offset U(0, 1), and irregular
    times uniform in a span of 2 + U(0, 1) after it; of an orbit: its elements, and a span of 0.4 to 0.6 periods. As
    many samples again lie in the extrapolation span.
    """
    stream = hashlib.sha256(f"latent_ode {config.dataset} {_family(config)} {split}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(stream, np.uint32))
    size = (num, config.num_observed)
    u, in_observed, in_later = rng.random(num), rng.random(size), rng.random(size)
    x0, elements, M0 = rng.normal(size=(num, 2)), rng.random((num, 6)), 2 * np.pi * rng.random((num, 1))
    elements = elements_from(elements, config.orbit_family, planar=True)
    rate = elements[:, 0] ** -1.5
    if config.dataset == "spirals":
        length, offset = 2.0 + u, rng.random(num)
    else:
        length, offset = (0.4 + 0.2 * u) * 2 * np.pi / rate, np.zeros(num)
    observed = np.sort(in_observed, axis=1) * length[:, None]
    later = (1 + config.extrapolation * np.sort(in_later, axis=1)) * length[:, None]
    t = offset[:, None] + np.concatenate([observed, later], axis=1)
    if config.dataset == "spirals":
        y = spiral_states(x0, t)
    else:
        y = kepler_states(elements, M0 + rate[:, None] * t)[..., [0, 1, 3, 4]]
    # The samples with the largest draws are the missing ones: how many stay, and the others, never changes with them.
    draws = rng.random(size)
    kept = draws >= config.missing_share
    kept |= draws >= np.sort(draws, axis=1)[:, -FEWEST_OBSERVED, None]
    mask = np.concatenate([kept, np.ones(size, bool)], axis=1)
    return {"y": y, "t": t, "mask": mask, "last": offset + length, "noise": rng.normal(size=y.shape)}


def _span(data: Mapping[str, np.ndarray], there: Bool[np.ndarray, "n samples"], start: np.ndarray) -> Span:
    """Return the samples of a span at the front of as many columns as the fullest series needs."""
    order = np.argsort(~there, axis=1, kind="stable")[:, : there.sum(1).max()]
    mask = np.take_along_axis(there, order, 1)
    y, noise = (
        np.where(mask[..., None], np.take_along_axis(data[k], order[..., None], 1), 0.0) for k in ("y", "noise")
    )
    t = np.where(mask, np.take_along_axis(data["t"], order, 1) - start[:, None], -np.inf)
    # A padded sample repeats the time before it: a step of length 0 leaves the state as it is.
    t = np.maximum.accumulate(t, axis=1)
    return Span(
        y.astype(np.float32), np.where(np.isfinite(t), t, 0.0).astype(np.float32), mask, noise.astype(np.float32)
    )


def as_series(data: Mapping[str, np.ndarray]) -> Series:
    """Return the spans of series, times counted from the first observed sample; samples in order of time."""
    observed = data["mask"] & (data["t"] <= data["last"][:, None])
    start = np.where(observed, data["t"], np.inf).min(1)
    return Series(_span(data, observed, start), _span(data, data["mask"] & ~observed, start))


def statistics(series: Series) -> Statistics:
    """Return what the observed spans are normalised by."""
    y, t, mask, _ = series.observed
    values = y[mask].astype(np.float64)
    scale = values.std(0)
    half_span = t.max(1).astype(np.float64).mean() / 2
    return Statistics(
        values.mean(0).astype(np.float32),
        # A constant component is predicted by its mean, whatever it is divided by.
        np.where(scale > SMALLEST_SPREAD * np.abs(values).max(0), scale, 1.0).astype(np.float32),
        np.asarray(half_span if half_span > 0 else 1.0, np.float32),
    )


def origin(config: Config) -> Float64[np.ndarray, " d"]:
    """Return what in the data's own units is 0 in the series of a config."""
    if config.file is None:
        return np.zeros(config.num_components)
    return origin_of(Path(config.file), config.extrapolation)


def load(config: Config, split: str, store: DatasetStore) -> Series:
    """Return the series of a split: train, val or test."""
    if config.file is not None:
        return as_series(read_file(Path(config.file), split, config.extrapolation))
    num = config.num_series if split == "train" else NUM_HELD_OUT
    drawn = (config.num_observed, config.missing_share, config.extrapolation)
    recipe = json.dumps([_GENERATOR_VERSION, num, _family(config), *drawn])
    return as_series(store.get(f"latent_ode_{config.dataset}_{split}", recipe, lambda: generate(config, split, num)))
