"""Intervals of differences, beside SciPy's, and how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats

from analysis.mattered.bootstrap import interval_of_difference, interval_of_mean, interval_within


def test_few_units_get_students_interval():
    units = np.array([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp(units, 0).confidence_interval(0.95)
    assert interval_of_mean(units) == pytest.approx(tuple(expected))
    one, other = np.array([1.0, 2.0, 4.0]), np.array([7.0, 9.0, 8.5, 3.0])
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert interval_of_difference(one, other) == pytest.approx(tuple(expected))


def test_a_single_unit_has_no_interval():
    assert interval_of_mean(np.array([3.0])) == (-np.inf, np.inf)
    assert interval_of_difference(np.array([3.0]), np.arange(5.0)) == (-np.inf, np.inf)


def test_the_interval_is_scipys_percentiles_expanded():
    units = np.random.default_rng(0).exponential(size=12)
    share = stats.norm.cdf(stats.t.ppf(0.025, 11) * np.sqrt(12 / 11))
    expected = stats.bootstrap(
        (units,), np.mean, confidence_level=1 - 2 * share, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    assert interval_of_mean(units) == pytest.approx(tuple(expected), abs=0.04)


def test_the_same_numbers_give_the_same_interval():
    units = np.random.default_rng(0).normal(size=30)
    assert interval_of_mean(units) == interval_of_mean(units.copy())


@pytest.mark.parametrize("num", [4, 6, 12])
def test_the_interval_covers_the_truth(num):
    random = np.random.default_rng(num)
    covered = {"normal": 0, "heavy tails": 0}
    for _ in range(200):
        for name, units in (("normal", random.normal(size=num)), ("heavy tails", random.standard_t(3, size=num))):
            low, high = interval_of_mean(units)
            covered[name] += low <= 0 <= high
    assert min(covered.values()) / 200 >= 0.90  # 95 % nominally; the plain percentiles of 6 cover in 85 %


def test_two_groups_of_unequal_spread_are_covered():
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        low, high = interval_of_difference(random.normal(0, 5, size=7), random.normal(0, 1, size=25))
        covered += low <= 0 <= high
    assert covered / 200 >= 0.90


def test_runs_within_settings_are_covered_whatever_the_settings():
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        setting = random.normal(size=(4, 1)) * 10
        low, high = interval_within(setting + random.normal(size=(4, 3)), setting + 1 + random.normal(size=(4, 3)) * 3)
        covered += low <= 1 <= high
    assert 0.92 <= covered / 200 <= 0.98
