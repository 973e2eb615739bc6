"""A small deterministic method whose every step takes a moment, and whose worker misbehaves when it is ordered to.

Each step runs a chaotic map from the parameters and reports where it ends: a restart that loses one bit of the state
shows in the metrics.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from benchmarks.faults.config import Config
from benchmarks.faults.misbehave import Obedience
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData
from trainables._shared.datasets import DatasetStore

WIDTH = 512


class Model(eqx.Module):
    """The unknowns."""

    x: Float[Array, "{WIDTH}"]


def orbit(start: Array, iterations: int) -> Array:
    """Return the logistic map's state after many iterations from each start between 0 and 1."""
    return jax.lax.fori_loop(0, iterations, lambda _, x: 3.99 * x * (1 - x), start)


class Chaos(Method[Config]):
    """The method."""

    config_type = Config

    def __init__(self) -> None:
        self._obedience = Obedience()

    def smoke(self) -> Config:
        """Return a config of few, short steps."""
        return Config(steps=20, work=100, pace_s=0.0)

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return the one phase."""
        return [Phase(config.steps, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return a little noise, and look for orders from now on."""
        if config.orders:
            self._obedience.begin(Path(config.orders))
        noise = np.linspace(-1, 1, 8 * WIDTH, dtype=np.float32).reshape(8, WIDTH)
        return TrialData([{"noise": noise}], {}, {"plain": {}})

    def init(self, config: Config, hyper: Hyper, key: Any) -> Model:
        """Return normal unknowns about where they are to begin."""
        return Model(hyper["start"] + jax.random.normal(key, (WIDTH,)))

    def batch(self, config: Config, data: Any, key: Any) -> Array:
        """Return one row of the noise."""
        return data["noise"][jax.random.randint(key, (), 0, 8)]

    def loss(self, config: Config, hyper: Hyper, model: Model, batch: Array, key: Any, step: Array) -> Loss:
        """Return the squared distance, with the map's end as a component."""
        end = orbit(jax.nn.sigmoid(jax.lax.stop_gradient(model.x)), config.work)
        error = model.x + 0.1 * batch + 0.01 * end
        return Loss(jnp.mean(error**2), {"orbit": end.mean()}, jnp.asarray(True))

    def validate(self, config: Config, hyper: Hyper, model: Model, data: Any) -> dict[str, Array]:
        """Return the distance to the minimum, after a while."""
        if config.pace_s:
            jax.experimental.io_callback(lambda: time.sleep(config.pace_s), None)
        return {"val_error": jnp.sqrt(jnp.mean(model.x**2))}

    def selection(self, config: Config) -> tuple[str, str]:
        """Return the distance."""
        return "val_error", "min"

    def predict(self, config: Config, hyper: Hyper, model: Model, tests: Any) -> Any:
        """Return each unknown's error."""
        return {"error": jnp.abs(model.x)}

    def score(self, config: Config, tests: Any, prediction: Any) -> dict[str, TestResult]:
        """Return the mean error, at the trial's end."""
        self._obedience.end()
        return {"plain": TestResult({"test_error": float(prediction["error"].mean())}, {})}


method = Chaos()
