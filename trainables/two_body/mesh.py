"""Tsit5 on meshes that the data gives: few steps per segment, made in lanes, the samples read from the interpolant."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trainables._shared.tsit5 import combine, tsit5_step
from trainables.two_body.solvers import DENSE, Field, Solution, estimated_error
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

    table: Timetable
    ends: Float[Array, "rounds lanes"]
    """The time at which a step ends, since its segment's start; 0 in an idle lane."""


def mesh(t: Float[Array, "samples n"], effort: Float[Array, "samples n"], table: Timetable) -> Mesh:
    """Return the steps of segments in order of falling effort: equally long in effort, linear between samples."""
    gained, passed = jnp.diff(effort, axis=0), jnp.diff(t, axis=0)
    left = table.share * effort[-1, table.rank] - effort[:-1, table.rank]
    gained = gained[:, table.rank]
    share = jnp.where(gained > 0, jnp.clip(left / jnp.where(gained > 0, gained, 1.0), 0.0, 1.0), 0.0)
    return Mesh(table, jnp.sum(share * passed[:, table.rank], axis=0))


@jax.custom_vjp
def _columns(x: Float[Array, "*rows m"], taken: Int[Array, " n"], became: Int[Array, " m"]) -> Float[Array, "*rows n"]:
    """Return columns of x, none of them twice; `became` says which one each of x's is then, n if none.

    On a CPU, XLA's transpose of x[..., taken] adds one column after the other; this one is taking columns again.
    """
    return x[..., taken]


def _columns_forward(x: Array, taken: Array, became: Array) -> tuple[Array, Array]:
    return x[..., taken], became


def _columns_backward(became: Array, to: Array) -> tuple[Array, None, None]:
    n = to.shape[-1]
    return jnp.where(became < n, to[..., jnp.minimum(became, n - 1)], 0.0), None, None


_columns.defvjp(_columns_forward, _columns_backward)


class _Step(NamedTuple):
    """What a round is told: where its lanes are, of Timetable and Mesh."""

    y0: Float[Array, "6 lanes"]
    """The first states of the segments."""
    rank: Int[Array, " lanes"]
    begins: Bool[Array, " lanes"]
    is_last: Bool[Array, " lanes"]
    end: Float[Array, " lanes"]


class _Lanes(NamedTuple):
    """Where the lanes are in their segments, and what they have found at the samples so far."""

    y: Float[Array, "6 lanes"]
    t: Float[Array, " lanes"]
    ys: Float[Array, "later 6 lanes"]
    dys: Float[Array, "later 6 lanes"]


def meshed(field: Field, y0: Float[Array, "6 n"], t: Float[Array, "samples n"], steps: Mesh) -> Solution:
    """Integrate segments in order of falling effort, each with its own steps of a mesh; t starts at 0.

    Always solved: whether the result can be trusted is for `is_trusted` to say. Samples after the last observed one get
    the state there. Differentiable in `field` and `y0`.
    """
    rank, begins, _, last = (jnp.asarray(array) for array in steps.table)
    num, (rounds, lanes) = y0.shape[1], rank.shape
    became = jnp.full(rounds * lanes, num, jnp.int32).at[last].set(jnp.arange(num, dtype=jnp.int32))
    is_last = (became < num).reshape(rounds, lanes)
    samples = t[1:]

    def body(now: _Lanes, given: _Step) -> tuple[_Lanes, tuple[Array, Array, Array]]:
        y = jnp.where(given.begins, given.y0, now.y)
        t0 = jnp.where(given.begins, 0.0, now.t)
        h = given.end - t0
        # The first stage is computed anew in each step: to hand on the last one of the step before saves a seventh of
        # the few that are no first steps, and would compile the field once more, for the starts.
        y1, k = tsit5_step(field, y, field(y), h)
        times = samples[:, given.rank]
        inside = ((times > t0) & (given.is_last | (times <= given.end)))[:, None]
        theta = jnp.clip((times - t0) / jnp.where(h > 0, h, 1.0), 0.0, 1.0)[:, None]
        # The coefficients of theta once, then Horner's scheme at each sample.
        a, b, c, d = (combine([weights[power] for weights in DENSE], k) for power in range(4))
        ys = y + h * (theta * (a + theta * (b + theta * (c + theta * d))))
        dys = a + theta * (2 * b + theta * (3 * c + theta * (4 * d)))
        before = (jnp.where(given.begins, 0.0, x) for x in (now.ys, now.dys))
        ys, dys = (jnp.where(inside, new, old) for new, old in zip((ys, dys), before, strict=True))
        return _Lanes(y1, given.end, ys, dys), (ys, dys, estimated_error(y1, k, h))

    none = jnp.zeros((len(samples), 6, lanes), y0.dtype)
    given = _Step(jnp.moveaxis(y0[:, rank], 1, 0), rank, begins, is_last, steps.ends)
    _, (ys, dys, error) = jax.lax.scan(body, _Lanes(none[0], none[0, 0], none, none), given)
    # What a lane has at its segment's last step is that segment's.
    by_step = (jnp.moveaxis(x, 0, 2).reshape(len(samples), 6, -1) for x in (ys, dys))
    y, dy = (_columns(x, last, became) for x in by_step)
    mean = jnp.sum(error) / num
    return Solution(y, dy, jnp.array(True), mean)


def is_trusted(solver_error: Float[Array, ""], field_error: Float[Array, ""]) -> Bool[Array, ""]:
    """Return whether a mesh was fine enough for a field; both errors are relative to the states.

    If not, the field is rougher than the observed orbits, and what is learned may be the solver's mistakes.
    """
    return ~(solver_error > jnp.maximum(MOST_ERROR, MOST_SHARE * field_error))
