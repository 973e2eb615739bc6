"""One step of Tsit5, the explicit Runge-Kutta method of order 5, over a batch of initial-value problems."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

State = Float[Array, "components *n"]
Field = Callable[[State], State]

TABLEAU = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
)
"""Butcher tableau of Tsit5, the rows of stages 2 to 7; the last row is also the fifth-order solution.

Tsitouras 2011, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption.
"""


def combine(weights: Sequence[float], k: Sequence[State]) -> State:
    """Return the sum of stages, each with its weight."""
    total = weights[0] * k[0]
    for weight, stage in zip(weights[1:], k[1:], strict=True):
        total = total + weight * stage
    return total


def tsit5_step(field: Field, y: State, k1: State, h: Float[Array, " n"]) -> tuple[State, list[State]]:
    """Return the state after a step of length h, and its seven stages; the last is the next step's first."""
    k, y1 = [k1], y
    for row in TABLEAU:
        y1 = y + h * combine(row, k)
        k.append(field(y1))
    return y1, k


def tsit5_looped(field: Field, y: State, h: Float[Array, " n"]) -> tuple[State, Float[Array, "7 components *n"]]:
    """Return the state after a step of length h, and its seven stages: the same as `tsit5_step`, in a loop.

    The field is compiled once instead of seven times, and its gradient too; running takes as long.
    """
    rows = np.zeros((7, 7))
    for stage, row in enumerate(TABLEAU, 1):
        rows[stage, : len(row)] = row

    def body(now: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        k, _ = now
        row, stage = given
        there = y + h * jnp.tensordot(row, k, 1)
        return (jax.lax.dynamic_update_index_in_dim(k, field(there), stage, 0), there), None

    none = jnp.zeros((7, *y.shape), y.dtype)
    (k, y1), _ = jax.lax.scan(body, (none, y), (jnp.asarray(rows, y.dtype), jnp.arange(7)))
    return y1, k
