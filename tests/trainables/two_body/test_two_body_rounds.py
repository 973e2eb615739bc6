import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.two_body.rounds import columns, in_rounds

ROUNDS, LANES, NUM_COLUMNS = 7, 3, 8
PLACES = np.array([0, 4, 2, 11, 13, 6, ROUNDS * LANES, ROUNDS * LANES])


def body(weights, held, carry, x, given):
    carry = jnp.tanh(weights["w"] @ carry + x * held[given])
    return carry, (carry * weights["b"], jnp.stack([carry, carry**2]))


def scanned(num, weights, carry, xs):
    """The same by JAX's own scan, of a length that is known."""
    held, given = jnp.arange(1.0, 5.0), jnp.arange(ROUNDS) % 4
    carry, ys = jax.lax.scan(lambda c, x: body(weights, held, c, *x), carry, (xs[:num], given[:num]))
    return carry, jax.tree.map(lambda y: _read(y, num), ys)


def _read(y, num):
    there = num * LANES > PLACES
    place = np.where(there, PLACES, 0)
    return jnp.where(there, jnp.moveaxis(y[place // LANES, ..., place % LANES], 0, -1), 0.0)


def ours(num, weights, carry, xs):
    held, given = jnp.arange(1.0, 5.0), jnp.arange(ROUNDS) % 4
    read = columns(jnp.asarray(PLACES), ROUNDS, LANES)
    carry, ys = in_rounds(body, num, read, weights, held, carry, xs, given)
    there = num * LANES > PLACES
    return carry, jax.tree.map(lambda y: jnp.where(there, y, 0.0), ys)


@pytest.fixture(scope="module")
def inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    weights = {"w": jax.random.normal(keys[0], (4, 4)), "b": jax.random.normal(keys[1], (4, 1)), "n": jnp.arange(2)}
    return weights, jax.random.normal(keys[2], (4, LANES)), jax.random.normal(keys[3], (ROUNDS, 4, LANES))


def total(run, num):
    def value(weights, carry, xs):
        return sum(jnp.sum(jnp.cos(y) * jnp.arange(1.0, NUM_COLUMNS + 1)) for y in run(num, weights, carry, xs)[1])

    return value


@pytest.mark.parametrize("num", [1, 5, ROUNDS])
def test_results_and_gradients_are_those_of_a_scan_of_that_length(inputs, num):
    traced = jnp.asarray(num)
    for a, b in zip(*(jax.tree.leaves(run(n, *inputs)) for run, n in ((ours, traced), (scanned, num))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    gradient = jax.jit(lambda num, x: jax.grad(total(ours, num), argnums=(0, 1, 2), allow_int=True)(*x))(traced, inputs)
    expected = jax.grad(total(scanned, num), argnums=(0, 1, 2), allow_int=True)(*inputs)
    del gradient[0]["n"], expected[0]["n"]
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_lanes_of_vmap_go_to_their_own_lengths(inputs):
    nums = jnp.array([2, ROUNDS])
    gradient = jax.vmap(lambda num, xs: jax.grad(total(ours, num), argnums=2, allow_int=True)(*inputs[:2], xs))
    both = gradient(nums, jnp.stack([inputs[2]] * 2))
    for index, num in enumerate(nums.tolist()):
        alone = jax.grad(total(scanned, num), argnums=2, allow_int=True)(*inputs)
        np.testing.assert_allclose(both[index], alone, rtol=1e-5, atol=1e-6)
