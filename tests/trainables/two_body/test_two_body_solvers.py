import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.kepler import kepler_states
from trainables._shared.program import traced_numbers
from trainables._shared.tsit5 import DENSE, ERROR, TABLEAU
from trainables.two_body.config import Config
from trainables.two_body.method import method
from trainables.two_body.model import Dynamics, exact_acceleration
from trainables.two_body.solvers import adaptive, per_sample

EXACT = Dynamics(exact_acceleration)


def orbit_segments(e, length=18, dtype=np.float64):
    """The segments of one orbit with semi-major axis 1: y (samples, 6, segments) and t (samples, segments)."""
    M = np.deg2rad(np.arange(360.0))[None]
    y = kepler_states(np.array([[1.0, e, 0.0, 0.0, 30.0, 0.0]]), M)[0].reshape(-1, length, 6)
    t = M.reshape(-1, length)
    return jnp.asarray(y.transpose(1, 2, 0), dtype), jnp.asarray((t - t[:, :1]).T, dtype)


def largest_error(solution, y):
    difference = np.linalg.norm(np.asarray(solution.y - y[1:]), axis=1)
    return (difference / np.linalg.norm(np.asarray(y[1:]), axis=1)).max()


def test_tableau_is_consistent():
    c = np.array([sum(row) for row in TABLEAU])
    np.testing.assert_allclose(c, [0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0], atol=1e-12)
    b = np.array([*TABLEAU[-1], 0.0])
    nodes = np.array([0.0, *c])
    for power in range(5):
        np.testing.assert_allclose(b @ nodes**power, 1 / (power + 1), atol=1e-12)
    np.testing.assert_allclose(sum(ERROR), 0.0, atol=1e-12)
    # At the end of the step the interpolant is the solution, and its slope the last stage.
    np.testing.assert_allclose(np.sum(DENSE, axis=1), b, atol=1e-12)
    np.testing.assert_allclose(np.array(DENSE) @ [1, 2, 3, 4], np.eye(7)[6], atol=1e-12)


# One step a degree: the bounds are what was measured, with a factor of 2 to spare.
@pytest.mark.parametrize(("e", "bound"), [(0.0, 3e-13), (0.3, 1e-11), (0.6, 1.3e-9), (0.8, 1e-6)])
def test_per_sample_follows_kepler(e, bound):
    with jax.enable_x64(True):
        y, t = orbit_segments(e)
        assert largest_error(per_sample(EXACT, y[0], t), y) < bound


@pytest.mark.slow
@pytest.mark.parametrize("e", [0.0, 0.3, 0.6, 0.8])
def test_adaptive_follows_kepler_within_its_tolerance(e):
    with jax.enable_x64(True):
        y, t = orbit_segments(e)
        solution = adaptive(EXACT, y[0], t, jnp.asarray(1e-6), jnp.asarray(1e-8), 64)
        assert solution.solved
        assert largest_error(solution, y) < 3e-6
        tight = adaptive(EXACT, y[0], t, jnp.asarray(1e-10), jnp.asarray(1e-12), 256)
        assert largest_error(tight, y) < 1e-9
        assert 0 < tight.error < 1e-2 * solution.error < 1e-6
        derivative = np.asarray(jax.vmap(EXACT)(y[1:]))
        np.testing.assert_allclose(tight.dy, derivative, atol=1e-6 * np.abs(derivative).max())


@pytest.mark.slow
@pytest.mark.parametrize("e", [0.0, 0.3, 0.6, 0.8])
def test_float32_default_is_no_worse_than_the_adaptive_solver(e):
    y, t = orbit_segments(e, dtype=np.float32)
    fixed = largest_error(per_sample(EXACT, y[0], t), y)
    assert fixed < 2e-6
    assert fixed <= largest_error(adaptive(EXACT, y[0], t, jnp.float32(1e-6), jnp.float32(1e-8), 64), y)


