"""Tsit5, the explicit Runge-Kutta method of order 5, over a batch of problems: one step and its interpolant."""

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
ERROR = (
    0.00178001105222577714,
    0.0008164344596567469,
    -0.007880878010261995,
    0.1447110071732629,
    -0.5823571654525552,
    0.45808210592918697,
    -1 / 66,
)
"""Weights of the fifth-order solution less those of the embedded fourth-order one."""
DENSE = (
    (1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216),
    (0.0, 0.1317, -0.2234, 0.1017),
    (0.0, 3.930296236894751, -5.941033872131505, 2.490627285651253),
    (0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902),
    (0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928),
    (0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661),
    (0.0, 1.5, -4.0, 2.5),
)
"""Fourth-order interpolant of a step (same paper): weight i is the polynomial of theta, theta^2, .. theta^4."""


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


def interpolant(k: Sequence[State]) -> tuple[State, State, State, State]:
    """Return a to d of the state at a share theta of a step: y + h (a theta + b theta^2 + c theta^3 + d theta^4)."""
    a, b, c, d = (combine([weights[power] for weights in DENSE], k) for power in range(4))
    return a, b, c, d
