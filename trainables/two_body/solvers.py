"""Tsit5 over a batch of segments: a fixed number of steps between samples, or adaptive steps per segment."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from trainables._shared.tsit5 import DENSE, ERROR, combine, tsit5_step
from trainables.two_body.features import State, norm

Field = Callable[[State], State]

SMALLEST = 1e-8
"""Of a state that an error is compared with."""


class Solution(NamedTuple):
    """States and their derivatives at every sample after the first, and whether every segment was solved."""

    y: Float[Array, "later 6 n"]
    dy: Float[Array, "later 6 n"]
    solved: Bool[Array, ""]
    error: Float[Array, ""]
    """The estimated errors of a segment's steps, relative to their states, summed; the mean over the segments."""


def estimated_error(y1: State, k: Sequence[State], h: Float[Array, " n"]) -> Float[Array, " n"]:
    """Return the embedded estimate of a step's error, relative to its state; no gradient goes through it."""
    y1, k, h = jax.lax.stop_gradient((y1, list(k), h))
    return norm(h * combine(ERROR, k))[0] / jnp.maximum(norm(y1)[0], SMALLEST)


def per_sample(field: Field, y0: Float[Array, "6 n"], t: Float[Array, "samples n"], substeps: int = 1) -> Solution:
    """Integrate with `substeps` Tsit5 steps between samples: six evaluations of the field each, for all segments."""
    h = jnp.repeat(jnp.diff(t, axis=0) / substeps, substeps, axis=0)

    def body(carry: tuple[State, State], h: Float[Array, " n"]) -> tuple[tuple[State, State], tuple[State, ...]]:
        y, k = tsit5_step(field, *carry, h)
        return (y, k[-1]), (y, k[-1], estimated_error(y, k, h))

    # Measured with rematerialised bodies, an adjoint by hand and the batch axis first: none was faster than this.
    _, (y, dy, error) = jax.lax.scan(body, (y0, field(y0)), h)
    return Solution(
        y[substeps - 1 :: substeps], dy[substeps - 1 :: substeps], jnp.array(True), jnp.mean(jnp.sum(error, axis=0))
    )


class _Attempt(NamedTuple):
    """One step tried by every segment, from t to t1; where it was not kept, the next one starts at t again."""

    y: Float[Array, "6 n"]
    k: Float[Array, "6 n"]
    t: Float[Array, " n"]
    t1: Float[Array, " n"]
    kept: Bool[Array, " n"]


class _Lanes(NamedTuple):
    """Where segments are: the state and its derivative at t, the next step's length, and the samples passed so far."""

    y: Float[Array, "6 n"]
    k: Float[Array, "6 n"]
    t: Float[Array, " n"]
    h: Float[Array, " n"]
    ys: Float[Array, "later 6 n"]
    dys: Float[Array, "later 6 n"]
    error: Float[Array, " n"]
    """Estimated errors of the steps so far, summed."""


class _Record(NamedTuple):
    """The attempts of one level, all that the backward pass needs: which segments took part, and their steps."""

    segments: Int[Array, " width"]
    num_steps: Int[Array, ""]
    attempts: _Attempt
    """Stacked to `max_steps`, of which `num_steps` are filled."""


def _dense(
    y: State, k: Sequence[State], h: Float[Array, " n"], theta: Float[Array, "later n"]
) -> tuple[Float[Array, "later 6 n"], Float[Array, "later 6 n"]]:
    """Return states and derivatives at shares theta of a step."""
    step, slope = jnp.zeros((), y.dtype), jnp.zeros((), y.dtype)
    for (a, b, c, d), stage in zip(DENSE, k, strict=True):
        step = step + (theta * (a + theta * (b + theta * (c + theta * d))))[:, None] * stage
        slope = slope + (a + theta * (2 * b + theta * (3 * c + theta * 4 * d)))[:, None] * stage
    return y + h * step, slope


def _passed(attempt: _Attempt, samples: Float[Array, "later n"]) -> tuple[Bool[Array, "later 1 n"], Array]:
    """Return which samples a kept attempt stepped over, and where in the step those lie (0 for the others)."""
    h = attempt.t1 - attempt.t
    # Compared as times: shares of neighbouring steps can both miss a sample by rounding.
    passed = attempt.kept & (samples > attempt.t) & (samples <= attempt.t1)
    theta = jnp.where(passed, (samples - attempt.t) / jnp.where(h > 0, h, 1.0), 0.0)
    return passed[:, None], theta


