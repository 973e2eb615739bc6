"""How often verdicts are right: planted differences, and none, in searches repeated over seeds.

    python benchmarks/verdicts.py [--draws 1000]

For each kind of search: the share of draws in which a difference is called supported (with several comparisons, in
which any is, or the false among those found), the share in which the interval covers the planted difference, and what
plainer tests of the same numbers would have called significant at the same 5 %.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from analysis.mattered.level_pairs import Compared
from analysis.mattered.permutation import sign_flips
from analysis.mattered.ranks import false_discovery
from analysis.mattered.seed_table import SeedTable
from analysis.mattered.seeds import compare_all
from analysis.mattered.verdict import LEVEL

Random = np.random.Generator


def crossed(
    random: Random,
    levels: int = 2,
    settings: int = 6,
    seeds: int = 3,
    effects: tuple[float, ...] = (),
    of_setting: float = 3.0,
    in_setting: float = 0.0,
    of_seed: float = 0.0,
    noise: Callable[[Random, tuple[int, ...]], np.ndarray] = lambda random, shape: random.normal(size=shape),
) -> np.ndarray:
    """Return errors by level, setting and seed: level effects, and noise of deviation 1.

    All levels share `of_setting`; `in_setting` is the deviation of what each level gains in each setting, its mean over
    them 0; `of_seed` that of what a seed does to a level in all settings alike.
    """
    own = random.normal(size=(levels, settings, 1)) * in_setting
    effect = np.resize(effects, levels) if effects else np.zeros(levels)
    return (
        effect[:, None, None]
        + random.normal(size=(1, settings, 1)) * of_setting
        + random.normal(size=(1, settings, seeds))
        + (own - own.mean(axis=1, keepdims=True))
        + random.normal(size=(levels, 1, seeds)) * of_seed
        + noise(random, (levels, settings, seeds))
    )


def uncrossed(
    random: Random, sizes: tuple[int, int] = (20, 20), effect: float = 0.0, spreads: tuple[float, float] = (1.0, 1.0)
) -> np.ndarray:
    """Return errors of a random search: each configuration has a setting of its own, whose effect is large."""
    values = np.full((2, sum(sizes), 3), np.nan)
    settings = np.concatenate(
        [random.normal(size=(size, 1)) * spread for size, spread in zip(sizes, spreads, strict=True)]
    )
    values[0, : sizes[0]] = settings[: sizes[0]]
    values[1, sizes[0] :] = settings[sizes[0] :] + effect
    return values + random.normal(size=values.shape) / 3


def sought(random: Random, effect: float = 0.0, num: int = 40) -> SeedTable:
    """Return a search by Optuna's TPE, which tries the better level, and good numbers, ever more often."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=int(random.integers(2**31)), multivariate=True, group=True)
    study = optuna.create_study(sampler=sampler)
    values, numbers = np.full((2, num, 3), np.nan), np.zeros((num, 1))
    for place in range(num):
        trial = study.ask()
        level, numbers[place] = trial.suggest_categorical("level", [0, 1]), trial.suggest_float("number", 0.0, 1.0)
        values[level, place] = 32 * (numbers[place] - 0.5) ** 2 + effect * level + random.normal(size=3) / 2
        study.tell(trial, float(values[level, place].mean()))
    return table(values, numbers)


def table(values: np.ndarray, features: np.ndarray | None = None) -> SeedTable:
    """Return errors as the table that verdicts are made of."""
    present = np.isfinite(values)
    return SeedTable(
        levels=tuple(map(str, range(len(values)))),
        scores=values,
        completed=present,
        failed=~present & False,
        num_failed=np.zeros(len(values), dtype=int),
        num_pruned=np.zeros(len(values), dtype=int),
        num_trials=present.sum(axis=(1, 2)),
        shares_seeds=True,
        is_ratio=False,
        sign=1,
        features=np.zeros((values.shape[1], 0)) if features is None else features,
    )


