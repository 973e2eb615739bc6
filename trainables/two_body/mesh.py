"""Tsit5 on meshes that the data gives: few steps per segment, made in lanes, the samples read from the interpolant."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trainables._shared.tsit5 import interpolant, tsit5_looped
from trainables.two_body.rounds import columns, in_rounds
from trainables.two_body.solvers import Field, Solution, estimated_error
from trainables.two_body.timetable import Timetable

MOST_ERROR = 2e-3
"""Estimated error of a mean segment up to which a solve is trusted in any case; docs/two_body.md says what is usual."""
MOST_SHARE = 0.25
"""The share of the field's own error that the solver's may be beyond that.

A field far from the truth turns orbits where the observed ones go straight on, and gets over it: up to 0.12 in segments
of a quarter and a half of an orbit. It is 0.4 for gravity with ripples much shorter than a step.
"""


class Mesh(NamedTuple):
    """The steps of one batch of segments, whose order is that of the ranks."""

    effort: Float[Array, "samples columns"]
    num: Int[Array, ""]
    """How many segments there are: the first columns."""
    table: Timetable


class _Round(NamedTuple):
    """What a round is told of its lanes."""

    rank: Int[Array, " lanes"]
    begins: Bool[Array, " lanes"]
    share: Float[Array, " lanes"]
    is_last: Bool[Array, " lanes"]


class _Lanes(NamedTuple):
    """Where the lanes are in their segments, what they have found at the samples so far, and all steps' errors."""

    y: Float[Array, "6 lanes"]
    t: Float[Array, " lanes"]
    ys: Float[Array, "later 6 lanes"]
    dys: Float[Array, "later 6 lanes"]
    error: Float[Array, " lanes"]


def _times(
    t: Float[Array, "samples columns"], effort: Float[Array, "samples columns"], given: _Round
) -> tuple[Float[Array, "later lanes"], Float[Array, " lanes"]]:
    """Return the times of the lanes' samples, and of the ends of their steps: linear in effort between samples."""
    t, effort = t[:, given.rank], effort[:, given.rank]
    gained = jnp.diff(effort, axis=0)
    left = given.share * effort[-1] - effort[:-1]
    share = jnp.where(gained > 0, jnp.clip(left / jnp.where(gained > 0, gained, 1.0), 0.0, 1.0), 0.0)
    return t[1:], jnp.sum(share * jnp.diff(t, axis=0), axis=0)


def _advance(
    field: Field, held: tuple[Array, Array], now: _Lanes, y0: Float[Array, "6 lanes"], given: _Round
) -> tuple[_Lanes, tuple[Array, Array]]:
    """Make one round's steps, those that begin from y0; also return what is found at the samples by now."""
    times, end = _times(*held, given)
    y = jnp.where(given.begins, y0, now.y)
    t = jnp.where(given.begins, 0.0, now.t)
    h = end - t
    # The first stage is computed anew in each step: to hand on the last one of the step before would save a seventh of
    # the few that are no first steps.
    y1, k = tsit5_looped(field, y, h)
    inside = ((times > t) & (given.is_last | (times <= end)))[:, None]
    theta = jnp.clip((times - t) / jnp.where(h > 0, h, 1.0), 0.0, 1.0)[:, None]
    # The coefficients of theta once, then Horner's scheme at each sample.
    a, b, c, d = interpolant(list(k))
    ys = y + h * (theta * (a + theta * (b + theta * (c + theta * d))))
    dys = a + theta * (2 * b + theta * (3 * c + theta * (4 * d)))
    before = (jnp.where(given.begins, 0.0, x) for x in (now.ys, now.dys))
    ys, dys = (jnp.where(inside, new, old) for new, old in zip((ys, dys), before, strict=True))
    return _Lanes(y1, end, ys, dys, now.error + estimated_error(y1, list(k), h)), (ys, dys)


def meshed(field: Field, y0: Float[Array, "6 columns"], t: Float[Array, "samples columns"], steps: Mesh) -> Solution:
    """Integrate segments in order of falling effort, each with its own steps of a mesh; t starts at 0.

    Steps are equally long in effort. Always solved: whether the result can be trusted is for `is_trusted` to say.
    Samples after the last observed one get the state there; what columns after the last segment get means nothing.
    Differentiable in `field` and `y0`.
    """
    rank, begins, share, last, num_rounds = (jnp.asarray(array) for array in steps.table)
    rounds, lanes = rank.shape
    read = columns(last, rounds, lanes)
    arrays, rest = eqx.partition(field, eqx.is_array)

    def body(arrays: Any, held: Any, now: _Lanes, y0: Array, given: _Round) -> tuple[_Lanes, tuple[Array, Array]]:
        return _advance(eqx.combine(arrays, rest), held, now, y0, given)

    none = jnp.zeros((len(t) - 1, 6, lanes), y0.dtype)
    begun = _Lanes(none[0], none[0, 0], none, none, none[0, 0])
    given = _Round(rank, begins, share, read.became < len(last))
    starts = jnp.moveaxis(y0[:, rank], 1, 0)
    # What a lane has at its segment's last step is that segment's.
    made: Any = in_rounds(body, num_rounds, read, arrays, (t, steps.effort), begun, starts, given)
    ended, (y, dy) = made
    return Solution(y, dy, jnp.array(True), jnp.sum(ended.error) / steps.num)


def is_trusted(solver_error: Float[Array, ""], field_error: Float[Array, ""]) -> Bool[Array, ""]:
    """Return whether a mesh was fine enough for a field; both errors are relative to the states.

    If not, the field is rougher than the observed orbits, and what is learned may be the solver's mistakes.
    """
    return ~(solver_error > jnp.maximum(MOST_ERROR, MOST_SHARE * field_error))
