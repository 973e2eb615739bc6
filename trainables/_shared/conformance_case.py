"""A method under examination, and how what it computes is compared; for the conformance checks."""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.config import MethodConfig
from trainables._shared.contract import Method, TrialData
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training

MOST_CHANGES = 2
"""Other values of a field that are held against its own."""


@dataclass
class Case:
    """A method under examination, its smoke config and data, and a folder for files."""

    name: str
    method: Method[Any]
    folder: Path

    def __post_init__(self) -> None:
        self.config: MethodConfig = self.method.smoke()
        self.program = Program(self.method, self.config)
        self.data: TrialData = self.method.data(self.config, DatasetStore(self.folder))

    def training(self, config: MethodConfig | None = None) -> Training:
        """Return a new training of the config, on the shared program."""
        return Training(self.program, config or self.config, self.data)

    def changed(self, **fields: Any) -> MethodConfig:
        """Return the smoke config with some fields changed, validated; phases that give a learning rate get it too."""
        values = self.config.model_dump(mode="json") | fields
        if "learning_rate" in fields:
            values = _everywhere(values, "learning_rate", fields["learning_rate"])
        return self.method.config_type.of_values(values)


def _everywhere(value: Any, key: str, new: Any) -> Any:
    if isinstance(value, dict):
        return {k: new if k == key and v is not None else _everywhere(v, key, new) for k, v in value.items()}
    return [_everywhere(item, key, new) for item in value] if isinstance(value, list) else value


def same(left: Any, right: Any) -> bool:
    """Return whether two trees have one structure and the same arrays, bit for bit; NaN is NaN."""
    if jax.tree.structure(left) != jax.tree.structure(right):
        return False
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


def text_of(function: Callable[..., Any], *args: Any) -> str:
    """Return a function's jaxpr as text, with what the text leaves out: its result's names, and constant arrays."""
    jaxpr, result = jax.make_jaxpr(function, return_shape=True)(*args)
    constants = [(np.shape(value), np.asarray(value).tobytes()) for value in _constants(jaxpr)]
    text = f"{jaxpr}\n{jax.tree.structure(result)}\n{hashlib.sha256(repr(constants).encode()).hexdigest()}"
    return re.sub(r"\b0x[0-9a-f]+", "", text)


def _constants(jaxpr: Any) -> Iterator[Any]:
    """Yield the arrays that a jaxpr and those within it close over; of a random key, its numbers."""
    for value in getattr(jaxpr, "consts", ()):
        if isinstance(value, jax.Array | np.ndarray):
            yield jax.random.key_data(value) if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) else value
    for equation in jaxpr.eqns:
        for leaf in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda node: hasattr(node, "eqns")):
            if hasattr(leaf, "eqns"):
                yield from _constants(leaf)
