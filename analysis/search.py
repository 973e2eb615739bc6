"""A search as the analysis sees it: a table of trials, what its columns are, and the trials' histories."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from search_spaces.errors import UserError
from search_spaces.spec import Spec


class NotThereError(UserError):
    """The search does not have what was asked of it; the message says what it has."""


@dataclass(frozen=True)
class Objective:
    """A metric that the search makes small or large."""

    column: str
    mode: Literal["min", "max"] = "min"

    @property
    def sign(self) -> int:
        """1 if small is good, -1 if large is."""
        return 1 if self.mode == "min" else -1


@dataclass(frozen=True)
class Bound:
    """A metric that must stay within limits; a limit that is None does not hold."""

    column: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Factor:
    """A parameter that the search varies."""

    column: str
    levels: tuple[Any, ...] | None = None
    """Its choices as the table shows them, in the given order; None if it is a range of numbers."""
    is_log: bool = False
    """Whether it is searched over orders of magnitude."""
    conditions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """It is searched only if each of these columns has one of these values."""
    low: float | None = None
    """The lower end of its range as it was searched; None if it is a choice, or if the source does not know."""
    high: float | None = None
    """The upper end of it, likewise."""
    step: float | None = None
    """The distance between neighbouring values of the range; None if all are searched."""
    is_whole: bool = False
    """Whether it is a range of whole numbers."""

    @property
    def is_number(self) -> bool:
        """Whether it is a range of numbers, and not a choice."""
        return self.levels is None


@dataclass(frozen=True)
class Search:
    """A search's trials and what is known of them.

    It comes from a search directory (`analysis.load`), from any table (`analysis.from_csv`) or from an Optuna study
    (`analysis.from_optuna`); what a source does not know is empty or None.
    """

    name: str
    trials: pd.DataFrame
    """One row per trial, best first.

    Always there: `trial` (its number), `configuration` (which ties the repetitions of one configuration), `outcome`
    ("completed", "pruned", "running", or how it failed), `rank` (of completed trials, from 1), a column per factor and
    per measured metric. A search directory also has every config field, and what the trial used: `steps_trained`,
    `wall_time_s`, `cpu_time_s`, `compile_time_s`, `peak_memory_mb`, `host`, `error` and more, and `began_at` and
    `ended_at` in seconds since 1970."""
    factors: tuple[Factor, ...]
    """What was searched, in the spec's order; the seed of repetitions is not among them."""
    objectives: tuple[Objective, ...]
    constraints: tuple[Bound, ...] = ()
    seed: str | None = None
    """The column of the seed that tells the repetitions of a configuration apart; None if nothing was repeated."""
    seeds: tuple[Any, ...] = ()
    """The seeds that every configuration was to have, as far as that is known."""
    remarks: tuple[str, ...] = ()
    """What a reader must know of where these numbers come from: guessed columns, several versions of the code."""
    paths: SearchPaths | None = None
    """The search directory; None if the search is from elsewhere."""
    spec: Spec | None = None
    """The resolved spec; None if the search is from elsewhere."""
    read_histories: Callable[[], pd.DataFrame] = field(default_factory=lambda: no_histories, repr=False)
    read_evaluations: Callable[[], pd.DataFrame] = field(default_factory=lambda: no_evaluations, repr=False)
    read_config: Callable[[int], dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def objective(self) -> Objective:
        """The first objective."""
        return self.objectives[0]

    @property
    def is_multi_objective(self) -> bool:
        """Whether there are several objectives, so that no single trial is best."""
        return len(self.objectives) > 1

    @property
    def completed(self) -> pd.DataFrame:
        """The trials that trained to their end, best first."""
        return self.trials.loc[self.trials["outcome"] == Outcome.COMPLETED.value]

    @cached_property
    def histories(self) -> pd.DataFrame:
        """All reports of all trials, by trial and step; read at first use.

        Columns: `trial`, `step`, `seconds` since the trial began, and one per metric. No rows if the source has none.
        """
        return self.read_histories()

    def factor(self, column: str) -> Factor:
        """Return a factor by its column's name.

        Raises NotThereError if nothing of that name was searched.
        """
        for factor in self.factors:
            if factor.column == column:
                return factor
        raise not_there(f"{self.name} has searched no {column!r}", column, [one.column for one in self.factors])

    def row(self, trial: int) -> pd.Series:
        """Return a trial's row of the table.

        Raises NotThereError if there is no such trial.
        """
        found = self.trials[self.trials["trial"] == trial]
        if found.empty:
            numbers = sorted(self.trials["trial"])
            some = f"its trials are {numbers[0]} to {numbers[-1]}" if numbers else "it has no trials yet"
            raise NotThereError(f"{self.name} has no trial {trial}: {some}")
        return found.iloc[0]

    def config(self, trial: int) -> dict[str, Any]:
        """Return every field of a trial's config; from a source without configs, its factors alone.

        Raises NotThereError if there is no such trial.
        """
        row = self.row(trial)
        if self.read_config is not None:
            return self.read_config(trial)
        names = [factor.column for factor in self.factors] + ([self.seed] if self.seed else [])
        return {name: row[name] for name in names}

    def model(self, trial: int, step: int | str | None = None) -> Any:
        """Return a trial's trained model with its method and config, as `trainables._shared.saved.load_model` does.

        It is the best one, or that after `step` steps or the `last`, if the search has kept it. It needs JAX. Raises
        NotThereError if the search has not kept the trial's checkpoint, which holds the best one, and ModelError if
        another one was not kept, or if no model can be loaded from the file.
        """
        self.row(trial)
        if self.paths is None:
            raise NotThereError(f"{self.name} is no search directory: it holds no models")
        if step is None and not self.paths.checkpoint(trial).exists():
            raise NotThereError(
                f"{self.name} has not kept the checkpoint of trial {trial} (keep: in the spec says whose stay); "
                f"swell rerun {self.name} {trial} trains it again"
            )
        from analysis.saved_models import saved_model

        return saved_model(self.paths, trial, step)

    def evaluations(self) -> pd.DataFrame:
        """Return what `swell evaluate` has computed so far: `trial`, `test_set`, and every statistic."""
        return self.read_evaluations()


def no_histories() -> pd.DataFrame:
    """Return the histories of a search that has none: no rows."""
    return pd.DataFrame(
        {"trial": pd.Series(dtype="int64"), "step": pd.Series(dtype="int64"), "seconds": pd.Series(dtype="float64")}
    )


def no_evaluations() -> pd.DataFrame:
    """Return the evaluations of a search that has none: no rows."""
    return pd.DataFrame({"trial": [], "test_set": []})


def not_there(what: str, name: str, there: list[str]) -> NotThereError:
    """Return the error for a name that is not among those that are there, with its nearest spelling."""
    from search_spaces.errors import nearest

    near = nearest(name, there)
    hint = f" Did you mean {near!r}?" if near else ""
    return NotThereError(f"{what}.{hint} There are: {', '.join(there) or 'none'}")
