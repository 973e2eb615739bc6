"""The configuration of the method that does nothing; imports no JAX."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from trainables._shared.config import NUMERIC, MethodConfig


class Config(MethodConfig):
    """Nothing to choose but one number."""

    reported_metrics: ClassVar[Mapping[str, str]] = {"val_nothing": "The number given."}

    x: Annotated[float, NUMERIC] = 0.5
    """The number reported."""
    report_every: int = Field(default=1, ge=1)
    """Steps between two reports."""
    wait_s: float = Field(default=0.0, ge=0)
    """Seconds that its data takes to make: in place of training, where what counts is only that a slot is taken."""
