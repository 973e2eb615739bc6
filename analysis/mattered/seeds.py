"""Whether the difference between two levels of a factor is larger than the spread over seeds.

Two levels are compared over pairs of trials that differ in nothing else: the same setting of all other factors, and the
same seed. What settings and seeds do to both levels alike is in no difference. What is left varies for two reasons, and
is taken for independent accordingly:

- A level may gain more in one setting than in another. The settings are those that were searched, and the verdict is
  about them: the seeds are what is drawn anew (so do Agarwal et al. 2021, "Deep reinforcement learning at the edge of
  the statistical precipice": runs are resampled within tasks). Then a test over pairs is on the safe side, since what
  settings differ by widens its spread (and so the interval's) but is no error of the mean. How many settings agree is
  said; the p-value of whole settings, which asks whether other settings would say the same, is `Verdict.p_settings`.
- A seed may move a level in all settings alike: one draw of first weights, or one split of the data, for all of them.
  The pairs of a seed are then one observation, and a test over pairs sees a difference where there is none. So the
  seeds are exchanged within settings first (`permutation.moved_together`). If they agree over settings more than so
  exchanged ones (p at most .25, as Bancroft and Han 1983, "A note on pooling variances", advise for few seeds),
  Student's t of whole seeds has to agree too. Three seeds could not support anything by sign flips; but each is a mean
  over settings, so that Student's distribution fits.

Where settings of the other factors hardly ever occur with both levels, as in a random search, configurations are
compared by their means over seeds: a configuration is one observation, however many seeds it has. What the other
factors explain (by a random forest that has not seen the configuration it predicts, nor any level) is taken out before;
since a random search draws levels independently of it, the test holds however bad the forest is (Rosenbaum 2002,
"Covariance adjustment in randomized experiments").
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from analysis.mattered.comparable import Comparable, comparable
from analysis.mattered.level_pairs import TESTS, Compared, Forest, compare_levels
from analysis.mattered.permutation import moved_together
from analysis.mattered.ranks import false_discovery
from analysis.mattered.seed_table import SeedTable, seed_table
from analysis.mattered.verdict import LEVEL, Verdict
from analysis.mattered.verdict_sentences import Facts, sentence
from analysis.search import Factor, Search

MOVED = 0.25
"""Seeds count as moving levels in all settings alike if exchanged seeds agree as much in at most this share."""
MOST_MORE = 200
"""More further seeds, or configurations, than this nobody is told to try."""


def has_repeats(search: Search, among: Comparable) -> bool:
    """Return whether any configuration that may be compared was tried with several seeds."""
    return search.seed is not None and bool((among.units["trials"].map(len) > 1).any())


def verdicts(search: Search, factor: Factor | str, among: Comparable | None = None) -> list[Verdict]:
    """Return what the seeds say of every two levels of a factor, the better levels first.

    They are judged by the search's first objective, from the feasible configurations of `among` (`comparable(search)`).
    None can be said if nothing was repeated over seeds: the list is empty then. Raises NotThereError if no factor has
    the given name.
    """
    factor = search.factor(factor) if isinstance(factor, str) else factor
    among = comparable(search) if among is None else among
    if not has_repeats(search, among):
        return []
    table = seed_table(search, factor, among)
    found = compare_all(table)
    corrected = false_discovery([one.p for one in found])
    means = {level: table.level_mean(level) for one in found for level in (one.better, one.worse)}
    order = sorted(means, key=lambda level: table.sign * means[level])
    made = [
        _verdict(search, factor, table, one, float(p), _least(found, place))
        for place, (one, p) in enumerate(zip(found, corrected, strict=True))
    ]
    rank = {table.levels[level]: place for place, level in enumerate(order)}
    return sorted(made, key=lambda one: sorted((rank[one.better], rank[one.worse])))


def compare_all(table: SeedTable) -> list[Compared]:
    """Return every two levels of a factor compared, except those that have nothing to compare."""
    there = np.isfinite(table.scores).any(axis=2)
    is_crossed = bool((there.sum(axis=0) > 1).any())
    moved = table.shares_seeds and moved_together(table.scores, is_crossed) <= MOVED
    forest = Forest(table)
    pairs = combinations(range(len(table.levels)), 2)
    found = [compare_levels(table, one, other, moved, forest) for one, other in pairs]
    return [one for one in found if one is not None]


def _least(found: Sequence[Compared], place: int) -> tuple[float, int | None]:
    """Return the least corrected p-value that a comparison could have, and how many seeds would make it small enough.

    The other comparisons stay as they are; but those in which all pairs agree are taken to do so with more seeds too.
    """
    one = found[place]
    agree = [other.p <= other.least_p(other.num_units) * (1 + 1e-9) for other in found]

    def corrected(more: int) -> float:
        p = [
            other.least_p(other.num_units + more) if at == place or (more and agree[at]) else other.p
            for at, other in enumerate(found)
        ]
        return float(false_discovery(p)[place])

    least = corrected(0)
    if least <= LEVEL:
        return least, one.num_units
    return least, next((one.num_units + more for more in range(1, MOST_MORE) if corrected(more) <= LEVEL), None)


def _verdict(
    search: Search, factor: Factor, table: SeedTable, one: Compared, corrected: float, least: tuple[float, int | None]
) -> Verdict:
    better, worse = table.levels[one.better], table.levels[one.worse]
    ends = np.array([one.difference, one.low, one.high])
    difference, low, high = (float(end) for end in (np.exp(ends) if table.is_ratio else ends))
    worse_mean = table.level_mean(one.worse)
    relative = (
        1 - np.exp(-table.sign * one.difference) if table.is_ratio else one.difference / abs(worse_mean or np.nan)
    )
    verdict = Verdict(
        better=better,
        worse=worse,
        difference=difference,
        low=low,
        high=high,
        wins=one.wins,
        pairs=one.pairs,
        num_seeds=one.num_seeds,
        num_settings=one.num_settings,
        p=one.p,
        p_corrected=corrected,
        test=TESTS[one.unit],
        sentence="",
        is_supported=bool(corrected <= LEVEL) and not one.fails_more,
        scale="ratio" if table.is_ratio else "difference",
        relative=abs(float(relative)),
        ties=one.ties,
        is_paired=one.num_settings > 0,
        least_p=least[0],
        p_settings=one.p_settings,
        p_ranks=one.p_ranks,
        failed_better=int(table.num_failed[one.better]),
        failed_worse=int(table.num_failed[one.worse]),
    )
    facts = Facts(
        compared=one,
        enough=least[1],
        factor="" if factor.levels and all(isinstance(level, str) for level in factor.levels) else factor.column,
        objective=search.objective.column,
        trials=(int(table.num_trials[one.better]), int(table.num_trials[one.worse])),
        pruned=(int(table.num_pruned[one.better]), int(table.num_pruned[one.worse])),
        is_corrected=corrected != one.p,
    )
    below = sentence(verdict, replace(facts, factor=""))
    return replace(verdict, sentence=sentence(verdict, facts), below_factor=below)
