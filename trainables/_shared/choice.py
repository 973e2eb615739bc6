"""A config's choice among cheap branches, as a traced number: trials that differ in it share a program."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from trainables._shared.config import Branches, MethodConfig, branch_fields


class Choice(eqx.Module):
    """One of a program's values of a field; with more than one, which it is enters the program as a traced index."""

    field: str = eqx.field(static=True)
    values: tuple[str, ...] = eqx.field(static=True)
    index: Int[Array, ""] | None

    def switch(self, branches: Mapping[str, Callable[..., Any]], *args: Any) -> Any:
        """Return what the chosen branch gives; the others are not run, but compiled."""
        if self.index is None:
            return branches[self.values[0]](*args)
        return jax.lax.switch(self.index, [branches[value] for value in self.values], *args)

    def select(self, results: Mapping[str, Array]) -> Array:
        """Return the chosen one of results that are all there: for branches of which a switch would cost more."""
        chosen = results[self.values[0]]
        for index, value in enumerate(self.values[1:], 1):
            chosen = jnp.where(self.index == index, results[value], chosen)
        return chosen

    def is_in(self, values: Collection[str]) -> Bool[Array, ""]:
        """Return whether the chosen value is one of these."""
        among = jnp.asarray([value in values for value in self.values])
        return among[0 if self.index is None else self.index]


def choices(config: MethodConfig, branches: Branches) -> dict[str, Choice]:
    """Return a config's choices by field, each among its program's values, or with nothing to choose from."""
    found = {}
    for field in branch_fields(config):
        value = getattr(config, field)
        values = branches.get(field, (value,))
        found[field] = Choice(field, values, jnp.asarray(values.index(value)) if len(values) > 1 else None)
    return found


def is_choice(node: object) -> bool:
    """Return whether a node of a model is a choice, which is no parameter."""
    return isinstance(node, Choice)
