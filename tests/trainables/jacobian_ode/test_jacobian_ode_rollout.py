import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.integrate import solve_ivp

from trainables.jacobian_ode import losses
from trainables.jacobian_ode.model import make_model
from trainables.jacobian_ode.paths import evenly, natural_spline, straight_line
from trainables.jacobian_ode.quadrature import rule
from trainables.jacobian_ode.rollout import (
    Anchored,
    base_point_field,
    fitted_base_point,
    fitted_start,
    forced_run,
    free_run,
    line_integral,
    rk4_step,
    rk4_step_along,
)
from trainables.jacobian_ode.systems import SYSTEMS, lorenz

FIELDS = {"lorenz": (SYSTEMS["lorenz"].field, 3), "van_der_pol": (SYSTEMS["van_der_pol"].field, 2)}
FIELDS["lorenz96"] = (SYSTEMS["lorenz96"].field, 6)


class Pointwise:
    """A Jacobian by its values alone: any function of states."""

    def __init__(self, jacobian):
        self.jacobian = jacobian

    def weighted_jacobians(self, points, weights):
        return jnp.einsum("mk,...kij->...mij", weights, self.jacobian(points))


@functools.cache
def exact(field):
    """The exact Jacobian at any batch of states."""

    def jacobian(x):
        flat = jax.vmap(jax.jacfwd(field))(x.reshape(-1, x.shape[-1]))
        return flat.reshape(*x.shape, x.shape[-1])

    # Compiled as a whole: operation by operation, each shape costs a second.
    return Pointwise(jax.jit(jacobian))


def states(num, n, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(num, n)) * 3)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


# -- the exact Jacobian, inserted


@pytest.mark.parametrize("system", FIELDS)
@pytest.mark.parametrize("name", ["simpson", "gauss_legendre"])
def test_integral_of_the_exact_jacobian_along_a_line_is_the_difference_of_the_field(system, name):
    # Its entries are polynomials of degree at most 2, which both rules integrate exactly.
    field, n = FIELDS[system]
    a, b = states(5, n), states(5, n, 1)
    found = line_integral(exact(field), a, b, name, 3)
    np.testing.assert_allclose(found, field(b) - field(a), rtol=1e-10, atol=1e-9)


def test_the_trapezoid_reaches_that_difference_with_order_2():
    field, n = FIELDS["van_der_pol"]
    a, b = states(5, n), states(5, n, 1)
    numbers = (5, 9, 17, 33)
    errors = [
        float(jnp.abs(line_integral(exact(field), a, b, "trapezoid", num) - (field(b) - field(a))).max())
        for num in numbers
    ]
    slope, _ = np.polyfit(np.log(np.array(numbers) - 1), np.log(errors), 1)
    assert -slope == pytest.approx(2, abs=0.05)


def test_it_is_so_along_a_spline_too():
    field, n = FIELDS["lorenz"]
    corners, errors = states(6, n), []
    for per_interval in (5, 9, 17):
        path = natural_spline(6, evenly(6, per_interval))
        J, change = exact(field).jacobian(path.points @ corners), path.derivatives @ corners
        _, weights = rule("trapezoid", len(path.points))
        total = jnp.einsum("k,kij,kj->i", weights * 5, J, change)
        errors.append(float(jnp.abs(total - (field(corners[-1]) - field(corners[0]))).max()))
    slope, _ = np.polyfit(np.log([4, 8, 16]), np.log(errors), 1)
    assert -slope == pytest.approx(2, abs=0.3)


def test_a_line_as_a_path_gives_the_line_integral():
    field, n = FIELDS["lorenz"]
    a, b = states(1, n)[0], states(1, n, 1)[0]
    nodes, weights = rule("gauss_legendre", 4)
    path = straight_line(nodes)
    ends = jnp.stack([a, b])
    by_path = jnp.einsum("k,kij,kj->i", weights, exact(field).jacobian(path.points @ ends), path.derivatives @ ends)
    np.testing.assert_allclose(by_path, line_integral(exact(field), a, b, "gauss_legendre", 4), rtol=1e-12)


