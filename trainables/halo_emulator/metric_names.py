"""Names of the final metrics, and a sentence for each; imports no JAX, so that checking a spec stays fast."""

from collections.abc import Mapping
from typing import Literal

BASELINES: Mapping[str, str] = {
    "mean_profile": "the mean profile of the training haloes of like mass",
    "ridge": "ridge regression on the same inputs",
    "gaussian_process": "Gaussian processes on the principal components of the profiles",
}
"""What the field would try first, and publishes with."""
SCORES: Mapping[str, str] = {
    "nll": "negative log likelihood of a bin in the transformed profile's unit, mean",
    "rmse_dex": "root mean square error of the transformed profile, in dex",
    "median_error_pct": "median of the error of a bin's value, in percent of it",
    "r2": "share of the transformed profile's variance that is explained, each bin about its own mean",
    "coverage_68_pct": "share of bins within the predicted 68 % interval, in percent",
    "coverage_95_pct": "share of bins within the predicted 95 % interval, in percent",
    "calibration_error_pct": "mean difference between nominal and found coverage over the levels 10, 20, ... 90 %, "
    "in percent",
}
"""What is measured of every prediction: name to one sentence."""
SCORE_MODES: Mapping[str, Literal["min", "max"]] = {
    "nll": "min",
    "rmse_dex": "min",
    "median_error_pct": "min",
    "r2": "max",
    "calibration_error_pct": "min",
}
"""Whether small or large is good; of coverage neither is."""


def final_metric_names(baselines: tuple[str, ...]) -> dict[str, str]:
    """Return every final metric: name to one sentence."""
    metrics = {f"test_{name}": f"{what}; test simulations" for name, what in SCORES.items()}
    metrics["test_disagreement_dex"] = "root mean square spread of the members' means, in dex; test simulations"
    for baseline in baselines:
        how = BASELINES[baseline]
        metrics |= {f"test_baseline_{baseline}_{name}": f"{what}, of {how}" for name, what in SCORES.items()}
    metrics["test_baselines_beaten"] = f"how many of the {len(baselines)} baselines have a larger test_nll"
    return metrics
