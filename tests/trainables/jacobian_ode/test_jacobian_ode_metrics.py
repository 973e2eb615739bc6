import jax.numpy as jnp
import numpy as np
import pytest

from trainables.jacobian_ode.lyapunov import spectrum
from trainables.jacobian_ode.metrics import eigenvalue_share, jacobian_errors, mean_square

LOST = pytest.mark.parametrize("lost", [np.nan, np.inf])


@LOST
def test_one_lost_sample_makes_its_trajectorys_error_infinite(lost):
    error = np.ones((2, 5, 3))
    error[1, 4, 2] = lost
    np.testing.assert_array_equal(mean_square(error), [1.0, np.inf])


@LOST
def test_one_lost_estimate_is_the_worst_jacobian_error(lost):
    exact = np.random.default_rng(0).normal(size=(2, 3, 2, 2))
    estimate = exact.copy()
    estimate[0, 1, 0, 1] = lost
    assert jacobian_errors(exact, exact)["frobenius_error"] == 0
    worst = jacobian_errors(exact, estimate)
    assert worst.pop("r2") == -np.inf
    assert set(worst.values()) == {np.inf}


@LOST
def test_a_lost_jacobian_has_implausible_eigenvalues_and_no_exponents(lost):
    J = jnp.zeros((1, 4, 2, 2)).at[0, 2, 0, 0].set(lost)
    assert eigenvalue_share(J[0], jnp.asarray(0.1)) == 0.25
    assert np.isnan(spectrum(J, 0.1)).all()
