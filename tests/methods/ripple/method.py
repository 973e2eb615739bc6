"""Fits a noisy quadratic."""

import time
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tests.methods.ripple.config import Config
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData
from trainables._shared.datasets import DatasetStore

CURVES = {"square": jnp.square, "hyperbola": lambda error: jnp.sqrt(1 + error**2) - 1}


class Model(eqx.Module):
    """The unknowns."""

    x: Array


class Ripple(Method[Config]):
    """The method."""

    config_type = Config

    def smoke(self) -> Config:
        return Config(steps=20)

    def phases(self, config: Config) -> Sequence[Phase]:
        return [Phase(config.steps, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        if config.trouble == "exception":
            raise RuntimeError("the method's own bug")
        if config.trouble == "kill":
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        noise = np.linspace(-1, 1, 8 * config.size, dtype=np.float32).reshape(8, config.size)
        return TrialData([{"noise": noise}], {}, {"plain": {}})

    def init(self, config: Config, hyper: Hyper, key: Any) -> Model:
        return Model(jax.random.normal(key, (config.size,)))

    def batch(self, config: Config, data: Any, key: Any) -> Array:
        return data["noise"][jax.random.randint(key, (), 0, 8)]

    def loss(self, config: Config, hyper: Hyper, model: Model, batch: Array, key: Any, step: Array) -> Loss:
        error = model.x - hyper["shift"] + 0.01 * batch
        value = jnp.mean(hyper["curve"].switch(CURVES, error))
        if config.trouble == "nan":
            value = value * jnp.nan
        return Loss(value, {"first": error[0] ** 2}, jnp.asarray(config.trouble != "solver"))

    def validate(self, config: Config, hyper: Hyper, model: Model, data: Any) -> dict[str, Array]:
        if config.pace_s:
            jax.experimental.io_callback(lambda: time.sleep(config.pace_s), None)
        return {"val_error": jnp.sqrt(jnp.mean((model.x - hyper["shift"]) ** 2))}

    def selection(self, config: Config) -> tuple[str, str]:
        return "val_error", "min"

    def predict(self, config: Config, hyper: Hyper, model: Model, tests: Any) -> Any:
        return {"error": jnp.abs(model.x - hyper["shift"])}

    def score(self, config: Config, tests: Any, prediction: Any) -> dict[str, TestResult]:
        error = prediction["error"]
        return {"plain": TestResult({"test_error": float(error.mean())}, {"error": error.tolist()})}


method = Ripple()
