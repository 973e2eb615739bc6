"""What a search was asked, in sentences; and what came out of it."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from analysis.mattered.comparable import Comparable, numbers
from analysis.report.tables import listed, text_of
from analysis.search import Bound, Factor, Search
from cluster.state.outcomes import Outcome
from cluster.wording import count
from search_spaces.errors import hide_passwords
from search_spaces.spec import Spec

MOST_LEVELS = 8
"""Choices of one parameter that are named in a sentence."""
RUNNING = "running"
_SAMPLERS = {"random": "at random", "grid": "on the whole grid"}
_BOUNDS = {
    "trials": "trial",
    "hours": "hour",
    "core_hours": "core-hour",
    "patience_trials": "trial in a row without a better one",
}


def asked(search: Search) -> list[str]:
    """Return what the search was asked: what is to be small or large, how it was sought, and what it might cost."""
    goals = [f"the {'smallest' if one.mode == 'min' else 'largest'} {one.column}" for one in search.objectives]
    what = f"trade-offs between {listed(goals)}" if search.is_multi_objective else listed(goals) or "no objective"
    method = f" of {search.spec.trainable}" if search.spec else ""
    parameters = count(len(search.factors), "parameter")
    sentences = [f"{search.name} looked for {what}{method}, over {parameters}"]
    if search.constraints:
        sentences.append(f"A trial had to keep {listed(map(_bound, search.constraints))}")
    if search.spec:
        sentences += _how(search.spec)
    elif search.seeds:
        sentences.append(f"Configurations were repeated over {count(len(search.seeds), 'seed')}")
    return [f"{sentence}." for sentence in sentences]


def varied(search: Search) -> list[str]:
    """Return what was varied, a phrase for each parameter."""
    return list(map(_factor, search.factors))


def _factor(factor: Factor) -> str:
    if factor.levels is not None:
        levels = list(map(text_of, factor.levels))
        rest = f" and {len(levels) - MOST_LEVELS} more" if len(levels) > MOST_LEVELS else ""
        said = f"{', '.join(levels[:MOST_LEVELS])}{rest}"
    elif factor.low is None or factor.high is None:
        said = "numbers"
    else:
        said = f"{factor.low:g} to {factor.high:g}" + (", by orders of magnitude" if factor.is_log else "")
        said += f", in steps of {factor.step:g}" if factor.step else ""
    when = listed(f"{name} is {listed(map(text_of, values), 'or')}" for name, values in factor.conditions.items())
    return f"{factor.column}: {said}{f', only if {when}' if when else ''}"


def _bound(bound: Bound) -> str:
    if bound.min is not None and bound.max is not None:
        return f"{bound.column} from {bound.min:g} to {bound.max:g}"
    return (
        f"{bound.column} at most {bound.max:g}" if bound.max is not None else f"{bound.column} at least {bound.min:g}"
    )


def _how(spec: Spec) -> list[str]:
    sampler = _SAMPLERS.get(spec.sampler.name, f"by {spec.sampler.name}")
    sentences = [f"Configurations were proposed {sampler} (seed {spec.sampler.seed})"]
    stopping = spec.early_stopping
    if stopping.name != "none":
        sentences[0] += (
            f"; {stopping.name} stopped those that fell behind, from {stopping.grace_steps} steps on, where one in "
            f"{stopping.reduction} went on"
        )
    if spec.repeats:
        sentences.append(
            f"Every configuration was trained with {count(len(spec.seeds), 'seed')} ({listed(map(str, spec.seeds))})"
        )
    bounds = [_amount(getattr(spec.budget, name), noun) for name, noun in _BOUNDS.items() if getattr(spec.budget, name)]
    if spec.budget.target is not None:
        bounds.append(f"an objective of {spec.budget.target:g}")
    if bounds:
        sentences.append(f"The budget was {listed(bounds, 'or')}{', whichever came first' if len(bounds) > 1 else ''}")
    return list(map(hide_passwords, sentences))


def _amount(number: float, noun: str) -> str:
    first, _, rest = noun.partition(" ")
    return f"{number:g} {first}{'' if number == 1 else 's'}{' ' * bool(rest)}{rest}"


def found(search: Search, among: Comparable | None) -> list[str]:
    """Return what came out: how the trials ended, and which is the best, of all and beside the others."""
    trials = search.trials
    if trials.empty:
        return ["No trial has begun yet."]
    sentences = [_tally_sentence(search)]
    completed = search.completed
    if completed.empty:
        sentences.append("No trial has completed, so nothing can be said of which configuration is best.")
        return sentences
    if search.constraints and "feasible" in trials.columns:
        kept = sum(value is True for value in completed["feasible"].tolist())
        sentences.append(f"{kept} of {count(len(completed), 'completed trial')} keep all constraints.")
    if search.is_multi_objective:
        sentences.append(
            "With several objectives no single trial is best: those on the Pareto front are the trade-offs to choose "
            "from; the one ranked first is what others are compared to below."
        )
    return [*sentences, *_best(search, among)]


def tally(search: Search) -> dict[str, int]:
    """Return how many trials ended in each way, completed ones first, then pruned, running, and each failure."""
    counts = {str(name): int(number) for name, number in search.trials["outcome"].value_counts().items()}
    first = [Outcome.COMPLETED.value, Outcome.PRUNED.value, RUNNING, Outcome.STOPPED.value]
    order = [*(name for name in first if name in counts), *sorted(set(counts) - set(first))]
    return {name: counts[name] for name in order}


def _tally_sentence(search: Search) -> str:
    counts = tally(search)
    parts = listed(f"{number} {_WORDS.get(name, name.replace('_', ' '))}" for name, number in counts.items())
    is_over = not counts.get(RUNNING) and not counts.get(Outcome.STOPPED.value)
    head = f"{count(sum(counts.values()), 'trial')}: {parts}."
    return head if is_over else f"{head} The search is not over: what follows is as far as it has come."


_WORDS = {
    Outcome.PRUNED.value: "stopped early (pruned)",
    RUNNING: "running, or waiting to go on",
    Outcome.STOPPED.value: "stopped, and can go on",
}


def _best(search: Search, among: Comparable | None) -> list[str]:
    column = search.objective.column
    if search.seed is not None and among is not None and len(among.units):
        unit = among.units.head(1).to_dict("records")[0]
        spread = "" if unit["seed_std"] != unit["seed_std"] else f", standard deviation {text_of(unit['seed_std'])}"
        return [
            f"The best configuration (trials {listed(map(str, unit['trials']))}) has a mean {column} of "
            f"{text_of(unit['value'])} over its seeds{spread}: {_setting(search, unit)}."
        ]
    best = search.completed.head(1).to_dict("records")[0]
    reached = listed(f"{one.column} {text_of(best.get(one.column)) or 'not measured'}" for one in search.objectives)
    what = "Ranked first is trial" if search.is_multi_objective else "The best trial is"
    sentence = f"{what} {best['trial']}, with {reached}: {_setting(search, best)}."
    if search.is_multi_objective:
        return [sentence]
    values = numbers(search.completed, column).dropna()
    if len(values) > 1:
        sentence += f" The median of all {len(values)} completed trials is {text_of(float(np.median(values)))}."
    return [sentence]


def _setting(search: Search, row: Mapping[Hashable, Any]) -> str:
    texts = {one.column: text_of(row.get(one.column)) for one in search.factors}
    return listed(f"{name} = {text}" for name, text in texts.items() if text)
