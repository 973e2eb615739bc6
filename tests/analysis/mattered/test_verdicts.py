"""Verdicts over seeds say the planted truth, in numbers that were computed by hand or by SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.mattered.comparable import comparable
from analysis.mattered.ranks import false_discovery
from analysis.mattered.seed_table import seed_table
from analysis.mattered.seeds import verdicts
from analysis.mattered.verdict_sentences import conclusion, show_p
from analysis.search import Bound, Factor, NotThereError
from tests.planted import crossed_search, planted_search

SPREAD = np.array(
    [[0.3, -0.2, 0.1], [-0.1, 0.4, -0.3], [0.2, -0.4, 0.2], [0.1, 0.1, -0.2], [-0.3, 0.2, 0.1], [0, 0, 0]]
)
"""Of three seeds in six settings; each setting's sum is 0 or near it, so no seed moves all of them."""


def only(search, factor="head"):
    (verdict,) = verdicts(search, factor)
    return verdict


def by_difference(differences, base=10.0, **options):
    """Return a search in which b is worse than a by these differences, of shape (setting, seed)."""
    differences = np.asarray(differences, dtype=float)
    a = base + 5 * np.arange(len(differences))[:, None] + np.zeros(differences.shape)
    return crossed_search(np.stack([a, a + differences]), **options)


def test_a_difference_larger_than_the_seeds_spread_is_supported():
    differences = 1.2 + 3 * SPREAD
    differences[0, 1] = -0.4
    verdict = only(by_difference(differences, metric="error_pct"))
    assert (verdict.better, verdict.worse, verdict.is_supported) == ("a", "b", True)
    assert verdict.difference == pytest.approx(differences.mean())
    assert (verdict.wins, verdict.pairs, verdict.num_seeds, verdict.num_settings) == (16, 18, 3, 6)
    assert verdict.p == pytest.approx(
        stats.permutation_test((differences.ravel(),), np.mean, permutation_type="samples").pvalue, abs=2e-3
    )
    assert verdict.p_ranks == pytest.approx(stats.wilcoxon(differences.ravel()).pvalue, rel=0.3)
    assert verdict.low < verdict.difference < verdict.high
    assert verdict.sentence.startswith(
        "a beats b by 1.18 points (0.78 to 1.53; better in 16 of 18 pairs, equal in 1, 3 seeds in 6 settings; p = .000"
    )


def test_a_difference_within_the_seeds_spread_is_not():
    verdict = only(by_difference(0.05 + 3 * SPREAD))
    assert not verdict.is_supported
    assert verdict.sentence.startswith("the seeds do not support a difference between a and b: a is ahead by 0.0")
    assert verdict.low < 0 < verdict.high


def test_three_pairs_support_nothing_and_the_sentence_says_how_many_would():
    verdict = only(by_difference([[1.0, 1.1, 0.9]]))
    assert verdict.p == verdict.p_corrected == verdict.least_p == 0.25
    assert verdict.sentence == (
        "a is ahead of b by 1.00 in 3 of 3 pairs, but three pairs cannot support any verdict (p is at least .25): "
        "6 seeds could"
    )


def test_six_seeds_do_support_what_six_seeds_could():
    assert only(by_difference([[1.0, 1.1, 0.9, 1.2, 0.8, 1.05]])).is_supported


def test_what_could_support_a_verdict_counts_the_correction_and_the_settings():
    values = np.zeros((3, 2, 2)) + np.array([0.0, 1.0, 1.1])[:, None, None]
    values += np.random.default_rng(0).normal(size=values.shape) * 0.01
    texts = [one.sentence for one in verdicts(crossed_search(values), "head")]
    # four pairs reach 2 / 16; all three comparisons at that are .125 after correction too
    assert all("four pairs cannot support any verdict (p is at least .12" in text for text in texts)
    assert all("3 seeds could" in text for text in texts)  # 2 settings of 3 seeds: 2 / 64


def test_large_is_good_if_the_mode_says_so():
    search = by_difference(1.2 + SPREAD, mode="max")
    verdict = only(search)
    assert (verdict.better, verdict.worse) == ("b", "a")
    assert verdict.difference == pytest.approx(1.2 + SPREAD.mean())
    assert verdict.relative == pytest.approx(verdict.difference / 22.5)


