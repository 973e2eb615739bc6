"""Trained models as figures need them: which trials have one, and what their method computes of it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.drawing.figure import NothingToShowError
from analysis.saved_models import ModelError, saved_model
from analysis.search import Search
from cluster.state.paths import SearchPaths

NUM_BEST = 3
"""Trials that a figure of models shows if none are named: the best that have kept theirs."""


def kept(search: Search, trials: Sequence[int] | None, most: int = NUM_BEST) -> tuple[list[int], str]:
    """Return the trials whose models are there, at most so many, and a remark on those named that have none.

    Without `trials`, the best completed ones. Raises NothingToShowError if no model is there.
    """
    paths = search.paths
    if paths is None:
        raise NothingToShowError(f"{search.name} is no search directory: it holds no models")
    if trials is None and search.completed.empty:
        raise NothingToShowError("no trial has completed yet")
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
        except ModelError as error:
            without.append(str(error))
    if not found:
        raise NothingToShowError("; ".join(without))
    return found, "; ".join([part for part in (remark, *without) if part])


def picture(search: Search, trial: int, part: str) -> dict[str, np.ndarray]:
    """Return what a method computes of one trial's model; see `pictures`."""
    assert search.paths is not None
    assert search.spec is not None
    path = search.paths.checkpoint(trial)
    return _computed(search.paths.root, trial, path.stat().st_mtime_ns, search.spec.trainable, part)


@functools.lru_cache(maxsize=32)
def _computed(root: Path, trial: int, changed: int, trainable: str, part: str) -> dict[str, np.ndarray]:
    """Compute a part once for each state of a checkpoint, which the time of its last change tells."""
    saved = _loaded(root, trial, changed)
    from trainables._shared.config import ConfigError
    from trainables._shared.datasets import NotFetchedError
    from trainables._shared.discovery import load_pictures
    from trainables._shared.extras import MissingPackageError

    module = load_pictures(trainable)
    if module is None:
        raise NothingToShowError(f"{trainable} has no module `pictures`")
    try:
        return getattr(module, part)(saved)
    except (NotFetchedError, MissingPackageError) as error:
        raise NothingToShowError(str(error)) from None
    except ConfigError as error:
        raise NothingToShowError(f"the data that it shows cannot be used: {error}") from None


@functools.lru_cache(maxsize=8)
def _loaded(root: Path, trial: int, changed: int) -> Any:
    try:
        return saved_model(SearchPaths(root), trial, shares_programs=True)
    except ModuleNotFoundError as error:
        raise _without_jax(error) from None


def _without_jax(error: ModuleNotFoundError) -> Exception:
    if error.name and error.name.split(".")[0] in ("jax", "equinox", "optax", "jaxtyping"):
        return NothingToShowError(f"it applies models, which needs {error.name}: it is not installed here")
    return error
