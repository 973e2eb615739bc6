"""The recurrent dynamics model: what the shared training loop needs of it."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from trainables._shared.config import ConfigError, reason
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData, UnknownTestSetError
from trainables._shared.data_numbers import EVEN
from trainables._shared.datasets import DatasetStore
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.data import (
    MAX_TESTED,
    MAX_VALIDATED,
    Runs,
    Test,
    Training,
    linear_model,
    phases,
    runs,
    task,
    together,
    whole_folder,
)
from trainables.gru_dynamics.layout import Layout
from trainables.gru_dynamics.metric_names import metric_prefix, steps
from trainables.gru_dynamics.metrics import baseline_predictions, run_table, score_metrics
from trainables.gru_dynamics.model import GRUDynamics, Linear, Scales, changes_between, circle, rotated


class GRUDynamicsMethod(Method[Config]):
    """A GRU that predicts a controlled mechanical system step by step, trained on its own free runs."""

    config_type = Config

    def smoke(self) -> Config:
        """Return a small model of a few short trajectories."""
        return Config(
            num_trajectories=8, samples=40, history=3, horizons=(2,), hidden=8, steps=40, report_every=20,
            learning_rate=3e-3,
        )  # fmt: skip

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return a phase for each horizon."""
        return [Phase(num, config.learning_rate) for num in config.phase_steps()]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return training windows, validation and test runs, each trajectory in one of them."""
        config.check_data()
        folders: Sequence[str | None] = config.folders or (None,)
        training, validation, test = (
            [task(config, folder, split, store) for folder in folders] for split in ("train", "val", "test")
        )
        held_out = together([runs(config, one, MAX_VALIDATED // len(folders))[0] for one in validation])
        fitted = linear_model(config, training, held_out, store)
        tests = {
            name: Test(*runs(config, one, MAX_TESTED), fitted) for name, one in zip(config.test_sets, test, strict=True)
        }
        return TrialData(phases(config, training, fitted), held_out, tests)

    def task_data(self, config: Config, task: Config, store: DatasetStore) -> TrialData:
        """Return the data of a task, on which the linear model of a config's own training data is tested.

        Raises ConfigError if they have another step of time.
        """
        own, data = self.data(config, store), self.data(task, store)
        dt, other = float(own.phases[0].dt), float(data.validation.dt)
        if abs(other - dt) > EVEN * dt:
            why = f"is sampled every {other:.6g}, and what is trained on every {dt:.6g}"
            raise ConfigError("scored_on", config.scored_on, why, "one step of time")
        linear = next(iter(own.tests.values())).linear
        return data._replace(tests={name: test._replace(linear=linear) for name, test in data.tests.items()})

    def test_set(self, config: Config, store: DatasetStore, name: str) -> PyTree[np.ndarray]:
        """Return a test set by its name, or all trajectories of a folder of CSV files, as `folders` describes them."""
        own = self.trial_data(config, store).tests
        if name in own:
            return own[name]
        if not Path(name).is_dir():
            there = ", ".join(own)
            raise UnknownTestSetError(
                f"there is no test set {name!r} for this model, and no folder of that name; there are: {there}, and "
                "folders of CSV files"
            )
        values = {"dataset": "csv", "folders": [str(Path(name).resolve())], "scored_on": {}}
        try:
            other = config.of_values({**config.model_dump(mode="json"), **values})
            found = whole_folder(other)
        except (ValueError, OSError) as error:
            raise UnknownTestSetError(f"{name} is no test set for this model: {reason(error)}") from None
        test = next(iter(own.values()))
        if abs(found.dt - float(test.runs.dt)) > EVEN * found.dt:
            raise UnknownTestSetError(
                f"{name} is sampled every {found.dt:.6g}, and what the model was trained on every "
                f"{float(test.runs.dt):.6g}"
            )
        for warning in other.data_warnings():  # no check of a search has seen this folder
            warnings.warn(warning, stacklevel=2)
        return Test(*runs(other, found, MAX_TESTED), test.linear)

    def init(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> GRUDynamics:
        """Return the initial model, which predicts its base step."""
        return GRUDynamics(config, key)

    def trained(self, model: Any) -> PyTree[bool]:
        """Return all but the scales, the linear map and the step of time, which are the data's."""
        all_ = jax.tree.map(lambda _: True, model)
        return eqx.tree_at(_of_data, all_, jax.tree.map(lambda _: False, _of_data(model)))

    def batch(self, config: Config, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return windows drawn at random, all of them where the batch holds them, and what they are measured by."""
        data = Training(*data)
        bases = data.bases
        if len(bases) > config.batch_size:
            bases = bases[_drawn(config, data, key)]
        wanted = bases[:, None] + jnp.arange(1 - config.history, 1)
        first = data.first[bases][:, None]
        states = data.states[jnp.maximum(wanted, first)]
        earlier = wanted[:, :-1]
        controls = jnp.where((earlier >= first)[..., None], data.controls[jnp.maximum(earlier, first)], 0.0)
        after = bases[:, None] + jnp.arange(len(data.horizon))
        window = (states, controls, data.controls[after], data.states[after + 1])
        linear = None if data.linear is None else Linear(*data.linear)
        fresh = (Scales(*data.statistics), linear)
        return window, (data.dt, fresh, data.delta_weights, data.state_weights)

    def loss(
        self, config: Config, hyper: Hyper, model: Any, batch: PyTree[Array], key: PRNGKeyArray, step: Int[Array, ""]
    ) -> Loss:
        """Return the mean squared error over the horizon of a free run, of changes or of states."""
        (states, controls, actions, future), (dt, fresh, delta_weights, state_weights) = batch
        scales, linear = jax.tree.map(
            lambda own, new: jnp.where(model.is_fitted > 0, own, new), (model.scales, model.linear), fresh
        )
        fitted = (scales, dt, jnp.ones(()), *(() if linear is None else (linear,)))
        model = eqx.tree_at(_of_data, model, fitted)
        found, changes = model.run(hyper["base_step"], states, controls, actions)
        before = jnp.concatenate([states[:, -1:], future[:, :-1]], axis=1)
        delta = jnp.mean(delta_weights * (changes - changes_between(model.layout, future, before)) ** 2)
        mse = jnp.mean(state_weights * (found - future) ** 2)
        value = hyper["loss_space"].select({"delta": delta, "state": mse})
        return Loss(value, {"mse": mse}, jnp.asarray(True), model)

    def validate(self, config: Config, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the errors of free runs over the fixed horizon, in the data's units."""
        runs = Runs(*data)
        found, _ = model.run(hyper["base_step"], runs.states, runs.controls, runs.actions)
        error = found - runs.future
        mse, mae = _by_step(runs, error**2), _by_step(runs, jnp.abs(error))
        steady = _at_constant_velocity(model.layout, runs)
        num, end = len(model.layout.coordinates), model.layout.num_states - len(model.layout.velocities)
        angle = jnp.degrees(jnp.abs(_angle_error(found[..., num:end], jnp.asarray(runs.future[..., num:end]))))
        parts = {"coordinate_rmse": error[..., :num], "angle_rmse_deg": angle, "velocity_rmse": error[..., end:]}
        return {
            "val_free_running_mse": jnp.mean(mse),
            "val_over_constant_velocity": jnp.mean(mse) / jnp.mean(_by_step(runs, (steady - runs.future) ** 2)),
            **{f"val_{name}": _root_mean_square(runs, x) for name, x in parts.items()},
            **{f"val_mse_step_{k}": mse[k - 1] for k in steps()},
            **{f"val_mae_step_{k}": mae[k - 1] for k in steps()},
        }

    def predict(self, config: Config, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return the predicted states of every run of each test set."""
        found = {}
        for name, test in tests.items():
            runs = Runs(*test[0])
            found[name], _ = model.run(hyper["base_step"], runs.states, runs.controls, runs.actions)
        return found

    def score(
        self, config: Config, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return errors of the model and of the baselines, over each test set and for each of its runs."""
        results = {}
        for name, held_out in tests.items():
            test = Test(*held_out)
            baselines = baseline_predictions(config.layout, test)
            metrics = score_metrics(config.layout, test.runs, prediction[name], baselines)
            prefix = metric_prefix(name, config.test_sets)
            results[name] = TestResult(
                {f"{prefix}{metric}": value for metric, value in metrics.items()},
                run_table(test, prediction[name], baselines),
            )
        return results


def _of_data(model: GRUDynamics) -> tuple[Any, ...]:
    """Return what the data sets in a model, and no gradient changes."""
    return (model.scales, model.dt, model.is_fitted, *(() if model.linear is None else (model.linear,)))


def _drawn(config: Config, data: Training, key: PRNGKeyArray) -> Int[Array, " batch"]:
    """Return places of windows drawn at random, as often from each folder as the config says."""
    if config.folder_draws == "by_size" or len(data.folder_sizes) == 1:
        return jax.random.randint(key, (config.batch_size,), 0, len(data.bases))
    of_folder, of_window = jax.random.split(key)
    folder = jax.random.randint(of_folder, (config.batch_size,), 0, len(data.folder_sizes))
    place = jax.random.randint(of_window, (config.batch_size,), 0, data.folder_sizes[folder])
    return data.folder_starts[folder] + place


def _by_step(runs: Runs, values: Float[Array, "runs steps components"]) -> Float[Array, " steps"]:
    """Return the means at each step, each folder's runs with its share."""
    return jnp.sum(runs.weight[:, None] * jnp.mean(values, axis=-1), axis=0)


def _root_mean_square(runs: Runs, error: Float[Array, "runs steps components"]) -> Float[Array, ""]:
    """Return the root mean square of errors; 0 of no components."""
    return jnp.sqrt(jnp.mean(_by_step(runs, error**2))) if error.shape[-1] else jnp.zeros(())


def _angle_error(found: Float[Array, "*n circles"], true: Float[Array, "*n circles"]) -> Float[Array, "*n angles"]:
    """Return the angles between points of the circle, cosine and sine of each in turn."""
    c, s, c_hat, s_hat = true[..., ::2], true[..., 1::2], found[..., ::2], found[..., 1::2]
    return jnp.arctan2(s_hat * c - c_hat * s, c_hat * c + s_hat * s)


def _at_constant_velocity(layout: Layout, runs: Runs) -> Float[Array, "runs steps states"]:
    """Return the runs whose positions go on at their last rates."""
    last = jnp.asarray(runs.states[:, -1])
    num, end = len(layout.coordinates), layout.num_states - len(layout.velocities)
    padded = jnp.concatenate([last[:, end:], jnp.zeros((len(last), 1))], axis=-1)  # of a position without rate: -1
    rate = runs.dt * padded[:, np.array(layout.rates, int)]
    moved = jnp.arange(1, runs.future.shape[1] + 1)[:, None] * rate[:, None]
    circles = last[:, None, num:end].reshape(len(last), 1, len(layout.angles), 2)
    turned = rotated(circles, circle(moved[..., num:])).reshape(*moved.shape[:2], end - num)
    velocities = jnp.broadcast_to(last[:, None, end:], (*moved.shape[:2], len(layout.velocities)))
    return jnp.concatenate([last[:, None, :num] + moved[..., :num], turned, velocities], axis=-1)


method = GRUDynamicsMethod()
