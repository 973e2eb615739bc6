"""How a training recovers from a bad step: it goes back towards its last good parameters, with less momentum.

A step is bad if its loss or gradient is not finite, its loss explodes, or an ODE solve in it fails. To skip it helps
against a bad batch only. If the step before has led to bad parameters, every later step from there is bad too.
"""

from typing import NamedTuple

import jax
import optax
from jaxtyping import Array, Int, PyTree

MAX_BAD_STEPS = 10
"""A trial fails when its bad steps outnumber the good ones that follow them by this many.

Ten bad steps in a row do it. A training that is bad one time in three goes on, and one that is bad most of the time
does not, though some of its steps are good.
"""
SHARE_BACK = 0.5
"""The share of the way to the last good parameters that a bad step goes back: n of them leave 2^-n of the last move."""
MOMENTUM_KEPT = 0.5
"""The share of Adam's first moment that a bad step leaves: all of it would lead to the same place again."""


class Recovery(NamedTuple):
    """What a training's state holds to recover with."""

    good: PyTree[Array]
    """The trained parameters that the last good step outside of a stretch of bad ones started from.

    A stretch can come through a place from which every step is bad, however short it is: the next bad step goes back to
    before the stretch.
    """
    recoveries: Int[Array, ""]
    """How often a stretch of bad steps ended: as many good ones followed."""


def go_back(trained: PyTree[Array], good: PyTree[Array]) -> PyTree[Array]:
    """Return the trained parameters after a bad step: part of the way from `trained` to the last good ones."""
    return jax.tree.map(lambda now, then: now + SHARE_BACK * (then - now), trained, good)


def reduce_momentum(moments: PyTree[Array]) -> PyTree[Array]:
    """Return the optimiser's state after a bad step: Adam's first moment is reduced, the rest is as before.

    Adam's state is found by its type, wherever in a chain of optax transformations it stands.
    """

    def is_adam(state: object) -> bool:
        return isinstance(state, optax.ScaleByAdamState)

    def reduced(state: object) -> object:
        if not isinstance(state, optax.ScaleByAdamState):
            return state
        return state._replace(mu=jax.tree.map(lambda moment: MOMENTUM_KEPT * moment, state.mu))

    return jax.tree.map(reduced, moments, is_leaf=is_adam)
