import jax.numpy as jnp
import numpy as np
import pytest

from trainables.two_body.metric_names import FAILED, PLACES, QUANTITIES, SHAPES, STATISTICS, final_metric_names
from trainables.two_body.metrics import (
    field_errors,
    half_sample_mode,
    orbit_table,
    score_metrics,
    statistics,
)


def test_field_errors_of_known_accelerations():
    y = np.zeros((6, 4), np.float32)
    y[0] = 2.0  # the exact acceleration is (-1/4, 0, 0)
    a = np.array([[-0.25, 0, 0], [-0.5, 0, 0], [0, 0.25, 0], [0.25, 0, 0]], np.float32).T
    errors = field_errors(jnp.asarray(y), jnp.asarray(a))
    np.testing.assert_allclose(errors["accel_error"], [0, 100, 100 * np.sqrt(2), 200], rtol=1e-5)
    np.testing.assert_allclose(errors["accel_angle"], [0, 0, 90, 180], atol=1e-4)
    np.testing.assert_array_equal(errors["outward"], [0, 0, 0, 100])


def test_small_angles_keep_their_digits():
    y = jnp.asarray([1.0, 0, 0, 0, 0, 0])[:, None]
    angle = field_errors(y, jnp.asarray([[-1.0], [1e-5], [0.0]]))["accel_angle"]
    np.testing.assert_allclose(angle, np.rad2deg(1e-5), rtol=1e-4)


def test_statistics_by_hand():
    got = statistics([0, 1, 2, 2, 3, 16])
    std = np.sqrt((16 + 9 + 4 + 4 + 1 + 144) / 6)
    assert got["mean"] == 4
    assert got["median"] == 2
    assert got["std"] == pytest.approx(std)
    assert got["skewness"] == pytest.approx((-64 - 27 - 8 - 8 - 1 + 1728) / 6 / std**3)
    assert got["pearson_1"] == pytest.approx((4 - 2) / std)
    assert got["pearson_2"] == pytest.approx(3 * (4 - 2) / std)
    # Quartiles 1.25, 2, 2.75: the fences are -1 and 5.
    assert got["bowley"] == pytest.approx(0.0)
    assert got["outliers"] == 1


def test_statistics_of_a_symmetric_sample_are_unskewed():
    got = statistics([-3, -1, 0, 1, 3])
    assert got["skewness"] == pytest.approx(0)
    assert got["pearson_2"] == pytest.approx(0)
    assert got["bowley"] == pytest.approx(0)


@pytest.mark.parametrize(("lost", "mean"), [(0, 2.0), (10, 2.0), (11, np.inf), (990, np.inf), (1000, np.inf)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_statistics_are_infinite_if_over_one_percent_of_the_samples_are_lost(lost, mean, value):
    got = statistics([value] * lost + [1.0, 3.0] * (500 - lost // 2) + [2.0] * (lost % 2))
    assert set(got) == set(STATISTICS)
    assert got["mean"] == got["median"] == mean
    for name in ("std", "outliers"):
        assert np.isinf(got[name]) == np.isinf(mean)
    for name in SHAPES:
        assert np.isnan(got[name]) == np.isinf(mean)


def test_losing_more_samples_never_improves_a_statistic():
    x = np.random.default_rng(0).uniform(1, 2, 1000)
    whole = statistics(x)
    for lost in (15, 500, 990):
        worse = statistics(np.where(np.arange(1000) < lost, np.nan, x))
        assert not [name for name, value in worse.items() if value <= whole[name]]


def test_statistics_of_no_samples_are_no_numbers():
    assert all(np.isnan(value) for value in statistics([]).values())


def test_an_acceleration_that_is_not_finite_has_lost_all_its_errors():
    y = np.zeros((6, 3), np.float32)
    y[0] = 2.0
    a = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [0, np.nan, 0]], np.float32).T
    for values in field_errors(jnp.asarray(y), jnp.asarray(a)).values():
        assert not np.isfinite(values).any()


def test_equal_values_have_no_skewness():
    got = statistics([0.1] * 7)
    assert got["mean"] == pytest.approx(0.1)
    assert np.isnan(got["skewness"])
    assert np.isnan(got["pearson_1"])
    assert got["outliers"] == 0
    assert set(got) == set(STATISTICS)


def test_mode_is_where_the_sample_is_densest():
    assert half_sample_mode(np.array([0.0, 1.0, 2.0, 2.1, 2.15, 9.0])) == pytest.approx(2.125)
    normal = np.random.default_rng(0).normal(5.0, 1.0, 20000)
    assert abs(half_sample_mode(normal) - 5.0) < 0.5


def errors(values):
    return {place: dict.fromkeys(QUANTITIES, np.asarray(values, np.float32)) for place in PLACES}


def test_metrics_have_the_announced_names_and_count_failures():
    values = errors([[1.0, 2.0], [3.0, 6.0]])
    values["propagated_"] = dict.fromkeys(QUANTITIES, np.array([[1.0, np.nan], [3.0, 5.0]]))
    got = score_metrics("test_2_", values, np.ones((2, 2), bool))
    assert set(got) == set(final_metric_names(["complex_TBP_planar_2_test"]))
    assert got["test_2_accel_error_mean_pct"] == 3.0
    assert got["test_2_propagated_accel_error_mean_pct"] == np.inf
    assert got["test_2_" + FAILED] == 25.0


def test_missing_samples_count_nowhere():
    mask = np.array([[True, False], [True, True]])
    got = score_metrics("test_2_", errors([[1.0, 99.0], [3.0, 5.0]]), mask)
    assert got["test_2_accel_angle_mean_deg"] == 3.0
    table = orbit_table(np.zeros((2, 6)), errors([[1.0, 99.0], [3.0, 5.0]]), mask)
    assert table["accel_error_mean_pct"] == [1.0, 4.0]


def test_table_has_an_orbits_elements_and_means():
    elements = np.arange(12.0).reshape(2, 6)
    table = orbit_table(elements, errors([[1.0, 3.0], [np.nan, np.nan]]), np.ones((2, 2), bool))
    assert table["eccentricity"] == [1.0, 7.0]
    assert table["accel_error_mean_pct"][0] == 2.0
    assert table["accel_error_mean_pct"][1] == np.inf
    assert table[FAILED] == [0.0, 100.0]
    assert {len(column) for column in table.values()} == {2}
