"""Metrics of a learned field: per-sample errors, and the statistics of their distribution (NumPy, on the host)."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64
from numpy.typing import ArrayLike

from trainables._shared.kepler import ELEMENTS
from trainables.two_body.features import State, cross, norm
from trainables.two_body.heads import Acceleration
from trainables.two_body.metric_names import (
    FAILED,
    MOST_LOST_PCT,
    PLACES,
    QUANTITIES,
    SHAPES,
    STATISTICS,
    statistic_name,
)
from trainables.two_body.model import exact_acceleration


def field_errors(y: State, a: Acceleration) -> dict[str, Float[Array, "*batch"]]:
    """Return, per sample, what QUANTITIES names: error in percent, angle in degrees, 100 if a points outward.

    All are NaN if a is not finite.
    """
    exact = exact_acceleration(y)
    dot = jnp.sum(a * exact, axis=0)
    errors = {
        "accel_error": 100 * (norm(a - exact) / norm(exact))[0],
        # Of sine and cosine: the arc cosine alone loses half the digits of a small angle.
        "accel_angle": jnp.rad2deg(jnp.arctan2(norm(cross(a, exact))[0], dot)),
        "outward": 100.0 * (jnp.sum(a * y[:3], axis=0) > 0),
    }
    # Of an infinite a, the angle would be 0; of one that is no number, nothing points outward.
    known = jnp.isfinite(a).all(axis=0)
    return {name: jnp.where(known, values, jnp.nan) for name, values in errors.items()}


def half_sample_mode(x: Float64[np.ndarray, " n"]) -> float:
    """Return the mode of a sample: the densest half, again and again (Bickel and Fruehwirth 2006)."""
    x = np.sort(x)
    while len(x) > 2:
        half = (len(x) + 1) // 2
        widths = x[half - 1 :] - x[: len(x) - half + 1]
        first = int(np.argmin(widths))
        if len(x) == 3 and widths[0] == widths[1]:
            return float(x[1])
        x = x[first : first + half]
    return float(x.mean())


def statistics(x: Sequence[float] | Float64[np.ndarray, " n"]) -> dict[str, float]:
    """Return what STATISTICS names, of the finite values; NaN if there are no values, or a skewness has no spread.

    If over MOST_LOST_PCT of the values are not finite, all are infinite, and the SHAPES are NaN.
    """
    values = np.asarray(x, np.float64)
    x = values[np.isfinite(values)]
    if len(x) == 0 or _too_many_lost(len(values) - len(x), len(values)):
        worst = np.inf if len(values) else np.nan
        return {name: np.nan if name in SHAPES else worst for name in STATISTICS}
    mean, median, std = float(x.mean()), float(np.median(x)), float(x.std())
    q1, q2, q3 = (float(q) for q in np.quantile(x, [0.25, 0.5, 0.75]))
    reach = 1.5 * (q3 - q1)
    # Rounding leaves equal values a spread of about 1e-16 of their size, which is no spread.
    spread = std > 1e-12 * float(np.abs(x).max())
    return {
        "mean": mean,
        "median": median,
        "std": std,
        "skewness": float(np.mean(((x - mean) / std) ** 3)) if spread else np.nan,
        "pearson_1": (mean - half_sample_mode(x)) / std if spread else np.nan,
        "pearson_2": 3 * (mean - median) / std if spread else np.nan,
        "bowley": (q1 + q3 - 2 * q2) / (q3 - q1) if q3 > q1 else np.nan,
        "outliers": float(np.sum((x < q1 - reach) | (x > q3 + reach))),
    }


def _too_many_lost(lost: ArrayLike, num: ArrayLike) -> Any:
    """Return whether so many samples are lost that the others say nothing: of one set, or of each orbit."""
    return 100 * np.asarray(lost) > MOST_LOST_PCT * np.asarray(num)


def score_metrics(
    prefix: str,
    errors: dict[str, dict[str, Float[np.ndarray, "orbits samples"]]],
    mask: Bool[np.ndarray, "orbits samples"],
) -> dict[str, float]:
    """Return the metrics of one test set from its per-sample errors, by place and quantity."""
    metrics = {}
    for place in PLACES:
        for quantity in QUANTITIES:
            for name, value in statistics(errors[place][quantity][mask]).items():
                metrics[statistic_name(prefix, place, quantity, name)] = value
    finite = np.isfinite(errors["propagated_"]["accel_error"])
    metrics[prefix + FAILED] = 100 * float(np.mean(~finite[mask]))
    return metrics


def orbit_table(
    elements: Float64[np.ndarray, "orbits 6"],
    errors: dict[str, dict[str, Float[np.ndarray, "orbits samples"]]],
    mask: Bool[np.ndarray, "orbits samples"],
) -> dict[str, list[float]]:
    """Return each orbit's elements, the means of its finite errors, and its lost samples in percent.

    A mean is infinite if over MOST_LOST_PCT of the orbit's samples are lost, and NaN if it has no samples.
    """
    num = mask.sum(1)
    table = {name: column.tolist() for name, column in zip(ELEMENTS, np.asarray(elements).T, strict=True)}
    for place in PLACES:
        for quantity, (unit, _) in QUANTITIES.items():
            values = np.asarray(errors[place][quantity], np.float64)
            there = mask & np.isfinite(values)
            count = there.sum(1)
            means = np.where(there, values, 0.0).sum(1) / np.maximum(count, 1)
            means = np.where(_too_many_lost(num - count, num), np.inf, means)
            table[f"{place}{quantity}_mean_{unit}"] = np.where(num > 0, means, np.nan).tolist()
    lost = (mask & ~np.isfinite(errors["propagated_"]["accel_error"])).sum(1)
    table[FAILED] = (100 * lost / np.maximum(num, 1)).tolist()
    return table
