"""Terms of the training loss beside the error of the trajectory."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from trainables.jacobian_ode.quadrature import RuleName
from trainables.jacobian_ode.rollout import Jacobian, line_integral

NetworkT = TypeVar("NetworkT")
PARTNERS = 4
"""Windows that each window of a batch is paired with."""


def loop_integrals(
    jacobian: Jacobian, corners: Float[Array, "loops points n"], name: RuleName, num: int
) -> Float[Array, "loops n"]:
    """Return the integrals of J around closed loops of straight segments, all of them in one call of J.

    They vanish where each row of J is the gradient of a component of a vector field.
    """
    return jnp.sum(line_integral(jacobian, corners, jnp.roll(corners, -1, axis=1), name, num), axis=1)


def loop_closure(
    jacobian: Jacobian, corners: Float[Array, "loops points n"], name: RuleName, num: int
) -> Float[Array, ""]:
    """Return the mean square of the loop integrals."""
    return jnp.mean(loop_integrals(jacobian, corners, name, num) ** 2)


def draw_corners(
    states: Float[Array, "states n"], loops: int, points: int, key: PRNGKeyArray
) -> Float[Array, "loops points n"]:
    """Return the corners of loops, drawn from states."""
    chosen: Int[Array, "loops points"] = jax.random.randint(key, (loops, points), 0, states.shape[0])
    return states[chosen]


def pair_closure(
    jacobian: Jacobian,
    base: Float[Array, "windows n"],
    at_base: Float[Array, "windows n"],
    name: RuleName,
    num: int,
) -> Float[Array, ""]:
    """Return the mean square of f_c - f_b - the integral of J from x_b to x_c, over pairs of windows b and c.

    The run of a window sees J along the flow alone, whose field is estimated anew in each window. The difference of two
    such estimates is what J says across the flow. Each window is paired with the next few; of one window there is none.
    """
    if (windows := base.shape[0]) == 1:
        return jnp.zeros(())
    partner = (np.arange(windows) + np.arange(1, min(PARTNERS, windows - 1) + 1)[:, None]) % windows
    start = jnp.broadcast_to(base, (*partner.shape, base.shape[-1]))
    change = at_base[partner] - at_base
    return jnp.mean((change - line_integral(jacobian, start, base[partner], name, num)) ** 2)


def squared_norm(jacobian: Jacobian, states: Float[Array, "states n"]) -> Float[Array, ""]:
    """Return the mean square Frobenius norm of J; the square, because the norm has no gradient at 0."""
    return jnp.mean(jnp.sum(jacobian.jacobian(states) ** 2, (-2, -1)))


def absolute_weights(network: Any) -> Float[Array, ""]:
    """Return the sum of a network's absolute weights, biases left out."""
    return sum((jnp.sum(jnp.abs(layer.weight)) for layer in network.layers), start=jnp.zeros(()))


def where_weighted(
    weight: Float[Array, ""], term: Callable[[NetworkT], Float[Array, ""]], network: NetworkT
) -> Float[Array, ""]:
    """Return a term of the loss, of which neither value nor gradient is computed where its weight is 0.

    The weight is traced, so that it compiles nothing new; lanes under vmap compute the term for all or none of them.
    The gradient by the network is taken together with the value: what it needs of the way there, for all nodes of all
    loops, would else leave the branch, also as zeros.
    """

    def is_weighted(branch: Callable[[NetworkT], Any], other: Callable[[NetworkT], Any], network: NetworkT) -> Any:
        return jax.lax.cond(weight > 0, branch, other, network)

    @jax.custom_vjp
    def value(network: NetworkT) -> Float[Array, ""]:
        return is_weighted(term, lambda _: jnp.zeros(()), network)

    def there(network: NetworkT) -> tuple[Float[Array, ""], NetworkT]:
        nothing = jax.tree.map(jnp.zeros_like, network)
        return is_weighted(jax.value_and_grad(term), lambda _: (jnp.zeros(()), nothing), network)

    def back(gradient: NetworkT, change: Float[Array, ""]) -> tuple[NetworkT]:
        return (jax.tree.map(lambda leaf: change * leaf, gradient),)

    value.defvjp(there, back)
    return value(network)
