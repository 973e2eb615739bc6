"""The configuration of the method that leaves much behind; imports no JAX."""

from pydantic import Field

from benchmarks.nothing.config import Config as Nothing


class Config(Nothing):
    """How much each trial leaves behind."""

    file_mb: int = Field(default=20, ge=0)
    """MiB in a file in TMPDIR."""
    object_mb: int = Field(default=50, ge=0)
    """MiB in Ray's object store."""
    artifact_kb: int = Field(default=16, ge=0)
    """KiB in a W&B artifact; 0 for no run at all."""
