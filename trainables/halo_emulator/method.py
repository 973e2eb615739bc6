"""The halo emulator: what the shared training loop needs of it."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from trainables._shared.config import reason
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData, UnknownTestSetError
from trainables._shared.datasets import DatasetStore
from trainables._shared.statistics import kept
from trainables.halo_emulator import losses
from trainables.halo_emulator.baselines import predictions
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.data import Haloes, load, statistics_of
from trainables.halo_emulator.features import PIVOT, Statistics, error_unit, from_target, inputs_of
from trainables.halo_emulator.metrics import halo_table, radius_table, score_metrics
from trainables.halo_emulator.model import (
    Activate,
    Ensemble,
    Gaussian,
    activation,
    empty_statistics,
    member_keys,
    members_in_dex,
    mixture,
)

TERMS = ("smoothness", "boundary", "mass_scaling", "monotone")
Z_68, Z_95 = 0.99446, 1.95996
"""Half widths of the central 68 and 95 % intervals of a normal distribution, in standard deviations."""
MASS_STEP = 0.02
"""Of log10 mass, to take a profile's derivative with mass over."""
_WHOLE = ("simulations", "statistics")
"""What every batch has as a whole."""
_READ = ("params", "log_mass", "ratios", "profile", "target")


class HaloEmulator(Method[Config]):
    """An ensemble of networks from a halo's parameters to mean and variance of its profile."""

    config_type = Config

    def smoke(self) -> Config:
        """Return a small ensemble on a few generated simulations."""
        return Config(
            num_simulations=6, num_held_out=3, haloes_per_simulation=8, num_ratios=6, num_bins=5, gp_haloes=0,
            model="mlp", members=2, bootstrap=True, width=8, depth=2, batch_size=32, steps=40, report_every=20,
            learning_rate=1e-2, dropout=0.05, input_noise=0.02, smoothness_weight=0.01, mass_scaling_weight=0.01,
        )  # fmt: skip

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return the only phase."""
        return [Phase(config.steps, config.learning_rate)]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return haloes to train, validate and test on, each simulation in one of them."""
        config.check_data()
        training, validation, test = (load(config, split, store) for split in ("train", "val", "test"))
        statistics = statistics_of(config, training)
        read = {name: np.asarray(training[name]) for name in ("params", "log_mass", "ratios", "target", "sim")}
        tests = {f"{config.dataset}_test": _test(config, training, validation, test, store)}
        read["sim"], simulations = _numbered(read["sim"])
        return TrialData([{**read, "simulations": simulations, "statistics": statistics}], _held_out(validation), tests)

    def test_set(self, config: Config, store: DatasetStore, name: str) -> PyTree[np.ndarray]:
        """Return the test simulations of a file of the same inputs and bins, or of the model's own data."""
        own = self.trial_data(config, store).tests
        if name in own:
            return own[name]
        if not Path(name).suffix:
            raise UnknownTestSetError(
                f"there is no test set {name!r} for this model; there are: {', '.join(own)}, and .npz and HDF5 files"
            )
        values = {"dataset": "file", "file": str(Path(name).resolve())}
        try:
            other = config.of_values({**config.task().model_dump(mode="json"), **values})
            config.check_task(other)
            found = other.data_warnings()  # no check of a search has seen this file
            test = load(other, "test", store)
        except (ValueError, OSError) as error:
            raise UnknownTestSetError(f"there is no test set {name!r} for this model: {reason(error)}") from None
        for warning in found:
            warnings.warn(warning, stacklevel=2)
        task = config.task()
        return _test(task, load(task, "train", store), load(task, "val", store), test, store)

    def init(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> Ensemble:
        """Return the initial ensemble."""
        # Where only shapes are asked for, the number is not a number.
        first = jnp.nan_to_num(hyper["first_member"]).astype(jnp.int32)
        return Ensemble(config, key, first + jnp.arange(config.members, dtype=jnp.int32))

    def trained(self, model: Any) -> PyTree[bool]:
        """Return the networks alone."""
        networks = jax.tree.map(lambda _: True, model.networks)
        return eqx.tree_at(lambda m: m.networks, jax.tree.map(lambda _: False, model), networks)

    def start_from(self, saved: Any, fresh: Any) -> Any:
        """Return a saved ensemble, whose members draw simulations and noise as this training says."""
        return eqx.tree_at(lambda m: (m.numbers, m.draws), saved, (fresh.numbers, fresh.draws))

    def batch(self, config: Config, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return haloes drawn at random, all of them where the batch holds them, and the training statistics."""
        num, rows = data["sim"].shape[0], slice(None)
        if num > config.batch_size:
            rows = jax.random.randint(key, (config.batch_size,), 0, num)
        return {name: value if name in _WHOLE else value[rows] for name, value in data.items()}

    def loss(
        self, config: Config, hyper: Hyper, model: Any, batch: PyTree[Array], key: PRNGKeyArray, step: Int[Array, ""]
    ) -> Loss:
        """Return the mean of the members' losses, each with the gradient that it would have alone."""
        drawn = empty_statistics(len(model.statistics.logged), len(model.statistics.center), config.num_bins)
        stats = kept(model.statistics, drawn, Statistics(*batch["statistics"]))
        model = eqx.tree_at(lambda m: m.statistics, model, stats)
        inputs = inputs_of(config, stats.logged, batch["params"], batch["log_mass"], batch["ratios"], jnp)
        x, target = (inputs - stats.center) / stats.scale, (batch["target"] - stats.target_center) / stats.target_scale
        factor = losses.curriculum(step, config.steps, hyper["physics_start"], hyper["physics_full"])
        arrays, rest = eqx.partition(model.networks, eqx.is_array)

        def member(arrays: Any, key: PRNGKeyArray, draws: Array) -> tuple[Array, dict[str, Array]]:
            network = eqx.combine(losses.clipped(arrays, hyper["member_clip_norm"]), rest)
            weights = jnp.ones(len(target))
            if config.has_bootstrap:
                own = jax.random.wrap_key_data(draws)
                weights = losses.bootstrap_weights(own, batch["sim"], len(batch["simulations"]))
            return _member_loss(config, hyper, network, stats, _Batch(x, target, weights, key), factor)

        values, parts = jax.vmap(member)(arrays, member_keys(key, model.numbers), model.draws)
        means = {name: jnp.mean(part) for name, part in parts.items()}
        return Loss(losses.sum_gradient(values), {**means, "physics": factor}, jnp.asarray(True), model)

    def validate(self, config: Config, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return likelihood, errors and calibration of all haloes at once, however many a batch has."""
        predicted, disagreement = _predict(config, hyper, model, data)
        target, profile = data["target"], data["profile"]
        error = predicted.mean - target
        size = jnp.abs(error) / jnp.sqrt(predicted.variance)
        levels = jnp.linspace(0.1, 0.9, 9)
        found = jnp.mean(jax.scipy.special.erf(size / jnp.sqrt(2.0))[..., None] <= levels, axis=(0, 1))
        percent = 100 * jnp.abs(from_target(config, predicted.mean, jnp) - profile) / error_unit(config, profile, jnp)
        spread = jnp.sum((target - jnp.mean(target, axis=0)) ** 2)
        values = {
            "nll": jnp.mean(losses.nll(target, predicted.mean, predicted.variance)),
            "rmse_dex": jnp.sqrt(jnp.mean(error**2)),
            "median_error_pct": jnp.median(percent),
            "r2": 1 - jnp.sum(error**2) / jnp.maximum(spread, 1e-12),
            "coverage_68_pct": 100 * jnp.mean(size <= Z_68),
            "coverage_95_pct": 100 * jnp.mean(size <= Z_95),
            "calibration_error_pct": 100 * jnp.mean(jnp.abs(found - levels)),
            "disagreement_dex": jnp.sqrt(jnp.mean(disagreement)),
        }
        # Comparisons with what is not a number are false, and would count as no coverage.
        known = jnp.isfinite(values["nll"])
        return {f"val_{name}": jnp.where(known, value, jnp.nan) for name, value in values.items()}

    def predict(self, config: Config, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return mean and variance of the transformed profiles, in dex, and the variance of the members' means."""
        results = {}
        for name, test in tests.items():
            predicted, disagreement = _predict(config, hyper, model, test)
            results[name] = {**predicted._asdict(), "disagreement": disagreement}
        return results

    def score(
        self, config: Config, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return metrics of the model and of the baselines, with a table by halo and one by radial bin."""
        results = {}
        for name, test in tests.items():
            metrics = score_metrics(config, test, prediction[name])
            results[name] = TestResult(metrics, halo_table(config, test, prediction[name]))
            results[f"{name}_by_bin"] = TestResult({}, radius_table(config, test, prediction[name]))
        return results


class _Batch(eqx.Module):
    """What a member sees of a batch: standardised inputs and targets, its weights, and its key."""

    x: Float[Array, "n inputs"]
    target: Float[Array, "n bins"]
    weights: Float[Array, " n"]
    key: PRNGKeyArray


def _member_loss(
    config: Config, hyper: Hyper, network: Any, stats: Statistics, batch: _Batch, factor: Float[Array, ""]
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the loss of one member and its parts."""
    activate = activation(hyper["activation"])
    is_nll = hyper["loss"].is_in(("nll",)).astype(jnp.float32)
    drawn = losses.draw(
        batch.key, len(batch.x), batch.x.shape[1], config.widths, hyper["input_noise"], hyper["dropout"]
    )
    x = batch.x + drawn.noise
    predicted = network(x, activate, drawn.kept, is_nll)
    fit, likelihood = losses.fit_and_nll(predicted, batch.target, hyper["huber_delta"], is_nll, hyper["loss"])
    in_dex, target = (y * stats.target_scale + stats.target_center for y in (predicted.mean, batch.target))
    weight = hyper["mass_scaling_weight"] * factor
    slope = jax.lax.cond(
        weight > 0,
        lambda: _mass_slope(config, network, stats, x, activate) - hyper["mass_exponent"],
        lambda: jnp.zeros(len(x)),
    )
    terms = {
        "smoothness": losses.smoothness(in_dex),
        "boundary": losses.boundary(in_dex, target),
        "mass_scaling": slope[:, None] ** 2,
        "monotone": losses.increase(in_dex),
    }
    parts = {"fit": fit, "nll": likelihood, **terms}
    parts = {name: losses.weighted_mean(part, batch.weights) for name, part in parts.items()}
    physics = sum((hyper[f"{name}_weight"] * parts[name] for name in TERMS), jnp.zeros(()))
    return parts["fit"] + parts["nll"] + factor * physics, parts


def _mass_slope(
    config: Config, network: Any, stats: Statistics, x: Float[Array, "n inputs"], activate: Activate
) -> Float[Array, " n"]:
    """Return d log10 profile / d log10 mass of each halo, mean over the bins, from a small step of the mass.

    By jax.jvp, whose gradient would be taken again, there would be more to compile.
    """
    column = config.groups[0]
    log_mass = x[:, column] * stats.scale[column] + stats.center[column]
    moved = x.at[:, column].add(MASS_STEP / stats.scale[column])
    if config.engineered:
        change = (log_mass + MASS_STEP - PIVOT) ** 2 - (log_mass - PIVOT) ** 2
        moved = moved.at[:, column + 1].add(change / stats.scale[column + 1])
    difference = network(moved, activate).mean - network(x, activate).mean
    return jnp.mean(difference * stats.target_scale, axis=1) / MASS_STEP


def _predict(
    config: Config, hyper: Hyper, model: Any, haloes: PyTree[Array]
) -> tuple[Gaussian, Float[Array, "n bins"]]:
    """Return mean and variance in dex, and the variance of the members' means."""
    logged = model.statistics.logged
    x = inputs_of(config, logged, haloes["params"], haloes["log_mass"], haloes["ratios"], jnp)
    return mixture(members_in_dex(model, x, activation(hyper["activation"])))


def _numbered(sim: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " simulations"]]:
    """Return each halo's simulation, counted from 0 among those that there are, and these."""
    simulations, index = np.unique(sim, return_inverse=True)
    return index.astype(np.int32), simulations.astype(np.int32)


def _held_out(haloes: Haloes) -> dict[str, np.ndarray]:
    return {name: np.asarray(haloes[name]) for name in _READ}


def _test(
    config: Config, training: Haloes, validation: Haloes, test: Haloes, store: DatasetStore
) -> dict[str, PyTree[np.ndarray]]:
    """Return a test set, with what the baselines that learn from the training haloes predict of it."""
    found = predictions(config, training, validation, test, store)
    return {**_held_out(test), "sim": np.asarray(test["sim"]), "baselines": found}


method = HaloEmulator()
