"""Which samples of an orbit a window and a segment length take; whole numbers only, imports no NumPy."""

import functools
from typing import Literal

Sampling = Literal["mean_anomaly", "true_anomaly"]
NUM_SAMPLES = 360
"""Samples of an orbit, one degree of anomaly apart."""


def num_missing(missing_tail: float) -> int:
    """Return how many samples at the end of each orbit are missing, for a share of them."""
    return round(missing_tail * NUM_SAMPLES)


def window_samples(window: tuple[float, float]) -> tuple[int, int]:
    """Return the first sample of a window and the one after its last."""
    return round(window[0] * NUM_SAMPLES), round(window[1] * NUM_SAMPLES)


@functools.lru_cache(maxsize=4096)
def usable_starts(window: tuple[float, float], segment_length: int, missing: int) -> tuple[int, ...]:
    """Return the first samples of an orbit's usable segments, where its last `missing` samples are NaN.

    A segment is usable when its first two samples are there: a start, and something to compare with.
    """
    first, stop = window_samples(window)
    starts = range(first, stop - segment_length + 1, segment_length)
    return tuple(start for start in starts if start + 1 < NUM_SAMPLES - missing)
