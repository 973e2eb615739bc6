"""Applies one trained model to one test set; JAX is imported here and nowhere else in this package."""

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.saved_models import Step
from analysis.search import Search
from search_spaces.errors import UserError


class EvaluationError(UserError):
    """A model cannot be applied to a test set; the message says why."""


@dataclass(frozen=True)
class Applied:
    """What one model gave on one test set."""

    metrics: dict[str, float]
    """All statistics, by their names without the set's prefix."""
    examples: dict[str, list[float]]
    """The per-example table: column to values."""


class Model:
    """A trial's trained model, ready to be applied to several sets; raises ModelError if it cannot be loaded."""

    def __init__(self, search: Search, trial: int, step: Step = None) -> None:
        self._saved = search.model(trial, step)

    def apply(self, name: str) -> Applied:
        """Return what the model gives on a test set that its method knows by name, or that is a file.

        Raises EvaluationError if there is no such set, or if it lacks a package or the model's own data.
        """
        import jax
        import jax.numpy as jnp
        import numpy as np

        from trainables._shared import returned
        from trainables._shared.config import ConfigError
        from trainables._shared.contract import UnknownTestSetError
        from trainables._shared.datasets import DatasetStore, NotFetchedError
        from trainables._shared.extras import MissingPackageError
        from trainables._shared.program import traced_numbers

        method, config, model = self._saved.method, self._saved.config, self._saved.model
        try:
            tests = {name: method.test_set(config, DatasetStore(), name)}
        except (UnknownTestSetError, NotFetchedError, MissingPackageError) as error:
            raise EvaluationError(f"--on {name}: {error}") from None
        except ConfigError as error:  # of the model's own data: baselines and units are those
            raise EvaluationError(f"--on {name}: cannot be scored, as {error}") from None
        config = config.task()
        hyper = traced_numbers(config)
        predict = jax.jit(lambda on_device: method.predict(config, hyper, model, on_device))
        prediction = jax.tree.map(np.asarray, predict(jax.tree.map(jnp.asarray, tests)))
        result = returned.test_results(method.score(config, tests, prediction))[name]
        return Applied(_without_prefix(result.metrics), dict(result.table))


def _without_prefix(metrics: dict[str, float]) -> dict[str, float]:
    """Return metrics without what all their names begin with, which is the set's name in some way."""
    names = list(metrics)
    first, last = min(names, default=""), max(names, default="")
    shared = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    cut = first[:shared].rfind("_") + 1 if len(names) > 1 else 0
    return {name[cut:]: value for name, value in metrics.items()}


def method_digest(trainable: str) -> str:
    """Return a digest of the code of a method: what it gave is computed anew if that changes."""
    from trainables._shared.discovery import load_method

    file = Path(inspect.getfile(type(load_method(trainable))))
    sources: list[Path] = sorted(file.parent.glob("*.py")) if file.with_name("__init__.py").exists() else [file]
    digest: Any = hashlib.blake2b(digest_size=8)
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()
