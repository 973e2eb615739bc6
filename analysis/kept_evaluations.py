"""What models gave on test sets, kept beside their search: one file per trial and set, replaced whole."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cluster.machine.files import read_object, write_json
from cluster.state.paths import SearchPaths


@dataclass(frozen=True)
class Kept:
    """What one trial's model gave on one test set."""

    trial: int
    on: str
    """The test set's name, or the file's."""
    key: str
    """A digest of the model, the set and the method's code: of another one, this says nothing."""
    metrics: dict[str, float]
    examples: dict[str, list[float]]


def key_of(checkpoint: Path, on: str, method: str) -> str:
    """Return the digest that says whether something kept is of these very files and this code."""
    digest = hashlib.blake2b(f"{on}\n{method}\n".encode(), digest_size=16)
    for file in (checkpoint, Path(on)):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _file(paths: SearchPaths, trial: int, on: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(on).name)[:80]
    digest = hashlib.blake2b(on.encode(), digest_size=4).hexdigest()
    return paths.evaluations / f"trial-{trial:06d}-{readable}-{digest}.json"


def keep(paths: SearchPaths, kept: Kept) -> None:
    """Write what a model gave; another one of the same trial and set is replaced."""
    paths.evaluations.mkdir(exist_ok=True)
    examples = {name: [_plain(value) for value in values] for name, values in kept.examples.items()}
    metrics = {name: _plain(value) for name, value in kept.metrics.items()}
    values = {"trial": kept.trial, "on": kept.on, "key": kept.key, "metrics": metrics, "examples": examples}
    write_json(_file(paths, kept.trial, kept.on), values)


def find(paths: SearchPaths, trial: int, on: str) -> Kept | None:
    """Return what is kept of a trial and a set; None if nothing is, or it is damaged."""
    return _read(_file(paths, trial, on))


def all_kept(paths: SearchPaths) -> Iterator[Kept]:
    """Yield all that is kept of a search, by trial and set."""
    for file in sorted(paths.evaluations.glob("trial-*.json")):
        if (kept := _read(file)) is not None:
            yield kept


def _read(file: Path) -> Kept | None:
    values = read_object(file)
    if values is None:
        return None
    try:
        return Kept(
            int(values["trial"]),
            str(values["on"]),
            str(values["key"]),
            {str(name): _number(value) for name, value in values["metrics"].items()},
            {str(name): [_number(value) for value in column] for name, column in values["examples"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _plain(value: Any) -> float | str:
    """Return a number as JSON has it; what is not finite as a text."""
    return float(value) if math.isfinite(value) else str(float(value))


def _number(value: Any) -> float:
    return float(value)


def _names(found: list[Kept]) -> dict[str, str]:
    """Return what each test set is called: a file by its name, or by its whole path if others have the name too."""
    short = {on: Path(on).name for on in {one.on for one in found}}
    shared = {name for name, number in Counter(short.values()).items() if number > 1}
    return {on: on if name in shared else name for on, name in short.items()}


def table_of(found: list[Kept]) -> pd.DataFrame:
    """Return a row per trial and set, with a column per statistic."""
    names = _names(found)
    rows = [{"trial": one.trial, "test_set": names[one.on], **one.metrics} for one in found]
    return pd.DataFrame(rows, columns=None if rows else ["trial", "test_set"])


def examples_of(found: list[Kept]) -> pd.DataFrame:
    """Return a row per trial, set and example."""
    names = _names(found)
    frames = [
        pd.DataFrame({"trial": one.trial, "test_set": names[one.on], "example": range(_num(one))} | one.examples)
        for one in found
    ]
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"trial": [], "test_set": [], "example": []})
    )


def _num(kept: Kept) -> int:
    return max(map(len, kept.examples.values()), default=0)
