"""What a training of ripple can be told; it imports no JAX, as that of a real method."""

from collections.abc import Collection, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainables._shared.config import NUMERIC, Branching, ConfigError, MethodConfig


class Config(MethodConfig):
    """How the quadratic is fitted."""

    reported_metrics: ClassVar[Mapping[str, str]] = {"val_error": "Distance to the minimum.", "train_loss": "Loss."}

    predicts_by: ClassVar[Collection[str]] = ("shift", "pace_s", "trouble")
    """What it fits, how long that takes and what goes wrong are its own: many tests search them."""

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 0.1
    """Adam's learning rate."""
    steps: int = Field(default=30, ge=1)
    """Optimiser steps."""
    report_every: int = Field(default=10, ge=1)
    """Steps between reports."""
    size: int = Field(default=3, ge=1)
    """Number of unknowns."""
    shift: Annotated[float, NUMERIC] = 1.0
    """Where the minimum lies."""
    trouble: Literal["none", "nan", "solver", "exception", "kill", "import"] = "none"
    """What goes wrong."""
    curve: Annotated[Literal["square", "hyperbola"], Branching()] = "square"
    """What the loss makes of a distance."""
    pace_s: float = Field(default=0.0, ge=0)
    """Seconds that a report takes at least: a trial that must last does so on a fast machine too, and costs no CPU."""
    optional: Annotated[float | None, Field(gt=0)] = None
    """A field that only some configurations have."""

    def num_steps(self) -> int:
        return self.steps

    def check_data(self) -> None:
        """Refuse what the data rules out."""
        if self.size > 8:
            raise ConfigError("size", self.size, "the data has eight columns", "1 to 8")

    def final_metrics(self) -> Mapping[str, str]:
        """Name what is measured at the end."""
        return {"test_error": "Distance to the minimum on the test set."}
