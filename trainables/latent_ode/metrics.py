"""Errors of the model and of the baselines on held-out series (NumPy, on the host)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

from trainables.latent_ode.data import SPIRAL, Series, Span, Statistics
from trainables.latent_ode.metric_names import BASELINES, FLOOR

NUM_LINE = 4
"""Samples that the line of the linear extrapolation goes through."""
REFINEMENTS = 10
"""Of the matrix of linear dynamics: the quadrature that it is fitted through depends on it."""
FARTHEST = 10.0
"""A baseline's prediction is kept within so many of the largest observed value: one that explodes is not worse yet."""

_States = Float64[np.ndarray, "n samples d"]
_Times = Float64[np.ndarray, "n samples"]
_Mask = Bool[np.ndarray, "n samples"]


def observations(span: Span, stats: Statistics, noise: float) -> tuple[_States, _Times, _Mask]:
    """Return what is observed of a span, with its noise, in the data's units."""
    y = span.y.astype(np.float64) + noise * span.noise.astype(np.float64) * stats.scale
    return np.where(span.mask[..., None], y, 0.0), span.t.astype(np.float64), np.asarray(span.mask)


def persistence(y: _States, t: _Times, mask: _Mask, later: _Times) -> _States:
    """Return the last observed value at every later time."""
    last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    return np.repeat(y[np.arange(len(y)), last][:, None], later.shape[1], axis=1)


def linear_extrapolation(y: _States, t: _Times, mask: _Mask, later: _Times) -> _States:
    """Return the line through the last observed samples, by least squares."""
    used = mask & (mask.sum(1)[:, None] - np.cumsum(mask, axis=1) < NUM_LINE)
    t_mean, y_mean = _mean(t[..., None], used), _mean(y, used)
    s = np.where(used, t - t_mean[..., 0], 0.0)
    power = np.maximum((s**2).sum(1), 1e-300)
    slope = np.einsum("ns,nsd->nd", s, y) / power[:, None]
    return y_mean + (later[..., None] - t_mean) * slope[:, None]


def fit_linear_dynamics(y: _States, t: _Times, mask: _Mask, *, pooled: bool) -> Float64[np.ndarray, "n d d"]:
    """Return the A of x' = A x, of each series or one for all (n = 1), by least squares in the integrated equation.

    x(t) - x(t_0) = A S(t), S the integral of x from cubic Hermite interpolation with the slopes A x: fourth order in
    the gaps, and no derivative of noisy samples is taken. The constant is fitted too, so that no sample is special.
    """
    h = np.diff(t, axis=1)[..., None]
    n, _, d = y.shape
    # S = trapezoid + A corrections, both of which are the samples' alone: their products are summed once.
    areas = np.concatenate([h * (y[:, 1:] + y[:, :-1]) / 2, h**2 * (y[:, :-1] - y[:, 1:]) / 12], axis=2)
    parts = np.concatenate([np.zeros((n, 1, 2 * d)), np.cumsum(areas, axis=1)], axis=1)
    # What a padded sample holds never counts, but must not spoil the sums before it: it has no time of its own.
    parts, x = (np.where(mask[..., None], array - _mean(array, mask), 0.0) for array in (parts, y))
    if pooled:
        parts, x = parts.reshape(1, -1, 2 * d), x.reshape(1, -1, d)
    products, moments = (np.swapaxes(parts, 1, 2) @ array for array in (parts, x))
    A = np.zeros((len(parts), d, d))
    for _ in range(REFINEMENTS):
        weights = np.concatenate([np.broadcast_to(np.eye(d), A.shape), np.swapaxes(A, 1, 2)], axis=1)
        gram, moment = (np.swapaxes(weights, 1, 2) @ array for array in (products @ weights, moments))
        A = np.swapaxes(np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ moment, 1, 2)
    return A


def expm(A: Float64[np.ndarray, "*n d d"]) -> Float64[np.ndarray, "*n d d"]:
    """Return the exponentials of matrices, by Taylor's series of a small part of each and repeated squaring.

    scipy.linalg.expm takes them one by one: ten thousand of 2 by 2 took it seconds.
    """
    largest = np.abs(A).sum(-1).max(initial=1e-300)
    squarings = max(0, int(np.ceil(np.log2(largest))) + 2)
    A = A / 2.0**squarings
    result = np.eye(A.shape[-1]) + A
    term = A
    for k in range(2, 14):
        term = term @ A / k
        result = result + term
    for _ in range(squarings):
        result = result @ result
    return result


def pooled_law(observed: Span, stats: Statistics, noise: float) -> Float64[np.ndarray, "d d"]:
    """Return the A of x' = A x that fits all of these series best."""
    return fit_linear_dynamics(*observations(observed, stats, noise), pooled=True)[0]


