import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.program import traced_numbers
from trainables.two_body.activations import activate
from trainables.two_body.config import Config, HeadName
from trainables.two_body.features import FEATURES
from trainables.two_body.heads import HEADS
from trainables.two_body.method import method
from trainables.two_body.model import Dynamics

M, D = 0.7, np.array([0.3, -1.2, 0.4])
LENGTH = np.linalg.norm(D)
SP = np.log1p(np.exp(M))
TANH = np.tanh(D)
EXPECTED = {
    "mlp_4D_signed": M * D,
    "mlp_4D_abs": M * D,
    "mlp_4D_softplus": SP * D,
    "mlp_4D_unit": M * D / LENGTH,
    "mlp_4D_unit_softplus": SP * D / LENGTH,
    "mlp_4D_logmag_exp": np.exp(M) * D,
    "mlp_4D_logmag_unit_exp": np.exp(M) * D / (LENGTH + 1e-8),
    "mlp_4D_logmag_unit_softplus": (SP + 1e-8) * D / (LENGTH + 1e-8),
    "mlp_4D_logmag_unit_tanh_exp": np.exp(M) * TANH / np.linalg.norm(TANH),
    "mlp_4D_logmag_unit_tanh_softplus": SP * TANH / np.linalg.norm(TANH),
}
Y = jnp.asarray([0.4, -0.3, 0.2, 0.5, 1.1, -0.6])


def head(name, out, y=Y):
    return np.asarray(HEADS[name][1](jnp.asarray(out, jnp.float32), y))


def test_config_lists_every_head():
    assert set(HeadName.__args__) == set(HEADS)


@pytest.mark.parametrize("name", EXPECTED)
def test_heads_follow_their_formula(name):
    np.testing.assert_allclose(head(name, [M, *D]), EXPECTED[name], rtol=1e-5)


def test_sign_of_the_magnitude_decides_between_signed_and_abs():
    np.testing.assert_allclose(head("mlp_4D_signed", [-M, *D]), -M * D, rtol=1e-6)
    np.testing.assert_allclose(head("mlp_4D_abs", [-M, *D]), M * D, rtol=1e-6)


def test_cartesian_is_its_outputs():
    np.testing.assert_array_equal(head("mlp_cartesian", D), D.astype(np.float32))


def test_simple_gives_the_velocity_and_the_acceleration():
    np.testing.assert_array_equal(head("mlp_simple", [*np.ones(3), *D]), D.astype(np.float32))
    y = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32)

    def field(**fields):
        config = Config(width=4, depth=1, **fields)
        return method.init(config, traced_numbers(config), jax.random.key(0))

    model = field(head="mlp_simple", planar=False)
    derivative = np.asarray(Dynamics(model)(y))
    np.testing.assert_array_equal(derivative[3:], model(y))
    x = FEATURES["sph_4D_rinv_vel"][1](y)
    np.testing.assert_allclose(derivative, model.layers[1](activate(model.activation, model.layers[0](x))), rtol=1e-5)
    planar = np.asarray(Dynamics(field(head="mlp_simple"))(y))
    assert (planar[[2, 5]] == 0).all()
    assert (planar[[0, 1, 3, 4]] != 0).all()
    for name in HEADS:
        given = np.asarray(Dynamics(field(head=name))(y)[:3])
        assert np.array_equal(given, y[3:]) == (name != "mlp_simple")


def test_rtn_axes_are_radial_transverse_normal():
    r, v = np.asarray(Y[:3], float), np.asarray(Y[3:], float)
    R = r / np.linalg.norm(r)
    N = np.cross(r, v) / np.linalg.norm(np.cross(r, v))
    T = np.cross(N, R)
    for index, axis in enumerate((R, T, N)):
        np.testing.assert_allclose(head("mlp_rtn", np.eye(3)[index]), axis, atol=1e-6)
    assert T @ v > 0


def test_exact_field_is_logmag_unit_exp_of_minus_two_log_radius():
    r = np.asarray(Y[:3], float)
    radius = np.linalg.norm(r)
    np.testing.assert_allclose(
        head("mlp_4D_logmag_unit_exp", [-2 * np.log(radius), *(-r / radius)]), -r / radius**3, rtol=1e-5
    )


@pytest.mark.parametrize("name", HEADS)
def test_gradients_are_finite_at_zero_vectors(name):
    size, function = HEADS[name]
    for y in (Y, jnp.zeros(6)):
        for gradient in jax.jacobian(function, argnums=(0, 1))(jnp.zeros(size), y):
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", HEADS)
def test_batches_are_columns(name):
    size, function = HEADS[name]
    outputs = np.random.default_rng(1).normal(size=(size, 4)).astype(np.float32)
    states = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    together = function(jnp.asarray(outputs), jnp.asarray(states))
    for index in range(4):
        np.testing.assert_allclose(
            together[:, index], head(name, outputs[:, index], jnp.asarray(states[:, index])), rtol=1e-4, atol=1e-6
        )
