"""What a model file says of itself, read without JAX: its method, its config, the shapes of its arrays."""

import json
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, NamedTuple

from trainables._shared.npy import read_header

FORMAT = 3
BEFORE_RECOVERY = 2
"""Format of the checkpoints whose state ends before `TrainState.recovery`; they are still read."""
READ = (BEFORE_RECOVERY, FORMAT)

MOST_NAMED = 3
"""Arrays that differ that are named."""


class Leaf(NamedTuple):
    """One of a model's arrays."""

    name: str
    shape: tuple[int, ...]
    type: str = ""
    """Of its numbers, as NumPy names it; empty if it is not told."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another format, or of another configuration."""


class ModelFile(NamedTuple):
    """What a file with a finished model says of itself."""

    trainable: str
    config: dict[str, Any]
    """The config as it was recorded."""
    step: int
    """Optimiser steps that made the model."""
    metrics: dict[str, float]
    """Those of its report."""
    shapes: tuple[tuple[int, ...], ...]
    """Of its arrays, in the order of their leaves."""
    names: tuple[str, ...]
    """Likewise their names; empty if an earlier version wrote the file."""
    types: tuple[str, ...] = ()
    """Likewise the types of their numbers, as NumPy names them; an empty one is not told."""


def own_version() -> str:
    """Return the version of swell that runs here; empty if it is not installed."""
    try:
        return version("swell")
    except PackageNotFoundError:
        return ""


def require_format(path: Path, meta: dict[str, Any]) -> None:
    """Raise CheckpointError, which says the version that reads it, if a file has a format that this one does not."""
    found = meta.get("format")
    if found in READ:
        return
    writer = f"swell {meta['swell']}" if meta.get("swell") else ""
    reads = f"swell {own_version()} reads {' and '.join(map(str, READ))}"
    if isinstance(found, int) and found > FORMAT:
        why = (
            f"written by {writer or 'a later version of swell'}; {reads}: it needs {writer or 'that version'} or later"
        )
    else:
        why = (
            f"written by {writer or 'an earlier version of swell'}; {reads}: it needs the version that wrote it, which "
            "provenance.json of its search names"
        )
    raise CheckpointError(f"{path}: checkpoint format {found}, {why}")


def require_model(path: Path, meta: dict[str, Any]) -> None:
    """Raise CheckpointError if a file's header is not that of a finished model."""

    def has(held: Any, **kinds: type) -> bool:
        return isinstance(held, dict) and all(isinstance(held.get(name), kind) for name, kind in kinds.items())

    if not (
        has(meta, extra=dict, bests=dict, config=dict)
        and has(meta["extra"], trainable=str)
        and has(meta["bests"].get("best"), step=int, metrics=dict)
    ):
        raise CheckpointError(f"{path}: holds no finished model")


def type_name(dtype: Any) -> str:
    """Return what NumPy calls a type of numbers; empty for one that it does not have, such as bfloat16."""
    return "" if dtype.kind == "V" else str(dtype.name)


def read_model_file(path: Path) -> ModelFile:
    """Return what a model file says of itself; of its arrays only the headers are read.

    Raises CheckpointError for a file that cannot be read, is of a format that this version does not know, or holds no
    finished model.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = set(file.namelist())
            with file.open("meta.npy") as member:
                meta = json.loads(_array(member).tobytes())
            if not isinstance(meta, dict):
                raise TypeError("its header is no JSON object")
            headers = []
            while (name := f"best/{len(headers)}.npy") in names:
                with file.open(name) as member:
                    headers.append(read_header(member))
    except Exception as error:  # what damaged bytes make zipfile and NumPy raise is no closed list
        raise CheckpointError(f"{path}: not a readable model file ({error})") from error
    require_format(path, meta)
    require_model(path, meta)
    for index, (_, dtype) in enumerate(headers):
        if dtype.kind not in "biufcV":
            raise CheckpointError(f"{path}: array {index} of its model is of {dtype}, which are no numbers")
    best = meta["bests"]["best"]
    return ModelFile(
        meta["extra"]["trainable"],
        meta["config"],
        best["step"],
        best["metrics"],
        tuple(shape for shape, _ in headers),
        tuple(meta.get("leaves", ())),
        tuple(type_name(dtype) for _, dtype in headers),
    )


def _array(member: IO[bytes]) -> Any:
    import numpy as np  # a command that reads no model does without it

    return np.lib.format.read_array(member, allow_pickle=False)


def misfit(there: ModelFile, here: Sequence[Leaf]) -> str:
    """Return how a file's arrays differ from those of a model here, by name; empty if they do not."""
    names = there.names if len(there.names) == len(there.shapes) else ()
    types = there.types if len(there.types) == len(there.shapes) else ("",) * len(there.shapes)
    # Without names the arrays are told by their place.
    own = [names[i] if names else here[i].name if i < len(here) else f"array {i}" for i in range(len(there.shapes))]
    leaves = [Leaf(*leaf) for leaf in zip(own, there.shapes, types, strict=True)]
    found = [said for old, new in zip_longest(leaves, here) if (said := _difference(old, new))]
    more = f", and {len(found) - MOST_NAMED} arrays more" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + more


def _difference(there: Leaf | None, here: Leaf | None) -> str:
    if there is None or here is None:
        name = (there or here or Leaf("", ())).name
        return f"{name} is {'there' if there else 'here'} alone"
    if there.name != here.name:
        return f"has {there.name} {_shown(there.shape)} there and {here.name} {_shown(here.shape)} here"
    if there.shape != here.shape:
        return f"{here.name} is {_shown(there.shape)} there and {_shown(here.shape)} here"
    if there.type and here.type and there.type != here.type:
        wide = {"float64": 1, "float32": 0}
        advice = (
            f": set JAX_ENABLE_X64={wide[there.type]}, as it was there" if {there.type, here.type} == {*wide} else ""
        )
        return f"{here.name} is of {there.type} there and of {here.type} here{advice}"
    return ""


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if shape else "a number"
