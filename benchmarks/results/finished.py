"""Finished searches as results pages show them: tables in Markdown, what they took, and trained models."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.sources.trial_table import TrialTable, load_table
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_trials
from trainables._shared.checkpoint import CheckpointError
from trainables._shared.config import MethodConfig
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_config_type, load_method
from trainables._shared.program import Program
from trainables._shared.saved import SavedModel, load_model
from trainables._shared.training import Training


class Finished:
    """A search directory whose search has ended."""

    def __init__(self, folder: str) -> None:
        self.paths = SearchPaths(Path(folder).resolve())
        self.table: TrialTable = load_table(self.paths)

    @property
    def completed(self) -> list[dict[str, Any]]:
        """The rows of the completed trials, best first."""
        return [row for row in self.table.frame.to_dict("records") if row["outcome"] == Outcome.COMPLETED.value]

    def took(self) -> str:
        """Return what the search took: trials by outcome, core-hours, and of those what compiling was."""
        frame = self.table.frame
        outcomes = ", ".join(f"{num} {name}" for name, num in frame["outcome"].value_counts().items())
        hours = frame["cpu_time_s"].sum() / 3600
        compiling = frame["compile_time_s"].sum() / frame["wall_time_s"].sum()
        return (
            f"{len(frame)} trials ({outcomes}), {hours:.2f} core-hours, {100 * compiling:.0f} % of the time compiling"
        )

    def config(self, trial: int) -> MethodConfig:
        """Return a trial's config."""
        config_type = load_config_type(self.table.spec.trainable)
        return config_type.of_values(self._record(trial).config)

    def _record(self, trial: int) -> TrialRecord:
        return next(one for one in load_trials(self.paths) if one.number == trial)

    def model(self, trial: int) -> SavedModel:
        """Return a trial's model: from its checkpoint, or trained again where the search has not kept it.

        Raises AssertionError where training again gives another score.
        """
        try:
            return load_model(self.paths.checkpoint(trial))
        except (CheckpointError, FileNotFoundError):
            return self._trained_again(trial)

    def _trained_again(self, trial: int) -> SavedModel:
        record, config = self._record(trial), self.config(trial)
        method = load_method(self.table.spec.trainable)
        training = Training(Program(method, config), config, method.data(config, DatasetStore()))
        while not training.advance().ending:
            pass
        metric, _ = method.selection(config)
        assert training.best is not None
        again, first = training.best.value, record.metrics[metric]
        # Other processors round otherwise, and chaotic systems make something of it.
        assert math.isclose(again, first, rel_tol=0.2), f"trial {trial}: {metric} was {first:g}, and now is {again:g}"
        with tempfile.TemporaryDirectory() as folder:
            training.save(Path(folder) / "model.npz", {"trainable": self.table.spec.trainable})
            return load_model(Path(folder) / "model.npz")


def markdown(frame: pd.DataFrame) -> str:
    """Return a table in Markdown, numbers to three figures."""

    def shown(value: Any) -> str:
        if isinstance(value, float):
            return "" if math.isnan(value) else f"{value:.3g}"
        return str(value)

    return frame.map(shown).to_markdown(index=False, disable_numparse=True)


def range_of(values: Sequence[float]) -> str:
    """Return the least and the largest of some values."""
    return f"{min(values):.3g} to {max(values):.3g}" if len(values) else ""