def linear_prediction(A: Float64[np.ndarray, "*n d d"], y: _States, t: _Times, mask: _Mask, later: _Times) -> _States:
    """Return x' = A x at the later times, from the start that fits the observed samples best."""
    A = np.broadcast_to(A, (len(y), *A.shape[-2:]))
    with np.errstate(over="ignore", invalid="ignore"):
        flow = expm(t[..., None, None] * A[:, None])
    flow = np.where(mask[..., None, None] & np.isfinite(flow), flow, 0.0)
    gram = np.einsum("nski,nskj->nij", flow, flow)
    start = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ np.einsum("nski,nsk->ni", flow, y)[..., None]
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = np.einsum("nsij,njk->nsi", expm(later[..., None, None] * A[:, None]), start)
    return np.where(np.isfinite(predicted), predicted, np.inf)


def baseline_predictions(
    series: Series, pooled: Float64[np.ndarray, "d d"], stats: Statistics, noise: float
) -> dict[str, _States]:
    """Return what each baseline of BASELINES predicts for the extrapolation span, in the data's units.

    `pooled` is the A that is fitted to the training series.
    """
    y, t, mask = observations(series.observed, stats, noise)
    later = series.later.t.astype(np.float64)
    predictions = {
        "persistence": persistence(y, t, mask, later),
        "linear_extrapolation": linear_extrapolation(y, t, mask, later),
        "linear_dynamics": linear_prediction(fit_linear_dynamics(y, t, mask, pooled=False), y, t, mask, later),
        "pooled_linear_dynamics": linear_prediction(pooled, y, t, mask, later),
    }
    assert set(predictions) == set(BASELINES)
    bound = FARTHEST * np.abs(y).max((1, 2), keepdims=True)
    return {name: np.clip(predicted, -bound, bound) for name, predicted in predictions.items()}


def floor_prediction(series: Series, stats: Statistics, noise: float) -> dict[str, _States]:
    """Return what the law of the spirals predicts for their extrapolation span, by the name of the floor."""
    later = series.later.t.astype(np.float64)
    return {FLOOR: linear_prediction(SPIRAL, *observations(series.observed, stats, noise), later)}


def score_metrics(
    series: Series,
    stats: Statistics,
    model: Mapping[str, Any],
    baselines: Mapping[str, np.ndarray],
    floor: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Return the metrics of a test set, named as in `final_metric_names`; the floor is no baseline to beat."""
    metrics = {}
    errors = {name: errors_of(series.later, stats, predicted) for name, predicted in baselines.items()}
    own = errors_of(series.later, stats, model["later"])
    for name, values in (
        ("test_extrapolation", own),
        ("test_reconstruction", errors_of(series.observed, stats, model["observed"])),
        *((f"test_baseline_{name}", values) for name, values in errors.items()),
        *((f"test_{name}", errors_of(series.later, stats, predicted)) for name, predicted in floor.items()),
    ):
        metrics |= {f"{name}_error_pct": values[0], f"{name}_rmse": values[1]}
    metrics["test_baselines_beaten"] = float(sum(own[1] < values[1] for values in errors.values()))
    metrics |= {f"test_{name}": float(model["state"][name]) for name in ("kl", "active_units", "collapsed_pct")}
    return metrics


def series_table(
    series: Series, stats: Statistics, model: Mapping[str, Any], baselines: Mapping[str, np.ndarray]
) -> dict[str, list[float]]:
    """Return each series' number of observed samples, span, KL, and the errors of the model and the baselines."""
    table = {
        "num_observed": series.observed.mask.sum(1).astype(float).tolist(),
        "observed_span": series.observed.t.max(1).astype(float).tolist(),
        "kl": np.asarray(model["kl"], np.float64).tolist(),
        "reconstruction_rmse": _by_series(series.observed, stats, model["observed"]),
        "extrapolation_rmse": _by_series(series.later, stats, model["later"]),
    }
    return table | {f"{name}_rmse": _by_series(series.later, stats, values) for name, values in baselines.items()}


def _mean(x: Float64[np.ndarray, "n samples d"], mask: _Mask) -> Float64[np.ndarray, "n 1 d"]:
    count = np.maximum(mask.sum(1), 1)[:, None, None]
    return np.where(mask[..., None], x, 0.0).sum(1, keepdims=True) / count


def _squares(span: Span, stats: Statistics, predicted: Float[np.ndarray, "n samples d"]) -> tuple[np.ndarray, ...]:
    there = span.mask[..., None]
    error = np.where(there, (np.asarray(predicted, np.float64) - span.y) / stats.scale, 0.0) ** 2
    return error, np.where(there, (span.y.astype(np.float64) - stats.mean) / stats.scale, 0.0) ** 2


def errors_of(span: Span, stats: Statistics, predicted: Float[np.ndarray, "n samples d"]) -> tuple[float, float]:
    """Return the root mean square error in percent of the signal's, and in training standard deviations."""
    error, signal = _squares(span, stats, predicted)
    num = span.mask.sum() * span.y.shape[-1]
    return 100 * float(np.sqrt(error.sum() / signal.sum())), float(np.sqrt(error.sum() / num))


def _by_series(span: Span, stats: Statistics, predicted: Float[np.ndarray, "n samples d"]) -> list[float]:
    error, _ = _squares(span, stats, predicted)
    num = np.maximum(span.mask.sum(1), 1) * span.y.shape[-1]
    return np.sqrt(error.sum((1, 2)) / num).tolist()
