"""Trained models as figures need them: which trials have one, and what their method computes of it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.drawing.figure import NothingToShowError
from analysis.search import Search

NUM_BEST = 3
"""Trials that a figure of models shows if none are named: the best that have kept theirs."""


class _NoModelError(Exception):
    """A trial has no model that can be loaded."""


def kept(search: Search, trials: Sequence[int] | None, most: int = NUM_BEST) -> tuple[list[int], str]:
    """Return the trials whose models are there, at most so many, and a remark on those named that have none.

    Without `trials`, the best completed ones. Raises NothingToShowError if no model is there.
    """
    paths = search.paths
    if paths is None:
        raise NothingToShowError(f"{search.name} is no search directory: it holds no models")
    numbers = [int(one) for one in (search.completed["trial"] if trials is None else trials)]
    found = [number for number in numbers if paths.checkpoint(number).exists()]
    missing = [number for number in numbers if number not in found]
    if not found:
        which = "any completed trial" if trials is None else f"trial {', '.join(map(str, missing))}"
        raise NothingToShowError(f"no checkpoint is kept of {which} (keep: in the spec says whose stay)")
    said = [f"not kept: {', '.join(map(str, missing))}"] if missing and trials is not None else []
    if trials is not None and len(found) > most:
        said.append(f"the first {most} of {len(found)} trials")
    return found[:most], "; ".join(said)


def pictures(
    search: Search, trials: Sequence[int] | None, part: str, most: int = NUM_BEST
) -> tuple[dict[int, dict[str, np.ndarray]], str]:
    """Return what a method computes of the models of some trials, and a remark on trials that have no model.

    `part` is a function of the method's module `pictures`. Each model is loaded and applied once a process. Raises
    NothingToShowError if there is no model, or nothing to apply it with.
    """
    numbers, remark = kept(search, trials, most)
    found, without = {}, []
    for number in numbers:
        try:
            found[number] = picture(search, number, part)
        except _NoModelError as error:
            without.append(f"trial {number}: {error}")
    if not found:
        raise NothingToShowError("; ".join(without))
    return found, "; ".join([part for part in (remark, *without) if part])


def picture(search: Search, trial: int, part: str) -> dict[str, np.ndarray]:
    """Return what a method computes of one trial's model; see `pictures`."""
    assert search.paths is not None
    path = search.paths.checkpoint(trial)
    return _computed(_Asked(search, trial), path, path.stat().st_mtime_ns, part)


class _Asked:
    """The search and trial of a cached call: the file decides whether two calls are the same."""

    def __init__(self, search: Search, trial: int) -> None:
        self.search, self.trial = search, trial

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=32)
def _computed(asked: _Asked, path: Path, changed: int, part: str) -> dict[str, np.ndarray]:
    saved = _loaded(asked, path, changed)
    from trainables._shared.datasets import NotFetchedError
    from trainables._shared.discovery import load_pictures

    assert asked.search.spec is not None
    module = load_pictures(asked.search.spec.trainable)
    if module is None:
        raise NothingToShowError(f"{asked.search.spec.trainable} has no module `pictures`")
    try:
        return getattr(module, part)(saved)
    except NotFetchedError as error:
        raise NothingToShowError(str(error)) from None


@functools.lru_cache(maxsize=8)
def _loaded(asked: _Asked, path: Path, changed: int) -> Any:
    try:
        from trainables._shared.checkpoint import CheckpointError
    except ModuleNotFoundError as error:
        raise _without_jax(error) from None
    try:
        return asked.search.model(asked.trial)
    except CheckpointError as error:
        raise _NoModelError(str(error)) from None
    except ModuleNotFoundError as error:
        raise _without_jax(error) from None


def _without_jax(error: ModuleNotFoundError) -> Exception:
    if error.name and error.name.split(".")[0] in ("jax", "equinox", "optax", "jaxtyping"):
        return NothingToShowError(f"it applies models, which needs {error.name}: it is not installed here")
    return error
