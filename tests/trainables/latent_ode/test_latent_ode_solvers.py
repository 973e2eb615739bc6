import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.latent_ode.config import Config
from trainables.latent_ode.data import SPIRAL, spiral_states
from trainables.latent_ode.model import LinearField
from trainables.latent_ode.solvers import adaptive, fixed, solve

RNG = np.random.default_rng(0)
X0 = RNG.normal(size=(5, 2))
T = np.sort(RNG.uniform(0, 5, size=(5, 40)), axis=1)
EXACT = np.transpose(spiral_states(X0, T), (1, 2, 0))
FIELD = LinearField(jnp.asarray(SPIRAL, jnp.float32))
Z0, TIMES = jnp.asarray(X0.T, jnp.float32), jnp.asarray(T.T, jnp.float32)


@pytest.mark.parametrize(("name", "order"), [("rk4", 4), ("tsit5", 5)])
def test_fixed_steps_have_their_order(name, order):
    exact = 1 / (1 + 9 * np.exp(-5.0))  # z' = z (1 - z) from 0.1: on a linear field, Tsit5 is better than its order
    substeps = np.array([8, 16, 32])
    with jax.enable_x64(True):
        z0, t = jnp.full((1, 1), 0.1), jnp.full((1, 1), 5.0)
        errors = [abs(fixed(name, lambda z: z * (1 - z), z0, t, int(n)).z.item() - exact) for n in substeps]
    slope = np.polyfit(np.log(substeps), np.log(errors), 1)[0]
    assert slope < -order + 0.3


@pytest.mark.parametrize(("solver", "tolerance"), [("tsit5", 1e-4), ("rk4", 1e-2)])
def test_fixed_steps_follow_the_spirals_at_each_series_own_times(solver, tolerance):
    found = solve(Config(solver=solver), jnp.asarray(1e-4), jnp.asarray(1e-5), FIELD, Z0, TIMES)
    assert found.solved
    assert np.abs(found.z - EXACT).max() < tolerance


def test_substeps_end_at_the_same_times():
    coarse, fine = (fixed("rk4", FIELD, Z0, TIMES, substeps) for substeps in (1, 4))
    assert fine.z.shape == coarse.z.shape
    assert np.abs(fine.z - EXACT).max() < 0.1 * np.abs(coarse.z - EXACT).max()


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["tsit5", "adaptive"])
def test_a_step_of_length_zero_changes_nothing_and_its_gradient_is_finite(solver):
    config, tolerances = Config(solver=solver), (jnp.asarray(1e-4), jnp.asarray(1e-5))
    padded = jnp.concatenate([jnp.zeros((1, 5)), TIMES, TIMES[-1:], TIMES[-1:]])

    def total(field):
        z = solve(config, *tolerances, field, Z0, padded).z
        return (z**2).sum(), z

    (_, z), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(FIELD)
    np.testing.assert_allclose(z[0], Z0, atol=1e-6)
    np.testing.assert_array_equal(z[-1], z[-3])
    assert np.isfinite(gradient.weight).all()
    assert np.abs(gradient.weight).max() > 0


def test_adaptive_steps_follow_the_spirals_or_say_that_they_failed():
    run = jax.jit(lambda rtol, atol: adaptive(FIELD, Z0, TIMES, rtol, atol, max_steps=64))
    found = run(1e-4, 1e-5)
    assert found.solved
    assert np.abs(found.z - EXACT).max() < 2e-3
    failed = run(1e-12, 1e-12)
    assert not failed.solved
    assert np.isfinite(failed.z).all()


def test_a_state_that_leaves_the_finite_numbers_is_not_solved():
    assert not fixed("tsit5", LinearField(jnp.full((2, 2), 1e30)), Z0, TIMES, 1).solved