def test_tsit5_is_of_order_five():
    with jax.enable_x64(True):
        y, t = orbit_segments(0.3, length=360)
        y, t = y[::20], t[::20]
        substeps = np.array([1, 2, 4, 8])
        errors = [largest_error(per_sample(EXACT, y[0], t, int(n)), y) for n in substeps]
        order = -np.polyfit(np.log(substeps), np.log(errors), 1)[0]
    assert 4.7 < order < 5.5


@pytest.mark.slow
def test_adaptive_agrees_with_diffrax():
    with jax.enable_x64(True):
        y, t = orbit_segments(0.6)
        ours = adaptive(EXACT, y[0], t, jnp.asarray(1e-8), jnp.asarray(1e-10), 128)
        theirs = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: EXACT(y[:, None])[:, 0]),
            diffrax.Tsit5(), 0.0, t[-1, 0], None, y[0, :, 0],
            saveat=diffrax.SaveAt(ts=t[1:, 0]),
            stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
        )  # fmt: skip
        np.testing.assert_allclose(ours.y[:, :, 0], theirs.ys, atol=1e-7)


@pytest.mark.slow
def test_segments_of_any_number_step_alone_or_together():
    """200 segments go through all three levels, 3 through one; a segment's result does not depend on its company."""
    y, t = orbit_segments(0.8, length=4, dtype=np.float32)
    y, t = jnp.tile(y, (1, 1, 3))[..., :200], jnp.tile(t, (1, 3))[:, :200]
    many = adaptive(EXACT, y[0], t, jnp.float32(1e-6), jnp.float32(1e-8), 64)
    few = adaptive(EXACT, y[0, :, :3], t[:, :3], jnp.float32(1e-6), jnp.float32(1e-8), 64)
    assert many.solved
    np.testing.assert_allclose(many.y[..., :3], few.y, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def field():
    config = Config(width=8, depth=1, activation="tanh")
    return Dynamics(method.init(config, traced_numbers(config), jax.random.key(3)))


@pytest.mark.slow
def test_adaptive_gradient_is_that_of_the_exact_solution(field):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype(jnp.float64), field)
        y, t = (array[..., :9] for array in orbit_segments(0.5))

        def total(solve):
            return lambda field, y0: jnp.sum(solve(field, y0).y ** 2) + jnp.sum(solve(field, y0).dy)

        adaptively = total(lambda f, y0: adaptive(f, y0, t, jnp.asarray(1e-9), jnp.asarray(1e-11), 256))
        finely = total(lambda f, y0: per_sample(f, y0, t, 4))
        ours = jax.jit(jax.grad(adaptively, argnums=(0, 1)))(wide, y[0])
        theirs = jax.jit(jax.grad(finely, argnums=(0, 1)))(wide, y[0])
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_running_out_of_steps_is_an_outcome_with_finite_gradients(field):
    y, t = orbit_segments(0.8, dtype=np.float32)

    def total(field, y0):
        solution = adaptive(field, y0, t, jnp.float32(1e-6), jnp.float32(1e-8), 2)
        return jnp.sum(solution.y**2), solution

    gradient, solution = jax.grad(total, has_aux=True)(field, y[0])
    assert not solution.solved
    assert np.isfinite(solution.y).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_a_field_that_blows_up_ends_unsolved():
    y, t = orbit_segments(0.3, dtype=np.float32)
    solution = adaptive(lambda y: 1e3 * y**3, y[0], t, jnp.float32(1e-6), jnp.float32(1e-8), 64)
    assert not solution.solved


def test_lanes_under_vmap_are_the_single_solutions():
    y, t = orbit_segments(0.6, dtype=np.float32)
    tolerances = jnp.asarray([1e-4, 1e-6])
    lanes = jax.vmap(lambda rtol: adaptive(EXACT, y[0], t, rtol, rtol / 100, 64).y)(tolerances)
    for index, rtol in enumerate(tolerances):
        alone = adaptive(EXACT, y[0], t, rtol, rtol / 100, 64).y
        np.testing.assert_allclose(lanes[index], alone, rtol=1e-4, atol=1e-5)
