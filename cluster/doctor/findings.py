"""What `swell doctor` finds: one line each, with a verdict, and with what to do where it is not well."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from search_spaces.sections import Guard, Resources


class Verdict(StrEnum):
    """What a finding means for a search."""

    OK = "ok"
    WARNING = "warning"
    """A search runs, but slower, or not for long."""
    PROBLEM = "problem"
    """A search does not run, or not as it says it does."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    name: str
    found: str
    """What was found, with its numbers and units."""
    verdict: Verdict = Verdict.OK
    advice: str = ""
    """What to do, one sentence; empty where all is well."""


@dataclass(frozen=True)
class Needs:
    """What a search asks of its machine: what its spec says, or the defaults where there is none."""

    resources: Resources = field(default_factory=Resources)
    guard: Guard = field(default_factory=Guard)
    trainable: str | None = None
    wandb: str = "disabled"
    code: Path | None = None
    """Where the method's code is, if that is a W&B artifact."""
