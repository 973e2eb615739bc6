"""`swell evaluate`: how trained models do on further test sets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.evaluation.apply import EvaluationError, Model, method_digest
from analysis.kept_evaluations import Kept, examples_of, find, keep, key_of, table_of
from analysis.saved_models import Step, kept_model
from analysis.search import Search
from search_spaces.errors import nearest

NUM_BEST = 10
"""Trials whose models are applied if none are named: the best that have kept theirs."""


@dataclass(frozen=True)
class Evaluation:
    """What models gave on test sets."""

    table: pd.DataFrame
    """A row per trial and set: `trial`, `test_set`, and every statistic of the method."""
    examples: pd.DataFrame
    """A row per trial, set and example (an orbit, a series)."""


def evaluate(
    search: Search,
    on: Sequence[str],
    trials: Sequence[int] | None = None,
    *,
    step: Step = None,
    told: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Return what the kept models of some trials, by default the ten best, give on test sets by name or from files.

    They are the trials' best models, or those at a `step`.

    What was computed before, of the same model, set and code, is read from the search directory; the rest is computed
    and kept there, each as soon as it is known. `told` hears a line for each. Raises EvaluationError if there is no
    such set, or no model, and NotThereError if there is no such trial.
    """
    if not on:
        raise EvaluationError("name a test set or a file: --on NAME")
    numbers = _with_models(search, trials, step)
    assert search.paths is not None
    assert search.spec is not None
    method = method_digest(search.spec.trainable)
    found: list[Kept] = []
    for trial in numbers:
        model: Model | None = None
        for name in on:
            key = key_of(kept_model(search.paths, trial, step), name, method)
            kept = find(search.paths, trial, name, step)
            if kept is None or kept.key != key:
                model = model or Model(search, trial, step)
                applied = model.apply(name)
                kept = Kept(trial, name, key, applied.metrics, applied.examples, step)
                keep(search.paths, kept)
                told(f"trial {trial} on {Path(name).name}")
            found.append(kept)
    return Evaluation(table_of(found), examples_of(found))


def _with_models(search: Search, trials: Sequence[int] | None, step: Step) -> list[int]:
    if search.paths is None:
        raise EvaluationError(f"{search.name} is no search directory: it holds no models")
    checkpoint = search.paths.checkpoint
    if trials is not None:
        for number in trials:
            search.row(number)  # says what is not there
            # Of a trial that was stopped early, a step's may have stayed alone; `kept_model` says if it has not.
            if step is None and not checkpoint(number).exists():
                there = [int(one) for one in search.trials["trial"] if checkpoint(int(one)).exists()]
                some = ", ".join(map(str, sorted(there)[:20])) or "none"
                raise EvaluationError(
                    f"the checkpoint of trial {number} was not kept (keep: in the spec); there are those of: {some}"
                )
        return list(dict.fromkeys(trials))
    if search.completed.empty:
        raise EvaluationError(f"no trial of {search.name} has completed yet")
    best = [int(number) for number in search.completed["trial"] if checkpoint(int(number)).exists()][:NUM_BEST]
    if not best:
        raise EvaluationError(f"{search.name} has no completed trial whose checkpoint was kept (keep: in the spec)")
    return best


def chosen_columns(table: pd.DataFrame, columns: str | None) -> pd.DataFrame:
    """Return a table with some statistics: those named, separated by commas, `all`, or six of the model's own.

    Of its own are those that are no baseline's; first come means, medians and standard deviations, if there are any.

    Raises EvaluationError if there is no such statistic.
    """
    statistics = [str(name) for name in table.columns if name not in ("trial", "step", "test_set")]
    if columns == "all":
        return table
    if columns is None:
        own = [name for name in statistics if not name.startswith("baseline_")] or statistics
        named = [name for name in own if "_mean" in name or "_median" in name or "_std" in name] or own
        return table.filter(items=["trial", "step", "test_set", *named[:6]])
    names = [name.strip() for name in columns.split(",")]
    for name in names:
        if name not in statistics:
            near = nearest(name, statistics)
            hint = f" Did you mean {near!r}?" if near else ""
            raise EvaluationError(f"--columns {name}: no such statistic.{hint} There are: {', '.join(statistics)}")
    return table.filter(items=["trial", "step", "test_set", *names])
