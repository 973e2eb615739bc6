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
