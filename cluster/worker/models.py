"""Writes the models of a trial that its search keeps beside the best one: on the way, and after the last step."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a method imports JAX: the thread caps must be checked before that
    from trainables._shared.training import Report, Training


class WayModels:
    """The models of one trial that a task asks for, each a file without the optimiser's state.

    The task's `models` say after which multiples of steps (`every`, perhaps none) and how many at most (`most`), in
    which files (`on_the_way`, a name with a place for the step), and where the last one goes (`last`, perhaps nowhere).
    """

    def __init__(self, asked: Mapping[str, Any], trainable: str) -> None:
        self._every: int | None = asked.get("every")
        self._most: int = asked.get("most", 1)
        self._on_the_way: str = asked.get("on_the_way", "")
        self._last: str | None = asked.get("last")
        self._trainable = trainable
        self._multiples = 0

    def go_on_from(self, step: int) -> None:
        """Take those up to a step as written: a checkpoint of it comes after them."""
        self._multiples = step // self._every if self._every else 0

    def after(self, training: "Training", report: "Report") -> None:
        """Write what is due after a report; of a training that has failed, nothing."""
        if report.ending not in ("", "completed"):
            return
        if self._every and report.step // self._every > self._multiples:
            self._multiples = report.step // self._every
            training.save_model(Path(self._on_the_way.format(step=report.step)), self._trainable)
            self._drop()
        if self._last and report.ending:
            training.save_model(Path(self._last), self._trainable)

    def _drop(self) -> None:
        """Delete the earliest beyond so many."""
        one = Path(self._on_the_way.format(step=0))
        there = sorted(one.parent.glob(f"{one.stem.rstrip('0')}*{one.suffix}"))
        for file in there[: -self._most]:
            file.unlink(missing_ok=True)
