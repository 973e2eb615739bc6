"""Tests by exchange, beside SciPy and cases computed by hand."""

from math import comb

import numpy as np
import pytest
from scipy import stats

from analysis.mattered import permutation
from analysis.mattered.permutation import (
    exchanged,
    exchanged_within,
    least_of_exchange,
    least_of_exchange_within,
    least_of_flips,
    moved_together,
    sign_flips,
)


def by_scipy(units):
    return stats.permutation_test(
        (units,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue


@pytest.mark.parametrize("num", [2, 5, 9, 12])
def test_sign_flips_are_scipys(num):
    units = np.random.default_rng(num).normal(0.4, 1, num) * 10.0**num
    assert sign_flips(units) == pytest.approx(by_scipy(units), abs=1e-12)


def test_many_sign_flips_are_drawn_and_near_the_exact_ones(monkeypatch):
    units = np.random.default_rng(1).normal(0.5, 1, 15)
    exact = sign_flips(units)
    monkeypatch.setattr(permutation, "MOST_EXACT", 1)
    assert sign_flips(units) == pytest.approx(exact, abs=4 * np.sqrt(exact / permutation.NUM_RANDOM))


def test_sign_flips_by_hand():
    assert sign_flips(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flips(np.array([1.0, 2.0, -3.0])) == 1.0
    assert sign_flips(np.array([0.1, 0.2, 0.3, 0.0])) == 2 / 8  # 0.1 + 0.2 is not 0.3 to the last digit; 0 has no sign
    assert sign_flips(np.zeros(4)) == 1.0


def test_the_least_p_is_that_of_units_that_all_agree():
    for num in (1, 3, 6, 14, 30):
        assert least_of_flips(num) == pytest.approx(sign_flips(np.arange(1.0, num + 1)))
    assert least_of_flips(3) == 0.25
    for one, other in ((3, 3), (2, 4), (1, 5), (30, 30)):
        apart = exchanged(np.arange(one) / 100, 5 + np.arange(other) / 100)
        assert least_of_exchange(one, other) == pytest.approx(apart)
    sizes = [(2, 2), (3, 3)]
    here, there = np.array([[0.0, 1, np.nan], [0, 1, 2]]), np.array([[10.0, 11, np.nan], [10, 11, 12]])
    least = least_of_exchange_within(sizes)
    assert least == pytest.approx(2 / (comb(4, 2) * comb(6, 3)))
    assert exchanged_within(here, there) == pytest.approx(least, rel=0.2)


def test_exchange_is_scipys_with_the_same_statistic():
    random = np.random.default_rng(5)
    one, other = random.normal(size=4), random.normal(1.0, 3.0, size=6)

    def welch(x, y, axis):
        return stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic

    asked = {"n_resamples": np.inf, "vectorized": True, "alternative": "two-sided"}
    # SciPy doubles the smaller tail; |t| counts both
    found = stats.permutation_test(
        (one, other), lambda x, y, axis: np.abs(welch(x, y, axis)), **asked | {"alternative": "greater"}
    )
    assert exchanged(one, other) == pytest.approx(found.pvalue, abs=1e-12)


def test_exchange_within_a_single_setting_is_that_of_two_groups():
    one, other = np.array([[1.0, 2, 3, 4]]), np.array([[2.5, 6, 7, np.nan]])
    assert exchanged_within(one, other) == exchanged(one[0], other[0, :3])


def test_exchange_within_settings_is_scipys_over_all_ways():
    one, other = np.array([[0.0, 2.0], [5.0, 5.5]]), np.array([[1.0, 3.5], [6.0, 5.2]])
    gaps = []
    for first in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        for second in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
            both = np.concatenate([one, other], axis=1)
            gaps.append(
                sum(both[row].sum() / 2 - both[row, list(ways)].sum() for row, ways in enumerate((first, second)))
            )
    exact = np.mean(np.abs(gaps) >= abs(gaps[0]) - 1e-9)
    assert exchanged_within(one, other) == pytest.approx(exact, abs=0.02)


def test_equal_groups_differ_by_nothing():
    assert exchanged(np.ones(3), np.ones(4)) == 1.0
    assert exchanged_within(np.ones((2, 3)), np.ones((2, 3))) == 1.0
    assert exchanged_within(np.full((2, 3), 0.1), np.full((2, 3), 0.1)) == 1.0
    assert sign_flips(np.array([0.1, 0.2, -0.3])) == 1.0


def test_seeds_that_move_a_level_in_all_settings_are_seen():
    random = np.random.default_rng(2)
    noise = random.normal(size=(3, 6, 4))
    alike = random.normal(size=(1, 6, 4)) * 5  # the same for all levels: no difference has it
    moved = random.normal(size=(3, 1, 4)) * 2
    settings = random.normal(size=(3, 6, 1)) * 9
    assert moved_together(noise + alike + settings) > 0.25
    assert moved_together(noise + alike + settings + moved) <= 0.01
    assert moved_together(noise[:, :1]) == 1.0


def test_without_crossing_what_moves_all_levels_alike_is_not_seen_as_moving_one():
    random = np.random.default_rng(3)
    values = np.full((2, 40, 3), np.nan)
    values[0, :20] = random.normal(size=(20, 3))
    values[1, 20:] = random.normal(size=(20, 3))
    by_seed = np.array([0.0, 3.0, -3.0])
    assert moved_together(values + by_seed, is_crossed=False) > 0.25
    values[1] += by_seed
    assert moved_together(values, is_crossed=False) <= 0.01
