"""Checkpoint files: one `.npz` per trial, arrays and JSON only, so that reading one never runs anybody's code."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from trainables._shared.config import MethodConfig
from trainables._shared.model_file import FORMAT, CheckpointError, Leaf, own_version, require_format, type_name


def leaves_of(tree: PyTree[Any]) -> list[Leaf]:
    """Return the names, shapes and types of a tree's arrays, in the order in which a checkpoint has them."""
    found, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [Leaf(jax.tree_util.keystr(path).lstrip("."), tuple(np.shape(leaf)), _type_of(leaf)) for path, leaf in found]


def _type_of(leaf: Any) -> str:
    dtype = getattr(leaf, "dtype", None)
    return type_name(dtype) if isinstance(dtype, np.dtype) else ""


def write_checkpoint(path: Path, trees: Mapping[str, PyTree[Any]], meta: Mapping[str, Any]) -> None:
    """Write pytrees of arrays under their names with JSON-able `meta`, and move the file into place."""
    arrays = {
        f"{name}/{index}": np.asarray(leaf)
        for name, tree in trees.items()
        for index, leaf in enumerate(jax.tree.leaves(tree))
    }
    header = json.dumps({"format": FORMAT, "swell": own_version(), **meta})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, meta=np.frombuffer(header.encode(), np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class Checkpoint:
    """A checkpoint that was read: its header, and its arrays by tree."""

    def __init__(self, path: Path, meta: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self.path = path
        self.meta = meta
        self._arrays = arrays

    def require_config(self, config: MethodConfig) -> None:
        """Raise CheckpointError if the checkpoint was written under another configuration."""
        stored, asked = config.recorded(self.meta["config"]), config.model_dump(mode="json")
        other = sorted(key for key in {*stored, *asked} if stored.get(key) != asked.get(key))
        if other:
            raise CheckpointError(
                f"{self.path}: written under another configuration (it differs in {', '.join(other)})"
            )

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise CheckpointError if the checkpoint was written under other settings of JAX; older ones do not say."""
        stored = self.meta.get("settings", {})
        other = [f"{key} was {was}, is {settings.get(key)}" for key, was in stored.items() if settings.get(key) != was]
        if other:
            raise CheckpointError(f"{self.path}: written under other settings of JAX ({', '.join(other)})")

    def tree(self, name: str, like: PyTree[Any]) -> PyTree[np.ndarray]:
        """Return a stored pytree with the structure of `like`; raises CheckpointError if shapes or types differ."""
        leaves, structure = jax.tree.flatten(like)
        stored = [self._arrays.get(f"{name}/{index}") for index in range(len(leaves))]
        if any(array is None or array.shape != np.shape(leaf) for array, leaf in zip(stored, leaves, strict=True)):
            raise CheckpointError(f"{self.path}: its {name} does not fit this version of the method")
        for array, leaf in zip(stored, leaves, strict=True):
            wanted = getattr(leaf, "dtype", None)
            if array is not None and isinstance(wanted, np.dtype) and array.dtype != wanted and array.dtype.kind != "V":
                raise CheckpointError(
                    f"{self.path}: its {name} was computed in {array.dtype}, and this process computes in {wanted}: "
                    f"set JAX_ENABLE_X64={int(array.dtype.itemsize > wanted.itemsize)}, as it was there"
                )
        return jax.tree.unflatten(structure, stored)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this format or the one before.

    Raises CheckpointError for a file that is damaged or of any other format.
    """
    try:
        # Opened here: NumPy leaves a file that it cannot read open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        if not isinstance(meta, dict):
            raise TypeError("its header is no JSON object")
    except Exception as error:  # what damaged bytes make zipfile and NumPy raise is no closed list
        raise CheckpointError(f"{path}: not a readable checkpoint ({error})") from error
    require_format(path, meta)
    return Checkpoint(path, meta, arrays)
