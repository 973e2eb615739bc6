"""Tests by exchange: how often would chance alone, which exchanges labels, give a difference as large as the one seen?

They need no distribution. Few labels are exchanged in every way there is (exact), many ones at random from a fixed
seed, and then the observed labels count as one of the draws, so that p is never 0 (Phipson and Smyth 2010, "Permutation
p-values should never be zero"). All are two-sided.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from math import comb, prod

import numpy as np

MOST_EXACT = 2**14
"""The most ways of exchange that are all tried."""
NUM_RANDOM = 9_999
"""Random exchanges if there are more ways than that."""
MOST_NUMBERS = 10**6
"""Fewer random exchanges are made of so many units that the labels of all of them would be more numbers than this."""
FEWEST_RANDOM = 1_999
"""As many as one of 100 comparisons needs, if it alone is to stay below 5 % after correction."""
CHUNK = 2 * 10**6
SEED = 20
NUM_TOGETHER = 399
"""Exchanges of seeds, which decide only what is flipped."""
LAST_DIGITS = 1e-9
"""By so much (of numbers scaled to 1) sums may differ because they were added in another order."""


def sign_flips(units: np.ndarray) -> float:
    """Return the p-value of a mean of independent units against zero: their signs are flipped.

    Exact if every unit is as likely as its opposite, whatever its spread: units may be unequal, and have heavy tails.
    It still holds approximately, for many units, if they are not symmetric (Romano 1990). Units that are 0 have no
    sign, and do not count.
    """
    units = units[units != 0]
    if len(units) == 0:
        return 1.0
    scale = np.abs(units).max()
    units = units / scale
    observed = abs(units.sum()) - LAST_DIGITS
    large = total = 0
    for signs in _signs(len(units)):
        large += int((np.abs(signs @ units) >= observed).sum())
        total += len(signs)
    if _is_exact(len(units)):
        return large / total
    return (large + 1) / (total + 1)


def least_of_flips(num_units: int) -> float:
    """Return the least p-value that `sign_flips` can give for so many units."""
    if num_units < 1:
        return 1.0
    return max(2.0 ** (1 - num_units), 0.0 if _is_exact(num_units) else 1 / (_num_random(num_units) + 1))


def exchanged(one: np.ndarray, other: np.ndarray) -> float:
    """Return the p-value of the difference of two groups' means: their members are exchanged, Welch's t is compared.

    Exact if both groups come from one distribution. Because the difference is divided by its own standard error, it
    also holds for groups of unequal spread and size (Janssen 1997; Chung and Romano 2013), for which exchanging the
    plain means is wrong.
    """
    both = np.concatenate([one, other])
    both = both - both.mean()
    spread = np.abs(both).max()
    if min(len(one), len(other)) < 1 or not spread > 0:
        return 1.0
    both = both / spread
    first = np.arange(len(both)) < len(one)
    observed = float(_welch(both, first[None])[0]) * (1 - LAST_DIGITS)
    large = total = 0
    for labels in _labels(len(one), len(other)):
        large += int((_welch(both, labels) >= observed).sum())
        total += len(labels)
    return large / total if comb(len(both), len(one)) <= MOST_EXACT else (large + 1) / (total + 1)


def least_of_exchange(num_one: int, num_other: int) -> float:
    """Return the least p-value that `exchanged` can give for groups of these sizes."""
    if min(num_one, num_other) < 1:
        return 1.0
    ways = comb(num_one + num_other, num_one)
    least = (2 if num_one == num_other else 1) / ways
    return least if ways <= MOST_EXACT else max(least, 1 / (_num_random(num_one + num_other) + 1))


def exchanged_within(one: np.ndarray, other: np.ndarray) -> float:
    """Return the p-value of two levels' mean difference over settings: runs are exchanged within each setting.

    Both have the axes setting, run, and NaN where there is none. Exact if the levels differ in no setting. A single
    setting is left to `exchanged`.
    """
    if len(one) == 1:
        return exchanged(*(group[np.isfinite(group)] for group in (one, other)))
    strata = [(here[np.isfinite(here)], there[np.isfinite(there)]) for here, there in zip(one, other, strict=True)]
    strata = [pair for pair in strata if min(map(len, pair))]
    num = sum(len(here) + len(there) for here, there in strata)
    if not strata:
        return 1.0
    random, rows = np.random.default_rng(SEED), _num_random(num)
    observed, scale, sums = 0.0, 0.0, np.zeros(rows)
    for here, there in strata:
        both = np.concatenate([here, there])
        both = both - both.mean()
        weights = np.where(np.arange(len(both)) < len(here), 1 / len(here), -1 / len(there))
        observed, scale = observed + float(weights @ both), max(scale, float(np.abs(both).max()))
        sums += random.permuted(np.broadcast_to(weights, (rows, len(both))), axis=1) @ both
    large = int((np.abs(sums) >= abs(observed) - LAST_DIGITS * scale).sum())
    return (large + 1) / (rows + 1)


def least_of_exchange_within(sizes: Sequence[tuple[int, int]]) -> float:
    """Return the least p-value that `exchanged_within` can give for settings with so many runs of both levels."""
    if len(sizes) == 1:
        return least_of_exchange(*sizes[0])
    ways = prod(float(comb(sum(pair), pair[0])) for pair in sizes)
    least = (2 if all(one == other for one, other in sizes) else 1) / ways
    return min(1.0, max(least, 1 / (_num_random(sum(map(sum, sizes))) + 1)))


def moved_together(values: np.ndarray, is_crossed: bool = True) -> float:
    """Return the p-value of seeds that move a level in all settings alike: the seeds are exchanged in every setting.

    `values` has the axes level, setting, seed, and NaN where there is none. What all levels share in a seed is taken
    out before, because no difference between them has it: within each setting if levels and settings are crossed, else
    over all settings.
    """
    present = np.isfinite(values)
    left = np.where(present, values, 0.0)
    for _ in range(8):  # taking out one mean disturbs the other if some are missing
        for axis in (2, 0 if is_crossed else (0, 1)):
            means = left.sum(axis, keepdims=True) / np.maximum(present.sum(axis, keepdims=True), 1)
            left = np.where(present, left - means, 0.0)
    num_settings = present.any(axis=2).sum(axis=1)
    num_levels, _, num_seeds = values.shape
    if num_levels < 2 or num_seeds < 2 or num_settings.max() < 2:
        return 1.0
    weights = 1 / np.maximum(num_settings, 1)[:, None]
    observed = float((left.sum(axis=1) ** 2 * weights).sum())
    if observed <= 1e-20 * float((left**2).sum()):
        return 1.0
    random = np.random.default_rng(SEED)
    large, to_draw = 0, NUM_TOGETHER
    while to_draw > 0:
        rows = min(to_draw, max(1, CHUNK // left.size))
        places = random.random((rows, 1, *left.shape[1:])).argsort(axis=-1)
        mixed = np.take_along_axis(left[None], np.broadcast_to(places, (rows, *left.shape)), axis=-1)
        large += int(((mixed.sum(axis=2) ** 2 * weights).sum(axis=(1, 2)) >= observed * (1 - LAST_DIGITS)).sum())
        to_draw -= rows
    return (large + 1) / (NUM_TOGETHER + 1)


def _is_exact(num_units: int) -> bool:
    return num_units < 60 and 2 ** (num_units - 1) <= MOST_EXACT


def _num_random(num_units: int) -> int:
    return max(FEWEST_RANDOM, min(NUM_RANDOM, MOST_NUMBERS // num_units))


def _signs(num: int) -> Iterator[np.ndarray]:
    """Yield rows of signs: all there are, up to the opposite of all; or random ones."""
    if _is_exact(num):
        yield _all_signs(num)
        return
    flips, rows = _random_flips(num), max(1, CHUNK // num)
    for start in range(0, len(flips), rows):
        yield 1.0 - 2.0 * flips[start : start + rows]


@lru_cache(maxsize=4)
def _random_flips(num: int) -> np.ndarray:
    """Return rows of zeros and ones; all comparisons of a grid have as many pairs, and share them."""
    return np.random.default_rng(SEED).integers(0, 2, size=(_num_random(num), num), dtype=np.int8)


@lru_cache(maxsize=16)
def _all_signs(num: int) -> np.ndarray:
    bits = (np.arange(2 ** (num - 1))[:, None] >> np.arange(num)) & 1
    return 1.0 - 2.0 * bits


def _labels(num_one: int, num_other: int) -> Iterator[np.ndarray]:
    """Yield rows that say who is in the first group: every way there is, or random ones."""
    num = num_one + num_other
    ways = comb(num, num_one)
    if ways <= MOST_EXACT:
        rows = np.zeros((ways, num), dtype=bool)
        np.put_along_axis(rows, np.array([*combinations(range(num), num_one)]), True, axis=1)
        yield rows
        return
    random, left = np.random.default_rng(SEED), _num_random(num)
    first = np.arange(num) < num_one
    while left > 0:
        rows = min(left, max(1, CHUNK // num))
        yield random.permuted(np.broadcast_to(first, (rows, num)), axis=1)
        left -= rows


def _welch(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return |t| of Welch for each row of labels; the plain difference of means if a group has a single member."""
    num_one = int(labels[0].sum())
    num_other = len(values) - num_one
    one = labels.astype(float) @ np.stack([values, values**2], axis=1)
    other = np.array([values.sum(), (values**2).sum()]) - one
    difference = np.abs(one[:, 0] / num_one - other[:, 0] / num_other)
    if min(num_one, num_other) < 2:
        return difference
    error = sum(
        np.maximum(sums[:, 1] - sums[:, 0] ** 2 / num, 0) / (num - 1) / num
        for sums, num in ((one, num_one), (other, num_other))
    )
    tiny = 1e-12
    return difference / np.sqrt(np.maximum(error, tiny**2))
