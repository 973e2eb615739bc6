"""How much each factor mattered, by Optuna's evaluators, with an interval that says how well the trials support it.

fANOVA (Hutter et al., 2014): the share of the objective's variance over the searched space that a factor explains by
itself. PED-ANOVA (Watanabe et al., 2023): how much the best tenth of the trials differs in the factor from all of them.
"""

import hashlib
import warnings
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.mattered.comparable import VALUE, Comparable, is_active, numbers
from analysis.mattered.levels import level_labels
from analysis.mattered.words import too_few
from analysis.search import Factor, Search

if TYPE_CHECKING:  # Optuna takes half a second to import, and a search of few trials needs none
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

FEWEST = 10
"""Results below which no importance is computed."""
FEWEST_FOR_TENTH = 50
"""Results below which the best tenth, which PED-ANOVA looks at, is fewer than five trials."""
MOST_FOR_FULL_TREES = 300
"""Results up to which fANOVA has Optuna's own settings; beyond them its trees are bounded, or it would take minutes."""
DEPTH = 6
MOST_EVALUATED = 2000
RESAMPLES = 25
MOST_RESAMPLED = 300
WIDER = 1.5
"""By how much an interval is wider than the resamples' own, as they repeat fANOVA's bias: it gives a strong factor too
much. Of 40 to 100 results with planted effects of choices the intervals cover the true share of the variance in 93 %
(of 96), of ranges of numbers in 56 %, which forests of so few results flatten: they are about chance, not about the
evaluator."""
RESAMPLED_TREES, RESAMPLED_DEPTH = 16, 6
LARGEST_INPUT = 1e37
"""Of factors: forests hold them in 32 bits."""
FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"


@dataclass(frozen=True)
class Importance:
    """The importance of all factors."""

    table: pd.DataFrame | None
    """One row per evaluator and factor, the most important first: `factor`, `evaluator`, `value` (of all of an
    evaluator's, 1 together), `low`, `high`, `ahead` (the share of resamples in which it is ahead of the next one), `n`
    (results it is from), `where` (the condition under which it is searched). None if it cannot be told."""
    why_not: str = ""
    remarks: tuple[str, ...] = ()
    """From which trials and with which settings it was computed."""


def importance(search: Search, among: Comparable, seed: int = 0) -> Importance:
    """Return how much each factor mattered among the feasible comparable trials."""
    # in the order in which Optuna has them: which results a tree's resample has depends on it
    units = among.feasible.sort_values("trial", ignore_index=True)
    factors = [one for one in search.factors if _num_levels(search, one, units) > 1 and _is_moderate(one, units)]
    if len(units) < FEWEST:
        return Importance(None, f"{too_few(len(units))}: importance needs at least {FEWEST}")
    if not factors:
        return Importance(None, "no factor has two levels with results")
    values = units[VALUE].to_numpy(dtype=float)
    if values.min() == values.max():
        return Importance(None, "all results are equal")
    trials = optuna_trials(search, factors, units)
    always = [one for one in factors if all(one.column in trial.params for trial in trials)]
    groups = [(always, "")] if always else []
    groups += [([*always, one], _condition(one)) for one in factors if one not in always]
    rows: list[dict[str, object]] = []
    for members, where in groups:
        names = [one.column for one in members]
        there = [trial for trial in trials if all(name in trial.params for name in names)]
        if len(there) >= FEWEST:
            found = _with_interval(search, there, names, FANOVA, seed)
            rows += [{**row, "where": where} for row in found if not where or row["factor"] == names[-1]]
    rows += [
        {**row, "where": ""} for row in _with_interval(search, trials, [one.column for one in factors], PED_ANOVA, seed)
    ]
    table = pd.DataFrame(rows).sort_values(["evaluator", "value"], ascending=[False, False], ignore_index=True)
    return Importance(table, remarks=tuple(_remarks(len(units), among)))


