import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from trainables._shared.datasets import DatasetStore
from trainables._shared.kepler import kepler_states
from trainables._shared.program import traced_numbers
from trainables.two_body.config import Config, CurriculumPhase
from trainables.two_body.data import Segments, as_segments
from trainables.two_body.mesh import MOST_ERROR, Mesh, meshed
from trainables.two_body.method import method
from trainables.two_body.model import Dynamics, exact_acceleration
from trainables.two_body.solvers import per_sample
from trainables.two_body.timetable import (
    ERROR_BOUND,
    TimedSegments,
    efforts,
    on_timetables,
    plan,
    steps_by_rank,
    steps_needed,
    timetable,
)

EXACT = Dynamics(exact_acceleration)
STORE = DatasetStore()


def cuts(length, eccentricities=(0.0, 0.3, 0.6, 0.8, 0.849), starts=range(0, 360, 18)):
    """States and times of segments of orbits with semi-major axis 1, from these samples of each on, in float64."""
    M = np.deg2rad(np.arange(720.0))[None].repeat(len(eccentricities), 0)
    y = kepler_states(np.array([[1.0, e, 0.0, 0.0, 30.0, 0.0] for e in eccentricities]), M)
    y, t = (np.concatenate([array[:, start : start + length] for start in starts]) for array in (y, M))
    return y, t - t[:, :1]


def segments(*args):
    return as_segments(*cuts(*args))


def solved(field, timed, dtype=jnp.float32):
    """Return the states (samples, 6, n) of segments in order of falling effort, their mask and their solution."""
    y, t, mask, steps = laid_out(timed, dtype)
    solution = jax.jit(lambda y0: meshed(field, y0, t, steps))(y[0])
    num = int(timed.num)
    return y[..., :num], mask[:, :num], solution._replace(y=solution.y[..., :num], dy=solution.dy[..., :num])


def laid_out(timed, dtype):
    """Return all segments in order of falling effort, as many columns as the timetable has, and their mesh."""
    order = np.argsort(-timed.effort[:, -1], kind="stable")[: len(timed.table.last)]
    y, t, effort = (jnp.asarray(array[order], dtype) for array in (timed.y, timed.t, timed.effort))
    return jnp.transpose(y, (1, 2, 0)), t.T, timed.mask[order].T, Mesh(effort.T, jnp.asarray(timed.num), timed.table)


def exactly(timed, y, t):
    """Return the same segments in float64."""
    rest = ((0, len(timed.y) - len(y)), (0, 0))
    return timed._replace(y=np.pad(y, (*rest, (0, 0))), t=np.pad(t, rest))


def on_timetable(segments, batch_size):
    return on_timetables([segments], batch_size)[0]


def largest_error(solution, y, mask):
    difference, size = (np.linalg.norm(np.asarray(x), axis=1)[mask[1:]] for x in (solution.y - y[1:], y[1:]))
    return (difference / size).max()


