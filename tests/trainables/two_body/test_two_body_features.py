import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.two_body.config import FeaturesName
from trainables.two_body.features import FEATURES, norm

Y = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
R, V = Y[:3], Y[3:]
RHO = np.linalg.norm(R, axis=0)


def test_config_lists_every_feature_layer():
    assert set(FeaturesName.__args__) == set(FEATURES)


@pytest.mark.parametrize("name", FEATURES)
def test_sizes_are_as_declared(name):
    size, function = FEATURES[name]
    assert function(jnp.asarray(Y)).shape == (size, 5)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("y", [np.zeros(6), np.array([0, 0, 0, 1.0, 0, 0]), np.array([0, 0, 1.0, 0, 0, 1.0])])
def test_gradients_are_finite_at_zero_vectors(name, y):
    gradient = jax.jacobian(FEATURES[name][1])(jnp.asarray(y, jnp.float32))
    assert np.isfinite(gradient).all()


def test_cartesian_is_the_state():
    np.testing.assert_array_equal(FEATURES["cartesian"][1](jnp.asarray(Y)), Y)


def test_sph_4d_rinv_vel_is_inverse_radius_direction_velocity():
    expected = np.concatenate([1 / RHO[None], R / RHO, V])
    np.testing.assert_allclose(FEATURES["sph_4D_rinv_vel"][1](jnp.asarray(Y)), expected, rtol=1e-5)


def test_rt_adds_radial_and_transverse_velocity():
    out = FEATURES["sph_4D_rinv_vel_rt"][1](jnp.asarray(Y))
    radial = (R * V).sum(0) / RHO
    transverse = np.linalg.norm(np.cross(R, V, axis=0), axis=0) / RHO
    np.testing.assert_allclose(out[7:], np.stack([radial, transverse]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out[7] ** 2 + out[8] ** 2, (V**2).sum(0), rtol=1e-4)


def test_harmonics_are_cosines_and_sines_of_multiples_of_the_angle():
    out = FEATURES["sph_4D_rinv_vel_harmonics"][1](jnp.asarray(Y))
    theta = np.arctan2(Y[1], Y[0])
    expected = np.stack([f(k * theta) for k in (1, 2, 3) for f in (np.cos, np.sin)])
    np.testing.assert_allclose(out[7:], expected, atol=1e-5)


def test_norm_is_euclidean_with_gradient_zero_at_zero():
    np.testing.assert_allclose(norm(jnp.asarray(R))[0], RHO, rtol=1e-6)
    gradient = jax.grad(lambda x: norm(x)[0])(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))
