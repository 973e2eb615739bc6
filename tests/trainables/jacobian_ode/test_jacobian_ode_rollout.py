import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.integrate import solve_ivp

from trainables.jacobian_ode import losses
from trainables.jacobian_ode.model import make_model
from trainables.jacobian_ode.paths import natural_spline, straight_line
from trainables.jacobian_ode.quadrature import rule
from trainables.jacobian_ode.rollout import base_point_field, field_from, forced_run, free_run, line_integral, rk4_step
from trainables.jacobian_ode.systems import SYSTEMS, lorenz

FIELDS = {"lorenz": (SYSTEMS["lorenz"].field, 3), "van_der_pol": (SYSTEMS["van_der_pol"].field, 2)}
FIELDS["lorenz96"] = (SYSTEMS["lorenz96"].field, 6)


@functools.cache
def exact(field):
    """The exact Jacobian at any batch of states."""

    def jacobian(x):
        flat = jax.vmap(jax.jacfwd(field))(x.reshape(-1, x.shape[-1]))
        return flat.reshape(*x.shape, x.shape[-1])

    # Compiled as a whole: operation by operation, each shape costs a second.
    return jax.jit(jacobian)


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
        path = natural_spline(6, per_interval)
        J, change = exact(field)(path.points @ corners), path.derivatives @ corners
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
    by_path = jnp.einsum("k,kij,kj->i", weights, exact(field)(path.points @ ends), path.derivatives @ ends)
    np.testing.assert_allclose(by_path, line_integral(exact(field), a, b, "gauss_legendre", 4), rtol=1e-12)


def trajectory(start, dt, num):
    t = dt * np.arange(num)
    solution = solve_ivp(lambda _, x: lorenz(x), (0, t[-1]), start, method="DOP853", t_eval=t, rtol=1e-12, atol=1e-12)
    return jnp.asarray(solution.y.T)


def test_base_point_estimate_converges_to_the_field():
    span, start, errors, numbers = 0.3, np.array([-5.0, -6.0, 22.0]), [], (11, 21, 41, 81)
    for num in numbers:
        given = trajectory(start, span / (num - 1), num)
        dt = span / (num - 1)
        found = jax.jit(lambda given, dt: base_point_field(exact(lorenz), given, dt, 4))(given[None], dt)[0]
        errors.append(float(jnp.linalg.norm(found - lorenz(given[-1])) / jnp.linalg.norm(lorenz(given[-1]))))
    slope, _ = np.polyfit(np.log(np.array(numbers) - 1), np.log(errors), 1)
    assert errors[-1] < 1e-3
    assert -slope == pytest.approx(2, abs=0.3)


def test_the_field_is_that_of_the_base_point_plus_the_integral():
    given = trajectory(np.array([-5.0, -6.0, 22.0]), 0.015, 15)[None]
    field = field_from(exact(lorenz), given, 0.015, 4, "gauss_legendre", 3)
    at_base = base_point_field(exact(lorenz), given, 0.015, 4)
    np.testing.assert_allclose(field(given[:, -1]), at_base, rtol=1e-12)
    away = given[:, -1] + jnp.asarray([[1.0, -2.0, 0.5]])
    np.testing.assert_allclose(field(away) - at_base, lorenz(away) - lorenz(given[:, -1]), rtol=1e-10)


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


def test_full_forcing_gives_one_step_predictions_and_none_a_free_run():
    observed = states(2 * 6, 3).reshape(2, 6, 3)
    start, later = observed[:, 0], observed[:, 1:]
    forced = forced_run(lorenz, start, later, 0.01, 1.0)
    for index in range(5):
        np.testing.assert_allclose(forced[:, index], rk4_step(lorenz, observed[:, index], 0.01), rtol=1e-12)
    free = free_run(lorenz, start, 5, 0.01)
    np.testing.assert_allclose(forced_run(lorenz, start, later, 0.01, 0.0), free, rtol=1e-12)
    assert float(jnp.abs(free - forced).max()) > 0.01


def test_partial_forcing_starts_between_prediction_and_observation():
    observed = states(4, 3)[None]
    forced = forced_run(lorenz, observed[:, 0], observed[:, 1:], 0.01, 0.25)
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
    np.testing.assert_allclose(losses.loop_integrals(rotating, square, "trapezoid", 5), [[8.0, 0.0]], atol=1e-12)


def small_model(kind="jacobian", n=2, hidden=(7,)):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), make_model(kind, n, hidden, jax.random.key(3)))


@pytest.mark.slow
def test_batched_loops_equal_a_loop_over_segments():
    model = small_model(n=3)
    corners = losses.draw_corners(states(30, 3), 3, 5, jax.random.key(1))
    batched = losses.loop_integrals(model.jacobian, corners, "trapezoid", 6)
    for loop, found in zip(corners, batched, strict=True):
        total = jnp.zeros(3)
        for index in range(5):
            total += line_integral(model.jacobian, loop[index], loop[(index + 1) % 5], "trapezoid", 6)
        np.testing.assert_allclose(found, total, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_neural_odes_loops_close():
    model = small_model("neural_ode")
    corners = losses.draw_corners(states(10, 2) / 3, 2, 4, jax.random.key(0))
    assert float(losses.loop_closure(model.jacobian, corners, "gauss_legendre", 20)) < 1e-14
    assert float(losses.loop_closure(small_model().jacobian, corners, "gauss_legendre", 20)) > 1e-4


@pytest.mark.slow
def test_gradient_of_the_loop_loss_is_that_of_finite_differences():
    model = small_model()
    corners = losses.draw_corners(states(8, 2) / 3, 2, 4, jax.random.key(0))

    def loss(network):
        probe = type(model)(network, model.untrained)
        return losses.loop_closure(probe.jacobian, corners, "trapezoid", 5)

    check_grads(loss, (model.network,), order=1, modes=["rev"], rtol=1e-6)


@pytest.mark.slow
def test_gradient_through_the_base_point_and_the_run_is_that_of_finite_differences():
    model = small_model()
    given, later = states(10, 2).reshape(2, 5, 2) / 3, states(6, 2, 1).reshape(2, 3, 2) / 3

    def loss(network):
        probe = type(model)(network, model.untrained)
        field = field_from(probe.jacobian, given, 0.1, 3, "trapezoid", 4)
        return jnp.mean((forced_run(field, given[:, -1], later, 0.1, 0.3) - later) ** 2)

    check_grads(loss, (model.network,), order=1, modes=["rev"], rtol=1e-6)


def test_a_term_of_weight_0_is_not_computed():
    ran = []

    def term():
        jax.debug.callback(lambda: ran.append(True))
        return jnp.ones(())

    weighted = jax.jit(lambda weight: losses.where_weighted(weight, term))
    assert weighted(0.0) == 0
    jax.effects_barrier()
    assert not ran
    assert weighted(1e-6) == 1
    jax.effects_barrier()
    assert ran