def test_errors_over_orders_of_magnitude_are_compared_by_ratios():
    settings = 10.0 ** np.arange(-3, 3)[:, None]
    a = settings * np.exp(SPREAD)
    verdict = only(crossed_search(np.stack([a, a * 2 * np.exp(0.3 * SPREAD)])))
    assert verdict.scale == "ratio"
    assert verdict.difference == pytest.approx(2 * np.exp(0.3 * SPREAD.mean()))
    assert 1 < verdict.low < verdict.difference < verdict.high
    assert verdict.relative == pytest.approx(0.5, abs=0.01)
    assert verdict.sentence.startswith("a beats b by a factor of 2.0")
    accuracy = only(crossed_search(np.stack([a, a * 2 * np.exp(0.3 * SPREAD)]), mode="max"))
    assert (accuracy.better, accuracy.difference) == ("b", pytest.approx(verdict.difference))


def test_differences_stay_differences_if_a_value_is_not_positive():
    settings = 10.0 ** np.arange(-3, 3)[:, None] + np.zeros((6, 3))
    settings[0, 0] = -1e-4
    assert only(crossed_search(np.stack([settings, settings + 2 + SPREAD]))).scale == "difference"


def test_an_effect_that_only_one_setting_has_is_said_to_be_of_it():
    differences = SPREAD / 3 - 0.6
    differences[0] += 9
    verdict = only(by_difference(differences))
    assert not verdict.is_supported  # the mean says a, five of six settings say b
    differences[0] -= 7.2
    differences[1:] += 1.4
    verdict = only(by_difference(np.concatenate([differences, -0.1 + SPREAD[:1] / 9])))
    assert verdict.is_supported
    assert "; not better in 1 of 7 settings" in verdict.sentence


def test_settings_as_units_ask_more():
    differences = np.repeat([[4.0], [3.0], [0.2], [-0.5]], 5, axis=1) + np.random.default_rng(0).normal(size=(4, 5)) / 9
    verdict = only(by_difference(differences))
    assert verdict.is_supported
    assert verdict.p_settings == pytest.approx(6 / 16)


def test_seeds_that_move_a_level_in_all_settings_are_one_observation_each():
    random = np.random.default_rng(0)
    noise = random.normal(size=(8, 3)) / 5
    verdict = only(by_difference(np.array([2.0, 1.0, -0.2]) + noise))
    assert verdict.p == pytest.approx(stats.ttest_1samp((np.array([2.0, 1.0, -0.2]) + noise).mean(axis=0), 0).pvalue)
    assert not verdict.is_supported  # 18 of 24 pairs, and sign flips of pairs would give less than .001
    assert "which move a level alike in all 8 settings" in verdict.sentence


def test_failures_are_no_pairs_but_count_against_a_level():
    failed = [(0, setting, 0) for setting in range(3)]
    search = by_difference(np.concatenate([1.2 + SPREAD, 1.2 + SPREAD]), failed=failed)
    verdict = only(search)
    assert (verdict.pairs, verdict.num_settings) == (27, 9)  # a set without one of its seeds is not complete
    assert (verdict.failed_better, verdict.failed_worse) == (3, 0)
    assert verdict.is_supported
    assert "; in no pair are 3 failed of 36 trials of a" in verdict.sentence
    failed = [(0, setting, seed) for setting in range(7) for seed in range(2)]
    verdict = only(by_difference(np.concatenate([1.2 + SPREAD, 1.2 + SPREAD]), failed=failed))
    assert verdict.p_corrected <= 0.05
    assert not verdict.is_supported
    assert "but not the better choice: it failed in 14 of 36 trials and b in 0 of 36 trials" in verdict.sentence


def test_trials_that_were_stopped_early_are_counted_and_in_no_pair():
    search = by_difference(np.concatenate([1.2 + SPREAD, 1.2 + SPREAD]))
    trials = search.trials.copy()
    stopped = (trials["head"] == "b") & (trials["setting"] < 2) & (trials["seed"] == 0)
    trials.loc[stopped, "outcome"] = "pruned"
    verdict = only(replace(search, trials=trials))
    assert (verdict.num_settings, verdict.failed_worse, verdict.is_supported) == (10, 0, True)
    assert "; in no pair are 2 stopped early of 36 trials of b" in verdict.sentence


def test_levels_that_are_no_names_have_the_factors_before_them():
    rows = [
        {
            "trial": trial,
            "configuration": depth,
            "outcome": "completed",
            "depth": depth,
            "seed": seed,
            "error": depth + seed,
        }
        for trial, (depth, seed) in enumerate((depth, seed) for depth in (2, 3) for seed in range(6))
    ]
    verdict = only(planted_search(rows, [Factor("depth", levels=(2, 3))], seeds=tuple(range(6))), "depth")
    assert verdict.sentence.startswith("depth 2 beats 3 by 1")
    assert conclusion("depth", [verdict]).startswith("2 beats 3 by 1")


def test_a_level_that_always_fails_is_in_no_verdict():
    failed = [(1, setting, seed) for setting in range(6) for seed in range(3)]
    assert verdicts(by_difference(SPREAD, failed=failed), "head") == []


