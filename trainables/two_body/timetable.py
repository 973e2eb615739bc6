"""Which step of which segment is made when, on meshes that the data gives; NumPy only, made once for a phase's data.

A segment's effort is s = the integral of |r|^(-3/2) dt along its observed states: the angle by which a circular orbit
of radius |r| would turn in that time. Steps of equal effort are short where gravity changes fast, whatever the orbit.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from trainables.two_body.data import Segments

ERROR_BOUND = 5e-5
"""Largest relative error of a sample against Kepler's orbit that the steps are chosen for."""
RARE = 3.0
"""Standard deviations by which a drawn batch may have more hard segments than their share of all."""
ROW_SAMPLES = 100 * 360
"""Samples that the arrays of a data set have room for, or this times 4, 16, ..: those of 100 orbits."""
LEAST_COLUMNS = 256
"""Segments that the arrays of a batch have room for, if it may have as many."""
SHORT = ((6, 96), (13, 64), (26, 32))
"""The number of lanes by the samples that a segment has at most."""


class Timetable(NamedTuple):
    """The steps of a batch, by the round that they are made in and the lane that makes them, one segment after another.

    Segments have ranks, the hardest 0; an idle lane begins the hardest again and again, and goes nowhere. Its shape is
    one of few, whatever the data, so that many trainings share a program.
    """

    rank: Int32[np.ndarray, "rounds lanes"]
    begins: Bool[np.ndarray, "rounds lanes"]
    """Whether a step is its segment's first."""
    share: Float32[np.ndarray, "rounds lanes"]
    """The share of its segment's effort at which a step ends."""
    last: Int32[np.ndarray, " columns"]
    """Of each rank, its last step: the round times the number of lanes, plus the lane; past the end without steps."""
    num_rounds: Int32[np.ndarray, ""]
    """How many rounds there are to make: the first ones."""


class TimedSegments(NamedTuple):
    """Segments, their efforts, and the timetable of batches of them."""

    y: Float32[np.ndarray, "rows samples 6"]
    t: Float32[np.ndarray, "rows samples"]
    mask: Bool[np.ndarray, "rows samples"]
    effort: Float32[np.ndarray, "rows samples"]
    """The effort from the segment's start to each sample."""
    num: Int32[np.ndarray, ""]
    """How many segments there are: the first rows; the others have no sample."""
    table: Timetable


def on_timetables(phases: Sequence[Segments], batch_size: int) -> list[TimedSegments]:
    """Return the segments of a training's phases with the timetables of their batches, in arrays of few shapes.

    Phases of equally long segments get equal shapes: the largest one's.
    """
    by_length: dict[int, list[int]] = {}
    for index, segments in enumerate(phases):
        by_length.setdefault(segments.t.shape[1], []).append(index)
    timed: dict[int, TimedSegments] = {}
    for length, group in by_length.items():
        most = max(len(phases[index].y) for index in group)
        columns = num_columns(most, batch_size)
        rows = max(columns, _at_least(most, -(-ROW_SAMPLES // length), 4))
        effort = {index: efforts(phases[index]) for index in group}
        steps = {index: steps_by_rank(effort[index][:, -1], columns) for index in group}
        lanes = max(num_lanes(length, columns, steps[index]) for index in group)
        plans = {index: plan(steps[index], lanes) for index in group}
        rounds = _at_least(max(plan.rounds for plan in plans.values()), -(-2 * columns // lanes), 4)
        for index in group:
            y, t, mask = (_padded(array, rows) for array in phases[index])
            num = np.asarray(len(phases[index].y), np.int32)
            table = timetable(plans[index], rounds, columns)
            timed[index] = TimedSegments(y, t, mask, _padded(effort[index], rows), num, table)
    return [timed[index] for index in range(len(phases))]


def num_columns(rows: int, batch_size: int) -> int:
    """Return the width of a batch's arrays: the batch size, but not much more than there are segments to draw from."""
    return min(batch_size, _at_least(rows, LEAST_COLUMNS, 2))


def num_lanes(segment_length: int, columns: int, steps: Int[np.ndarray, " n"]) -> int:
    """Return how many segments a round makes steps of.

    As many as keep the lanes busy; the same for all sets of short segments, which costs little. Measured with batches
    of 256: of 32, 64, 96 and 128 lanes the fastest at 18, 10 and 4 samples a segment are 32, 64 and 96.
    """
    for longest, lanes in SHORT:
        if segment_length <= longest:
            return min(columns, lanes)
    return min(columns, _at_least(-(-int(steps.sum()) // int(steps[0])), 8, 2))


def _at_least(num: int, start: int, factor: int) -> int:
    """Return the first of start, start * factor, ... that is not below `num`."""
    while start < num:
        start *= factor
    return start


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


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


class Plan(NamedTuple):
    """Where each rank's steps are made: from a round on, in a lane."""

    steps: Int[np.ndarray, " n"]
    first: Int[np.ndarray, "n 2"]
    lanes: int
    rounds: int


def plan(steps: Int[np.ndarray, " n"], lanes: int) -> Plan:
    """Give each rank's steps, which follow each other in one lane, to the lane that is free first."""
    free = [(0, lane) for lane in range(lanes)]
    first = np.zeros((len(steps), 2), int)
    for rank, num in enumerate(steps.tolist()):
        start, lane = free[0]
        first[rank] = start, lane
        heapq.heapreplace(free, (start + num, lane))
    return Plan(steps, first, lanes, max(start for start, _ in free))


def timetable(made: Plan, rounds: int, columns: int) -> Timetable:
    """Write down a plan, with room for this many rounds and ranks."""
    rank_of, begins = np.zeros((rounds, made.lanes), np.int32), np.ones((rounds, made.lanes), bool)
    share = np.zeros((rounds, made.lanes), np.float32)
    last = np.full(columns, rounds * made.lanes, np.int32)
    for rank, ((start, lane), num) in enumerate(zip(made.first.tolist(), made.steps.tolist(), strict=True)):
        rank_of[start : start + num, lane] = rank
        begins[start + 1 : start + num, lane] = False
        share[start : start + num, lane] = np.arange(1, num + 1) / num
        last[rank] = (start + num - 1) * made.lanes + lane
    return Timetable(rank_of, begins, share, last, np.asarray(made.rounds, np.int32))
