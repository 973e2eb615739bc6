"""Ranks early and at the end, and what early stopping saved, against SciPy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.mattered.comparable import comparable
from analysis.mattered.compare import compare
from analysis.mattered.sentences import saving_sentence
from analysis.mattered.stability import at_first_rung, stability
from analysis.search import Factor, Objective
from tests.analysis.mattered.planted import table
from tests.searching import make_spec

ASHA = make_spec(early_stopping={"name": "asha", "grace_steps": 10, "reduction": 3})
HEAD = (Factor("head", ("a", "b")),)


def search_of(curves, trials=None, spec=None, **parts):
    """Return a search of learning curves, one list for each trial, with a report every ten steps."""
    rows = [
        (trial, 10 * step, value) for trial, curve in enumerate(curves) for step, value in enumerate(curve, start=1)
    ]
    histories = pd.DataFrame(rows, columns=["trial", "step", "error"]).assign(seconds=1.0)
    plain = pd.DataFrame({"head": ["a", "b"] * (len(curves) // 2) + ["a"] * (len(curves) % 2)})
    plain["error"] = [curve[-1] for curve in curves]
    plain["steps_trained"] = [10 * len(curve) for curve in curves]
    trials = plain if trials is None else plain.assign(**trials)
    return table(trials, HEAD, read_histories=lambda: histories, spec=spec, **parts)


def random_curves(num, steps=9, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(num, steps)), axis=1).tolist()


def test_correlations_at_each_rung_are_scipys():
    curves = random_curves(12)
    search = search_of(curves, spec=ASHA)
    found = stability(search, comparable(search))
    early = np.array(curves)
    assert list(found.table["step"]) == [10, 30]  # the last rung, 90, is the end
    for row, place in zip(found.table.to_dict("records"), (0, 2), strict=True):
        assert row["n"] == 12
        assert row["spearman"] == pytest.approx(stats.spearmanr(early[:, place], early[:, -1]).statistic)
        assert row["kendall"] == pytest.approx(stats.kendalltau(early[:, place], early[:, -1]).statistic)
        assert row["low"] <= row["spearman"] <= row["high"]


def test_the_share_of_the_final_best_that_would_have_gone_on_is_counted_by_hand():
    # of nine trials the best three at the end are 0, 1 and 2; at step 10 the best three are 0, 3 and 4
    early = [0.0, 5.0, 6.0, 1.0, 2.0, 7.0, 8.0, 9.0, 10.0]
    search = search_of([[first, last] for first, last in zip(early, range(9), strict=True)], spec=ASHA)
    row = stability(search, comparable(search)).table.iloc[0]
    assert (row["top"], row["reached"], row["reduction"]) == (3, 9, 3)
    assert row["kept_share"] == pytest.approx(1 / 3)


def test_large_values_are_good_if_the_objective_says_so():
    curves = random_curves(9, steps=2)
    down = search_of(curves, spec=ASHA)
    up = search_of(
        [[-value for value in curve] for curve in curves], spec=ASHA, objectives=(Objective("error", "max"),)
    )
    one, other = (stability(search, comparable(search)).table for search in (down, up))
    pd.testing.assert_frame_equal(one, other)


def test_without_rungs_ranks_are_compared_at_shares_of_the_steps():
    search = search_of(random_curves(6, steps=10))
    found = stability(search, comparable(search))
    assert list(found.table["step"]) == [10, 30, 50, 80]
    assert "a tenth, a quarter" in found.basis


def test_what_stopping_saved_and_risked_is_counted_by_hand():
    curves = [[5.0, 4.0, 3.0], [6.0, 5.0, 4.0], [7.0, 6.0, 5.0], [8.0, 7.0, 6.0], [4.0], [9.0, 4.5]]
    used = {
        "outcome": ["completed"] * 4 + ["pruned"] * 2,
        "cpu_time_s": [3600.0] * 4 + [700.0, 1900.0],
        "compile_time_s": [0.0] * 4 + [100.0, 100.0],
    }
    search = search_of(curves, used, spec=ASHA)
    found = stability(search, comparable(search))
    # 20 of 30 steps at 60 s each, and 10 at 90 s
    assert found.saving.core_hours == pytest.approx((20 * 60 + 10 * 90) / 3600)
    assert found.saving.share == pytest.approx(found.saving.core_hours / (found.saving.core_hours + 17000 / 3600))
    assert (found.saving.num_pruned, found.saving.num_ahead, found.saving.num_level) == (2, 1, 1)
    (row,) = found.saving.table.to_dict("records")  # one was stopped at step 20, between the rungs of 10 and 30
    assert row == {
        "step": 10, "stopped": 2, "core_hours": pytest.approx(2100 / 3600), "ahead_of_best": 1, "ahead_of_top": 1,
    }  # fmt: skip
    assert compare(search).saving.equals(found.saving.table)
    unruled = search_of(curves, used)
    assert list(stability(unruled, comparable(unruled)).saving.table["step"]) == [10, 20]
    said = saving_sentence(search, found.saving)
    assert said.startswith("asha stopped 2 trials early, and saved about 0.583 core-hours, 11 % of what all")
    assert "one of them was then ahead of the best trial at the same step" in said
    assert "2 were stopped" in found.basis


def test_a_cost_that_is_not_known_is_said():
    used = {"outcome": ["completed"] * 4 + ["pruned"], "cpu_time_s": 0.0}
    search = search_of([*random_curves(4, steps=3), [1.0]], used, spec=ASHA)
    said = saving_sentence(search, stability(search, comparable(search)).saving)
    assert said.startswith("asha stopped 1 trial early, at a cost that is not known")


def test_at_the_first_rung_stopped_trials_are_compared_with_the_others_as_equals():
    # every b was stopped early, though at step 10 it was as good as any
    curves = [[5.0 + place, 4.0, 3.0] if place % 2 == 0 else [1.0 + place] for place in range(24)]
    used = {"outcome": ["completed" if place % 2 == 0 else "pruned" for place in range(24)]}
    search = search_of(curves, used, spec=ASHA)
    early = at_first_rung(search)
    assert early.step == 10
    assert early.values[1] == 2.0
    found = compare(search)
    levels = found.factors[0].levels.set_index("level")
    assert list(levels["n"]) == [12, 0]
    assert list(levels["early_n"]) == [12, 12]
    assert levels["early_median"]["b"] == np.median([1.0 + place for place in range(1, 24, 2)])
    assert found.early.step == 10
    assert list(found.early.factors[0].levels["n"]) == [12, 12]
    assert any("24 trials can be compared as equals, 12 of which were stopped early" in one for one in found.sentences)
    assert any("12 trials stopped early are in no mean" in one for one in found.remarks)


def test_what_cannot_be_told_has_a_reason():
    none = table(pd.DataFrame({"head": ["a"] * 5, "error": range(5)}), HEAD)
    assert stability(none, comparable(none)).why_not == "there are no histories of error"
    few = search_of(random_curves(3))
    assert "3 completed trials are too few" in stability(few, comparable(few)).why_not
    once = search_of(random_curves(5, steps=1))
    assert stability(once, comparable(once)).why_not == "no trial reported error before its end"
    flat = search_of([[1.0, 2.0]] * 5)
    assert np.isnan(stability(flat, comparable(flat)).table["spearman"]).all()
