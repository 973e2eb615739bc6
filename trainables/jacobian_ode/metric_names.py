"""Names of the final metrics, and a sentence for each; imports no JAX, so that checking a spec stays fast."""

from collections.abc import Mapping, Sequence

LARGEST_SPECTRUM = 12
"""Lyapunov exponents that are metrics of their own, from the largest down."""
SOURCES: Mapping[str, str] = {
    "": "the model",
    "persistence_": "the baseline that keeps the last given sample",
    "lwlr_": "the baseline of locally weighted linear regression",
}
JACOBIAN_ERRORS: Mapping[str, str] = {
    "frobenius_error": "mean Frobenius norm of J - J_hat",
    "frobenius_error_pct": "that mean over the mean Frobenius norm of J, in percent",
    "spectral_error": "mean spectral norm of J - J_hat",
    "spectral_error_pct": "that mean over the mean spectral norm of J, in percent",
    "r2": "R^2 of the flattened Jacobians",
}


SPECTRA: Mapping[str, str] = {
    "lyapunov": "Lyapunov exponent {index} of the learned J along the test trajectories, per unit of time",
    "exact_lyapunov": "the same of the exact J: what test_lyapunov_{index} is to be",
    "free_lyapunov": "Lyapunov exponent {index} of the learned J along the model's own free runs, as long as the test "
    "trajectories and from their starts; NaN where a run leaves every bound",
}
"""Lyapunov spectra by name, and a sentence for each of their exponents."""


def exponent_name(spectrum: str, index: int) -> str:
    """Return the name of an exponent of a spectrum, counted from 0, like lyapunov_1."""
    name, exact = spectrum.removeprefix("exact_"), "_exact" if spectrum.startswith("exact_") else ""
    return f"{name}_{index + 1}{exact}"


def free_running_name(source: str, horizon: int) -> str:
    """Return the name of a free-running error, like test_mse_25."""
    return f"test_{source}mse_{horizon}"


def final_metric_names(horizons: Sequence[int], num: int, exact: bool) -> dict[str, str]:
    """Return every final metric: name to one sentence.

    `num` is the number of components; `exact` whether the exact Jacobian is.
    """
    metrics = {}
    for source, who in SOURCES.items():
        # A local fit knows the field near the data alone: it takes one step, and is not run freely.
        for horizon in (1,) if source == "lwlr_" else horizons:
            metrics[free_running_name(source, horizon)] = (
                f"mean square error {horizon} samples after the given ones, of {who}, in variances of the training data"
            )
        # Of persistence they say nothing: its Jacobian is 0.
        if exact and source != "persistence_":
            metrics |= {f"test_{source}{name}": f"{what}, of {who}" for name, what in JACOBIAN_ERRORS.items()}
    metrics["test_eigenvalue_share"] = "share of J's eigenvalues with real part <= -1/dt"
    for index in range(min(num, LARGEST_SPECTRUM)):
        for spectrum, what in SPECTRA.items():
            if exact or not spectrum.startswith("exact"):
                metrics[f"test_{exponent_name(spectrum, index)}"] = what.format(index=index + 1)
    if exact:
        metrics["test_lyapunov_error"] = "root of the mean square error of the whole Lyapunov spectrum"
        metrics["test_free_lyapunov_error"] = "the same of the spectrum along the model's own free runs; NaN as above"
    return metrics
