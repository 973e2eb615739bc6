"""A loop over rounds of many lanes, of traced length, that gradients can go back through; results by column.

JAX's own scan has a fixed length, and its loops of traced length have no gradient.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

Body = Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]


class Columns(NamedTuple):
    """Which round and lane a column's result is read from, and back."""

    last: Int[Array, " columns"]
    """The round times the number of lanes, plus the lane; past the end if nothing is read."""
    became: Int[Array, "rounds lanes"]
    """The column that reads it; the number of columns if none does."""


def columns(last: Int[Array, " columns"], rounds: int, lanes: int) -> Columns:
    """Return both directions of the columns' places, of which none are equal but those past the end."""
    num = len(last)
    became = jnp.full(rounds * lanes, num, jnp.int32).at[last].set(jnp.arange(num, dtype=jnp.int32), mode="drop")
    return Columns(last, became.reshape(rounds, lanes))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def in_rounds(
    body: Body, num: Int[Array, ""], read: Columns, constants: Any, held: Any, carry: Any, xs: Any, given: Any
) -> tuple[Any, Any]:
    """Return the last carry of the first `num` rounds, and each column's part of what its round gave.

    A round is `body(constants, held, carry, x, given)` -> (carry, y), x and `given` being its own of all rounds'; the
    last axis of y are its lanes. Rounds after the `num` first cost nothing. Differentiable in y as a function of
    `carry`, `xs` and what is floating point of `constants`, but not in the last carry; `body` closes over no traced
    array.
    """
    _, y = jax.eval_shape(body, constants, held, carry, *_first((xs, given)))

    def step(index: Array, state: Any) -> Any:
        carry, ys = state
        carry, y = body(constants, held, carry, *_at((xs, given), index))
        return carry, _put(ys, y, index)

    carry, ys = jax.lax.fori_loop(0, num, step, (carry, _room(read, y)))
    return carry, _columns(read, ys)


def _forward(
    body: Body, num: Array, read: Columns, constants: Any, held: Any, carry: Any, xs: Any, given: Any
) -> tuple[Any, Any]:
    pull = _Pull(body)
    _, y, saved = jax.eval_shape(pull.save, constants, held, carry, *_first((xs, given)))

    def step(index: Array, state: Any) -> Any:
        carry, ys, all_saved = state
        carry, y, saved = pull.save(constants, held, carry, *_at((xs, given), index))
        return carry, _put(ys, y, index), _put(all_saved, saved, index)

    last, ys, all_saved = jax.lax.fori_loop(0, num, step, (carry, _room(read, y), _room(read, saved)))
    return (last, _columns(read, ys)), (pull, num, read, constants, carry, xs, all_saved)


def _backward(body: Body, kept: Any, to: Any) -> tuple[Any, ...]:
    pull, num, read, constants, carry, xs, all_saved = kept
    none = jax.tree.map(jnp.zeros_like, (carry, eqx.filter(constants, eqx.is_inexact_array), xs))

    def step(done: Array, state: Any) -> Any:
        index = num - 1 - done
        to_carry, to_constants, to_xs = state
        to_y = _lanes(read, to[1], index)
        added, to_carry, to_x = pull.back(constants, _at(all_saved, index), (to_carry, to_y))
        return to_carry, jax.tree.map(jnp.add, to_constants, added), _put(to_xs, to_x, index)

    to_carry, to_constants, to_xs = jax.lax.fori_loop(0, num, step, none)
    return None, None, to_constants, None, to_carry, to_xs, None


in_rounds.defvjp(_forward, _backward)


@jax.tree_util.register_static
class _Pull:
    """The pullback of a round, in two halves: what it has to keep of the round, and its use of that later.

    What it keeps that is one of the constants is not kept again for each round.
    """

    def __init__(self, body: Body) -> None:
        self._body = body

    def save(self, constants: Any, held: Any, carry: Any, x: Any, given: Any) -> tuple[Any, Any, list[Array]]:
        """Make one round; return its carry, its y and what the pullback keeps."""
        moving, fixed = eqx.partition(constants, eqx.is_inexact_array)

        def body(moving: Any, carry: Any, x: Any) -> tuple[Any, Any]:
            return self._body(eqx.combine(moving, fixed), held, carry, x, given)

        (carry, y), pullback = jax.vjp(body, moving, carry, x)
        leaves, self._structure = jax.tree.flatten(pullback)
        known = jax.tree.leaves(constants)
        # By identity: what is not recognised is kept for each round, which costs time and is no mistake.
        self._known = [next((i for i, constant in enumerate(known) if constant is leaf), None) for leaf in leaves]
        return carry, y, [leaf for leaf, where in zip(leaves, self._known, strict=True) if where is None]

    def back(self, constants: Any, saved: list[Array], to: Any) -> tuple[Any, Any, Any]:
        """Return the cotangents of constants, carry and x for those of a round's carry and y."""
        known, kept = jax.tree.leaves(constants), iter(saved)
        leaves = [next(kept) if where is None else known[where] for where in self._known]
        return jax.tree.unflatten(self._structure, leaves)(to)


def _room(read: Columns, one: Any) -> Any:
    """Return arrays for a leaf of every round; nobody reads what is not written, so nobody need clear them."""
    rounds = len(read.became)
    return jax.tree.map(lambda leaf: jax.lax.empty((rounds, *leaf.shape), leaf.dtype), one)


def _columns(read: Columns, ys: Any) -> Any:
    rounds, lanes = read.became.shape
    place = jnp.minimum(read.last, rounds * lanes - 1)
    return jax.tree.map(lambda y: jnp.moveaxis(y[place // lanes, ..., place % lanes], 0, -1), ys)


def _lanes(read: Columns, to: Any, index: Array) -> Any:
    """Return what a round's lanes give to the columns, from what the columns get: 0 if no column reads them."""
    became = jax.lax.dynamic_index_in_dim(read.became, index, keepdims=False)
    most = len(read.last) - 1
    return jax.tree.map(lambda x: jnp.where(became <= most, x[..., jnp.minimum(became, most)], 0.0), to)


def _first(xs: Any) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)


def _at(xs: Any, index: Array) -> Any:
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), xs)


def _put(xs: Any, x: Any, index: Array) -> Any:
    return jax.tree.map(lambda all_of, one: jax.lax.dynamic_update_index_in_dim(all_of, one, index, 0), xs, x)