def test_infinite_values_are_failures():
    differences = 1.2 + SPREAD
    differences[0, 0] = np.inf
    verdict = only(by_difference(differences))
    assert verdict.pairs == 15
    assert verdict.failed_worse == 1


def test_equal_values_are_equal():
    verdict = only(by_difference(np.zeros((2, 3))))
    assert (verdict.ties, verdict.p, verdict.difference, verdict.is_supported) == (6, 1.0, 0.0, False)
    assert verdict.sentence == "a and b are equal in all 6 pairs"
    assert conclusion("head", [verdict]) == "the levels of head are equal in all pairs"


def test_ties_are_counted_apart():
    differences = 1.2 + SPREAD
    differences[0] = 0.0
    verdict = only(by_difference(differences))
    assert (verdict.wins, verdict.ties) == (15, 3)
    assert "better in 15 of 18 pairs, equal in 3" in verdict.sentence


def test_infeasible_configurations_are_in_no_pair():
    search = by_difference(1.2 + SPREAD)
    trials = search.trials.assign(size=1.0)
    trials.loc[(trials["head"] == "b") & (trials["setting"] == 0), "size"] = 9.0
    verdict = only(replace(search, trials=trials, constraints=(Bound("size", max=5.0),)))
    assert (verdict.num_settings, verdict.failed_worse) == (5, 0)


def test_each_objective_has_its_own_verdicts():
    search = by_difference(1.2 + SPREAD)
    trials = search.trials.assign(speed=-search.trials["error"])
    other = replace(search, trials=trials, objectives=(replace(search.objective, column="speed"),))
    assert (only(search).better, only(other).better) == ("a", "b")


def test_all_comparisons_of_a_factor_are_corrected_together():
    random = np.random.default_rng(4)
    values = random.normal(size=(4, 3, 3)) + np.array([0, 0.5, 1, 3])[:, None, None]
    found = verdicts(crossed_search(values), "head")
    assert len(found) == 6
    assert [one.p_corrected for one in found] == pytest.approx(stats.false_discovery_control([one.p for one in found]))
    assert (found[0].better, found[-1].worse) == ("a", "d")


def test_benjamini_and_hochbergs_own_example():
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert int((false_discovery(p) <= 0.05).sum()) == 4  # their paper of 1995, section 3.2


def random_search(random, effect, num=40, seeds=3, levels=2):
    """Return a random search in which the rate matters far more than the head."""
    rows = []
    for configuration in range(num):
        rate, level = random.uniform(), random.integers(levels)
        for seed in range(seeds):
            value = 10 + 8 * rate + effect * level + random.normal() / 5
            row = {"configuration": configuration, "outcome": "completed", "rate": rate, "seed": seed, "error": value}
            rows.append({"trial": len(rows), "head": "abc"[level], **row})
    factors = [Factor("head", levels=tuple("abc"[:levels])), Factor("rate", low=0.0, high=1.0)]
    return planted_search(rows, factors, seeds=tuple(range(seeds)))


def test_a_random_search_is_compared_by_configurations_with_the_others_effect_taken_out():
    search = random_search(np.random.default_rng(0), 1.0)
    verdict = only(search)
    assert (verdict.better, verdict.is_paired, verdict.is_supported) == ("a", False, True)
    assert verdict.low < 1.0 < verdict.high
    assert "in other settings" in verdict.sentence
    assert "taken out by a random forest" in verdict.sentence
    among = comparable(search)
    means = among.units.groupby("head")["value"]
    assert verdict.pairs == means.size().prod()
    plain = stats.ttest_ind(means.get_group("a"), means.get_group("b"), equal_var=False).pvalue
    assert plain > 0.05 > verdict.p  # what a plain test of the same configurations does not see


def test_a_range_of_numbers_is_compared_by_its_bins():
    found = verdicts(random_search(np.random.default_rng(0), 0.0, num=48), "rate")
    assert len(found) == 6
    assert all(one.is_supported for one in found)
    assert found[0].better.startswith("0.0")


