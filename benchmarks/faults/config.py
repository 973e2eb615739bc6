"""The configuration of the method that the chaos harness searches over; imports no JAX."""

from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from trainables._shared.config import NUMERIC, MethodConfig


class Config(MethodConfig):
    """A quadratic to fit, and how long each step takes."""

    reported_metrics: ClassVar[Mapping[str, str]] = {
        "val_error": "Distance to the minimum.",
        "train_loss": "Loss.",
        "train_orbit": "Mean of the chaotic map after this step.",
    }

    predicts_by: ClassVar[Collection[str]] = ("pace_s",)  # a callback in what is traced; it changes no number

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 0.1
    """Adam's learning rate."""
    start: Annotated[float, NUMERIC] = 1.0
    """Where the unknowns begin, on average; the minimum lies at 0."""
    steps: int = Field(default=14, ge=1)
    """Optimiser steps."""
    report_every: int = Field(default=1, ge=1)
    """Steps between two reports."""
    work: int = Field(default=20_000, ge=0)
    """Iterations of a chaotic map in every step: what makes one wrong bit show."""
    pace_s: float = Field(default=0.2, ge=0)
    """Seconds that a step takes at least, by the clock: a search lasts on any machine, and leaves its CPUs free."""
    orders: str = ""
    """Folder from which a worker takes orders to misbehave; the numbers do not depend on it."""

    def num_steps(self) -> int:
        """Return the optimiser steps."""
        return self.steps

    def final_metrics(self) -> Mapping[str, str]:
        """Name what is measured at the end."""
        return {"test_error": "Distance to the minimum on the test set."}