def trajectory(start, dt, num):
    t = dt * np.arange(num)
    solution = solve_ivp(lambda _, x: lorenz(x), (0, t[-1]), start, method="DOP853", t_eval=t, rtol=1e-12, atol=1e-12)
    return jnp.asarray(solution.y.T)


def test_base_point_estimate_converges_to_the_field():
    # Two nodes of Gauss-Legendre in each interval are no worse than four of the trapezoid, both ends counted.
    span, start, numbers, errors = 0.3, np.array([-5.0, -6.0, 22.0]), (11, 21, 41, 81), {}
    for num in numbers:
        given = trajectory(start, span / (num - 1), num)
        dt, field = span / (num - 1), lorenz(given[-1])
        for rule_of_spline in (("trapezoid", 4), ("gauss_legendre", 2)):
            found = jax.jit(lambda given, dt, of=rule_of_spline: base_point_field(exact(lorenz), given, dt, *of))
            error = jnp.linalg.norm(found(given[None], dt)[0] - field) / jnp.linalg.norm(field)
            errors.setdefault(rule_of_spline, []).append(float(error))
    slopes = {name: -np.polyfit(np.log(np.array(numbers) - 1), np.log(found), 1)[0] for name, found in errors.items()}
    assert slopes["trapezoid", 4] == pytest.approx(2, abs=0.3)
    assert slopes["gauss_legendre", 2] > 1.7
    assert errors["gauss_legendre", 2][-1] < errors["trapezoid", 4][-1] < 1e-3


def test_the_fitted_base_point_is_the_state_and_its_field():
    given = trajectory(np.array([-5.0, -6.0, 22.0]), 0.015, 15)[None]
    for rule_of_spline in (("trapezoid", 8), ("gauss_legendre", 2)):
        start, at_base = fitted_base_point(exact(lorenz), given, 0.015, *rule_of_spline)
        size = jnp.linalg.norm(lorenz(given[0, -1]))
        assert jnp.linalg.norm(start - given[:, -1]) < 1e-3 * size * 0.015
        assert jnp.linalg.norm(at_base - lorenz(given[:, -1])) < 1e-3 * size


def test_the_fitted_base_point_suffers_least_from_noise():
    given = trajectory(np.array([-5.0, -6.0, 22.0]), 0.015, 15)[None]
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(400, 15, 3)))
    # A system that stands still: samples are noise alone, the field is 0, and no J bends the line through them.
    still = Pointwise(lambda x: jnp.zeros((*x.shape, x.shape[-1])))
    start, field = fitted_base_point(still, noise, 1.0, "gauss_legendre", 2)
    ends = base_point_field(still, noise, 1.0, "gauss_legendre", 2)
    assert float(jnp.mean(field**2)) == pytest.approx(12 / (15 * 224), rel=0.1)  # of a line's slope, least squares
    assert float(jnp.mean(ends**2)) == pytest.approx(2 / 14**2, rel=0.1)
    assert float(jnp.mean(start**2)) == pytest.approx(58 / 240, rel=0.1)  # of its end
    # Of Lorenz's system: the field is that at the last, noisy sample, of which the line through it starts.
    noisy = given + 0.1 * noise
    start, field = fitted_base_point(exact(lorenz), noisy, 0.015, "gauss_legendre", 2)
    ends = base_point_field(exact(lorenz), noisy, 0.015, "gauss_legendre", 2)
    truth = lorenz(noisy[:, -1])
    assert float(jnp.mean((field - truth) ** 2)) < 0.6 * float(jnp.mean((ends - truth) ** 2))
    assert float(jnp.mean((start - given[:, -1]) ** 2)) < 0.4 * 0.1**2


