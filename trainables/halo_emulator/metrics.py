"""What a prediction of test haloes is worth, of the model and of the baselines (NumPy, on the host)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import erf

from trainables.halo_emulator.config import Config
from trainables.halo_emulator.features import error_unit, from_target

LEVELS = np.linspace(0.1, 0.9, 9)
_Bins = Float64[np.ndarray, "n bins"]


def scores(config: Config, test: Mapping[str, Any], predicted: Mapping[str, Any], axis: Any = None) -> dict[str, Any]:
    """Return the values of `metric_names.SCORES` of a mean and a variance in dex; with axis 0, of each bin."""
    target, profile = (np.asarray(test[name], np.float64) for name in ("target", "profile"))
    mean, variance = (np.asarray(predicted[name], np.float64) for name in ("mean", "variance"))
    error = mean - target
    inside = erf(np.abs(error) / np.sqrt(2 * variance))
    percent = 100 * np.abs(from_target(config, mean, np) - profile) / error_unit(config, profile, np)
    spread = ((target - target.mean(0)) ** 2).sum(axis)
    found = np.stack([(inside <= level).mean(axis) for level in LEVELS])
    return {
        "nll": (0.5 * (error**2 / variance + np.log(2 * np.pi * variance))).mean(axis),
        "rmse_dex": np.sqrt((error**2).mean(axis)),
        "median_error_pct": np.median(percent, axis=axis),
        "r2": 1 - (error**2).sum(axis) / np.maximum(spread, 1e-12),
        "coverage_68_pct": 100 * (inside <= 0.68).mean(axis),
        "coverage_95_pct": 100 * (inside <= 0.95).mean(axis),
        "calibration_error_pct": 100 * np.abs(found.T - LEVELS).mean(-1),
    }


def score_metrics(config: Config, test: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a test set, named as in `final_metric_names`."""
    own = scores(config, test, model)
    metrics = {f"test_{name}": float(value) for name, value in own.items()}
    metrics["test_disagreement_dex"] = float(np.sqrt(np.asarray(model["disagreement"], np.float64).mean()))
    beaten = 0
    for baseline, predicted in test["baselines"].items():
        values = scores(config, test, predicted)
        beaten += own["nll"] < values["nll"]
        metrics |= {f"test_baseline_{baseline}_{name}": float(value) for name, value in values.items()}
    metrics["test_baselines_beaten"] = float(beaten)
    return metrics


def halo_table(config: Config, test: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return each halo's simulation, mass, and root mean square error in dex of the model and of the baselines."""
    target = np.asarray(test["target"], np.float64)

    def error(predicted: Mapping[str, Any]) -> list[float]:
        return np.sqrt(((np.asarray(predicted["mean"], np.float64) - target) ** 2).mean(1)).tolist()

    table = {
        "sim": np.asarray(test["sim"]).astype(float).tolist(),
        "log_mass": np.asarray(test["log_mass"], np.float64).tolist(),
        "sigma_dex": np.sqrt(np.asarray(model["variance"], np.float64).mean(1)).tolist(),
        "rmse_dex": error(model),
    }
    return table | {f"{name}_rmse_dex": error(predicted) for name, predicted in test["baselines"].items()}


def radius_table(config: Config, test: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the scores of the model in each radial bin, and the errors of the baselines there."""
    own = {name: value.tolist() for name, value in scores(config, test, model, axis=0).items()}
    table = {"bin": list(map(float, range(np.shape(test["target"])[1]))), **own}
    for baseline, predicted in test["baselines"].items():
        values = scores(config, test, predicted, axis=0)
        for name in ("nll", "rmse_dex", "median_error_pct"):
            table[f"{baseline}_{name}"] = values[name].tolist()
    return table
