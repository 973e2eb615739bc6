import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from trainables.jacobian_ode.forcing import next_alpha, rate_factor, rate_share
from trainables.jacobian_ode.lyapunov import expm, largest_exponent, spectrum
from trainables.jacobian_ode.metrics import by_trajectory, eigenvalue_share, jacobian_errors, mean_square
from trainables.jacobian_ode.systems import lorenz


@pytest.mark.parametrize("norm", [0.1, 1.0, 6.0])
def test_exponential_is_scipys(norm):
    A = np.random.default_rng(0).normal(size=(4, 5, 5))
    A *= norm / np.linalg.norm(A, 2, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(
        expm(jnp.asarray(A, jnp.float32)), scipy.linalg.expm(A), rtol=2e-4, atol=2e-5 * np.exp(norm)
    )


def test_constant_jacobians_have_the_real_parts_of_their_eigenvalues():
    J = np.array([[0.5, 2.0, 0.0], [-2.0, 0.5, 0.0], [0.0, 0.0, -1.0]])
    along = jnp.broadcast_to(jnp.asarray(J, jnp.float32), (2, 400, 3, 3))
    np.testing.assert_allclose(spectrum(along, 0.05), [[0.5, 0.5, -1.0]] * 2, atol=1e-3)
    np.testing.assert_allclose(largest_exponent(along, jnp.asarray(0.05)), [0.5 * 0.05] * 2, rtol=0.05)


def test_lorenz_has_its_published_exponents():
    """0.906, 0, -14.57 (Sprott 2003)."""
    dt, span = 0.02, 200.0
    t = np.arange(0.0, span, dt)
    x = solve_ivp(
        lambda _, x: lorenz(x), (0, span), [1.0, 1.0, 20.0], t_eval=t, method="DOP853", rtol=1e-7, atol=1e-7
    ).y.T
    # Between two samples: the mean of their Jacobians, which are linear in the state.
    middle = jnp.asarray((x[1:] + x[:-1]) / 2, jnp.float32)
    J = jax.jit(jax.vmap(jax.jacfwd(lorenz)))(middle)
    exponents = np.asarray(jax.jit(spectrum)(J[None], dt))[0]
    assert exponents[0] == pytest.approx(0.906, abs=0.03)
    assert exponents[1] == pytest.approx(0.0, abs=0.03)
    assert exponents.sum() == pytest.approx(-(10 + 1 + 8 / 3), abs=0.02)  # the trace, which is constant


def alphas(J, alpha=0.5, gamma=0.9, least=0.0):
    return float(next_alpha(*(jnp.asarray(v, jnp.float32) for v in (alpha, J, 0.1, gamma, least))))


def test_alpha_moves_to_what_the_fastest_growing_sequence_needs():
    growing = np.broadcast_to(np.eye(2) * np.array([2.0, -3.0])[:, None, None, None], (2, 30, 2, 2))
    needed = 1 - np.exp(-2.0 * 0.1)
    assert alphas(growing) == pytest.approx(0.9 * 0.5 + 0.1 * needed, rel=1e-5)


def test_alpha_of_a_contracting_system_falls_to_its_least():
    shrinking = -np.broadcast_to(np.eye(2), (1, 30, 2, 2))
    assert alphas(shrinking) == pytest.approx(0.45)
    assert alphas(shrinking, alpha=0.1, least=0.3) == pytest.approx(0.3)


def test_alpha_stays_finite_where_the_jacobian_is_not():
    assert alphas(np.full((1, 5, 2, 2), np.nan)) == pytest.approx(0.55)
    assert 0.5 <= alphas(np.full((1, 5, 2, 2), 1e30)) <= 1.0


def test_learning_rate_goes_from_its_peak_at_alpha_1_to_its_least_at_0():
    share = [float(rate_share(jnp.asarray(a), jnp.asarray(1.0))) for a in (0.0, 0.5, 1.0)]
    assert share == pytest.approx([0.0, 0.5 / (0.5 + 0.5 * np.exp(-0.5)), 1.0])
    numbers = [jnp.asarray(v) for v in (1.0, 1e-6, 1e-4)]
    assert float(rate_factor(jnp.asarray(1.0), *numbers)) == pytest.approx(1.0)
    assert float(rate_factor(jnp.asarray(0.0), *numbers)) == pytest.approx(0.01)


def test_eigenvalues_that_decay_within_a_sample_are_counted():
    J = jnp.asarray([np.diag([-11.0, 1.0]), np.diag([-9.0, 0.0]), np.full((2, 2), np.nan)], jnp.float32)
    assert float(eigenvalue_share(J, jnp.asarray(0.1))) == pytest.approx(3 / 6)


def test_errors_of_jacobians_are_the_norms_of_their_difference():
    exact = np.zeros((2, 1, 2, 2))
    exact[:, 0] = [[[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 0.0]]]
    estimate = exact + np.diag([3.0, 4.0])
    errors = jacobian_errors(exact, estimate)
    assert errors["frobenius_error"] == pytest.approx(5.0)
    assert errors["spectral_error"] == pytest.approx(4.0)
    assert errors["frobenius_error_pct"] == pytest.approx(100 * 5 / 3)
    assert errors["spectral_error_pct"] == pytest.approx(100 * 4 / 2.5)
    assert errors["r2"] == pytest.approx(1 - 50 / np.sum((exact - 1) ** 2))
    assert jacobian_errors(exact, exact)["r2"] == 1
    rows = by_trajectory(exact, estimate)
    assert rows["frobenius_error_pct"] == pytest.approx([100.0, 500.0])


def test_estimates_that_are_not_finite_are_infinitely_wrong():
    broken = np.full((1, 1, 2, 2), np.inf)
    errors = jacobian_errors(np.ones((1, 1, 2, 2)), broken)
    assert errors["frobenius_error"] == np.inf
    assert errors["r2"] == -np.inf
    assert mean_square(np.full((1, 2, 2), 1e300, np.float64)).tolist() == [np.inf]
