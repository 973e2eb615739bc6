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

Leaf = tuple[str, tuple[int, ...]]
"""The name of one of a model's arrays, and its shape."""
MOST_NAMED = 3
"""Arrays that differ that are named."""


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
    if "trainable" not in meta.get("extra", {}) or "best" not in meta.get("bests", {}) or "config" not in meta:
        raise CheckpointError(f"{path}: holds no finished model")


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
            shapes = []
            while (name := f"best/{len(shapes)}.npy") in names:
                with file.open(name) as member:
                    shapes.append(read_header(member)[0])
    except Exception as error:  # what damaged bytes make zipfile and NumPy raise is no closed list
        raise CheckpointError(f"{path}: not a readable model file ({error})") from error
    require_format(path, meta)
    require_model(path, meta)
    best = meta["bests"]["best"]
    return ModelFile(
        meta["extra"]["trainable"],
        meta["config"],
        best["step"],
        best["metrics"],
        tuple(shapes),
        tuple(meta.get("leaves", ())),
    )


def _array(member: IO[bytes]) -> Any:
    import numpy as np  # a command that reads no model does without it

    return np.lib.format.read_array(member, allow_pickle=False)


def misfit(there: ModelFile, here: Sequence[Leaf]) -> str:
    """Return how a file's arrays differ from those of a model here, by name; empty if they do not."""
    names = there.names if len(there.names) == len(there.shapes) else ()
    # Without names the arrays are told by their place.
    own = [names[i] if names else here[i][0] if i < len(here) else f"array {i}" for i in range(len(there.shapes))]
    found = [
        said for old, new in zip_longest(zip(own, there.shapes, strict=True), here) if (said := _difference(old, new))
    ]
    more = f", and {len(found) - MOST_NAMED} arrays more" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + more


def _difference(there: Leaf | None, here: Leaf | None) -> str:
    if there is None or here is None:
        name = (there or here or ("", ()))[0]
        return f"{name} is {'there' if there else 'here'} alone"
    if there[0] != here[0]:
        return f"has {there[0]} {_shown(there[1])} there and {here[0]} {_shown(here[1])} here"
    if there[1] != here[1]:
        return f"{here[0]} is {_shown(there[1])} there and {_shown(here[1])} here"
    return ""


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if shape else "a number"
