"""What `swell doctor` finds: one line each, with a verdict, and with what to do if it is not well."""

from dataclasses import dataclass
from enum import StrEnum


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
    """What to do, one sentence; empty if all is well."""
