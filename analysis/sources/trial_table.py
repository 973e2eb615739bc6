"""The trial table: one row per trial, a column per config field and metric, units in the columns' names."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.sources.trial_rows import (
    FIGURES,
    ORIGINS,
    columns_judged,
    config_column,
    mixture,
    num_origins,
    trial_rows,
)
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_spec, load_trials
from search_spaces.spec import Spec


@dataclass(frozen=True)
class TrialTable:
    """A search's trials as a data frame, and what its columns are."""

    spec: Spec
    frame: pd.DataFrame
    """One row per trial, best first: `rank` counts the completed ones from 1, all others follow by number."""

    @property
    def searched(self) -> list[str]:
        """The columns of the searched parameters, in the spec's order; also the seed if it was repeated."""
        repeated = ["seed"] if self.spec.repeats else []
        names = map(config_column, [*self.spec.space, *repeated])
        return [name for name in names if name in self.frame.columns]

    @property
    def judged(self) -> dict[str, str]:
        """The columns of the objectives and constrained metrics that were measured, by metric."""
        return columns_judged(self.spec, self.frame.columns)

    @property
    def mixture(self) -> str:
        """A warning about numbers that do not come from one code, settings and data; empty if they do."""
        return mixture({name: _num_origins(self.frame, name) for name in ORIGINS})


def mixed_origins(frame: pd.DataFrame) -> list[str]:
    """Return which of the columns `code`, `settings` and `inputs` are not the same in all trials that tell theirs."""
    return [name for name in ORIGINS if _num_origins(frame, name) > 1]


def _num_origins(frame: pd.DataFrame, name: str) -> int:
    return num_origins(frame[name]) if name in frame.columns else 0


def load_table(paths: SearchPaths) -> TrialTable:
    """Return the table of a search, which may still be running."""
    return make_table(load_spec(paths), load_trials(paths))


def make_table(spec: Spec, records: Sequence[TrialRecord]) -> TrialTable:
    """Return the table of some trials; shows a structured choice by its name, not by its content."""
    frame = pd.DataFrame(trial_rows(spec, records))
    if not frame.empty:
        frame["rank"] = frame["rank"].astype("Int64")
        usage = [one.column for one in FIGURES if one.column in frame.columns]
        frame = frame.filter(items=[name for name in frame.columns if name not in usage] + usage)
    return TrialTable(spec, frame)