@pytest.mark.parametrize("rule_of_spline", [("trapezoid", 8), ("gauss_legendre", 2)])
def test_the_fitted_start_is_the_last_state_and_suffers_less_from_noise(rule_of_spline):
    given = trajectory(np.array([-5.0, -6.0, 22.0]), 0.015, 15)[None]
    start = fitted_start(lorenz, given, 0.015, *rule_of_spline)
    assert jnp.linalg.norm(start - given[:, -1]) < 1e-3 * jnp.linalg.norm(given[:, -1] - given[:, -2])
    noisy = given + 0.1 * jnp.asarray(np.random.default_rng(0).normal(size=(400, 15, 3)))
    error = fitted_start(lorenz, noisy, 0.015, *rule_of_spline) - given[:, -1]
    assert float(jnp.mean(error**2)) < 0.2 * 0.1**2


def test_the_field_is_that_of_the_base_point_plus_the_integral():
    given = trajectory(np.array([-5.0, -6.0, 22.0]), 0.015, 15)[None]
    at_base = base_point_field(exact(lorenz), given, 0.015, "trapezoid", 4)
    anchored = Anchored(exact(lorenz), given[:, -1], at_base, "gauss_legendre", 3)
    field = anchored.field
    np.testing.assert_allclose(field(given[:, -1]), at_base, rtol=1e-12)
    away = given[:, -1] + jnp.asarray([[1.0, -2.0, 0.5]])
    np.testing.assert_allclose(field(away) - at_base, lorenz(away) - lorenz(given[:, -1]), rtol=1e-10)
    both = anchored.field_and_jacobian(away)
    np.testing.assert_allclose(both[0], field(away), rtol=1e-12)
    np.testing.assert_allclose(both[1], exact(lorenz).jacobian(away), rtol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (2, 5)])
def test_one_anchor_gives_the_field_at_any_batch_of_states(shape):
    anchor = jnp.asarray([0.5, -1.0, 20.0])
    anchored = Anchored(exact(lorenz), anchor, lorenz(anchor), "gauss_legendre", 3)
    x = states(int(np.prod(shape)), 3).reshape(*shape, 3)
    np.testing.assert_allclose(anchored.field(x), lorenz(x), rtol=1e-10, atol=1e-9)
    flat = x.reshape(-1, 3)
    field, J = anchored.field_and_jacobian(flat)
    np.testing.assert_allclose(field, lorenz(flat), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(J, exact(lorenz).jacobian(flat), rtol=1e-12)


# -- running it


@pytest.mark.slow
def test_runge_kutta_has_order_4():
    start, errors = jnp.asarray([[-5.0, -6.0, 22.0]]), []
    end = trajectory(np.asarray(start[0]), 0.2, 2)[-1]
    for steps in (10, 20, 40):
        x = start
        for _ in range(steps):
            x = rk4_step(lorenz, x, 0.2 / steps)
        errors.append(float(jnp.abs(x[0] - end).max()))
    slope, _ = np.polyfit(np.log([10, 20, 40]), np.log(errors), 1)
    assert -slope == pytest.approx(4, abs=0.3)


def along_step(anchored, x, dt=0.1):
    return rk4_step_along(anchored, x, dt)


def along_straight_lines(anchored, x, dt=0.1):
    return rk4_step(anchored.field, x, dt)


def test_following_the_field_along_the_step_has_order_4_too():
    base = jnp.asarray([[-5.0, -6.0, 22.0]])
    start = base + jnp.asarray([[1.0, -2.0, 0.5]])
    anchored = Anchored(exact(lorenz), base, lorenz(base), "gauss_legendre", 3)
    end, errors = trajectory(np.asarray(start[0]), 0.2, 2)[-1], {along_step: [], along_straight_lines: []}
    numbers = (10, 20, 40)
    for step, found in errors.items():
        for num in numbers:
            run = jax.jit(lambda x, num=num, step=step: free_run(lambda x: step(anchored, x, 0.2 / num), x, num))
            found.append(float(jnp.abs(run(start)[0, -1] - end).max()))
    slope, _ = np.polyfit(np.log(numbers), np.log(errors[along_step]), 1)
    assert -slope == pytest.approx(4, abs=0.3)
    assert errors[along_step][-1] < 4 * errors[along_straight_lines][-1]


def test_means_of_a_learned_jacobian_are_those_of_its_values():
    model, points = small_model(n=3, hidden=(7, 5)), states(8, 3).reshape(2, 4, 3)
    weights = jnp.asarray([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 0.0]])
    found = model.weighted_jacobians(points, weights)
    expected = Pointwise(model.jacobian).weighted_jacobians(points, weights)
    assert found.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_full_forcing_gives_one_step_predictions_and_none_a_free_run():
    observed = states(2 * 6, 3).reshape(2, 6, 3)
    start, later = observed[:, 0], observed[:, 1:]
    step = functools.partial(rk4_step, lorenz, dt=0.01)
    forced = forced_run(step, start, later, 1.0)
    for index in range(5):
        np.testing.assert_allclose(forced[:, index], rk4_step(lorenz, observed[:, index], 0.01), rtol=1e-12)
    free = free_run(step, start, 5)
    np.testing.assert_allclose(forced_run(step, start, later, 0.0), free, rtol=1e-12)
    assert float(jnp.abs(free - forced).max()) > 0.01


