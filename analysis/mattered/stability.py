"""How well a trial's rank early on tells its rank at the end, and what early stopping saved against what it risked."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.mattered.comparable import STEPS, VALUE, Comparable, numbers
from analysis.mattered.ranks import kendall, ranked, spearman
from analysis.search import Search
from cluster.state.outcomes import Outcome

FEWEST = 4
"""Completed trials below which no agreement of ranks is computed."""
TOP = 10
FRACTIONS = (0.1, 0.25, 0.5, 0.75)
"""Of the steps: where ranks are compared if the search had no rungs."""
REDUCTION = 3
"""One in this many trials goes on at a rung, if the search does not say."""


@dataclass(frozen=True)
class Saving:
    """What early stopping saved, and what speaks for and against it."""

    num_pruned: int
    core_hours: float
    """What the stopped trials would have cost from where they were stopped to their end, each at its own cost per step;
    NaN if the costs are not known."""
    share: float
    """Of what the search would have cost without early stopping."""
    num_ahead: int | None
    """Stopped trials that were then ahead of the best trial at the same step; None if it cannot be told."""
    num_level: int
    """Stopped trials that were then ahead of the last of the final best ones."""
    top: int
    """How many count as the final best ones."""
    table: pd.DataFrame
    """A row per step at which trials were stopped (between two rungs, of the lower one): `step`, `stopped`,
    `core_hours`, `ahead_of_best` and `ahead_of_top` (stopped trials that were then ahead of the best one, and of the
    last of the final best ones); what is not known is NaN."""


@dataclass(frozen=True)
class Stability:
    """How well early ranks agree with those at the end."""

    table: pd.DataFrame | None
    """One row per rung: `step`, `n` (comparable trials that reached the end and were measured there), `spearman`,
    `kendall`, `low` and `high` (95 % bootstrap interval of Spearman's), `top` (how many count as the best at the end),
    `kept_share` (of these, how many are within the best 1 / `reduction` of all `reached` trials at the rung). None if
    it cannot be told."""
    why_not: str
    saving: Saving | None
    """None if no trial was stopped early."""
    basis: str = ""
    """From which trials it is, and what that means."""


def stability(search: Search, among: Comparable) -> Stability:
    """Return how well the ranks at each rung agree with those at the end."""
    pruned = search.trials.loc[search.trials["outcome"] == Outcome.PRUNED.value]
    final = _final_values(search, among)
    curves = Curves.of(search)
    if curves is None:
        saving = _saving(search, pruned, None, final) if len(pruned) else None
        return Stability(None, f"there are no histories of {search.objective.column}", saving)
    saving = _saving(search, pruned, curves, final) if len(pruned) else None
    if len(final) < FEWEST:
        return Stability(None, f"{len(final)} completed trials are too few to compare ranks (4)", saving)
    steps, source = rungs(search, curves, final.index)
    rows = [_at_rung(search, curves, final, step) for step in steps]
    rows = [row for row in rows if row is not None]
    if not rows:
        return Stability(None, f"no trial reported {search.objective.column} before its end", saving)
    basis = f"{source}; over the {len(final)} comparable trials that reached the end"
    if len(pruned):
        basis += (
            f": these were let through by early stopping, which hides how often a stopped one would have come back "
            f"({len(pruned)} were stopped)"
        )
    return Stability(pd.DataFrame(rows), "", saving, basis)


@dataclass(frozen=True)
class Early:
    """A search as it stood at its first rung."""

    step: float
    search: Search
    """The search of every trial that reached the rung, stopped there or not, as if it had ended there."""
    values: dict[int, float]
    """Their objective there, by the trial's number."""
    outcomes: pd.Series
    """How they ended."""


def at_first_rung(search: Search) -> Early | None:
    """Return how every trial stood at the first rung; None if no trial was stopped early, or if no history tells.

    There the trials that were stopped can be compared with the others as equals, which they cannot at the end.
    """
    if not (search.trials["outcome"] == Outcome.PRUNED.value).any() or (curves := Curves.of(search)) is None:
        return None
    steps, _ = rungs(search, curves, pd.Index(curves.by_trial))
    if not steps:
        return None
    step = steps[0]
    found = {trial: curves.at(trial, step) * search.objective.sign for trial in curves.by_trial}
    values = {trial: value for trial, value in found.items() if not np.isnan(value)}
    there = search.trials.loc[search.trials["trial"].isin(values)]
    column = search.objective.column
    standing = there.assign(
        **{column: [values[number] for number in there["trial"]], STEPS: step}, outcome=Outcome.COMPLETED.value
    )
    # what a constraint bounds is known at the end alone
    return Early(step, replace(search, trials=standing, constraints=()), values, there["outcome"])


@dataclass(frozen=True)
class Curves:
    """The objective's reports of all trials."""

    steps: np.ndarray
    """Every step at which any trial reported, ascending."""
    by_trial: dict[int, tuple[np.ndarray, np.ndarray]]
    """Steps and scores (small is good) of each trial."""

    @classmethod
    def of(cls, search: Search) -> "Curves | None":
        """Return the reports of a search's objective; None if it has none."""
        histories, column = search.histories, search.objective.column
        column = column if column in histories.columns else column.removeprefix("metric.")
        if histories.empty or column not in histories.columns:
            return None
        values = numbers(histories, column).to_numpy() * search.objective.sign
        trials, steps = histories["trial"].to_numpy(), histories["step"].to_numpy(dtype=float)
        known = np.isfinite(values)
        trials, steps, values = trials[known], steps[known], values[known]
        order = np.lexsort((steps, trials))
        trials, steps, values = trials[order], steps[order], values[order]
        starts = np.flatnonzero(np.r_[True, trials[1:] != trials[:-1]]) if len(trials) else np.array([], dtype=int)
        ends = np.r_[starts[1:], len(trials)].astype(int)
        by_trial = {
            int(trials[start]): (steps[start:end], values[start:end]) for start, end in zip(starts, ends, strict=False)
        }
        return cls(np.unique(steps), by_trial) if by_trial else None

    def at(self, trial: int, step: float) -> float:
        """Return a trial's score at its first report at a step or after it, where a rung judges; NaN if it has none."""
        if trial not in self.by_trial:
            return np.nan
        steps, scores = self.by_trial[trial]
        place = int(np.searchsorted(steps, step))
        return float(scores[place]) if place < len(steps) else np.nan


def rungs(search: Search, curves: Curves, completed: pd.Index) -> tuple[list[float], str]:
    """Return the steps at which ranks are compared, before the last one, and where they are from."""
    last = max((curves.by_trial[trial][0][-1] for trial in completed if trial in curves.by_trial), default=0.0)
    stopping = search.spec.early_stopping if search.spec is not None else None
    if stopping is not None and stopping.name != "none":
        steps, step = [], float(stopping.grace_steps)
        while step < last:
            steps.append(step)
            step *= stopping.reduction
        return steps, f"at the rungs of {stopping.name}"
    wanted = [fraction * last for fraction in FRACTIONS]
    steps = {float(curves.steps[np.searchsorted(curves.steps, step)]) for step in wanted}
    return sorted(step for step in steps if step < last), "at a tenth, a quarter, half and three quarters of the steps"


def _reduction(search: Search) -> int:
    stopping = search.spec.early_stopping if search.spec is not None else None
    return stopping.reduction if stopping is not None and stopping.name != "none" else REDUCTION


def _final_values(search: Search, among: Comparable) -> pd.Series:
    """Return the final score of each comparable trial, by its number; of repeated ones too, each by itself."""
    numbers_ = [number for trials in among.units["trials"] for number in trials]
    rows = search.trials.loc[search.trials["trial"].isin(numbers_)]
    values = numbers(rows, search.objective.column).to_numpy() * search.objective.sign
    return pd.Series(values, index=pd.Index(rows["trial"].astype(int)), name=VALUE)


def _at_rung(search: Search, curves: Curves, final: pd.Series, step: float) -> dict[str, object] | None:
    then = {trial: curves.at(trial, step) for trial in curves.by_trial}
    reached = {trial: score for trial, score in then.items() if not np.isnan(score)}
    both = [trial for trial in final.index if trial in reached]
    if len(both) < FEWEST:
        return None
    early, late = np.array([reached[trial] for trial in both]), final.loc[both].to_numpy()
    spearman, kendall = agreement(early, late)
    low, high = _interval(early, late)
    top = _num_top(len(both))
    best = [both[place] for place in np.argsort(late, kind="stable")[:top]]
    reduction = _reduction(search)
    go_on = max(1, len(reached) // reduction)
    limit = np.sort(list(reached.values()))[go_on - 1]
    return {
        "step": step,
        "n": len(both),
        "spearman": spearman,
        "low": low,
        "high": high,
        "kendall": kendall,
        "top": top,
        "kept_share": float(np.mean([reached[trial] <= limit for trial in best])),
        "reached": len(reached),
        "reduction": reduction,
    }


def agreement(early: np.ndarray, late: np.ndarray) -> tuple[float, float]:
    """Return Spearman's and Kendall's correlation of two rankings; NaN if all are equal in one of them."""
    if np.ptp(early) == 0 or np.ptp(late) == 0:
        return np.nan, np.nan
    return spearman(early, late), kendall(early, late)


def _interval(early: np.ndarray, late: np.ndarray, resamples: int = 200, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of Spearman's correlation over the trials."""
    drawn = np.random.default_rng(seed).integers(len(early), size=(resamples, len(early)))
    left, right = ranked(early[drawn]), ranked(late[drawn])
    left, right = left - left.mean(axis=1, keepdims=True), right - right.mean(axis=1, keepdims=True)
    norm = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    found = (left * right).sum(axis=1)[norm > 0] / norm[norm > 0]
    if not len(found):
        return np.nan, np.nan
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _saving(search: Search, pruned: pd.DataFrame, curves: Curves | None, final: pd.Series) -> Saving:
    steps, cpu = numbers(pruned, STEPS).to_numpy(), numbers(pruned, "cpu_time_s").to_numpy()
    compiling = np.nan_to_num(numbers(pruned, "compile_time_s").to_numpy())
    whole = numbers(search.completed, STEPS).median()
    with np.errstate(divide="ignore", invalid="ignore"):
        saved = np.maximum(whole - steps, 0) * np.maximum(cpu - compiling, 0) / steps
    spent = float(numbers(search.trials, "cpu_time_s").sum() / 3600)
    saved = np.where(np.isfinite(saved) & (spent > 0), saved / 3600, np.nan)
    judged = _ahead(pruned, curves, final) if curves is not None and len(final) else None
    ahead, level = np.full((2, len(pruned)), np.nan) if judged is None else judged
    each = pd.DataFrame(
        {
            "step": _stopped_at(search, curves, steps),
            "stopped": 1,
            "core_hours": saved,
            "ahead_of_best": ahead,
            "ahead_of_top": level,
        }
    )
    hours = float(np.nansum(saved)) if np.isfinite(saved).any() else np.nan
    table = pd.DataFrame(each.groupby("step", dropna=False).sum(min_count=1)).reset_index()
    return Saving(
        num_pruned=len(pruned),
        core_hours=hours,
        share=hours / (hours + spent),
        num_ahead=None if judged is None else int(ahead.sum()),
        num_level=0 if judged is None else int(level.sum()),
        top=_num_top(len(final)),
        table=table,
    )


def _stopped_at(search: Search, curves: Curves | None, steps: np.ndarray) -> np.ndarray:
    """Return the rung at which each stopped trial was judged last; its own steps if it reached none."""
    if curves is None or search.spec is None or search.spec.early_stopping.name == "none":
        return steps
    judged = np.array(rungs(search, curves, pd.Index(curves.by_trial))[0])
    place = np.searchsorted(judged, steps, side="right") - 1
    return np.where(place >= 0, judged[np.maximum(place, 0)], steps) if len(judged) else steps


def _ahead(pruned: pd.DataFrame, curves: Curves, final: pd.Series) -> np.ndarray:
    """Return which stopped trials were then ahead of the best one (first row), and of the last of the best ones."""
    ordered = [int(final.index[place]) for place in np.argsort(final.to_numpy(), kind="stable")]
    marks = ordered[0], ordered[_num_top(len(ordered)) - 1]
    ahead = np.zeros((2, len(pruned)))
    for place, number in enumerate(pruned["trial"]):
        if number in curves.by_trial:
            steps, scores = curves.by_trial[number]
            ahead[:, place] = [scores[-1] < curves.at(mark, steps[-1]) for mark in marks]
    return ahead


def _num_top(num: int) -> int:
    """Return how many trials count as the best ones: ten, or a third of fewer than thirty."""
    return TOP if num >= 3 * TOP else max(1, num // 3)