def heavy(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of Student's distribution with two degrees of freedom, whose variance is infinite."""
    return random.standard_t(2, size=shape)


def unequal(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise that is five times as large for the last level."""
    return random.normal(size=shape) * np.where(np.arange(shape[0]) == shape[0] - 1, 5, 1)[:, None, None]


def skewed(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise with a long tail towards large errors, for the last level alone."""
    long = np.exp(random.normal(size=shape)) - np.exp(0.5)
    return np.where(np.arange(shape[0])[:, None, None] == shape[0] - 1, long, random.normal(size=shape) / 3)


@dataclass(frozen=True)
class Kind:
    """A kind of search, and what is true of it."""

    draw: Callable[[Random], np.ndarray | SeedTable]
    effects: tuple[float, ...] = (0.0, 0.0)
    """The planted effect of each level."""


NONE: Mapping[str, Kind] = {
    "no difference": Kind(crossed),
    "no difference, one setting of 8 seeds": Kind(lambda random: crossed(random, settings=1, seeds=8)),
    "no difference, 10 settings of 2 seeds": Kind(lambda random: crossed(random, settings=10, seeds=2)),
    "heavy tails": Kind(lambda random: crossed(random, noise=heavy)),
    "one level with 5 times the noise": Kind(lambda random: crossed(random, noise=unequal)),
    "one level with a long tail": Kind(lambda random: crossed(random, noise=skewed)),
    "gains in each setting, 0 on average": Kind(lambda random: crossed(random, in_setting=1.5)),
    "a seed moves a level everywhere, by 0.5": Kind(lambda random: crossed(random, of_seed=0.5)),
    "a seed moves a level everywhere, by 1": Kind(lambda random: crossed(random, of_seed=1.0)),
    "a seed moves a level everywhere, by 3": Kind(lambda random: crossed(random, of_seed=3.0)),
    "the same with 6 seeds, by 1": Kind(lambda random: crossed(random, seeds=6, of_seed=1.0)),
    "the same with 5 levels, by 1": Kind(lambda random: crossed(random, levels=5, of_seed=1.0), (0.0,) * 5),
    "random search": Kind(uncrossed),
    "random search, 6 wide against 30 narrow": Kind(lambda random: uncrossed(random, (6, 30), spreads=(3.0, 1.0))),
    "search by TPE": Kind(sought),
    "5 levels, no difference": Kind(lambda random: crossed(random, levels=5), (0.0,) * 5),
}
"""Kinds of searches in which no level is better."""

SOME: Mapping[str, Kind] = {
    "a difference of 1": Kind(lambda random: crossed(random, effects=(0.0, 1.0)), (0.0, 1.0)),
    "a difference of 2": Kind(lambda random: crossed(random, effects=(0.0, 2.0)), (0.0, 2.0)),
    "of 2, one setting of 6 seeds": Kind(
        lambda random: crossed(random, settings=1, seeds=6, effects=(0.0, 2.0)), (0.0, 2.0)
    ),
    "of 2, heavy tails": Kind(lambda random: crossed(random, effects=(0.0, 2.0), noise=heavy), (0.0, 2.0)),
    "of 2, gains in each setting of 1": Kind(
        lambda random: crossed(random, effects=(0.0, 2.0), in_setting=1.0), (0.0, 2.0)
    ),
    "of 2, a seed moves a level by 0.5": Kind(
        lambda random: crossed(random, effects=(0.0, 2.0), of_seed=0.5), (0.0, 2.0)
    ),
    "of 1.5 in a random search": Kind(lambda random: uncrossed(random, effect=1.5), (0.0, 1.5)),
    "of 0.7 in a search by TPE": Kind(lambda random: sought(random, 0.7), (0.0, 0.7)),
    "5 levels, of 2 for two of them": Kind(
        lambda random: crossed(random, levels=5, effects=(0.0, 0.0, 0.0, 2.0, 2.0)), (0.0, 0.0, 0.0, 2.0, 2.0)
    ),
}
"""Kinds of searches in which some levels are better."""


@dataclass(frozen=True)
class Rates:
    """How often verdicts over many draws were so."""

    any_false: float
    """Draws in which a difference that is not there, or the other way round, was called supported."""
    false_share: float
    """Of the differences called supported, those that are not there; 0 in a draw that has none (the mean over
    draws)."""
    power: float
    """Of the differences that are there, those called supported; NaN if none is."""
    covered: float
    """Intervals that contain the planted difference."""
    plain: float
    """Draws in which Welch's t-test of all trials finds a false difference, or (if there are true ones) a true one."""
    pairs: float
    """The same of sign flips of all pairs, whatever the seeds do."""


def rates(kind: Kind, draws: int, seed: int = 0) -> Rates:
    """Return how often verdicts are right over some draws of a kind of search."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(draws):
        drawn = kind.draw(random)
        made = drawn if isinstance(drawn, SeedTable) else table(drawn)
        found = compare_all(made)
        supported = false_discovery([one.p for one in found]) <= LEVEL
        planted = np.array([kind.effects[one.worse] - kind.effects[one.better] for one in found])
        false, true = supported & (planted <= 0), supported & (planted > 0)
        if not found:  # the sampler has tried a single level
            continue
        covered = np.mean([one.low <= gap <= one.high for one, gap in zip(found, planted, strict=True)])
        some = sum(1 for one, gap in zip(found, planted, strict=True) if gap != 0)
        counted = (planted != 0) if some else np.ones(len(found), dtype=bool)
        plain, pairs = (
            np.mean([p(made, one) <= LEVEL for one, on in zip(found, counted, strict=True) if on])
            for p in (_welch, _flips)
        )
        rows.append(
            [
                false.any(),
                false.sum() / max(supported.sum(), 1),
                true.sum() / some if some else np.nan,
                covered,
                plain,
                pairs,
            ]
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return Rates(*(float(value) for value in np.nanmean(np.array(rows, dtype=float), axis=0)))


def _welch(made: SeedTable, one: Compared) -> float:
    better, worse = (made.scores[level][np.isfinite(made.scores[level])] for level in (one.better, one.worse))
    found: Any = stats.ttest_ind(better, worse, equal_var=False)
    return float(found.pvalue)


def _flips(made: SeedTable, one: Compared) -> float:
    gaps = made.scores[one.worse] - made.scores[one.better]
    gaps = gaps[np.isfinite(gaps)]
    return sign_flips(gaps) if len(gaps) else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    console = Console(width=140)
    for title, kinds in (("No level is better", NONE), ("Some levels are better", SOME)):
        shown = Table(title=f"{title} ({draws} draws)")
        for column in (
            "",
            "any false",
            "false share",
            "power",
            "interval covers",
            "Welch of all trials",
            "flips of pairs",
        ):
            shown.add_column(column)
        for name, kind in kinds.items():
            found = rates(kind, draws)
            numbers = (found.any_false, found.false_share, found.power, found.covered, found.plain, found.pairs)
            shown.add_row(name, *("" if np.isnan(number) else f"{number:.3f}" for number in numbers))
        console.print(shown)


if __name__ == "__main__":
    main()
