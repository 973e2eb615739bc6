"""Errors of a field and of the orbits that it propagates, from the arrays of `trainables/two_body/pictures.py`."""

from collections.abc import Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]


def size(x: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm over the last axis."""
    return np.linalg.norm(x, axis=-1)


def error_pct(found: Arrays) -> np.ndarray:
    """Return |a - exact| in percent of |exact|, by orbit and sample."""
    return 100 * size(found["a"] - found["exact"]) / size(found["exact"])


def magnitude_pct(found: Arrays) -> np.ndarray:
    """Return |a| - |exact| in percent of |exact|: positive if the field is too strong."""
    return 100 * (size(found["a"]) / size(found["exact"]) - 1)


def angle_deg(found: Arrays) -> np.ndarray:
    """Return the angle between the field and the exact one."""
    a, exact = found["a"], found["exact"]
    return np.rad2deg(np.arctan2(size(np.cross(a, exact)), np.sum(a * exact, -1)))


def lead_deg(found: Arrays) -> np.ndarray:
    """Return by how many degrees a propagated orbit is ahead of the true one, in the plane of the true orbit.

    Turns are counted, so that an orbit that gains a whole one is 360 ahead. NaN from where it is lost on.
    """
    r, v = found["y"][..., :3], found["y"][..., 3:]
    normal = np.cross(r, v)
    normal = normal / size(normal)[..., None]
    first = r[:, :1] / size(r[:, :1])[..., None]
    second = np.cross(normal[:, :1], first)

    def turned(positions: np.ndarray) -> np.ndarray:
        angle = np.arctan2(np.sum(positions * second, -1), np.sum(positions * first, -1))
        step = np.diff(angle, axis=1)
        step = (step + np.pi) % (2 * np.pi) - np.pi
        return np.concatenate([np.zeros_like(angle[:, :1]), np.cumsum(step, axis=1)], axis=1)

    return np.rad2deg(turned(found["propagated"][..., :3]) - turned(r))


def orbit_medians(errors: np.ndarray) -> np.ndarray:
    """Return the median of each orbit's finite errors; NaN, which sorts last, if it has none."""
    finite = [one[np.isfinite(one)] for one in errors]
    return np.array([np.median(one) if len(one) else np.nan for one in finite])


def middle_orbit(found: Arrays) -> int:
    """Return the orbit with the median error: neither the best nor the worst."""
    medians = orbit_medians(error_pct(found))
    return int(np.argsort(medians)[(np.isfinite(medians).sum() - 1) // 2])
