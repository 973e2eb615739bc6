"""A method that does nothing and reports three times: what is left is what the search itself costs."""

import time
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.nothing.config import Config
from trainables._shared.contract import Hyper, Loss, Method, Phase, TrialData
from trainables._shared.datasets import DatasetStore


class Nothing(eqx.Module):
    """One unused parameter."""

    weight: Array


class DoNothing(Method[Config]):
    """Three steps, three reports."""

    config_type = Config

    def smoke(self) -> Config:
        """Return the default."""
        return Config()

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return one phase of three steps."""
        return [Phase(3, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return no data, after a while."""
        time.sleep(config.wait_s)
        return TrialData([{}], {}, {})

    def init(self, config: Config, hyper: Hyper, key: Any) -> Nothing:
        """Return a zero."""
        return Nothing(jnp.zeros(()))

    def batch(self, config: Config, data: Any, key: Any) -> dict[str, Array]:
        """Return nothing."""
        return {}

    def loss(self, config: Config, hyper: Hyper, model: Nothing, batch: Any, key: Any, step: Any) -> Loss:
        """Return the weight squared."""
        return Loss(model.weight**2, {}, jnp.asarray(True))

    def validate(self, config: Config, hyper: Hyper, model: Nothing, data: Any) -> dict[str, Array]:
        """Return the number given."""
        return {"val_nothing": hyper["x"] + 0 * model.weight}

    def selection(self, config: Config) -> tuple[str, str]:
        """Return the only metric."""
        return "val_nothing", "min"


method = DoNothing()
