"""Metrics of a learned field: per-sample errors, and the statistics of their distribution (NumPy, on the host)."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from trainables._shared.kepler import ELEMENTS
from trainables.two_body.features import State, cross, norm
from trainables.two_body.heads import Acceleration
from trainables.two_body.metric_names import FAILED, PLACES, QUANTITIES, statistic_name
from trainables.two_body.model import exact_acceleration


def field_errors(y: State, a: Acceleration) -> dict[str, Float[Array, "*batch"]]:
    """Return, per sample, what QUANTITIES names: error in percent, angle in degrees, 100 where a points outward."""
    exact = exact_acceleration(y)
    dot = jnp.sum(a * exact, axis=0)
    return {
        "accel_error": 100 * (norm(a - exact) / norm(exact))[0],
        # Of sine and cosine: the arc cosine alone loses half the digits of a small angle.
        "accel_angle": jnp.rad2deg(jnp.arctan2(norm(cross(a, exact))[0], dot)),
        "outward": 100.0 * (jnp.sum(a * y[:3], axis=0) > 0),
    }


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
    """Return what STATISTICS names, of the finite values; NaN where there is none, or a skewness has no spread."""
    x = np.asarray(x, np.float64)
    x = x[np.isfinite(x)]
    if len(x) == 0:
        return dict.fromkeys(
            ("mean", "median", "std", "skewness", "pearson_1", "pearson_2", "bowley", "outliers"), np.nan
        )
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
    """Return each orbit's elements and the means of its finite errors, NaN where it has none."""
    table = {name: column.tolist() for name, column in zip(ELEMENTS, np.asarray(elements).T, strict=True)}
    for place in PLACES:
        for quantity, (unit, _) in QUANTITIES.items():
            values = np.asarray(errors[place][quantity], np.float64)
            there = mask & np.isfinite(values)
            count = there.sum(1)
            means = np.where(there, values, 0.0).sum(1) / np.maximum(count, 1)
            table[f"{place}{quantity}_mean_{unit}"] = np.where(count > 0, means, np.nan).tolist()
    return table
