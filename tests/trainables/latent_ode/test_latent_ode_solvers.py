import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.latent_ode.config import Config
from trainables.latent_ode.data import SPIRAL, spiral_states
from trainables.latent_ode.mesh import meshed
from trainables.latent_ode.model import LatentODE, LinearField
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


@pytest.mark.parametrize(("solver", "tolerance"), [("mesh", 1e-4), ("tsit5", 1e-4), ("rk4", 1e-2)])
def test_fixed_steps_follow_the_spirals_at_each_series_own_times(solver, tolerance):
    config = Config(solver=solver, num_observed=40)
    found = solve(config, jnp.asarray(1e-4), jnp.asarray(1e-5), FIELD, Z0, TIMES, len(TIMES))
    assert found.solved
    assert np.abs(found.z - EXACT).max() < tolerance


def learnt_field(scale):
    """An MLP whose hidden units bend within a few units of the state: rougher than what is learnt of a spiral."""
    model = LatentODE(Config(latent=3, width=8, activation="tanh"), jax.random.key(3))
    return jax.tree.map(lambda leaf: scale * leaf, model.field)


def own_times(num_series, num_samples, seed=1):
    """Irregular times from 0 on, some of whose last samples are missing, of series that last from 1 to 3."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.random((num_series, num_samples)), axis=1) * rng.uniform(1, 3, (num_series, 1))
    t -= t[:, :1]
    t[0, 5:] = t[0, 5]
    return jnp.asarray(t.T)


@functools.partial(jax.jit, static_argnames=("config", "num_observed"))
def solved(config, field, z0, t, num_observed=20):
    return solve(config, jnp.asarray(0.0), jnp.asarray(0.0), field, z0, t, num_observed)


@pytest.fixture(scope="module")
def problem():
    """A field, states to start from and times of two spans in float64, and the states there by tiny steps."""
    with jax.enable_x64(True):
        field = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), learnt_field(2.0))
        z0, t = jax.random.normal(jax.random.key(0), (3, 16), jnp.float64), own_times(16, 40)
        return field, z0, t, solved(Config(solver="tsit5", substeps=8), field, z0, t).z


@pytest.mark.parametrize(("num_samples", "largest"), [(20, 2e-5), (40, 1e-5)])
def test_a_mesh_reaches_the_samples_of_both_spans(problem, num_samples, largest):
    field, z0, t, fine = problem
    with jax.enable_x64(True):
        found = solved(Config(), field, z0, t[:num_samples])
    assert found.solved
    np.testing.assert_allclose(found.z, fine[:num_samples], atol=largest)
    np.testing.assert_array_equal(found.z[0], z0)


def test_samples_between_the_steps_of_a_mesh_converge_like_its_interpolant(problem):
    field, z0, t, fine = problem
    with jax.enable_x64(True):
        few, many = (np.abs(solved(Config(samples_per_step=n), field, z0, t, 20).z - fine).max() for n in (4, 2))
    assert many < few / 2**4


@pytest.mark.slow
def test_the_gradient_through_a_mesh_is_that_of_the_solution(problem):
    field, z0, t, _ = problem
    with jax.enable_x64(True):
        weights = jax.random.normal(jax.random.key(1), (len(t), *z0.shape), jnp.float64)

        def gradient(config):
            return jax.grad(lambda problem: jnp.sum(weights * solved(config, *problem, t).z))((field, z0))

        mesh, fine = gradient(Config(samples_per_step=1)), gradient(Config(solver="tsit5", substeps=4))
    for ours, theirs in zip(jax.tree.leaves(mesh), jax.tree.leaves(fine), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(fine)) > 1


def test_the_estimated_error_says_that_a_field_is_too_rough(problem):
    _, z0, t, _ = problem
    z0, t = z0.astype(jnp.float32), t[:20].astype(jnp.float32)
    smooth, rougher, too_rough = (float(solved(Config(), learnt_field(k), z0, t).error) for k in (1.0, 2.0, 8.0))
    assert 1e-8 < smooth < 0.1 * rougher < 1e-3
    assert too_rough > 0.03
    assert 0 < solved(Config(solver="tsit5"), learnt_field(8.0), z0, t).error < too_rough
    assert np.isnan(solved(Config(solver="rk4"), learnt_field(1.0), z0, t).error)


def test_a_series_of_one_sample_stays_where_it_is():
    t = jnp.zeros((4, 5))
    z, error = meshed(FIELD, Z0, t, 3)
    np.testing.assert_array_equal(z, np.broadcast_to(Z0, (4, 2, 5)))
    assert not error.any()


def test_substeps_end_at_the_same_times():
    coarse, fine = (fixed("rk4", FIELD, Z0, TIMES, substeps) for substeps in (1, 4))
    assert fine.z.shape == coarse.z.shape
    assert np.abs(fine.z - EXACT).max() < 0.1 * np.abs(coarse.z - EXACT).max()


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["mesh", "tsit5", "adaptive"])
def test_a_step_of_length_zero_changes_nothing_and_its_gradient_is_finite(solver):
    config, tolerances = Config(solver=solver), (jnp.asarray(1e-4), jnp.asarray(1e-5))
    padded = jnp.concatenate([jnp.zeros((1, 5)), TIMES, TIMES[-1:], TIMES[-1:]])

    def total(field):
        z = solve(config, *tolerances, field, Z0, padded, len(padded)).z
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
