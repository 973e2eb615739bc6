"""A factor's levels with all other factors held: paired in a grid, otherwise by a forest's partial dependence."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.mattered.comparable import numbers
from analysis.mattered.crossed import Crossed, depends
from analysis.mattered.trees import Trees, bagged, grow
from cluster.wording import count

FEWEST_SETTINGS = 3
SHARE_IN_SETTINGS = 0.5
"""Levels are paired if at least this share of the results lies in settings in which all of them were tried."""
FEWEST_FOR_FOREST = 12
RESAMPLES = 1000
FORESTS, TREES, LEAF = 30, 6, 3
SHARE_OF_INPUTS = 0.8
MOST_FITTED = 600
MOST_BACKGROUND = 100
PAIRED, FOREST = "paired", "forest"


@dataclass(frozen=True)
class Marginals:
    """The levels of a factor with all other factors held."""

    table: pd.DataFrame
    """One row per level, best first: `level`, `n`, `value`, and against the best level `worse_by` (a ratio if
    `is_ratio`), `low` and `high` (its 95 % interval) and `wins` (settings in which the best is better; paired only)."""
    method: str
    """PAIRED, FOREST, or empty if it cannot be told."""
    is_ratio: bool
    """Whether `worse_by` is a ratio of values, as they span orders of magnitude, and not a difference."""
    basis: str
    """How the other factors were held, and from which results; or why it cannot be told."""
    num_settings: int = 0
    """Settings of the other factors that are paired."""

    @property
    def order(self) -> tuple[str, ...]:
        """The levels, best first."""
        return tuple(self.table["level"])

    @property
    def tied(self) -> tuple[str, ...]:
        """The levels, the best among them, whose distance to the best may be nothing."""
        none = 1.0 if self.is_ratio else 0.0
        within = self.table["low"].isna() | (self.table["low"] <= none)
        return tuple(self.table.loc[within, "level"])


class Forests:
    """Random forests of a search's results, each fitted to a resample of its own; fitted when first needed."""

    def __init__(self, units: Crossed, seed: int = 0) -> None:
        """Take the results; nothing is fitted yet."""
        self.units, self.seed = units, seed

    @cached_property
    def _inputs(self) -> tuple[np.ndarray, dict[str, slice]]:
        return _inputs(self.units)

    @cached_property
    def _fitted(self) -> tuple[Trees, np.ndarray]:
        """The trees, those of a forest one after the other; and each forest's resample, a row per forest."""
        inputs, _ = self._inputs
        scores, rng = self.units.scores, np.random.default_rng(self.seed)
        drawn = rng.integers(len(scores), size=(FORESTS, min(len(scores), MOST_FITTED)))
        samples = bagged(drawn, TREES, drawn.shape[1], rng)
        return grow(inputs, scores, samples, rng, leaf=LEAF, share=SHARE_OF_INPUTS), drawn

    def dependence(self, name: str) -> np.ndarray:
        """Return the mean prediction for each level of a factor (columns) by each of the forests (rows).

        The other factors are as in the results, of which the factor was searched in all.
        """
        inputs, columns = self._inputs
        codes, own = self.units.codes[name], columns[name]
        levels = range(len(self.units.names[name]))
        settings = [np.median(inputs[codes == level][:, own], axis=0) for level in levels]
        trees, resamples = self._fitted
        draws = np.empty((FORESTS, len(settings)))
        for row, drawn in enumerate(resamples):
            background = inputs[drawn[codes[drawn] >= 0][:MOST_BACKGROUND]]
            if not len(background):
                background = inputs[codes >= 0][:MOST_BACKGROUND]
            stacked = np.concatenate([_held(background, own, setting) for setting in settings])
            of_forest = np.repeat(np.arange(row * TREES, (row + 1) * TREES), len(stacked))
            told = trees.predict(of_forest, np.tile(stacked, (TREES, 1)))
            draws[row] = told.reshape(TREES, len(settings), -1).mean(axis=(0, 2))
        # resamples smaller than the results spread more than the results do
        shrunk = np.sqrt(min(len(codes), MOST_FITTED) / len(codes))
        return draws.mean(axis=0) + (draws - draws.mean(axis=0)) * shrunk