def test_bins_are_paired_only_if_the_same_numbers_were_tried_in_each_setting():
    random = np.random.default_rng(0)
    rows = []
    for head in range(2):
        for place, rate in enumerate(np.arange(8.0)):
            for seed in range(3):
                value = 10 + 5 * head + rate // 2 + random.normal() / 9
                row = {"head": "ab"[head], "rate": rate, "seed": seed, "error": value, "outcome": "completed"}
                rows.append({"trial": len(rows), "configuration": 8 * head + place, **row})
    factors = [Factor("head", levels=("a", "b")), Factor("rate")]
    grid = verdicts(planted_search(rows, factors, seeds=(0, 1, 2)), "rate")
    assert {(one.is_paired, one.pairs, one.num_settings) for one in grid} == {(True, 6, 2)}
    for row in rows:
        row["rate"] += row["configuration"] / 1000
    drawn = verdicts(planted_search(rows, factors, seeds=(0, 1, 2)), "rate")
    assert {(one.is_paired, one.pairs) for one in drawn} == {(False, 16)}
    alone = verdicts(planted_search(rows, factors[1:], seeds=(0, 1, 2)), "rate")
    assert {(one.is_paired, one.pairs) for one in alone} == {(False, 16)}
    assert "but 4 against 4 configurations cannot support" in alone[0].sentence


def test_few_configurations_are_too_few():
    verdict = only(random_search(np.random.default_rng(3), 1.0, num=5))
    assert "cannot support any verdict (p is at least" in verdict.sentence
    assert "of each could" in verdict.sentence


def test_levels_of_other_seeds_are_compared_within_settings():
    values = np.full((2, 1, 10), np.nan)
    random = np.random.default_rng(0)
    values[0, 0, :5], values[1, 0, 5:] = random.normal(size=5), 5 + random.normal(size=5)
    verdict = only(replace(crossed_search(values), seeds=()))
    assert verdict.p == pytest.approx(2 / 252)
    assert verdict.num_seeds == 5
    assert "other seeds" in verdict.test


def test_what_only_one_level_has_is_averaged_over():
    rows = []
    for seed in range(6):
        for head, width, value in (("a", None, 1.0), ("b", 8, 2.0), ("b", 16, 4.0)):
            configuration = ("a", None), ("b", 8), ("b", 16)
            row = {"head": head, "width": width, "seed": seed, "error": value + seed / 100, "outcome": "completed"}
            rows.append({"trial": len(rows), "configuration": configuration.index((head, width)), **row})
    width = Factor("width", levels=(8, 16), conditions={"head": ("b",)})
    search = planted_search(rows, [Factor("head", levels=("a", "b")), width], seeds=tuple(range(6)))
    verdict = only(search)
    assert (verdict.num_settings, verdict.pairs, verdict.difference) == (1, 6, pytest.approx(2.0))
    assert (only(search, "width").better, only(search, "width").difference) == ("8", pytest.approx(2.0))


def test_null_is_a_setting_of_its_own():
    rows = []
    for limit in (None, 1.0):
        for level, seed in ((level, seed) for level in range(2) for seed in range(3)):
            row = {"configuration": len(rows) // 3, "outcome": "completed", "head": "ab"[level], "limit": limit}
            rows.append({"trial": len(rows), **row, "seed": seed, "error": level + (limit or 0) + seed / 10})
    factors = [Factor("head", levels=("a", "b")), Factor("limit", levels=(None, 1.0))]
    assert only(planted_search(rows, factors, seeds=(0, 1, 2))).num_settings == 2


def test_a_factor_that_no_trial_has_a_column_of_is_in_no_setting():
    search = by_difference(1.2 + SPREAD)
    search = replace(search, factors=(*search.factors, Factor("later", levels=(1, 2)), Factor("number")))
    assert only(search).num_settings == 6
    assert verdicts(search, "later") == verdicts(search, "number") == []


def test_nothing_repeated_no_trials_or_another_name():
    assert verdicts(crossed_search(np.ones((2, 2, 1))), "head") == []
    search = by_difference(1.2 + SPREAD)
    assert verdicts(replace(search, trials=search.trials.iloc[:0]), "head") == []
    with pytest.raises(NotThereError, match="has searched no 'haed'"):
        verdicts(search, "haed")


def test_a_conclusion_names_the_best_what_it_beats_and_what_it_does_not():
    values = np.stack([SPREAD, 0.05 - SPREAD, 2 + SPREAD / 2, 3 - SPREAD / 2])
    text = conclusion("head", verdicts(crossed_search(values), "head"))
    assert text.startswith("a beats c by 1.99 (")
    assert text.endswith("; it beats d too; not told apart from it: b")
    assert conclusion("head", []) == "no two levels of head can be compared"


def test_p_values_are_written_as_texts_have_them():
    assert [show_p(p) for p in (0.25, 0.03125, 0.0001, 1.0, 0.999, 2e-5)] == [".25", ".031", ".0001", "1", "1", "2e-5"]


def test_the_seed_table_has_every_trial_in_its_place():
    values = np.arange(12.0).reshape(2, 3, 2) + 5
    search = crossed_search(values)
    table = seed_table(search, search.factor("head"), comparable(search))
    assert table.scores.tolist() == values.tolist()
    assert table.levels == ("a", "b")
