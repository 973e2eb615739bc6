"""The latent ODE: what the shared training loop needs of it."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, PRNGKeyArray, PyTree

from trainables._shared.config import reason
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData, UnknownTestSetError
from trainables._shared.datasets import DatasetStore
from trainables._shared.statistics import kept
from trainables.latent_ode import losses
from trainables.latent_ode.config import Config
from trainables.latent_ode.data import HeldOut, Series, Span, Statistics, load, origin, statistics
from trainables.latent_ode.metrics import (
    baseline_predictions,
    floor_prediction,
    pooled_law,
    score_metrics,
    series_table,
)
from trainables.latent_ode.model import LatentODE, Mask, Samples, Times, empty_statistics
from trainables.latent_ode.solvers import solve


class LatentODEMethod(Method[Config]):
    """A variational autoencoder whose latent state follows an ODE (Chen et al. 2018, Rubanova et al. 2019)."""

    config_type = Config

    def smoke(self) -> Config:
        """Return a small model of a few spirals, some of whose samples are missing."""
        return Config(
            num_series=64, num_observed=8, missing_share=0.2, noise=0.05, hidden=8, latent=4, width=8, depth=1,
            batch_size=32, steps=40, report_every=20, kl_weight=0.01, kl_warmup_steps=10.0,
        )  # fmt: skip

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return the only phase."""
        return [Phase(config.steps, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return training, validation and test series, each series in one of them."""
        config.check_data()
        training, validation, test = (load(config, split, store) for split in ("train", "val", "test"))
        stats = statistics(training)
        # The pooled baseline learns from every series that the model learns from, with their noise.
        pooled = pooled_law(training.observed, stats, config.noise)
        same = np.zeros(config.num_components, np.float32)
        tests = {f"{config.dataset}_test": _test(test, stats, pooled, config, same)}
        return TrialData([{"series": training, "statistics": stats}], HeldOut(*validation, stats, same), tests)

    def task_data(self, config: Config, task: Config, store: DatasetStore) -> TrialData:
        """Return the data of a task, with what lies between its 0 and that of the series that a config trains on."""
        data, shift = self.data(task, store), _shift(config, task)
        tests = {name: {**test, "shift": shift} for name, test in data.tests.items()}
        return data._replace(validation=data.validation._replace(shift=shift), tests=tests)

    def test_set(self, config: Config, store: DatasetStore, name: str) -> PyTree[np.ndarray]:
        """Return the test series of a data set (`spirals`, `orbits`) or of a file, in the units of the model's own."""
        own = self.trial_data(config, store).tests
        if name in own:
            return own[name]
        values: dict[str, Any] = {"dataset": name.removesuffix("_test"), "file": None, "file_components": None}
        if Path(name).suffix:
            own_file = str(Path(name).resolve())
            values = {"dataset": "file", "file": own_file, "file_components": config.num_components}
        try:
            other = config.of_values({**config.task().model_dump(mode="json"), **values})
            series = load(other, "test", store)
        except (ValueError, OSError) as error:
            raise UnknownTestSetError(f"there is no test set {name!r} for this model: {reason(error)}") from None
        (test,) = own.values()
        num = test["series"].observed.y.shape[-1]
        if series.observed.y.shape[-1] != num:
            held = series.observed.y.shape[-1]
            raise UnknownTestSetError(f"{name} has series of {held} components, and the model is of {num}")
        for warning in other.data_warnings():  # no check of a search has seen this file
            warnings.warn(warning, stacklevel=2)
        return _test(series, test["statistics"], test["pooled_law"], other, _shift(config, other))

    def init(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> LatentODE:
        """Return the initial model."""
        return LatentODE(config, key)

    def trained(self, model: Any) -> PyTree[bool]:
        """Return all but the statistics that it normalises by."""
        all_ = jax.tree.map(lambda _: True, model)
        return eqx.tree_at(lambda m: (m.mean, m.scale, m.time_scale), all_, (False, False, False))

    def batch(self, config: Config, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return series drawn at random, all of them where the batch holds them, and the training statistics."""
        series = _series(data["series"])
        num = series.observed.t.shape[0]
        if num > config.batch_size:
            chosen = jax.random.randint(key, (config.batch_size,), 0, num)
            series = jax.tree.map(lambda array: array[chosen], series)
        return series, data["statistics"]

    def loss(
        self, config: Config, hyper: Hyper, model: Any, batch: PyTree[Array], key: PRNGKeyArray, step: Int[Array, ""]
    ) -> Loss:
        """Return reconstruction + beta KL, each a mean over the series of the batch."""
        series, units = _series(batch[0]), Statistics(*batch[1])
        own = model.mean, model.scale, model.time_scale
        stats = kept(own, empty_statistics(len(model.mean)), tuple(units))
        model = eqx.tree_at(lambda m: (m.mean, m.scale, m.time_scale), model, stats)
        x, t, mask = _noisy(model, units, series.observed, hyper["noise"])
        num = t.shape[1]
        mean, log_std = model.encode(x, t, mask)
        z0 = mean if log_std is None else mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        if config.target == "whole":
            later = _noisy(model, units, series.later, hyper["noise"])
            x, t, mask = (jnp.concatenate(pair) for pair in zip((x, t, mask), later, strict=True))
        num_observed = series.observed.t.shape[1]
        solution = solve(config, hyper["rtol"], hyper["atol"], model.field, model.start(z0), t, num_observed)
        error = jnp.sum(losses.squared_error(x, model.decode(solution.z), mask)) / num
        reconstruction = 0.5 * error / hyper["noise_variance"]
        kl, beta = jnp.zeros(()), jnp.zeros(())
        if log_std is not None:
            kl = jnp.sum(losses.kl_to_normal(mean, log_std)) / num
            beta = losses.beta(hyper["kl_weight"], hyper["kl_warmup_steps"], step)
        parts = {"reconstruction": reconstruction, "kl": kl, "beta": beta}
        return Loss(reconstruction + beta * kl, parts, solution.solved, model)

    def validate(self, config: Config, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the errors of both spans from the posterior mean, against the truth, and the state of the KL term."""
        series, units, model = _series(data), Statistics(*data[2]), _shifted(model, data[3])
        predicted = _predict(config, hyper, model, series, units)
        later, later_signal = _mean_squares(model, units, series.later, predicted["later"])
        observed, signal = _mean_squares(model, units, series.observed, predicted["observed"])
        x, _, mask = _noisy(model, units, series.observed, hyper["noise"])
        errors = losses.squared_error(x, predicted["observed"], mask) * _ratio(model, units) ** 2
        error = jnp.sum(errors) / mask.shape[1]
        return {
            "val_extrapolation_error_pct": 100 * jnp.sqrt(later / later_signal),
            "val_extrapolation_mse": later,
            "val_reconstruction_error_pct": 100 * jnp.sqrt(observed / signal),
            "val_reconstruction": 0.5 * error / hyper["noise_variance"],
            "val_solver_error_pct": 100 * predicted["solver_error"],
            **{f"val_{name}": value for name, value in losses.collapse(predicted["mean"], predicted["kl"]).items()},
        }

    def predict(self, config: Config, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return the predictions of both spans (series first, in the data's units) and the state of the KL term."""
        results = {}
        for name, test in tests.items():
            shifted = _shifted(model, test["shift"])
            predicted = _predict(config, hyper, shifted, _series(test["series"]), Statistics(*test["statistics"]))
            spans = {span: _in_units(shifted, predicted[span]) for span in ("observed", "later")}
            state = losses.collapse(predicted["mean"], predicted["kl"])
            kl = jnp.zeros_like(predicted["mean"][0]) if predicted["kl"] is None else jnp.sum(predicted["kl"], axis=0)
            results[name] = {**spans, "state": state, "kl": kl}
        return results

    def score(
        self, config: Config, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return errors of the model and of the baselines, over each test set and for each of its series."""
        results = {}
        for name, test in tests.items():
            series, stats, model = _series(test["series"]), Statistics(*test["statistics"]), prediction[name]
            baselines = baseline_predictions(series, test["pooled_law"], stats, config.noise)
            floor = floor_prediction(series, stats, config.noise) if test["is_spirals"] else {}
            metrics = score_metrics(series, stats, model, baselines, floor)
            results[name] = TestResult(metrics, series_table(series, stats, model, {**baselines, **floor}))
        return results


def _test(
    series: Series, stats: Statistics, pooled: np.ndarray, config: Config, shift: Float32[np.ndarray, " d"]
) -> dict[str, Any]:
    """Return a test set: what is scored, and what the baselines and the floor need."""
    is_spirals = np.asarray(config.dataset == "spirals")
    return {
        "series": series, "statistics": stats, "pooled_law": pooled, "is_spirals": is_spirals, "shift": shift,
    }  # fmt: skip


def _shift(config: Config, other: Config) -> Float32[np.ndarray, " d"]:
    """Return what is added to another config's series to have them relative to what a config's are relative to."""
    return (origin(other) - origin(config)).astype(np.float32)


def _shifted(model: Any, shift: Float[Array, " d"]) -> Any:
    """Return a model for series that lie so much lower than those that it was trained on."""
    return eqx.tree_at(lambda m: m.mean, model, model.mean - shift)


def _series(data: PyTree[Any]) -> Series:
    return Series(*(Span(*span) for span in data[:2]))


def normalised(model: Any, span: Span, noise: Float[Array, ""] | float) -> tuple[Samples, Times, Mask]:
    """Return samples with their noise, times and mask, normalised by the training statistics, series last."""
    x = (span.y - model.mean) / model.scale + noise * span.noise
    x = jnp.where(span.mask[..., None], x, 0.0)
    return jnp.transpose(x, (1, 2, 0)), jnp.transpose(span.t) / model.time_scale, jnp.transpose(span.mask)


def _ratio(model: Any, units: Statistics) -> Float[Array, "components 1"]:
    """Return what an error in the model's units is multiplied by in others: exactly 1 where they are the same."""
    return (model.scale / units.scale)[:, None]


def _noisy(model: Any, units: Statistics, span: Span, noise: Float[Array, ""]) -> tuple[Samples, Times, Mask]:
    """Return samples as the model reads them, with noise in units of the signal that they are of."""
    return normalised(model, span._replace(noise=span.noise * (units.scale / model.scale)), noise)


def _predict(config: Config, hyper: Hyper, model: Any, series: Series, units: Statistics) -> dict[str, Any]:
    """Return normalised predictions of both spans from the posterior mean, that mean, and the KL of each dimension."""
    x, t, mask = _noisy(model, units, series.observed, hyper["noise"])
    mean, log_std = model.encode(x, t, mask)
    times = jnp.concatenate([t, jnp.transpose(series.later.t) / model.time_scale])
    solution = solve(config, hyper["rtol"], hyper["atol"], model.field, model.start(mean), times, len(t))
    # A failed solve has no error to report: not a number is never the best.
    predicted = jnp.where(solution.solved, model.decode(solution.z), jnp.nan)
    kl = None if log_std is None else losses.kl_to_normal(mean, log_std)
    spans = {"observed": predicted[: len(t)], "later": predicted[len(t) :]}
    return {**spans, "mean": mean, "kl": kl, "solver_error": solution.error}


def _mean_squares(
    model: Any, units: Statistics, span: Span, predicted: Samples
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the mean squares of error and of signal over a span's samples, against the truth without noise."""
    x, _, mask = normalised(model, span, 0.0)
    num = jnp.maximum(jnp.sum(mask), 1) * x.shape[1]
    ratio = _ratio(model, units)
    error = jnp.sum(losses.squared_error(x, predicted, mask) * ratio**2) / num
    # The signal about the mean of the same units.
    signal = x * ratio + ((model.mean - units.mean) / units.scale)[:, None]
    return error, jnp.sum(losses.squared_error(signal, jnp.zeros_like(x), mask)) / num


def _in_units(model: Any, x: Samples) -> Float[Array, "n samples components"]:
    return jnp.transpose(x, (2, 0, 1)) * model.scale + model.mean


method = LatentODEMethod()
