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
NOT_ENDED = ("running", Outcome.STOPPED.value)


@dataclass(frozen=True)
class Comparable:
    """The trials of a search that may be compared by its first objective."""

    units: pd.DataFrame
    """One row per trial, or per configuration if trials were repeated over seeds, best first.

    Columns: `configuration`, `trials` (their numbers), `trial` (the best of them), `value` (of the objective; the mean
    over seeds), `seed_std` (NaN without repeats), `feasible`, and one per factor."""
    what: str
    """Which trials these are, for instance "24 completed trials"."""
    remarks: tuple[str, ...]
    """Which trials are left out, and why."""

    @property
    def feasible(self) -> pd.DataFrame:
        """The units that keep all constraints."""
        return self.units.loc[self.units["feasible"]]


def comparable(search: Search) -> Comparable:
    """Return the trials of a search that may be compared by its first objective."""
    remarks: list[str] = []
    completed = search.completed
    values = pd.to_numeric(completed.get(search.objective.column), errors="coerce").astype("float64")
    finite = np.isfinite(values)
    if (left := int((~finite).sum())) > 0:
        remarks.append(f"{count(left, 'completed trial')} without a finite {search.objective.column} left out")
    trials = completed.assign(**{VALUE: values, "feasible": feasible(search, completed)}).loc[finite]
    trials = _same_fidelity(search, trials, remarks)
    if search.seed is not None:
        units = _complete_sets(search, trials, remarks)
        what = f"{count(len(units), 'configuration')} with all their seeds"
    else:
        units = trials.assign(trials=[(number,) for number in trials["trial"]], seed_std=np.nan)
        what = count(len(units), "completed trial")
    if search.constraints:
        what += f" ({int(units['feasible'].sum())} of them feasible)"
    names = [factor.column for factor in search.factors]
    own = ["configuration", "trials", "trial", VALUE, "seed_std", "feasible"]
    units = units.reindex(columns=[*own, *(name for name in names if name not in own)])
    order = units[VALUE].mul(search.objective.sign).sort_values(kind="stable").index
    return Comparable(units.loc[order].reset_index(drop=True), what, tuple(remarks))


def feasible(search: Search, trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial keeps all constraints; a bound metric that was not measured is not kept."""
    kept = pd.Series(True, index=trials.index)
    for bound in search.constraints:
        if bound.column not in trials.columns:
            return pd.Series(False, index=trials.index)
        values = pd.to_numeric(trials[bound.column], errors="coerce")
        kept &= values.notna()
        if bound.min is not None:
            kept &= values >= bound.min
        if bound.max is not None:
            kept &= values <= bound.max
    return kept


def is_active(search: Search, factor: Factor, trials: pd.DataFrame) -> pd.Series:
    """Return whether each trial had a value of the factor drawn: whether the factor's conditions held."""
    active = pd.Series(True, index=trials.index)
    columns = {one.column: one for one in search.factors}
    for name, values in factor.conditions.items():
        if name not in trials.columns:
            continue
        active &= trials[name].isin(list(values))
        if name in columns:
            active &= is_active(search, columns[name], trials)
    if factor.column not in trials.columns:
        return pd.Series(False, index=trials.index)
    if factor.levels is None or None not in factor.levels:
        active &= trials[factor.column].notna()
    return active


def _same_fidelity(search: Search, trials: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """Return the trials of the commonest number of steps, unless a factor is what sets the steps."""
    if STEPS not in trials.columns or trials[STEPS].nunique() < 2:
        return trials
    setting = next((one.column for one in search.factors if _sets_steps(trials, one.column)), None)
    steps = trials[STEPS]
    if setting is not None:
        remarks.append(
            f"{setting} sets how long a trial trains ({steps.min():g} to {steps.max():g} steps): "
            f"all completed trials are compared as they are"
        )
        return trials
    counts = steps.value_counts()
    most = counts[counts == counts.max()].index.max()
    same = steps == most
    remarks.append(
        f"completed trials trained {steps.min():g} to {steps.max():g} steps: only the {int(same.sum())} of {most:g} "
        f"steps are compared, {int((~same).sum())} are left out"
    )
    return trials.loc[same]


def _sets_steps(trials: pd.DataFrame, column: str) -> bool:
    """Return whether every level of a factor has its own number of steps, which at least two of its trials share."""
    by_level = trials.groupby(trials[column].astype(str))[STEPS]
    return bool((by_level.nunique() == 1).all()) and by_level.ngroups * 2 <= len(trials)


def _complete_sets(search: Search, trials: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """Return a row per configuration of which every seed is there: the mean over its seeds."""
    seed = search.seed
    assert seed is not None
    by_seed = trials.groupby(["configuration", seed], sort=False)[VALUE].mean().groupby(level=0, sort=False)
    found = by_seed.agg(["mean", "std", "count"])
    wanted = len(search.seeds) or int(found["count"].max() if len(found) else 0)
    complete = found.loc[found["count"] >= wanted]
    left = len(found) - len(complete)
    if left:
        remarks.append(
            f"{count(left, 'configuration')} with fewer than {count(wanted, 'completed seed')} left out: "
            f"a mean over fewer seeds is not compared with one over all"
        )
    rows = trials.loc[trials["configuration"].isin(complete.index)]
    order = rows[VALUE].mul(search.objective.sign).sort_values(kind="stable").index
    first = rows.loc[order].drop_duplicates("configuration").set_index("configuration", drop=False)
    grouped = rows.groupby("configuration", sort=False)
    return first.assign(
        **{VALUE: complete["mean"], "seed_std": complete["std"], "feasible": grouped["feasible"].all()},
        trials=grouped["trial"].agg(tuple),
    ).reset_index(drop=True)