def _remarks(num: int, among: Comparable) -> list[str]:
    remarks = [f"importance is from {among.what}; its intervals are of {RESAMPLES} resamples of them"]
    if num > MOST_FOR_FULL_TREES:
        remarks.append(f"fANOVA's trees are at most {DEPTH} deep, as there are more than {MOST_FOR_FULL_TREES} results")
    if num > MOST_EVALUATED:
        remarks.append(f"importance is from {MOST_EVALUATED} results drawn from the {num}, or it would take minutes")
    if num > MOST_RESAMPLED:
        remarks.append(f"each resample has {MOST_RESAMPLED} results; the intervals are scaled accordingly")
    if num < FEWEST_FOR_TENTH:
        tenth = max(1, -(-num // 10))
        remarks.append(f"PED-ANOVA looks at the best tenth, which is only {tenth} of {num} results: take it as a hint")
    return remarks


def _num_levels(search: Search, factor: Factor, units: pd.DataFrame) -> int:
    active = is_active(search, factor, units).to_numpy()
    if factor.is_number:
        return len(np.unique(numbers(units, factor.column).to_numpy()[active]))
    return int(level_labels(search, factor, units).nunique())


def _is_moderate(factor: Factor, units: pd.DataFrame) -> bool:
    """Return whether the forest can hold all values of a factor."""
    return not factor.is_number or bool((numbers(units, factor.column).abs().dropna() < LARGEST_INPUT).all())


def _condition(factor: Factor) -> str:
    texts = [f"{name} = {' or '.join(map(str, values))}" for name, values in factor.conditions.items()]
    return " and ".join(texts) or f"{factor.column} is given"


def optuna_study(search: Search, trials: Sequence["FrozenTrial"]) -> "Study":
    """Return an Optuna study of some trials, of which one may be there several times."""
    import optuna

    class Given(optuna.Study):
        """A study that has the trials it was given: to add thousands to a storage takes longer than to judge them."""

        def get_trials(
            self, deepcopy: bool = True, states: Container["TrialState"] | None = None
        ) -> list["FrozenTrial"]:
            return numbered

    direction = "minimize" if search.objective.mode == "min" else "maximize"
    storage = optuna.storages.InMemoryStorage()
    with _quiet():
        name = optuna.create_study(direction=direction, storage=storage).study_name
        study = Given(name, storage)
    numbered = [_numbered(trial, number) for number, trial in enumerate(trials)]
    return study


def _numbered(trial: "FrozenTrial", number: int) -> "FrozenTrial":
    from optuna.trial import FrozenTrial

    return FrozenTrial(
        number=number,
        state=trial.state,
        value=trial.value,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=number,
    )


def optuna_trials(search: Search, factors: Sequence[Factor], units: pd.DataFrame) -> list["FrozenTrial"]:
    """Return the units as Optuna's trials: a choice by its level's name, a number as itself."""
    from optuna.trial import create_trial

    columns: dict[str, tuple[BaseDistribution, list[object]]] = {}
    for factor in factors:
        active = is_active(search, factor, units).to_numpy()
        labels = level_labels(search, factor, units)
        found = numbers(units, factor.column).to_numpy() if factor.is_number else labels.to_numpy(dtype=object)
        known = active & ~pd.isna(found)
        distribution = _distribution(factor, found[known], list(labels.cat.categories))
        columns[factor.column] = (distribution, [value if on else None for value, on in zip(found, known, strict=True)])
    trials = []
    for place, value in enumerate(units[VALUE]):
        params = {name: found[place] for name, (_, found) in columns.items() if found[place] is not None}
        params = {name: _plain(value, columns[name][0]) for name, value in params.items()}
        distributions = {name: columns[name][0] for name in params}
        trials.append(create_trial(params=params, distributions=distributions, value=float(value)))
    return trials


def _plain(value: object, distribution: object) -> object:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(distribution, IntDistribution):
        return int(value)  # pyright: ignore[reportArgumentType]
    return float(value) if isinstance(distribution, FloatDistribution) else value  # pyright: ignore[reportArgumentType]


def _distribution(factor: Factor, values: np.ndarray, levels: list[str]) -> "BaseDistribution":
    """Return what the factor was searched over; the range of what was tried if the source does not know."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not factor.is_number:
        return CategoricalDistribution(levels)
    tried = (float(values.min()), float(values.max()))
    low = tried[0] if factor.low is None else min(factor.low, tried[0])
    high = tried[1] if factor.high is None else max(factor.high, tried[1])
    if factor.is_whole and all(value == round(value) for value in values):
        return IntDistribution(round(low), round(high), log=factor.is_log, step=round(factor.step or 1))
    step = factor.step if (low, high) == (factor.low, factor.high) else None
    return FloatDistribution(low, high, log=factor.is_log and low > 0, step=step)


def evaluate(study: "Study", names: Sequence[str], evaluator: str, **settings: int) -> dict[str, float]:
    """Return Optuna's importance of each parameter by one of its evaluators, of all 1 together."""
    from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

    made = PedAnovaImportanceEvaluator() if evaluator == PED_ANOVA else FanovaImportanceEvaluator(**settings)
    # a resample may have no trial in which a conditional factor was searched
    there = [name for name in names if any(name in trial.params for trial in study.get_trials(deepcopy=False))]
    with _quiet():
        try:
            found = get_param_importances(study, evaluator=made, params=there)
        except (
            RuntimeError
        ) as error:  # in a resample a factor may have a single level, so that nothing splits its trees
            if "zero total variance" not in str(error):
                raise
            found = {}
    return {name: float(found.get(name, 0.0)) for name in names}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's warnings of few trials and its messages of new studies quiet: our remarks say it, and once."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


_KNOWN: dict[tuple[object, ...], list[dict[str, object]]] = {}
"""What `_with_interval` has computed last: a report asks for the same in a table and in a figure."""
MOST_KNOWN = 64


def _with_interval(
    search: Search, trials: Sequence["FrozenTrial"], names: Sequence[str], evaluator: str, seed: int
) -> list[dict[str, object]]:
    distributions = {name: repr(one) for trial in trials for name, one in trial.distributions.items()}
    content = repr((distributions, [(trial.value, trial.params) for trial in trials]))
    key = (search.objective.mode, tuple(names), evaluator, seed, hashlib.blake2b(content.encode()).digest())
    found = _KNOWN.pop(key, None) or _compute(search, trials, names, evaluator, seed)
    _KNOWN[key] = found
    while len(_KNOWN) > MOST_KNOWN:
        del _KNOWN[next(iter(_KNOWN))]
    return [dict(row) for row in found]


def _compute(
    search: Search, trials: Sequence["FrozenTrial"], names: Sequence[str], evaluator: str, seed: int
) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    if len(trials) > MOST_EVALUATED:
        trials = [trials[place] for place in np.sort(rng.choice(len(trials), MOST_EVALUATED, replace=False))]
    num = len(trials)
    full = {} if num <= MOST_FOR_FULL_TREES else {"max_depth": DEPTH}
    value = evaluate(optuna_study(search, trials), names, evaluator, seed=seed, **full)
    size = min(num, MOST_RESAMPLED)
    resamples = []
    for number in range(RESAMPLES):
        drawn = [trials[place] for place in rng.integers(num, size=size)]
        bounds = {"seed": seed + number, "n_trees": RESAMPLED_TREES, "max_depth": RESAMPLED_DEPTH}
        found = evaluate(optuna_study(search, drawn), names, evaluator, **bounds)
        resamples.append([found[name] for name in names])
    spread = np.array(resamples)
    order = sorted(names, key=lambda name: -value[name])
    # Around the value, not around the resamples' mean: with fewer and smaller trees that is another one.
    around = (spread - np.median(spread, axis=0)) * np.sqrt(size / num)
    low, high = np.quantile(around, [0.05, 0.95], axis=0) * WIDER
    around = around + np.array([value[name] for name in names])
    rows = []
    for rank, name in enumerate(order):
        place = list(names).index(name)
        behind = [list(names).index(other) for other in order[rank + 1 : rank + 2]]
        rows.append(
            {
                "factor": name,
                "evaluator": evaluator,
                "value": value[name],
                "low": float(np.clip(value[name] + low[place], 0, 1)),
                "high": float(np.clip(value[name] + high[place], 0, 1)),
                "ahead": float((around[:, place] > around[:, behind[0]]).mean()) if behind else np.nan,
                "n": num,
            }
        )
    return rows
