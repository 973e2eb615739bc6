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

from analysis.saved_models import Step
from cluster.machine.files import read_object, write_json
from cluster.state.paths import SearchPaths


@dataclass(frozen=True)
class Kept:
    """What one trial's model gave on one test set."""

    trial: int
    on: str
    """The test set's name, or that of a file or folder."""
    key: str
    """A digest of the model, the set and the method's code: of another one, this says nothing."""
    metrics: dict[str, float]
    examples: dict[str, list[float]]
    step: Step = None
    """After which step the model was kept; None for the trial's best one."""


def key_of(checkpoint: Path, on: str, method: str) -> str:
    """Return the digest that says whether something kept is of these very files and this code."""
    digest = hashlib.blake2b(f"{on}\n{method}\n".encode(), digest_size=16)
    for path in (checkpoint, Path(on)):
        for file in _files(path):
            content = file.read_bytes()
            if file != path:  # of a folder the names count, and where one file ends
                digest.update(f"{file.name}\n{len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    """Return a file, or the files directly in a folder; nothing where there is neither."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    return [path] if path.is_file() else []


def _file(paths: SearchPaths, trial: int, on: str, step: Step) -> Path:
    readable = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(on).name)[:80]
    digest = hashlib.blake2b(on.encode(), digest_size=4).hexdigest()
    of = f"trial-{trial:06d}" if step is None else f"at-step-{step}-trial-{trial:06d}"
    return paths.evaluations / f"{of}-{readable}-{digest}.json"


def keep(paths: SearchPaths, kept: Kept) -> None:
    """Write what a model gave; another one of the same trial and set is replaced."""
    paths.evaluations.mkdir(exist_ok=True)
    examples = {name: [_plain(value) for value in values] for name, values in kept.examples.items()}
    metrics = {name: _plain(value) for name, value in kept.metrics.items()}
    values = {"trial": kept.trial, "on": kept.on, "key": kept.key, "metrics": metrics, "examples": examples}
    write_json(_file(paths, kept.trial, kept.on, kept.step), values | ({"step": kept.step} if kept.step else {}))


def find(paths: SearchPaths, trial: int, on: str, step: Step = None) -> Kept | None:
    """Return what is kept of a trial's model and a set; None if nothing is, or it is damaged."""
    return _read(_file(paths, trial, on, step))


def all_kept(paths: SearchPaths) -> Iterator[Kept]:
    """Yield all that is kept of a search's best models, by trial and set."""
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
            values.get("step"),
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
    rows = [{**_whose(one), "test_set": names[one.on], **one.metrics} for one in found]
    return pd.DataFrame(rows, columns=None if rows else ["trial", "test_set"])


def examples_of(found: list[Kept]) -> pd.DataFrame:
    """Return a row per trial, set and example."""
    names = _names(found)
    frames = [
        pd.DataFrame({**_whose(one), "test_set": names[one.on], "example": range(_num(one))} | one.examples)
        for one in found
    ]
    return (
        pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"trial": [], "test_set": [], "example": []})
    )


def _whose(kept: Kept) -> dict[str, Any]:
    return {"trial": kept.trial} if kept.step is None else {"trial": kept.trial, "step": kept.step}


def _num(kept: Kept) -> int:
    return max(map(len, kept.examples.values()), default=0)