# In single precision, rounding a start near periapsis alone moves a whole orbit of e = 0.849 by 2e-4.
@pytest.mark.parametrize(
    ("length", "single"), [(2, True), (4, True), (18, True), (18, False), (90, True), (360, False)]
)
def test_every_sample_is_within_the_bound_of_kepler(length, single):
    y, t = cuts(length, (0.0, 0.3, 0.6, 0.8, 0.849), range(0, 360, max(18, length // 4)))
    timed = on_timetable(as_segments(y, t), 1000)
    assert steps_needed(timed.effort[:, -1]).max() < max(length, 20)
    with jax.enable_x64(not single):
        exact, mask, solution = solved(EXACT, exactly(timed, y, t), jnp.float32 if single else jnp.float64)
        slopes = np.asarray(jax.vmap(EXACT)(exact[1:]))
    assert solution.solved
    assert largest_error(solution, exact, mask) < ERROR_BOUND
    scale = np.linalg.norm(slopes, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(solution.dy) / scale, slopes / scale, atol=1e-3)


def test_more_steps_come_closer_with_the_fifth_power():
    y, t = cuts(10, (0.6,))
    short = as_segments(y, t)
    effort = efforts(short)
    found = []
    for factor in (2, 4):
        planned = plan(factor * steps_by_rank(effort[:, -1], 1000), 8)
        table = timetable(planned, planned.rounds, len(y))
        timed = TimedSegments(*short, effort, np.array(len(y)), table)
        with jax.enable_x64(True):
            exact, mask, solution = solved(EXACT, exactly(timed, y, t), jnp.float64)
        found.append(largest_error(solution, exact, mask))
    assert 20 < found[0] / found[1] < 50


class Power(eqx.Module):
    """Gravity that falls with a power of the distance."""

    strength: Array
    power: Array

    def __call__(self, y):
        return -self.strength * y[:3] * jnp.sum(y[:3] ** 2, axis=0) ** self.power


@pytest.mark.slow
def test_gradient_is_that_of_its_own_steps_and_close_to_the_finest():
    timed = on_timetable(segments(18, (0.5,)), 20)
    with jax.enable_x64(True):
        y, t, mask, steps = laid_out(timed, jnp.float64)
        there = mask[1:, None]
        at = (Dynamics(Power(jnp.asarray(1.1), jnp.asarray(-1.4))), y[0])
        way = (Dynamics(Power(jnp.asarray(0.3), jnp.asarray(0.2))), jnp.cos(jnp.arange(y[0].size)).reshape(y[0].shape))

        def total(solution):
            return jnp.sum(jnp.where(there, solution.y**2 + solution.dy * jnp.arange(6.0)[:, None], 0.0))

        @jax.jit
        def found():
            gradient = jax.grad(lambda x: total(meshed(*x, t, steps)))(at)
            moved = [jax.tree.map(lambda x, d, step=step: x + step * d, at, way) for step in (1e-5, -1e-5)]
            up, down = (total(meshed(*x, t, steps)) for x in moved)
            return gradient, (up - down) / 2e-5, jax.grad(lambda x: total(per_sample(*x, t)))(at)

        gradient, difference, finest = found()
    along = sum(np.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, way)), strict=True))
    np.testing.assert_allclose(along, difference, rtol=1e-7)
    for a, b in zip(*map(jax.tree.leaves, (gradient, finest)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


def test_missing_samples_neither_cost_steps_nor_change_the_others():
    whole = segments(36, (0.6,))
    there = whole.mask.copy()
    there[:10, 20:] = False  # a tail
    there[10:, 7:11] = False  # a gap
    gone = Segments(np.where(there[..., None], whole.y, 0.0), whole.t, there)
    effort = efforts(gone)
    assert (np.diff(effort[:10, 19:], axis=1) == 0).all()
    assert (np.diff(effort[:10, :20], axis=1) > 0).all()
    np.testing.assert_allclose(effort[10:, -1], efforts(whole)[10:, -1], rtol=0.05)
    timed = on_timetable(gone, 1000)
    assert timed.num == 20
    assert (timed.table.share > 0).sum() == steps_needed(effort[:, -1]).sum()
    y, mask, solution = solved(EXACT, timed)
    assert np.isfinite(solution.y).all()
    assert largest_error(solution, y, mask) < 2 * ERROR_BOUND


def test_a_segment_is_solved_alike_in_any_company_and_order():
    many = on_timetable(segments(18), 1000)
    few = on_timetable(Segments(*(array[: many.num : 7] for array in many[:3])), 1000)
    y, _, solution = solved(EXACT, many)
    chosen_y, _, chosen = solved(EXACT, few)
    starts = {row.tobytes(): index for index, row in enumerate(np.asarray(y[0].T))}
    where = [starts[row.tobytes()] for row in np.asarray(chosen_y[0].T)]
    np.testing.assert_allclose(chosen.y, np.asarray(solution.y)[..., where], rtol=2e-6, atol=2e-6)


@pytest.mark.slow
def test_the_loss_is_per_samples_whatever_the_order_of_the_segments():
    config = Config(solver="mesh", width=8, depth=1, loss="percent_error_plus_nmse")
    hyper, key = traced_numbers(config), jax.random.key(0)
    model = method.init(config, hyper, key)

    def loss_of(config):
        return jax.jit(lambda data: method.loss(config, hyper, model, method.batch(config, data, key), key, 0))

    plain = segments(18, (0.3, 0.8))
    timed = on_timetable(plain, config.batch_size)
    shuffled = np.arange(len(timed.y))
    np.random.default_rng(0).shuffle(shuffled[: timed.num])
    on_mesh = loss_of(config)
    ours = on_mesh(timed)
    again = on_mesh(timed._replace(**{n: getattr(timed, n)[shuffled] for n in ("y", "t", "mask", "effort")}))
    theirs = loss_of(config.model_copy(update={"solver": "per_sample"}))(plain)
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-5)
    np.testing.assert_allclose(ours.value, again.value, rtol=1e-6)
    assert 0 < theirs.components["solver_error_pct"] < ours.components["solver_error_pct"] < 1e-2


@dataclasses.dataclass
class Rough:
    """Gravity, with ripples that no observed orbit has."""

    ripples: float

    def __call__(self, y):
        return exact_acceleration(y) * (1 + self.ripples * jnp.sin(300 * y[:3]))


def loss_on_mesh(field, timed):
    config = Config(solver="mesh", batch_size=1000)
    batch = method.batch(config, timed, jax.random.key(0))
    return jax.jit(lambda: method.loss(config, traced_numbers(config), field, batch, jax.random.key(0), 0))()


def test_a_field_rougher_than_the_data_is_noticed():
    timed = on_timetable(segments(18, (0.0, 0.6)), 1000)
    smooth, rough = (loss_on_mesh(Rough(ripples), timed) for ripples in (0.0, 0.1))
    assert smooth.solved
    assert smooth.components["solver_error_pct"] < MOST_ERROR
    assert rough.components["solver_error_pct"] > 100 * MOST_ERROR
    assert not rough.solved


def test_a_field_that_is_merely_wrong_is_solved():
    """Its orbits turn where the observed ones do not: an estimate above the bound, and far below the field's error."""
    loss = loss_on_mesh(lambda y: 2 * exact_acceleration(y), on_timetable(segments(18, (0.8,)), 1000))
    assert loss.components["solver_error_pct"] > 100 * MOST_ERROR
    assert loss.solved


def test_a_field_that_leaves_all_bounds_is_no_failure_of_the_solver():
    """Its loss is not finite: the training has diverged, as with any solver."""
    _, _, solution = solved(lambda y: 1e30 * y**3, on_timetable(segments(18, (0.3,)), 1000))
    assert not np.isfinite(solution.y).all()
    assert solution.solved


@pytest.mark.parametrize("lanes", [1, 4, 64])
@pytest.mark.parametrize("steps", [[1], [7, 2, 2, 1, 1], [5] * 3, [9, 6, 5, 4, 4, 3, *[2] * 20, *[1] * 100]])
def test_a_timetable_makes_every_step_once_and_in_order(steps, lanes):
    planned = plan(np.array(steps), lanes)
    table = timetable(planned, planned.rounds + 3, len(steps) + 2)
    busy = table.share > 0
    assert busy.sum() == sum(steps)
    assert not busy[table.num_rounds :].any()
    for rank, num in enumerate(steps):
        (rows, columns) = np.nonzero(busy & (table.rank == rank))
        assert len(set(columns)) == 1
        np.testing.assert_array_equal(rows, rows[0] + np.arange(num))
        np.testing.assert_allclose(table.share[rows, columns], np.arange(1, num + 1) / num)
        np.testing.assert_array_equal(table.begins[rows, columns], [True, *[False] * (num - 1)])
        assert table.last[rank] == rows[-1] * lanes + columns[-1]
    assert (table.last[len(steps) :] == busy.size).all()
    assert table.begins[~busy].all()
    assert max(steps[0], sum(steps) / lanes) <= table.num_rounds <= sum(steps) / lanes + steps[0]


def test_data_sets_of_many_sizes_give_arrays_of_few_shapes():
    """A curriculum's phases and sets of 1 to 100 orbits share a program."""

    def shapes(num_orbits, length, windows=((0.0, 1.0),)):
        config = Config(
            dataset=f"complex_TBP_planar_{num_orbits}_train",
            curriculum=tuple(CurriculumPhase(window=window, segment_length=length) for window in windows),
            test_datasets=(),
        )
        phases = method.data(config, STORE).phases
        return {str(jax.tree.map(np.shape, phase)) for phase in phases}, [int(phase.num) for phase in phases]

    for length in (4, 10, 18):
        found = {num: shapes(num, length, ((0.0, 0.1), (0.0, 1.0))) for num in (1, 10, 100)}
        assert len({shape for of, _ in found.values() for shape in of}) == 1
        assert found[10][1] == [36 // length * 10, 360 // length * 10]
    assert shapes(10, 18)[0] != shapes(10, 90)[0]


def test_phases_of_equally_long_segments_get_arrays_for_the_largest_of_each():
    hard, many = segments(90, (0.849,)), segments(90, (0.0,), range(360))
    few, more, short = on_timetables([hard, many, segments(18)], 1000)
    assert [int(timed.num) for timed in (few, more, short)] == [20, 360, 100]
    assert few.table.num_rounds > 1.2 * more.table.num_rounds
    assert jax.tree.map(np.shape, few) == jax.tree.map(np.shape, more) != jax.tree.map(np.shape, short)
    for alone, together in zip(on_timetables([hard], 1000)[0].table, few.table, strict=True):
        assert np.size(alone) <= np.size(together)


def test_batches_that_are_drawn_have_the_steps_that_they_need_almost_always():
    rng = np.random.default_rng(0)
    effort = rng.lognormal(-1.0, 0.8, 2000)
    given = steps_by_rank(effort, 256)
    too_few = []
    for _ in range(200):
        needed = np.sort(steps_needed(rng.choice(effort, 256)))[::-1]
        too_few.append((needed > given).mean())
    assert np.mean(too_few) < 1e-3
    assert given.sum() < 1.5 * 256 * steps_needed(effort).mean()
    np.testing.assert_array_equal(steps_by_rank(effort, 2000), np.sort(steps_needed(effort))[::-1])