def marginals(units: Crossed, name: str, forests: Forests, seed: int = 0) -> Marginals:
    """Return a factor's levels with all other factors held; `forests` are of the same units."""
    levels = units.names[name]
    active = units.codes[name] >= 0
    if len(levels) < 2:
        return _none(units, "fewer than two of its levels have results")
    rng = np.random.default_rng(seed)
    grid = _settings(units, name)
    complete = grid[~np.isnan(grid).any(axis=1)]
    is_crossed = len(complete) * len(levels) >= SHARE_IN_SETTINGS * np.count_nonzero(~np.isnan(grid))
    if len(complete) >= FEWEST_SETTINGS and is_crossed:
        draws = complete[rng.integers(len(complete), size=(RESAMPLES, len(complete)))].mean(axis=1)
        held = f"paired over the {len(complete)} settings of the other factors in which every level has a result"
        return _ranked(units, name, complete.mean(axis=0), draws, PAIRED, held, complete)
    why = _why_not_paired(units, len(complete) if is_crossed else 0)
    if np.count_nonzero(active) < FEWEST_FOR_FOREST:
        few = f"{count(int(np.count_nonzero(active)), 'result')} are too few for a forest ({FEWEST_FOR_FOREST})"
        return _none(units, f"{why}, and {few}")
    draws = forests.dependence(name)
    held = (
        f"by the partial dependence of a random forest fitted to {np.count_nonzero(active)} results, as {why}; "
        f"intervals from {FORESTS} resamples"
    )
    return _ranked(units, name, draws.mean(axis=0), draws, FOREST, held, None)


def _why_not_paired(units: Crossed, num_complete: int) -> str:
    """Return why levels are not paired over the settings of the other factors, of which so many have every level."""
    if len(units.factors) == 1:
        return "there are no other factors to pair it over"
    if not num_complete:
        return "the settings of the other factors are no grid"
    return (
        f"every level has a result in only {count(num_complete, 'setting')} of the other factors (pairs need "
        f"{FEWEST_SETTINGS})"
    )


def _none(units: Crossed, why: str) -> Marginals:
    columns = ["level", "n", "value", "worse_by", "low", "high", "wins"]
    return Marginals(pd.DataFrame(columns=columns), "", units.is_log, why)


def _settings(units: Crossed, name: str) -> np.ndarray:
    """Return the mean score of each setting of all other factors (rows) and each level; NaN if there is none.

    Factors that are searched only under a condition on this one are part of its levels, not of the setting.
    """
    own = units.codes[name]
    held = [one.column for one in units.factors if one.column != name and not depends(units.factors, one, name)]
    others = [pd.factorize(units.raw[other].where(units.codes[other] >= 0))[0] for other in held]
    keys = np.stack([np.zeros(len(own), dtype=int), *others], axis=1)
    settings = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    shape = (settings.max(initial=-1) + 1, len(units.names[name]))
    sums, counts, on = np.zeros(shape), np.zeros(shape), own >= 0
    np.add.at(sums, (settings[on], own[on]), units.scores[on])
    np.add.at(counts, (settings[on], own[on]), 1)
    means = np.full(shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means[(counts > 0).any(axis=1)]


def _ranked(
    units: Crossed,
    name: str,
    scores: np.ndarray,
    draws: np.ndarray,
    method: str,
    held: str,
    settings: np.ndarray | None,
) -> Marginals:
    order = np.argsort(scores, kind="stable")
    best = order[0]
    behind = scores - scores[best]
    low, high = np.quantile(draws - draws[:, [best]], [0.025, 0.975], axis=0)
    rows = []
    for place in order:
        gaps = [behind[place], low[place], high[place]]
        if units.is_log:
            gaps = [float(10**gap) for gap in gaps]
        is_best = place == best
        rows.append(
            {
                "level": units.names[name][place],
                "n": int((units.codes[name] == place).sum()),
                "value": units.value_of(float(scores[place])),
                "worse_by": gaps[0],
                "low": np.nan if is_best else gaps[1],
                "high": np.nan if is_best else gaps[2],
                "wins": np.nan
                if settings is None or is_best
                else float((settings[:, best] < settings[:, place]).sum()),
            }
        )
    table = pd.DataFrame(rows)
    return Marginals(table, method, units.is_log, held, 0 if settings is None else len(settings))


def _held(background: np.ndarray, columns: slice, setting: np.ndarray) -> np.ndarray:
    held = background.copy()
    held[:, columns] = setting
    return held


def _inputs(units: Crossed) -> tuple[np.ndarray, dict[str, slice]]:
    """Return what the forest sees, numbers as they are and a column per choice; and each factor's columns."""
    parts, columns, start = [], {}, 0
    for factor in units.factors:
        codes = units.codes[factor.column]
        if factor.is_number:
            # Trees see only the order of numbers, and hold no more than 32 bits of them. A number that was not searched
            # lies apart from all that were: a tree can split it off.
            found = numbers(units.raw, factor.column).to_numpy()
            order = np.unique(found[codes >= 0], return_inverse=True)[1]
            part = np.full((len(codes), 1), -float(len(codes)))
            part[codes >= 0, 0] = order
        else:
            part = (codes[:, None] == np.arange(len(units.names[factor.column]))[None]).astype(float)
        parts.append(part)
        columns[factor.column] = slice(start, start + part.shape[1])
        start += part.shape[1]
    return np.hstack(parts), columns
