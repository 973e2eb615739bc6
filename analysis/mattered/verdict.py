"""What the seeds say of two levels of a factor."""

from dataclasses import dataclass
from typing import Any, Literal

LEVEL = 0.05
"""A difference is supported if its corrected p-value is at most this."""


@dataclass(frozen=True)
class Verdict:
    """Whether the difference between two levels is larger than the spread over seeds."""

    better: Any
    """The level with the better mean over the pairs; if the seeds do not support that it is, the sentence says so."""
    worse: Any
    difference: float
    """By how much the better level is better, in the objective's unit, never negative; or, if `scale` is "ratio", the
    ratio of the larger to the smaller (geometric) mean, never below 1."""
    low: float
    """Lower end of the 95 % interval of the difference; it is negative (a ratio: below 1) if it may be the other
    way."""
    high: float
    """Upper end of it."""
    wins: int
    """In how many pairs the better level is better."""
    pairs: int
    num_seeds: int
    num_settings: int
    """Settings of all other factors in which both levels were tried; 0 if there are none, see `is_paired`."""
    p: float
    p_corrected: float
    """After the Benjamini-Hochberg correction over all comparisons of the factor."""
    test: str
    """Which test gave `p`, and what it takes for independent."""
    sentence: str
    """The verdict as a supervisor can read it."""
    below_factor: str = ""
    """The same where the factor's name stands before it or above it."""
    is_supported: bool = False
    """Whether the sentence says that one level beats the other."""
    scale: Literal["difference", "ratio"] = "difference"
    """What `difference`, `low` and `high` are."""
    relative: float = float("nan")
    """The difference as a share of the worse level's mean."""
    ties: int = 0
    """In how many pairs both levels are equal."""
    is_paired: bool = True
    """Whether both levels were tried in the same settings; if not, `pairs` counts pairs of configurations."""
    least_p: float = 0.0
    """The least corrected p-value that so many pairs could have given, with the other comparisons as they are."""
    p_settings: float = float("nan")
    """The p-value if settings are what is independent: whether it is so in other settings too; NaN if there are
    none."""
    p_ranks: float = float("nan")
    """Wilcoxon's signed-rank test of the same pairs (of configurations: Mann and Whitney's), as a check by ranks."""
    failed_better: int = 0
    """Trials of the better level that failed, and are in no pair."""
    failed_worse: int = 0
    """Trials of the worse level that failed, and are in no pair."""