def test_partial_forcing_starts_between_prediction_and_observation():
    observed = states(4, 3)[None]
    forced = forced_run(functools.partial(rk4_step, lorenz, dt=0.01), observed[:, 0], observed[:, 1:], 0.25)
    between = 0.75 * forced[:, 0] + 0.25 * observed[:, 1]
    np.testing.assert_allclose(forced[:, 1], rk4_step(lorenz, between, 0.01), rtol=1e-12)


# -- loops


@pytest.mark.parametrize("system", FIELDS)
def test_loops_of_an_exact_jacobian_close_to_rounding(system):
    field, n = FIELDS[system]
    corners = losses.draw_corners(states(40, n), 4, 20, jax.random.key(0))
    assert corners.shape == (4, 20, n)
    assert float(losses.loop_closure(exact(field), corners, "gauss_legendre", 3)) < 1e-20


def test_loops_of_a_jacobian_that_is_none_do_not_close():
    # The row (-y, x) is no gradient: around a loop it gives twice the enclosed area.
    def rotating(x):
        row = jnp.stack([-x[..., 1], x[..., 0]], -1)
        return jnp.stack([row, jnp.zeros_like(row)], -2)

    square = jnp.asarray([[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]])
    np.testing.assert_allclose(
        losses.loop_integrals(Pointwise(rotating), square, "trapezoid", 5), [[8.0, 0.0]], atol=1e-12
    )


# -- pairs of windows


@pytest.mark.parametrize("system", FIELDS)
def test_pairs_of_an_exact_jacobian_and_its_field_leave_nothing(system):
    field, n = FIELDS[system]
    base = states(6, n)
    assert float(losses.pair_closure(exact(field), base, field(base), "gauss_legendre", 3)) < 1e-20


def test_a_pair_sees_a_jacobian_that_is_wrong_across_the_flow():
    # The field is (1, 3 y), and the Jacobian knows nothing of y: right along the flow, which is a line of y = 0.
    base = jnp.asarray([[0.0, 0.0], [1.0, 2.0], [5.0, -1.0]])
    at_base = jnp.stack([jnp.ones(3), 3 * base[:, 1]], 1)
    none = Pointwise(lambda x: jnp.zeros((*x.shape, 2)))
    squares = np.square([6.0, -9.0, 3.0])  # each pair twice, since three windows have no more
    expected = squares.mean() / 2  # of two components, one of which is right
    assert float(losses.pair_closure(none, base, at_base, "gauss_legendre", 3)) == pytest.approx(expected)


