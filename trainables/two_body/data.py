"""Orbits of the two-body problem from Kepler's equation, by dataset name; NumPy only, units with mu = 1."""

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from trainables.two_body.dataset_names import DatasetName
from trainables.two_body.windows import NUM_SAMPLES, Sampling, num_missing, window_samples

LENGTH_UNIT_KM = 42164.0
"""The radius of the geostationary orbit."""
EARTH_RADIUS = 6378.137 / LENGTH_UNIT_KM
LOWEST_AXIS = (6378.137 + 200.0) / LENGTH_UNIT_KM
ELEMENTS = (
    "semi_major_axis",
    "eccentricity",
    "inclination_deg",
    "node_deg",
    "argument_of_periapsis_deg",
    "true_anomaly_deg",
)
"""Columns of an orbit's elements; the last is the true anomaly of the first sample."""

_GENERATOR_VERSION = 1
_LARGEST_ECCENTRICITY = {"complex": 0.99, "simple": 0.1, "circular": 0.0}


def eccentric_anomaly(M: Float64[np.ndarray, "*n"], e: Float64[np.ndarray, "*#n"]) -> Float64[np.ndarray, "*n"]:
    """Solve Kepler's equation E - e sin E = M (radians) in float64 for e < 1.

    Newton's iteration from Danby's starting value (Danby 1987, The Solution of Kepler's Equation III).
    """
    turns = np.round(M / (2 * np.pi))
    M = M - 2 * np.pi * turns
    E = M + 0.85 * e * np.sign(M)
    for _ in range(60):
        step = (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
        E = E - step
        if np.all(np.abs(step) < 1e-15):
            break
    return E + 2 * np.pi * turns


def _mean_anomaly(nu: Float64[np.ndarray, "*n"], e: Float64[np.ndarray, "*#n"]) -> Float64[np.ndarray, "*n"]:
    """Return the mean anomaly of a true anomaly, on the same turn."""
    turns = np.round(nu / (2 * np.pi))
    half = (nu - 2 * np.pi * turns) / 2
    E = 2 * np.arctan2(np.sqrt(1 - e) * np.sin(half), np.sqrt(1 + e) * np.cos(half))
    return E - e * np.sin(E) + 2 * np.pi * turns


def _rotation(elements: Float64[np.ndarray, "n 6"]) -> Float64[np.ndarray, "n 3 3"]:
    """Return the rotations Rz(node) Rx(inclination) Rz(argument of periapsis) out of the perifocal frames."""
    i, node, argument = np.deg2rad(elements[:, 2:5]).T
    (ci, si), (cn, sn), (cw, sw) = ((np.cos(x), np.sin(x)) for x in (i, node, argument))
    return np.stack(
        [
            np.stack([cn * cw - sn * sw * ci, -cn * sw - sn * cw * ci, sn * si], -1),
            np.stack([sn * cw + cn * sw * ci, -sn * sw + cn * cw * ci, -cn * si], -1),
            np.stack([sw * si, cw * si, ci], -1),
        ],
        -2,
    )


def kepler_states(
    elements: Float64[np.ndarray, "n 6"], M: Float64[np.ndarray, "n samples"]
) -> Float64[np.ndarray, "n samples 6"]:
    """Return the exact states (r, v) of orbits (columns as in ELEMENTS) at mean anomalies in radians."""
    a, e = elements[:, 0, None], elements[:, 1, None]
    E = eccentric_anomaly(M, e)
    b = np.sqrt(1 - e**2)
    flat = np.zeros_like(E)
    speed = a**-0.5 / (1 - e * np.cos(E))
    r = np.stack([a * (np.cos(E) - e), a * b * np.sin(E), flat], -1)
    v = np.stack([-speed * np.sin(E), speed * b * np.cos(E), flat], -1)
    R = _rotation(elements)
    return np.concatenate([np.einsum("nij,nsj->nsi", R, r), np.einsum("nij,nsj->nsi", R, v)], -1)


def draw_elements(name: DatasetName, fix_nu0: bool) -> Float64[np.ndarray, "n 6"]:
    """Return the orbital elements of a dataset, the same ones for the same name and option.

    Each split of a family has its own stream; of one stream, fewer orbits are the first of more, so that training
    sets of different sizes differ by the added orbits alone.
    """
    stream = hashlib.sha256(f"two_body {name.family} {name.plane} {name.split}".encode()).digest()
    # One row of draws per orbit: the first orbits do not depend on how many follow.
    u = np.random.default_rng(np.frombuffer(stream, np.uint32)).random((name.num_orbits, 6))
    a = LOWEST_AXIS + u[:, 0] * (1.0 - LOWEST_AXIS)
    e = u[:, 1] * np.minimum(_LARGEST_ECCENTRICITY[name.family], 1 - EARTH_RADIUS / a)
    angles = u[:, 2:] * [180.0, 360.0, 360.0, 360.0]
    if name.plane == "planar":
        angles[:, :2] = 0.0
    if fix_nu0:
        angles[:, 3] = 0.0
    return np.column_stack([a, e, angles])


def generate(
    name: DatasetName, *, fix_nu0: bool, sampling: Sampling, missing_tail: float
) -> dict[str, Float64[np.ndarray, "..."]]:
    """Return `y` (orbits, 360, 6), `t` (orbits, 360) from 0, and `elements` (orbits, 6); missing y are NaN."""
    elements = draw_elements(name, fix_nu0)
    a, e, nu0 = elements[:, 0, None], elements[:, 1, None], np.deg2rad(elements[:, 5, None])
    degrees = np.deg2rad(np.arange(NUM_SAMPLES, dtype=np.float64))[None]
    M0 = _mean_anomaly(nu0, e)
    M = M0 + degrees if sampling == "mean_anomaly" else _mean_anomaly(nu0 + degrees, e)
    y = kepler_states(elements, M)
    y[:, NUM_SAMPLES - num_missing(missing_tail) :] = np.nan
    return {"y": y, "t": (M - M0) * a**1.5, "elements": elements}


def recipe(fix_nu0: bool, sampling: Sampling, missing_tail: float) -> str:
    """Return what, beside its name, decides a dataset's numbers."""
    return json.dumps([_GENERATOR_VERSION, fix_nu0, sampling, missing_tail])


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
