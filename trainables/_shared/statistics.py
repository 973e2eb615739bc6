"""What a model normalises by: of the data that it first learnt from, also if it learns further from others."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

Tree = TypeVar("Tree")


def kept(own: Tree, drawn: Tree, new: Tree) -> Tree:
    """Return the statistics that a model trains by: its own, or new ones while they are those that it was drawn with.

    `drawn` are what `init` puts in place of statistics, as it has seen no data. A training that starts from a saved
    model (`init_from`) keeps the model's: by other ones the same network would be another function.
    """
    is_drawn = _equal(own, drawn)
    return jax.tree.map(lambda mine, other: jnp.where(is_drawn, other, mine), own, new)


def _equal(one: PyTree[Array], other: PyTree[Array]) -> Bool[Array, ""]:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return jnp.all(jnp.stack([jnp.all(a == b) for a, b in pairs]))
