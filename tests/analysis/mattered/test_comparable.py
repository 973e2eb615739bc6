"""Which trials are compared, and the levels beside each other."""

import numpy as np
import pandas as pd
import pytest

from analysis.mattered.comparable import comparable
from analysis.mattered.compare import compare
from analysis.mattered.levels import level_labels, levels_table
from analysis.search import Bound, Factor, Objective
from tests.analysis.mattered.planted import table
from tests.planted import crossed_search

HEAD = (Factor("head", ("a", "b")),)


def test_only_trials_of_the_commonest_number_of_steps_are_compared_and_the_others_are_told():
    trials = pd.DataFrame({"head": list("aabb"), "error": [1.0, 2.0, 3.0, 0.1], "steps_trained": [100, 100, 100, 50]})
    found = comparable(table(trials, HEAD))
    assert list(found.units["trial"]) == [0, 1, 2]
    assert found.remarks == (
        "completed trials trained 50 to 100 steps: only the 3 of 100 steps are compared, the other 1 are left out",
    )


def test_a_factor_that_sets_the_steps_leaves_all_trials_comparable():
    trials = pd.DataFrame({"head": list("aabb"), "error": [1.0, 2.0, 3.0, 0.1], "steps_trained": [100, 100, 50, 50]})
    found = comparable(table(trials, HEAD))
    assert len(found.units) == 4
    assert "head sets how long a trial trains (50 to 100 steps)" in found.remarks[0]


def test_a_configuration_counts_by_its_mean_over_seeds_and_only_if_all_of_them_completed():
    trials = pd.DataFrame(
        {
            "head": list("aaabbb"),
            "configuration": [0, 0, 0, 1, 1, 1],
            "seed": [0, 1, 1, 0, 1, 1],
            "error": [1.0, 2.0, 4.0, 5.0, 6.0, 7.0],
            "outcome": ["completed"] * 4 + ["crashed"] * 2,
        }
    )
    found = comparable(table(trials, HEAD, seed="seed", seeds=(0, 1)))
    unit = found.units.iloc[0]
    assert len(found.units) == 1
    assert unit["value"] == 2.0  # the mean of 1 and of the twice trained seed's 3
    assert unit["seed_std"] == pytest.approx(np.std([1.0, 3.0], ddof=1))
    assert unit["trials"] == (0, 1, 2)
    assert unit["trial"] == 0
    assert "1 configuration without all 2 seeds left out" in found.remarks[0]
    assert found.what == "1 configuration with all seeds (3 trials; a value is the mean over seeds)"


def test_what_breaks_a_constraint_or_was_not_measured_is_not_feasible():
    trials = pd.DataFrame({"head": list("aabb"), "error": [1.0, 2.0, 3.0, 4.0], "loss": [0.5, 3.0, np.nan, -1.0]})
    found = comparable(table(trials, HEAD, constraints=(Bound("loss", min=0.0, max=1.0),)))
    assert list(found.feasible["trial"]) == [0]
    assert found.what == "1 completed trial; 3 more break a constraint"


def test_units_are_best_first_by_the_objectives_own_direction():
    trials = pd.DataFrame({"head": list("aab"), "error": [1.0, 3.0, 2.0]})
    found = comparable(table(trials, HEAD, objectives=(Objective("error", "max"),)))
    assert list(found.units["trial"]) == [1, 2, 0]


def test_a_table_of_levels_has_the_scores_shares_and_costs_of_each():
    trials = pd.DataFrame(
        {
            "head": list("aaaabbb"),
            "outcome": ["completed", "completed", "crashed", "pruned", "completed", "running", "pruned"],
            "error": [1.0, 3.0, np.nan, 9.0, 2.0, np.nan, 9.0],
            "cpu_time_s": [3600.0, 7200.0, 1800.0, 1800.0, 3600.0, 60.0, 60.0],
            "wall_time_s": [10.0, 20.0, 1.0, 1.0, 30.0, 1.0, 1.0],
        }
    )
    search = table(trials, HEAD)
    a, b = levels_table(search, HEAD[0], comparable(search)).to_dict("records")
    assert (a["n"], a["best"], a["best_trial"], a["median"], a["mean"]) == (2, 1.0, 0, 2.0, 2.0)
    assert a["std"] == pytest.approx(np.sqrt(2))
    assert (a["trials"], a["ended"], a["failed"], a["failed_share"], a["pruned_share"]) == (4, 4, 1, 0.25, 0.25)
    assert (a["core_hours"], a["core_hours_mean"], a["wall_time_s_mean"]) == (4.0, 1.5, 15.0)
    assert (b["n"], b["trials"], b["ended"], b["failed_share"], b["pruned_share"]) == (1, 3, 2, 0.0, 0.5)


def test_numbers_fall_into_quantile_bins_with_their_ends_and_few_values_are_levels_themselves():
    factors = (Factor("rate"), Factor("depth"))
    trials = pd.DataFrame({"rate": np.arange(1.0, 21.0), "depth": [1, 2] * 10, "error": 1.0})
    search = table(trials, factors)
    rates = level_labels(search, factors[0], trials)
    assert list(rates.cat.categories) == ["1 to 5", "6 to 10", "11 to 15", "16 to 20"]
    assert list(rates.value_counts()) == [5, 5, 5, 5]
    assert list(level_labels(search, factors[1], trials).cat.categories) == ["1", "2"]


def test_a_trial_without_the_condition_of_a_factor_has_no_level_of_it():
    factors = (Factor("head", ("a", "b")), Factor("width", (1, 2), conditions={"head": ("b",)}))
    trials = pd.DataFrame({"head": list("aabb"), "width": [1, 1, 1, 2], "error": 1.0})
    labels = level_labels(table(trials, factors), factors[1], trials)
    assert list(labels.isna()) == [True, True, False, False]


def test_levels_are_found_though_a_table_shows_them_in_another_type():
    factors = (Factor("flag", (True, False, None)), Factor("size", (2, 3)))
    trials = pd.DataFrame({"flag": [True, False, None], "size": [2.0, 3.0, np.nan], "error": 1.0})
    search = table(trials, factors)
    assert list(level_labels(search, factors[0], trials)) == ["True", "False", "None"]
    assert list(level_labels(search, factors[1], trials).cat.codes) == [0, 1, -1]


def test_results_whose_squares_are_no_finite_numbers_are_left_out_and_told():
    values = np.array([[[1.0, 2.0], [1e300, 2e300]], [[3.0, 1.0], [-3e300, 1e300]]])
    search = crossed_search(values)
    found = compare(search)  # no sum of squares overflows
    assert "4 completed trials where error is beyond 1e+120 left out: it has no finite square" in found.remarks
    assert len(comparable(search).units) == 2