def test_a_window_is_paired_with_the_next_few_and_never_with_itself():
    pairs = []

    class Recorded(Pointwise):
        def weighted_jacobians(self, points, weights):
            pairs.extend((round(float(line[0, 0])), round(float(line[-1, 0]))) for line in points.reshape(-1, 2, 1))
            return super().weighted_jacobians(points, weights)

    base = jnp.arange(7.0)[:, None]
    losses.pair_closure(Recorded(lambda x: jnp.zeros((*x.shape, 1))), base, base, "trapezoid", 2)
    assert sorted(pairs) == sorted((b, (b + shift) % 7) for b in range(7) for shift in range(1, losses.PARTNERS + 1))


def test_one_window_has_no_pair():
    assert losses.pair_closure(exact(FIELDS["lorenz"][0]), states(1, 3), states(1, 3), "gauss_legendre", 3) == 0


def small_model(kind="jacobian", n=2, hidden=(7,)):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), make_model(kind, n, hidden, jax.random.key(3)))


@pytest.mark.slow
def test_batched_loops_equal_a_loop_over_segments():
    model = small_model(n=3)
    corners = losses.draw_corners(states(30, 3), 3, 5, jax.random.key(1))
    batched = losses.loop_integrals(model, corners, "trapezoid", 6)
    for loop, found in zip(corners, batched, strict=True):
        total = jnp.zeros(3)
        for index in range(5):
            total += line_integral(model, loop[index], loop[(index + 1) % 5], "trapezoid", 6)
        np.testing.assert_allclose(found, total, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_neural_odes_loops_close():
    model = small_model("neural_ode")
    corners = losses.draw_corners(states(10, 2) / 3, 2, 4, jax.random.key(0))
    assert float(losses.loop_closure(model, corners, "gauss_legendre", 20)) < 1e-14
    assert float(losses.loop_closure(small_model(), corners, "gauss_legendre", 20)) > 1e-4


@pytest.mark.slow
def test_gradient_of_the_loop_loss_is_that_of_finite_differences():
    model = small_model()
    corners = losses.draw_corners(states(8, 2) / 3, 2, 4, jax.random.key(0))

    def loss(network):
        probe = type(model)(network, model.untrained)
        return losses.loop_closure(probe, corners, "trapezoid", 5)

    check_grads(loss, (model.network,), order=1, modes=["rev"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("step", [along_step, along_straight_lines])
def test_gradient_through_the_base_point_and_the_run_is_that_of_finite_differences(step):
    model = small_model()
    given, later = states(10, 2).reshape(2, 5, 2) / 3, states(6, 2, 1).reshape(2, 3, 2) / 3

    @jax.jit
    def loss(network):
        probe = type(model)(network, model.untrained)
        at_base = base_point_field(probe, given, 0.1, "trapezoid", 3)
        anchored = Anchored(probe, given[:, -1], at_base, "gauss_legendre", 4)
        return jnp.mean((forced_run(lambda x: step(anchored, x), given[:, -1], later, 0.3) - later) ** 2)

    check_grads(loss, (model.network,), order=1, modes=["rev"], rtol=1e-6)


def test_a_term_of_weight_0_is_not_computed():
    ran = []

    def term(x):
        jax.debug.callback(lambda: ran.append(True))
        return x["a"] ** 2 * x["b"]

    x = {"a": jnp.asarray(3.0), "b": jnp.asarray(2.0)}
    weighted = jax.jit(lambda weight: losses.where_weighted(weight, term, x))
    gradient = jax.jit(jax.value_and_grad(lambda x, weight: 5 * losses.where_weighted(weight, term, x)))
    assert weighted(0.0) == 0
    assert gradient(x, 0.0) == (0, {"a": 0, "b": 0})
    jax.effects_barrier()
    assert not ran
    assert weighted(1e-6) == 18
    assert gradient(x, 1e-6) == (90, {"a": 60, "b": 45})
    jax.effects_barrier()
    assert ran
