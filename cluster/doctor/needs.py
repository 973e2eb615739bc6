"""What `swell doctor` compares a machine with."""

from dataclasses import dataclass, field
from pathlib import Path

from search_spaces.sections import Guard, Resources


@dataclass(frozen=True)
class Needs:
    """What a search asks of its machine: what its spec says, or the defaults if there is none."""

    resources: Resources = field(default_factory=Resources)
    guard: Guard = field(default_factory=Guard)
    trainable: str | None = None
    wandb: str = "disabled"
    code: Path | None = None
    """Where the method's code is, if that is a W&B artifact."""