def _attempt(
    field: Field, now: _Lanes, samples: Float[Array, "later n"], rtol: Float[Array, ""], atol: Float[Array, ""]
) -> tuple[_Lanes, _Attempt]:
    """Try one step in every segment that has not reached its end."""
    active = now.t < samples[-1]
    t1 = jnp.minimum(now.t + now.h, samples[-1])
    h = t1 - now.t
    y1, k = tsit5_step(field, now.y, now.k, h)
    scale = atol + rtol * jnp.maximum(jnp.abs(now.y), jnp.abs(y1))
    # Root mean square over the components and an integral controller, as diffrax has by default.
    error = jnp.sqrt(jnp.mean((h * combine(ERROR, k) / scale) ** 2, axis=0))
    factor = jnp.clip(0.9 * jnp.maximum(error, 1e-10) ** -0.2, 0.2, 10.0)
    attempt = _Attempt(now.y, now.k, now.t, t1, active & (error <= 1.0))
    passed, theta = _passed(attempt, samples)
    dense_y, dense_dy = _dense(now.y, k, h, theta)
    new = _Lanes(
        y=jnp.where(attempt.kept, y1, now.y),
        k=jnp.where(attempt.kept, k[-1], now.k),
        t=jnp.where(attempt.kept, t1, now.t),
        h=h * jnp.where(jnp.isfinite(error), factor, 0.2),
        ys=jnp.where(passed, dense_y, now.ys),
        dys=jnp.where(passed, dense_dy, now.dys),
        error=now.error + jnp.where(attempt.kept, estimated_error(y1, k, h), 0.0),
    )
    return new, attempt


