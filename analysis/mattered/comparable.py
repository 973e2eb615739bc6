"""Which trials may be compared: completed ones of the same fidelity, with all their seeds.

The others are not thrown away: remarks say which they are and why they do not count.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.search import Factor, Search
from cluster.state.outcomes import Outcome
from cluster.wording import count

STEPS = "steps_trained"
VALUE = "value"
SETS = "configuration"
"""What a unit is called if trials were repeated over seeds."""
LARGEST_VALUE = 1e120
"""Of results; their squares and the sums of these must be finite."""
NOT_ENDED = ("running", Outcome.STOPPED.value)


@dataclass(frozen=True)
class Comparable:
    """The trials of a search that may be compared by its first objective."""

    units: pd.DataFrame
    """One row per trial, or per configuration if trials were repeated over seeds, best first.

    Columns: `configuration`, `trials` (their numbers), `trial` (the best of them), `value` (of the objective; the mean
    over seeds), `seed_std` (NaN without repeats), `feasible`, and one per factor."""
    noun: str
    """What a unit is called: "completed trial", or SETS."""
    remarks: tuple[str, ...]
    """Which trials are left out, and why."""

    @property
    def feasible(self) -> pd.DataFrame:
        """The units that keep all constraints."""
        return self.units.loc[self.units["feasible"]]

    @property
    def what(self) -> str:
        """Which trials the numbers are from, for instance "24 completed trials; 3 more break a constraint"."""
        infeasible = len(self.units) - len(self.feasible)
        return f"{self._counted}; {infeasible} more break a constraint" if infeasible else self._counted

    @property
    def subject(self) -> str:
        """The same as the subject of a sentence, for instance "24 completed trials that keep the constraints"."""
        return self._counted if len(self.feasible) == len(self.units) else f"{self._counted} that keep the constraints"

    @property
    def _counted(self) -> str:
        kept = self.feasible
        text = count(len(kept), self.noun)
        if self.noun == SETS:
            text += f" with all seeds ({count(sum(map(len, kept['trials'])), 'trial')}; a value is the mean over seeds)"
        return text


def comparable(search: Search) -> Comparable:
    """Return the trials of a search that may be compared by its first objective."""
    remarks: list[str] = []
    completed = search.completed
    values = numbers(completed, search.objective.column)
    finite = np.isfinite(values.to_numpy())
    if not finite.all():
        without = count(int((~finite).sum()), "completed trial")
        remarks.append(f"{without} without a finite {search.objective.column} left out")
    large = finite & (values.abs() > LARGEST_VALUE).to_numpy()
    if large.any():
        told = count(int(large.sum()), "completed trial")
        remarks.append(
            f"{told} where {search.objective.column} is beyond {LARGEST_VALUE:.0e} left out: it has no finite square"
        )
    trials = completed.assign(**{VALUE: values}).loc[finite & ~large]
    trials = _same_fidelity(search, trials, remarks)
    if search.seed is not None and search.seed in trials.columns:
        units, noun = _complete_sets(search, trials, remarks), SETS
    else:
        kept = feasible(search, trials)
        units = trials.assign(trials=[(number,) for number in trials["trial"]], seed_std=np.nan, feasible=kept)
        noun = "completed trial"
    names = [factor.column for factor in search.factors]
    own = ["configuration", "trials", "trial", VALUE, "seed_std", "feasible"]
    units = units.reindex(columns=[*own, *(name for name in names if name not in own)])
    order = np.argsort(search.objective.sign * units[VALUE].to_numpy(dtype=float), kind="stable")
    return Comparable(units.iloc[order].reset_index(drop=True), noun, tuple(remarks))


def numbers(trials: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as numbers: NaN where it has none, and everywhere if there is no such column."""
    if column not in trials.columns:
        return pd.Series(np.nan, index=trials.index, dtype="float64")
    return pd.Series(np.asarray(pd.to_numeric(trials[column], errors="coerce"), dtype=float), index=trials.index)


