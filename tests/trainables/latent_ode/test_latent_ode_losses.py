import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.latent_ode import losses

MEAN, STD = np.array([[0.0, 1.5], [-2.0, 0.3]]), np.array([[1.0, 0.1], [2.0, 0.7]])


def kl(mean, std):
    return np.asarray(losses.kl_to_normal(jnp.asarray(mean), jnp.log(jnp.asarray(std))))


def test_kl_is_the_closed_form_of_two_gaussians():
    # KL(N(m, s^2) || N(0, 1)) = log(1/s) + (s^2 + m^2)/2 - 1/2.
    np.testing.assert_allclose(kl(MEAN, STD), -np.log(STD) + (STD**2 + MEAN**2) / 2 - 0.5, rtol=1e-5, atol=1e-6)
    assert kl(0.0, 1.0) == 0
    np.testing.assert_allclose(kl(1.0, 1.0), 0.5, rtol=1e-6)


def test_kl_is_the_mean_log_ratio_of_the_densities():
    draws = np.random.default_rng(0).normal(size=(400_000, 1, 1))
    z = MEAN + STD * draws
    ratio = -(draws**2) / 2 - np.log(STD) + z**2 / 2
    np.testing.assert_allclose(kl(MEAN, STD), ratio.mean(0), atol=0.02)


def test_kls_gradient_is_zero_at_the_prior_alone():
    gradient = jax.grad(lambda x: losses.kl_to_normal(x[0], x[1]))
    np.testing.assert_array_equal(gradient(jnp.zeros(2)), 0.0)
    np.testing.assert_allclose(gradient(jnp.array([2.0, 0.0])), [2.0, 0.0])


@pytest.mark.parametrize(
    ("step", "warmup", "expected"), [(0, 10.0, 0.05), (4, 10.0, 0.25), (9, 10.0, 0.5), (500, 10.0, 0.5), (0, 0.0, 0.5)]
)
def test_beta_rises_linearly_and_stays(step, warmup, expected):
    assert losses.beta(jnp.asarray(0.5), jnp.asarray(warmup), jnp.asarray(step)) == pytest.approx(expected)


def test_squared_error_of_what_is_not_there_is_zero_with_a_zero_gradient():
    x = jnp.ones((3, 2, 4)).at[1].set(jnp.nan)
    mask = jnp.ones((3, 4), bool).at[1].set(False)
    value, gradient = jax.value_and_grad(lambda p: losses.squared_error(x, p, mask).sum())(jnp.zeros((3, 2, 4)))
    assert value == 16
    np.testing.assert_array_equal(gradient[1], 0.0)
    assert np.isfinite(gradient).all()


def test_collapse_counts_units_that_vary_and_units_without_kl():
    mean = jnp.asarray(np.random.default_rng(0).normal(size=(4, 500)) * np.array([1.0, 0.5, 0.02, 0.0])[:, None])
    log_std = jnp.log(jnp.array([0.1, 0.5, 1.0, 1.0]))[:, None] * jnp.ones((1, 500))
    found = losses.collapse(mean, losses.kl_to_normal(mean, log_std))
    assert found["active_units"] == 2
    assert found["collapsed_pct"] == 50
    assert found["kl_collapse"] == 0
    np.testing.assert_allclose(found["kl"], losses.kl_to_normal(mean, log_std).sum(0).mean(), rtol=1e-5)
    gone = losses.collapse(mean[2:], losses.kl_to_normal(mean[2:], log_std[2:]))
    assert (gone["active_units"], gone["collapsed_pct"], gone["kl_collapse"]) == (0, 100, 1)


@pytest.mark.parametrize("sampled", [True, False])
def test_a_posterior_that_is_not_finite_does_not_count_as_one_that_has_not_collapsed(sampled):
    mean = jnp.asarray(np.random.default_rng(0).normal(size=(3, 50))).at[1, 7].set(jnp.nan)
    found = losses.collapse(mean, losses.kl_to_normal(mean, jnp.zeros_like(mean)) if sampled else None)
    assert all(np.isnan(value) for value in found.values())


def test_without_sampling_there_is_no_kl_that_could_collapse():
    found = losses.collapse(jnp.asarray(np.random.default_rng(0).normal(size=(3, 50))), None)
    assert {name: float(value) for name, value in found.items()} == {
        "active_units": 3, "collapsed_pct": 0, "kl": 0, "kl_collapse": 0,
    }  # fmt: skip


def test_without_a_kl_term_a_latent_state_that_says_nothing_is_a_collapse():
    said = {int(losses.collapse(jnp.asarray(mean), None)["kl_collapse"]) for mean in ([[0.5, 0.5]], [[0.0, 9.0]])}
    assert said == {0, 1}
    assert int(losses.collapse(jnp.asarray([[0.5, 0.5]]), None)["kl_collapse"]) == 1
