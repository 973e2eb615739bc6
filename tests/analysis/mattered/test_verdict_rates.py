"""How often verdicts are right over 200 draws of planted searches; `benchmarks/verdicts.py` has more kinds and
draws."""

import pytest

from benchmarks.verdicts import NONE, SOME, rates

pytestmark = pytest.mark.slow

DRAWS = 200
HIGHEST = 0.05 + 2 * (0.05 * 0.95 / DRAWS) ** 0.5
"""What a test at 5 % stays below in all but 2 % of such runs; the draws are fixed, so this one always says the same."""


@pytest.mark.parametrize(
    "kind",
    [
        "no difference",
        "heavy tails",
        "one level with 5 times the noise",
        "gains in each setting, 0 on average",
        "random search, 6 wide against 30 narrow",
    ],
)
def test_a_difference_that_is_not_there_is_rarely_found(kind):
    found = rates(NONE[kind], DRAWS)
    assert found.any_false <= HIGHEST
    assert found.covered >= 0.92


def test_a_seed_that_moves_a_level_in_all_settings_fools_flips_of_pairs_but_not_verdicts():
    found = rates(NONE["a seed moves a level everywhere, by 3"], DRAWS)
    assert found.any_false <= HIGHEST
    assert found.pairs >= 0.4


def test_seeds_of_a_configuration_are_not_taken_for_configurations():
    found = rates(NONE["random search"], DRAWS)
    assert found.any_false <= HIGHEST
    assert found.plain >= 0.2


def test_what_is_there_is_found_that_tests_without_pairs_miss():
    found = rates(SOME["a difference of 2"], DRAWS)
    assert found.any_false == 0
    assert found.power >= 0.85
    assert found.plain <= 0.6
    assert found.covered >= 0.92


def test_of_several_differences_few_that_are_found_are_false():
    found = rates(SOME["5 levels, of 2 for two of them"], 60)
    assert found.false_share <= 0.05
    assert found.power >= 0.7