def feasible(search: Search, trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial keeps all constraints; one whose bound metric was not measured does not."""
    kept = np.full(len(trials), True)
    for bound in search.constraints:
        values = numbers(trials, bound.column).to_numpy()
        kept &= ~np.isnan(values)
        if bound.min is not None:
            kept &= values >= bound.min
        if bound.max is not None:
            kept &= values <= bound.max
    return pd.Series(kept, index=trials.index)


def is_active(search: Search, factor: Factor, trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial had a value of the factor drawn: whether the factor's conditions held."""
    if factor.column not in trials.columns:
        return pd.Series(False, index=trials.index)
    active = np.full(len(trials), True)
    columns = {one.column: one for one in search.factors}
    for name, values in factor.conditions.items():
        if name in trials.columns:
            active &= trials[name].isin(list(values)).to_numpy()
        if name in columns:
            active &= is_active(search, columns[name], trials).to_numpy()
    if factor.levels is None or None not in factor.levels:
        active &= trials[factor.column].notna().to_numpy()
    return pd.Series(active, index=trials.index)


def _same_fidelity(search: Search, trials: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """Return the trials of the commonest number of steps, unless a factor is what sets the steps."""
    steps = numbers(trials, STEPS)
    found, counts = np.unique(steps.dropna(), return_counts=True)
    if len(found) < 2:
        return trials
    from_to = f"{found[0]:g} to {found[-1]:g} steps"
    setting = next((one.column for one in search.factors if _sets(steps, trials, one.column)), None)
    if setting is not None:
        remarks.append(f"{setting} sets how long a trial trains ({from_to}): all completed trials are compared as such")
        return trials
    most = found[counts == counts.max()][-1]
    same = steps == most
    remarks.append(
        f"completed trials trained {from_to}: only the {int(same.sum())} of {most:g} steps are compared, the other "
        f"{int((~same).sum())} are left out"
    )
    return trials.loc[same]


def _sets(steps: pd.Series, trials: pd.DataFrame, column: str) -> bool:
    """Return whether each level of a factor has one number of steps, which on average two of its trials share."""
    if column not in trials.columns:
        return False
    of_level = steps.groupby(pd.factorize(trials[column])[0])
    return bool((of_level.nunique() == 1).all()) and of_level.ngroups * 2 <= len(trials)


def _complete_sets(search: Search, trials: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """Return a row per configuration of which every seed is there: its best trial's, with the means over its seeds."""
    assert search.seed is not None
    which, configurations = pd.factorize(trials["configuration"])
    seed = pd.factorize(trials[search.seed])[0]
    shape = len(configurations), int(seed.max(initial=-1)) + 1
    counts = np.zeros(shape)
    np.add.at(counts, (which, seed), 1)
    num_seeds = (counts > 0).sum(axis=1)
    wanted = len(search.seeds) or int(num_seeds.max(initial=0))
    complete = num_seeds >= wanted
    if left := int((~complete).sum()):
        remarks.append(
            f"{count(left, 'configuration')} without all {wanted} seeds left out: a mean over fewer seeds is not "
            f"compared with one over all"
        )
    by_score = np.argsort(search.objective.sign * trials[VALUE].to_numpy(dtype=float), kind="stable")
    best = by_score[np.unique(which[by_score], return_index=True)[1]]
    means, spread = {}, np.full(shape[0], np.nan)
    for name in dict.fromkeys([VALUE, *(bound.column for bound in search.constraints)]):
        by_seed = np.full(shape, np.nan)
        sums = np.zeros(shape)
        np.add.at(sums, (which, seed), numbers(trials, name).to_numpy())
        np.divide(sums, counts, out=by_seed, where=counts > 0)  # a seed that was trained twice counts once
        there = np.where(counts > 0, by_seed, 0.0)
        means[name] = there.sum(axis=1) / np.maximum(num_seeds, 1)
        if name == VALUE:
            squares = np.where(counts > 0, (by_seed - means[name][:, None]) ** 2, 0.0).sum(axis=1)
            np.divide(squares, num_seeds - 1, out=spread, where=num_seeds > 1)
    members: list[list[int]] = [[] for _ in configurations]
    for place, number in zip(which, trials["trial"], strict=True):
        members[place].append(int(number))
    units = trials.iloc[best].assign(**means, seed_std=np.sqrt(spread), trials=[tuple(one) for one in members])
    units = units.loc[complete]
    return units.assign(feasible=feasible(search, units))
