import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.two_body import losses

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(3, 6, 2)).astype(np.float32)
ALL = jnp.ones((3, 2), bool)


def test_percent_error_of_a_scaled_prediction_is_the_scale():
    np.testing.assert_allclose(losses.percent_error(jnp.asarray(Y), jnp.asarray(1.25 * Y), ALL), 25.0, rtol=1e-5)


def test_percent_error_of_a_zero_state_is_measured_against_the_smallest_norm():
    zero = jnp.zeros((1, 6, 1))
    predicted = zero.at[0, 0, 0].set(1e-8)
    np.testing.assert_allclose(losses.percent_error(zero, predicted, jnp.ones((1, 1), bool)), 100.0, rtol=1e-5)


def test_mse_and_nmse_follow_their_formulas():
    predicted = Y + RNG.normal(size=Y.shape).astype(np.float32)
    mse = np.mean((Y - predicted) ** 2)
    np.testing.assert_allclose(losses.mse(jnp.asarray(Y), jnp.asarray(predicted), ALL), mse, rtol=1e-5)
    np.testing.assert_allclose(
        losses.nmse(jnp.asarray(Y), jnp.asarray(predicted), ALL),
        100 * np.sqrt(mse / np.mean(Y**2) + 1e-8),
        rtol=1e-5,
    )


def test_nmse_of_a_perfect_prediction_is_its_floor_with_a_finite_gradient():
    value, gradient = jax.value_and_grad(losses.nmse, argnums=1)(jnp.asarray(Y), jnp.asarray(Y), ALL)
    np.testing.assert_allclose(value, 100 * 1e-4, rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_attraction_counts_outward_acceleration_only():
    predicted, derivative = np.zeros((2, 6, 1), np.float32), np.zeros((2, 6, 1), np.float32)
    predicted[:, 0], derivative[0, 3], derivative[1, 3] = 2.0, 3.0, -5.0
    value = losses.attraction(jnp.asarray(predicted), jnp.asarray(derivative), jnp.ones((2, 1), bool))
    assert value == 3.0  # relu(6) and relu(-10), averaged


def test_combined_loss_weighs_its_second_term():
    parts = {"percent_error": jnp.asarray(2.0), "nmse": jnp.asarray(3.0), "mse": jnp.asarray(5.0)}
    values = {name: float(loss(parts, jnp.asarray(0.5))) for name, loss in losses.LOSSES.items()}
    assert values == {"percent_error": 2.0, "percent_error_plus_nmse": 3.5, "mse": 5.0}


@pytest.mark.parametrize("name", ["percent_error", "nmse", "mse"])
def test_missing_samples_change_neither_value_nor_gradient(name):
    loss = getattr(losses, name)
    predicted = jnp.asarray(Y + 0.1)
    mask = ALL.at[1:, 1].set(False)
    holes = jnp.where(mask[:, None], jnp.asarray(Y), jnp.nan)
    value, gradient = jax.value_and_grad(loss, argnums=1)(holes, predicted, mask)
    np.testing.assert_allclose(value, loss(jnp.asarray(Y), jnp.where(mask[:, None], predicted, 7.0), mask), rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[1:, :, 1] == 0).all()


def test_attraction_ignores_missing_samples():
    mask = ALL.at[2].set(False)
    y = jnp.where(mask[:, None], jnp.asarray(Y), jnp.nan)
    value, gradient = jax.value_and_grad(losses.attraction)(y, y, mask)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_nothing_to_average_is_zero():
    assert losses.percent_error(jnp.asarray(Y), jnp.asarray(2 * Y), ~ALL) == 0.0
