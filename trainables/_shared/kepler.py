"""Kepler orbits in float64: elements, and states at any mean anomaly; NumPy only, units with mu = 1."""

import numpy as np
from jaxtyping import Float64

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

LARGEST_ECCENTRICITY = {"complex": 0.99, "simple": 0.1, "circular": 0.0}
"""Of the families of orbits; an orbit's periapsis stays above the Earth's surface besides."""


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


def mean_anomaly(nu: Float64[np.ndarray, "*n"], e: Float64[np.ndarray, "*#n"]) -> Float64[np.ndarray, "*n"]:
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


def elements_from(
    u: Float64[np.ndarray, "n 6"], family: str, *, planar: bool, fix_nu0: bool = False
) -> Float64[np.ndarray, "n 6"]:
    """Return the elements of a family's orbits (columns as in ELEMENTS) from draws uniform in [0, 1)."""
    a = LOWEST_AXIS + u[:, 0] * (1.0 - LOWEST_AXIS)
    e = u[:, 1] * np.minimum(LARGEST_ECCENTRICITY[family], 1 - EARTH_RADIUS / a)
    angles = u[:, 2:] * [180.0, 360.0, 360.0, 360.0]
    if planar:
        angles[:, :2] = 0.0
    if fix_nu0:
        angles[:, 3] = 0.0
    return np.column_stack([a, e, angles])