def _widths(n: int) -> list[int]:
    """Return how many segments step together, level after level.

    Most segments end after 4 steps and a few need 40: once a quarter is left, only those go on. For 200 segments and
    a trained MLP 64x2 on one core: 24 optimiser steps/s for leaky_relu and 55 for tanh; all to the end 8 and 35.
    """
    return [width for width in (n, n // 4, n // 16) if width >= 8 or width == n]


def _level(
    attempt: Callable[[_Lanes, Array], tuple[_Lanes, _Attempt]],
    lanes: _Lanes,
    samples: Float[Array, "later n"],
    budget: Int[Array, ""],
    max_steps: int,
    width: int,
    narrower: int,
) -> tuple[_Lanes, _Record]:
    """Step the first `width` unfinished segments until at most `narrower` are left, or the budget is used."""
    n = samples.shape[1]
    chosen = jnp.argsort(lanes.t >= samples[-1])[:width] if width < n else jnp.arange(n)
    part = _take(lanes, chosen) if width < n else lanes
    ends = samples[:, chosen] if width < n else samples
    shapes = jax.eval_shape(attempt, part, ends)[1]
    room = jax.tree.map(lambda one: jnp.zeros((max_steps, *one.shape), one.dtype), shapes)

    def goes_on(carry: tuple[_Lanes, _Record]) -> Bool[Array, ""]:
        return (carry[1].num_steps < budget) & (jnp.sum(carry[0].t < ends[-1]) > narrower)

    def body(carry: tuple[_Lanes, _Record]) -> tuple[_Lanes, _Record]:
        part, record = carry
        part, one = attempt(part, ends)
        attempts = jax.tree.map(lambda all_, new: all_.at[record.num_steps].set(new), record.attempts, one)
        return part, record._replace(num_steps=record.num_steps + 1, attempts=attempts)

    part, record = jax.lax.while_loop(goes_on, body, (part, _Record(chosen, jnp.zeros((), jnp.int32), room)))
    return (_put(lanes, chosen, part) if width < n else part), record


def _take(tree: Any, segments: Int[Array, " width"]) -> Any:
    return jax.tree.map(lambda array: array[..., segments], tree)


def _put(tree: Any, segments: Int[Array, " width"], part: Any) -> Any:
    return jax.tree.map(lambda array, new: array.at[..., segments].set(new), tree, part)


_Outputs = tuple[Float[Array, "later 6 n"], Float[Array, "later 6 n"], Bool[Array, ""], Float[Array, ""]]
_Problem = tuple[Field, Float[Array, "6 n"]]


def _solve_forward(
    perturbed: Any, problem: _Problem, samples: Float[Array, "later n"], rtol: Array, atol: Array, max_steps: int
) -> tuple[_Outputs, list[_Record]]:
    field, y0 = problem
    # A segment that fails keeps zeros for what it never reached: finite, and its loss is not used.
    unreached = jnp.zeros((samples.shape[0], *y0.shape), y0.dtype)
    # The first interval between samples is a first step of the right order, and costs no evaluation.
    none = jnp.zeros_like(samples[0])
    lanes = _Lanes(y0, field(y0), none, samples[0], unreached, unreached, none)
    records: list[_Record] = []
    budget = jnp.asarray(max_steps, jnp.int32)
    widths = _widths(samples.shape[1])
    for width, narrower in zip(widths, [*widths[1:], 0], strict=True):
        lanes, record = _level(
            lambda part, ends: _attempt(field, part, ends, rtol, atol),
            lanes, samples, budget, max_steps, width, narrower,
        )  # fmt: skip
        budget = budget - record.num_steps
        records.append(record)
    return (lanes.ys, lanes.dys, jnp.all(lanes.t >= samples[-1]), jnp.mean(lanes.error)), records


def _solve_backward(
    records: list[_Record],
    cotangents: tuple[Array | None, Array | None, None, Array | None],
    perturbed: Any,
    problem: _Problem,
    samples: Float[Array, "later n"],
    rtol: Array,
    atol: Array,
    max_steps: int,
) -> tuple[Any, State]:
    """Walk back over the recorded steps, each done again; exact for the steps taken, their lengths held fixed."""
    field, y0 = problem
    params, static = eqx.partition(field, eqx.is_inexact_array)
    none = jnp.zeros((samples.shape[0], *y0.shape), y0.dtype)
    to_samples = [none if cotangent is None else cotangent for cotangent in cotangents[:2]]
    to_lanes = (jnp.zeros_like(y0), jnp.zeros_like(y0))
    to_params = jax.tree.map(jnp.zeros_like, params)
    for record in reversed(records):
        segments = record.segments
        part, to_params = _level_backward(
            params, static, record, samples[:, segments], _take(to_samples, segments),
            _take(to_lanes, segments), to_params,
        )  # fmt: skip
        to_lanes = _put(to_lanes, segments, part)
    to_y, to_k = to_lanes
    _, pull = jax.vjp(lambda params, y: eqx.combine(params, static)(y), params, y0)
    more, to_y0 = pull(to_k)
    return jax.tree.map(jnp.add, to_params, more), to_y + to_y0


def _level_backward(
    params: Any,
    static: Any,
    record: _Record,
    samples: Float[Array, "later width"],
    to_samples: list[Array],
    to_lanes: tuple[State, State],
    to_params: Any,
) -> tuple[tuple[State, State], Any]:
    def step(params: Any, y: State, k1: State, attempt: _Attempt) -> tuple[Array, ...]:
        y1, k = tsit5_step(eqx.combine(params, static), y, k1, attempt.t1 - attempt.t)
        passed, theta = _passed(attempt, samples)
        dense = _dense(y, k, attempt.t1 - attempt.t, theta)
        return (
            jnp.where(attempt.kept, y1, y),
            jnp.where(attempt.kept, k[-1], k1),
            *(jnp.where(passed, values, 0.0) for values in dense),
        )

    def back(index: Array, carry: tuple[tuple[State, State], Any]) -> tuple[tuple[State, State], Any]:
        to_lanes, to_params = carry
        attempt = jax.tree.map(lambda all_: all_[record.num_steps - 1 - index], record.attempts)
        _, pull = jax.vjp(functools.partial(step, attempt=attempt), params, attempt.y, attempt.k)
        more, to_y, to_k = pull((*to_lanes, *to_samples))
        return (to_y, to_k), jax.tree.map(jnp.add, to_params, more)

    return jax.lax.fori_loop(0, record.num_steps, back, (to_lanes, to_params))


def _solve_plain(problem: _Problem, samples: Array, rtol: Array, atol: Array, max_steps: int) -> _Outputs:
    return _solve_forward(None, problem, samples, rtol, atol, max_steps)[0]


_solve: Any = eqx.filter_custom_vjp(_solve_plain)
_solve.def_fwd(_solve_forward)
_solve.def_bwd(_solve_backward)


def adaptive(
    field: Field,
    y0: Float[Array, "6 n"],
    t: Float[Array, "samples n"],
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    max_steps: int,
) -> Solution:
    """Integrate with a step size per segment; t starts at 0, and samples inside a step come from its interpolant.

    Not solved where a segment takes more than `max_steps`, rejected ones included. Differentiable in `field` (a
    pytree) and `y0`, by reverse mode through the steps taken.
    """
    return Solution(*_solve((field, y0), t[1:], rtol, atol, max_steps))
