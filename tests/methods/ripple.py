"""A small method for the tests: fits a noisy quadratic, and misbehaves on request."""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import Field

from trainables._shared.config import NUMERIC, ConfigError, MethodConfig
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData
from trainables._shared.datasets import DatasetStore


class Config(MethodConfig):
    """How the quadratic is fitted."""

    reported_metrics: ClassVar[Mapping[str, str]] = {"val_error": "Distance to the minimum.", "train_loss": "Loss."}

    learning_rate: Annotated[float, Field(gt=0), NUMERIC] = 0.1
    """Adam's learning rate."""
    steps: int = Field(default=30, ge=1)
    """Optimiser steps."""
    report_every: int = Field(default=10, ge=1)
    """Steps between reports."""
    size: int = Field(default=3, ge=1)
    """Number of unknowns."""
    shift: Annotated[float, NUMERIC] = 1.0
    """Where the minimum lies."""
    trouble: Literal["none", "nan", "solver", "exception", "kill", "import"] = "none"
    """What goes wrong."""
    pace_s: float = Field(default=0.0, ge=0)
    """Seconds that a report takes at least: a trial that must last does so on a fast machine too, and costs no CPU."""
    optional: Annotated[float | None, Field(gt=0)] = None
    """A field that only some configurations have."""

    def num_steps(self) -> int:
        return self.steps

    def check_data(self) -> None:
        """Refuse what the data rules out."""
        if self.size > 8:
            raise ConfigError("size", self.size, "the data has eight columns", "1 to 8")

    def final_metrics(self) -> Mapping[str, str]:
        """Name what is measured at the end."""
        return {"test_error": "Distance to the minimum on the test set."}


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
        value = jnp.mean(error**2)
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
