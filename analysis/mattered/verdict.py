"""What the seeds say of two levels of a factor."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Whether the difference between two levels is larger than the spread over seeds."""

    better: Any
    """The level with the better mean over the pairs; if the seeds do not support that it is, the sentence says so."""
    worse: Any
    difference: float
    """By how much the better level is better, in the objective's unit; never negative."""
    low: float
    """Lower end of the bootstrap interval of the difference."""
    high: float
    """Upper end of it."""
    wins: int
    """In how many pairs the better level is better."""
    pairs: int
    num_seeds: int
    num_settings: int
    """Settings of all other factors in which both levels were tried."""
    p: float
    p_corrected: float
    """After the Benjamini-Hochberg correction over all comparisons of the factor."""
    test: str
    """The name of the test that gave `p`."""
    sentence: str
    """The verdict as a supervisor can read it."""
