"""What is beyond chance, levels with the other factors held, and interactions, against SciPy and planted effects."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.mattered.chance import chances
from analysis.mattered.comparable import comparable
from analysis.mattered.crossed import crossed
from analysis.mattered.front import is_best
from analysis.mattered.interactions import interactions, one_sided_p
from analysis.mattered.marginals import FOREST, PAIRED, Forests, marginals
from analysis.search import Factor, Objective
from tests.analysis.mattered.planted import drawn, table

DRAWS = 200


def units_of(search):
    return crossed(search, comparable(search))


def test_with_one_factor_the_test_is_scipys_anova_of_the_ranks():
    rng = np.random.default_rng(0)
    trials = pd.DataFrame({"head": list("abc") * 8, "error": rng.exponential(size=24)})
    found = chances(units_of(table(trials, (Factor("head", ("a", "b", "c")),))))["head"]
    ranks = stats.rankdata(trials["error"])
    assert found.p == pytest.approx(stats.f_oneway(*(ranks[trials["head"] == one] for one in "abc")).pvalue)
    assert found.p_corrected == found.p


def test_the_effect_of_one_factor_is_taken_out_of_anothers_by_hand():
    trials = pd.DataFrame({"head": list("aabb") * 3, "data": list("xyxy") * 3, "error": np.arange(12.0)[::-1]})
    trials["error"] += 100.0 * (trials["data"] == "y")
    factors = (Factor("head", ("a", "b")), Factor("data", ("x", "y")))
    found = chances(units_of(table(trials, factors)))
    ranks = stats.rankdata(trials["error"])
    # balanced: what a factor explains is the sum of squares of its means; the F ratio by hand
    rest, explained = ranks - ranks.mean(), {}
    for name in ("head", "data"):
        means = trials.assign(rank=ranks).groupby(name)["rank"].transform("mean").to_numpy() - ranks.mean()
        explained[name], rest = float(means @ means), rest - means
    f = explained["head"] / (rest @ rest / 9)
    assert found["head"].p == pytest.approx(stats.f.sf(f, 1, 9))
    assert found["head"].p_corrected == pytest.approx(found["head"].p)
    assert found["data"].p_corrected == pytest.approx(min(2 * found["data"].p, found["head"].p))


@pytest.mark.slow
def test_pure_noise_gives_a_claim_in_about_one_search_of_twenty():
    claims = crossings = 0
    for seed in range(10_000, 10_000 + DRAWS):
        units = units_of(drawn(seed, 60))
        claims += any(one.is_beyond for one in chances(units).values())
        crossings += bool(interactions(units)[0])
    assert 0.01 <= claims / DRAWS <= 0.09  # 0.048 in 1500 draws
    assert crossings / DRAWS <= 0.05


def test_planted_effects_are_found_and_what_does_nothing_is_not():
    found = [chances(units_of(drawn(seed, 60, effect=0.5))) for seed in range(50)]
    assert np.mean([one["head"].is_beyond for one in found]) > 0.9
    assert np.mean([one["depth"].is_beyond for one in found]) < 0.15


def test_effects_that_only_add_up_change_no_conclusion():
    stated = [bool(interactions(units_of(drawn(seed, 90, effect=1.0)))[0]) for seed in range(60)]
    assert np.mean(stated) <= 0.05


def test_a_planted_reversal_is_found_with_its_levels_and_sizes():
    found = [interactions(units_of(drawn(seed, 120, effect=1.0, crossing=0.8)))[0] for seed in range(20)]
    firsts = [one[0] for one in found if one]
    assert len(firsts) >= 18
    said = [(one.factor, one.one, one.other, one.wins_with, one.loses_with) for one in firsts]
    right = [one == ("head", "a", "c", "x", "y") for one in said]
    assert np.mean(right) > 0.8
    assert np.median([one.win for one in firsts]) == pytest.approx(0.8, abs=0.3)


def test_in_a_grid_levels_are_paired_over_all_settings_of_the_other_factors():
    search = drawn(1, effect=0.6, noise=0.2, grid=True)
    units = units_of(search)
    found = marginals(units, "head", Forests(units))
    wide = search.trials.pivot_table("error", ["data", "rate", "depth"], "head")
    behind = wide["c"] - wide["b"]
    row = found.table.set_index("level").loc["c"]
    assert (found.method, found.num_settings, found.order[0]) == (PAIRED, 24, "b")
    assert row["worse_by"] == pytest.approx(behind.mean())
    assert row["wins"] == (behind > 0).sum()
    half = stats.t.ppf(0.975, 23) * behind.std() / np.sqrt(24)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.2)
    assert row["value"] == pytest.approx(wide["c"].mean())


def test_elsewhere_a_forest_holds_the_other_factors_and_says_so():
    # d is better by 1, but nearly all of its trials have the worse data: its plain mean is worse
    rng = np.random.default_rng(0)
    data = np.array(["y"] * 55 + ["x"] * 5 + ["x"] * 55 + ["y"] * 5)
    trials = pd.DataFrame({"head": ["d"] * 60 + ["e"] * 60, "data": data, "rate": rng.uniform(size=120)})
    trials["error"] = 10 + 3.0 * (data == "y") - 1.0 * (trials["head"] == "d") + 0.1 * rng.normal(size=120)
    factors = (Factor("head", ("d", "e")), Factor("data", ("x", "y")), Factor("rate"))
    units = units_of(table(trials, factors))
    found = marginals(units, "head", Forests(units))
    assert trials.groupby("head")["error"].mean().idxmin() == "e"
    assert found.method == FOREST
    assert "random forest" in found.basis
    assert found.order == ("d", "e")
    assert found.table["low"].iloc[1] > 0
    assert found.table["worse_by"].iloc[1] == pytest.approx(1.0, abs=0.35)


def test_values_over_orders_of_magnitude_are_compared_by_ratios():
    trials = pd.DataFrame({"head": list("ab") * 6, "size": np.repeat(range(6), 2)})
    trials["error"] = 10.0 ** trials["size"] * np.where(trials["head"] == "b", 3.0, 1.0)
    units = units_of(table(trials, (Factor("head", ("a", "b")), Factor("size"))))
    found = marginals(units, "head", Forests(units))
    assert found.is_ratio
    assert found.table["worse_by"].iloc[1] == pytest.approx(3.0)
    assert found.table["value"].iloc[0] == pytest.approx(10**2.5)


def test_large_is_good_if_the_objective_says_so():
    trials = pd.DataFrame({"head": list("ab") * 6, "size": np.repeat(range(6), 2)})
    trials["error"] = trials["size"] + np.where(trials["head"] == "b", 3.0, 1.0)
    factors = (Factor("head", ("a", "b")), Factor("size"))
    units = units_of(table(trials, factors, objectives=(Objective("error", "max"),)))
    found = marginals(units, "head", Forests(units))
    assert found.order == ("b", "a")
    assert found.table["worse_by"].iloc[1] == pytest.approx(2.0)
    assert found.table["value"].iloc[0] == pytest.approx(5.5)


def test_a_factor_that_only_one_level_has_is_part_of_that_level():
    factors = (Factor("head", ("a", "b")), Factor("width", (1, 2), conditions={"head": ("b",)}), Factor("size"))
    rows = [("a", 1, size) for size in range(4)] + [("b", width, size) for width in (1, 2) for size in range(4)]
    trials = pd.DataFrame(rows, columns=["head", "width", "size"])
    trials["error"] = trials["size"] + (trials["head"] == "b") * trials["width"]
    units = units_of(table(trials, factors))
    found = marginals(units, "head", Forests(units))
    assert (found.method, found.num_settings) == (PAIRED, 4)
    assert found.table["worse_by"].iloc[1] == pytest.approx(1.5)
    assert int((units.codes["width"] < 0).sum()) == 4


def test_what_cannot_be_told_has_a_reason():
    few = units_of(table(pd.DataFrame({"head": list("ab"), "error": [1.0, 2.0]}), (Factor("head", ("a", "b")),)))
    equal = units_of(table(pd.DataFrame({"head": list("ab") * 5, "error": 1.0}), (Factor("head", ("a", "b")),)))
    single = units_of(table(pd.DataFrame({"head": list("aaaaa"), "error": range(5)}), (Factor("head", ("a", "b")),)))
    assert chances(few)["head"].why_not == "2 results are too few"
    assert chances(equal)["head"].why_not == "all results are equal"
    assert chances(single)["head"].why_not == "fewer than two of its levels have results"
    assert marginals(single, "head", Forests(single)).method == ""


def test_a_grid_of_few_settings_is_not_called_no_grid():
    def basis(rows, *columns):
        trials = pd.DataFrame(rows, columns=[*columns, "error"])
        factors = [Factor(name, tuple(dict.fromkeys(trials[name]))) for name in columns]
        units = units_of(table(trials, tuple(factors)))
        return marginals(units, "head", Forests(units)).basis

    errors = iter(np.random.default_rng(0).normal(size=99))
    grid = [(head, data, next(errors)) for head in "abcd" for data in "xy"]
    few = "every level has a result in only 2 settings of the other factors (pairs need 3)"
    assert basis(grid, "head", "data") == f"{few}, and 8 results are too few for a forest (12)"
    assert f"fitted to 16 results, as {few}; " in basis([(*row[:2], next(errors)) for row in grid * 2], "head", "data")
    assert basis([*zip("abc", errors, strict=False)], "head") == (
        "there are no other factors to pair it over, and 3 results are too few for a forest (12)"
    )
    scattered = [("a", "x", 1.0), ("b", "y", 2.0), ("a", "z", 3.0), ("b", "w", 1.5)]
    assert basis(scattered, "head", "data").startswith("the settings of the other factors are no grid, and 4 results")


def test_where_nothing_spreads_the_p_is_that_of_exchanging_and_else_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=7), rng.normal(0.8, 3.0, size=5)
    for alternative in ("less", "greater"):
        expected = stats.ttest_ind(one, other, equal_var=False, alternative=alternative).pvalue
        assert one_sided_p(one, other, alternative) == pytest.approx(expected)
    same = np.full(4, 7.0)
    assert one_sided_p(same, same[:3] + 1e-13, "less") == 1.0
    assert one_sided_p(same, np.array([9.0, 9.0 + 1e-13, 9.0 - 1e-13]), "less") == pytest.approx(1 / 35)
    assert one_sided_p(same, np.full(3, 9.0), "greater") == 1.0
    assert one_sided_p(same, np.array([8.0, 9.0, 10.0]), "less") == pytest.approx(
        stats.ttest_1samp([8.0, 9.0, 10.0], 7.0, alternative="greater").pvalue
    )


def test_a_crossing_that_nothing_blurs_is_stated_without_a_warning():
    rows = [(h, d, w, 1.0 if (h == "a") == (d == "x") else 2.0) for h in "ab" for d in "xy" for w in range(7)]
    trials = pd.DataFrame(rows, columns=["head", "data", "width", "error"])
    factors = (Factor("head", ("a", "b")), Factor("data", ("x", "y")), Factor("width", tuple(range(7))))
    ((found,), _) = interactions(units_of(table(trials, factors)))
    assert (found.one, found.other, found.wins_with, found.loses_with) == ("a", "b", "x", "y")
    assert found.p == pytest.approx(2 / 3432)


def test_the_front_has_what_nothing_dominates():
    scores = np.array([[1, 5], [2, 2], [5, 1], [2, 3], [5, 5], [1, 5]])
    assert list(is_best(scores)) == [True, True, True, False, False, True]
