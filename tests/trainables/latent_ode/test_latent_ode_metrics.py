import numpy as np
import pytest
import scipy.linalg

from trainables.latent_ode.config import Config
from trainables.latent_ode.data import SPIRAL, Span, as_series, generate, statistics
from trainables.latent_ode.metric_names import BASELINES, final_metric_names
from trainables.latent_ode.metrics import (
    baseline_predictions,
    expm,
    fit_linear_dynamics,
    floor_prediction,
    linear_extrapolation,
    linear_prediction,
    observations,
    persistence,
    pooled_law,
    score_metrics,
    series_table,
)

T = np.array([[0.0, 1.0, 2.0, 4.0, 7.0, 7.0]])
MASK = np.array([[True, True, True, True, True, False]])
Y = np.where(MASK[..., None], np.stack([T**2, 3 * T - 1], -1), 0.0)
LATER = np.array([[8.0, 10.0]])


def spirals(**fields):
    return as_series(generate(Config(**fields), "test", 64))


def test_persistence_repeats_the_last_value_that_is_there():
    np.testing.assert_array_equal(persistence(Y, T, MASK, LATER), [[[49, 20], [49, 20]]])


def test_linear_extrapolation_is_the_line_through_the_last_four_samples():
    slope, intercept = np.polyfit([1, 2, 4, 7], [1, 4, 16, 49], 1)
    found = linear_extrapolation(Y, T, MASK, LATER)
    np.testing.assert_allclose(found[0, :, 0], slope * LATER[0] + intercept, rtol=1e-10)
    np.testing.assert_allclose(found[0, :, 1], 3 * LATER[0] - 1, rtol=1e-10)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_the_exponential_of_many_matrices_is_that_of_each(size):
    A = size * np.random.default_rng(0).normal(size=(5, 2, 3, 3))
    exact = scipy.linalg.expm(A)
    np.testing.assert_allclose(expm(A), exact, rtol=1e-8, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize("pooled", [False, True])
def test_linear_dynamics_are_those_that_made_the_series(pooled):
    series = spirals(missing_share=0.3)
    data = observations(series.observed, statistics(series), 0.0)
    full = data[2].sum(1) >= 12  # with few samples, the gaps are too long for the quadrature
    A = fit_linear_dynamics(*(array[full] for array in data), pooled=pooled)
    np.testing.assert_allclose(A, np.broadcast_to(SPIRAL, A.shape), atol=0.02)
    later = series.later.t[full].astype(float)
    predicted = linear_prediction(np.broadcast_to(SPIRAL, A.shape), *(array[full] for array in data), later)
    np.testing.assert_allclose(predicted, series.later.y[full], atol=1e-5)


def test_the_true_law_is_exact_without_noise_and_a_floor_with_it():
    series = spirals()
    stats = statistics(series)
    (exact,), (noisy,) = (floor_prediction(series, stats, noise).values() for noise in (0.0, 0.1))
    np.testing.assert_allclose(exact, series.later.y, atol=1e-5)
    pooled = baseline_predictions(series, pooled_law(series.observed, stats, 0.1), stats, 0.1)["pooled_linear_dynamics"]
    errors = [np.sqrt(np.mean((predicted - series.later.y) ** 2)) for predicted in (noisy, pooled)]
    assert 0.01 < errors[0] < errors[1] < 1.5 * errors[0]


def test_padding_changes_no_baseline():
    series = spirals(missing_share=0.4)
    stats = statistics(series)

    def wider(array, value):
        return np.concatenate([array, np.full_like(array[:, :3], value)], axis=1)

    y, t, mask, noise = series.observed
    times = np.concatenate([t, np.repeat(t[:, -1:], 3, axis=1)], axis=1)
    wide = Span(wider(y, 9.0), times, wider(mask, False), wider(noise, 9.0))
    one = baseline_predictions(series, pooled_law(series.observed, stats, 0.05), stats, 0.05)
    other = baseline_predictions(series._replace(observed=wide), pooled_law(wide, stats, 0.05), stats, 0.05)
    for name in BASELINES:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-8, atol=1e-8)


def test_a_baseline_that_explodes_is_kept_within_bounds():
    series = spirals(missing_share=0.8)
    stats = statistics(series)
    predictions = baseline_predictions(series, pooled_law(series.observed, stats, 2.0), stats, 2.0)
    assert all(np.isfinite(predicted).all() for predicted in predictions.values())


def test_scores_of_the_truth_are_zero_and_all_baselines_are_beaten():
    series = spirals()
    stats = statistics(series)
    baselines = baseline_predictions(series, pooled_law(series.observed, stats, 0.1), stats, 0.1)
    state = {"kl": 1.5, "active_units": 2.0, "collapsed_pct": 25.0}
    model = {"observed": series.observed.y, "later": series.later.y, "kl": np.ones(64), "state": state}
    floor = floor_prediction(series, stats, 0.1)
    assert set(score_metrics(series, stats, model, baselines, {})) == set(final_metric_names(law_is_known=False))
    metrics = score_metrics(series, stats, model, baselines, floor)
    assert set(metrics) == set(final_metric_names(law_is_known=True))
    assert metrics["test_extrapolation_error_pct"] == metrics["test_reconstruction_rmse"] == 0
    assert metrics["test_baselines_beaten"] == 4
    assert metrics["test_kl"] == 1.5
    assert 1 < metrics["test_true_law_error_pct"] < metrics["test_baseline_pooled_linear_dynamics_error_pct"] < 15
    assert metrics["test_baseline_persistence_error_pct"] > 100
    table = series_table(series, stats, model, baselines)
    assert {len(column) for column in table.values()} == {64}
    assert max(table["extrapolation_rmse"]) == 0
    total = np.sqrt(np.mean(np.square(table["persistence_rmse"])))
    assert total == pytest.approx(metrics["test_baseline_persistence_rmse"])


def test_predicting_the_training_mean_scores_a_hundred_percent():
    series = spirals()
    stats = statistics(series)
    mean = np.broadcast_to(stats.mean, series.later.y.shape)
    model = {"observed": series.observed.y, "later": mean, "kl": np.ones(64), "state": dict.fromkeys(
        ("kl", "active_units", "collapsed_pct"), 0.0)}  # fmt: skip
    pooled = pooled_law(series.observed, stats, 0.0)
    metrics = score_metrics(series, stats, model, baseline_predictions(series, pooled, stats, 0.0), {})
    assert metrics["test_extrapolation_error_pct"] == pytest.approx(100, rel=1e-5)


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_one_lost_sample_leaves_no_error_that_could_be_chosen_by(lost):
    series = spirals()
    stats = statistics(series)
    later = series.later.y.copy()
    later[5, 3, 0] = lost
    state = {"kl": 1.5, "active_units": 2.0, "collapsed_pct": 25.0}
    model = {"observed": series.observed.y, "later": later, "kl": np.ones(64), "state": state}
    pooled = pooled_law(series.observed, stats, 0.1)
    metrics = score_metrics(series, stats, model, baseline_predictions(series, pooled, stats, 0.1), {})
    assert not np.isfinite([metrics["test_extrapolation_rmse"], metrics["test_extrapolation_error_pct"]]).any()
    assert metrics["test_baselines_beaten"] == 0
