"""Which step of which segment is made when, on meshes that the data gives; NumPy only, made once for a phase's data.

A segment's effort is s = the integral of |r|^(-3/2) dt along its observed states: the angle by which a circular orbit
of radius |r| would turn in that time. Steps of equal effort are short where gravity changes fast, whatever the orbit.
"""

import heapq
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from trainables.two_body.data import Segments

ERROR_BOUND = 5e-5
"""Largest relative error of a sample against Kepler's orbit that the steps are chosen for."""
RARE = 3.0
"""Standard deviations by which a drawn batch may have more hard segments than their share of all."""


class Timetable(NamedTuple):
    """The steps of a batch, by the round that they are made in and the lane that makes them, one segment after another.

    Segments have ranks, the hardest 0; an idle lane begins the hardest again and again, and goes nowhere.
    """

    rank: Int32[np.ndarray, "rounds lanes"]
    begins: Bool[np.ndarray, "rounds lanes"]
    """Whether a step is its segment's first."""
    share: Float32[np.ndarray, "rounds lanes"]
    """The share of its segment's effort at which a step ends."""
    last: Int32[np.ndarray, " n"]
    """Of each rank, its last step: the round times the number of lanes, plus the lane."""


class TimedSegments(NamedTuple):
    """Segments, their efforts, and the timetable of batches of them."""

    y: Float32[np.ndarray, "n samples 6"]
    t: Float32[np.ndarray, "n samples"]
    mask: Bool[np.ndarray, "n samples"]
    effort: Float32[np.ndarray, "n samples"]
    """The effort from the segment's start to each sample."""
    table: Timetable


def on_timetable(segments: Segments, batch_size: int) -> TimedSegments:
    """Return segments with the timetable of their batches."""
    effort = efforts(segments)
    return TimedSegments(*segments, effort, timetable(steps_by_rank(effort[:, -1], batch_size)))


def efforts(segments: Segments) -> Float32[np.ndarray, "n samples"]:
    """Return the effort at every sample, from 0; it stands still after the last observed one."""
    y, t = segments.y.astype(np.float64), segments.t.astype(np.float64)
    squared = (y[..., :3] ** 2).sum(-1)
    known = segments.mask & (squared > 0)
    rate = np.where(known, squared, 1.0) ** -0.75
    until = t.copy()
    for row in np.flatnonzero(~known.all(1)):
        there = t[row, known[row]]
        # Between two observed samples, however far apart, the rate is linear in time.
        rate[row] = np.interp(t[row], there, rate[row, known[row]]) if len(there) else 0.0
        until[row] = np.minimum(t[row], there[-1] if len(there) else 0.0)
    passed = np.cumsum(0.5 * (rate[:, 1:] + rate[:, :-1]) * np.diff(until), axis=1)
    return np.concatenate([np.zeros((len(t), 1)), passed], axis=1).astype(np.float32)


def error_factor(effort: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return a bound of the error over (effort/steps)^5, for segments of these efforts.

    An envelope of what was measured: the largest relative error of a sample that is read from the interpolant, over
    orbits up to e = 0.849, segments of 2 to 360 samples at every place, steps of 0.1 to 0.3, evenly spaced in time and
    in angle. What a segment starts with grows along it; the largest is from apoapsis to periapsis.
    """
    return 0.025 + 0.0017 * np.exp(1.5 * effort)


def steps_needed(effort: Float[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """Return how many steps of equal effort keep ERROR_BOUND in segments of these efforts."""
    s = np.asarray(effort, np.float64)
    steps = np.ceil(s * (error_factor(s) / ERROR_BOUND) ** 0.2)
    return np.maximum(steps, 1).astype(int)


def steps_by_rank(effort: Float[np.ndarray, " num"], batch_size: int) -> Int[np.ndarray, " n"]:
    """Return the steps of a batch's segments, hardest first: of all segments, or of as many drawn from them.

    A draw can have more hard segments than is likely (RARE): these then get longer steps than they need.
    """
    needed = np.sort(steps_needed(effort))[::-1]
    num = len(needed)
    if num <= batch_size:
        return needed
    share = np.arange(num) / num
    most = batch_size * share + RARE * np.sqrt(batch_size * share * (1 - share))
    # Rank 5 is no harder than the first segment, in this order, before which at most five of the batch are likely.
    before = np.maximum.accumulate(most)
    return needed[np.searchsorted(before, np.arange(batch_size), side="right") - 1]


def timetable(steps: Int[np.ndarray, " n"]) -> Timetable:
    """Return when the steps of each rank are made, as many rounds as the hardest has steps.

    Each goes to the lane that has most rounds left, and to a new one if that is too short: few rounds are idle.
    """
    rounds = int(steps[0])
    left: list[tuple[int, int]] = []
    first = np.zeros((len(steps), 2), int)
    for rank, num in enumerate(steps.tolist()):
        if left and -left[0][0] >= num:
            free, lane = heapq.heappop(left)
        else:
            free, lane = -rounds, len(left)
        first[rank] = rounds + free, lane
        heapq.heappush(left, (free + num, lane))
    lanes = len(left)
    rank_of, begins = np.zeros((rounds, lanes), np.int32), np.ones((rounds, lanes), bool)
    share = np.zeros((rounds, lanes), np.float32)
    for rank, ((start, lane), num) in enumerate(zip(first.tolist(), steps.tolist(), strict=True)):
        rank_of[start : start + num, lane] = rank
        begins[start + 1 : start + num, lane] = False
        share[start : start + num, lane] = np.arange(1, num + 1) / num
    last = (first[:, 0] + steps - 1) * lanes + first[:, 1]
    return Timetable(rank_of, begins, share, last.astype(np.int32))
