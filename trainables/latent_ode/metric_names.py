"""Names of the final metrics, and a sentence for each; imports no JAX, so that checking a spec stays fast."""

from collections.abc import Mapping

BASELINES: Mapping[str, str] = {
    "persistence": "the last observed value, for ever",
    "linear_extrapolation": "a line through the last 4 observed samples",
    "linear_dynamics": "x' = A x fitted to each series' own observed samples",
    "pooled_linear_dynamics": "x' = A x with one A for all training series, the start fitted to each series' own",
}
"""What a sceptic would try first, and how it predicts the extrapolation span."""
FLOOR = "true_law"
"""What knows the law that made the series, and only has to find where each one starts: nobody's baseline."""
ERRORS: Mapping[str, str] = {
    "error_pct": "root mean square error in percent of the signal's",
    "rmse": "root mean square error in units of the training standard deviation",
}


def final_metric_names(*, law_is_known: bool) -> dict[str, str]:
    """Return every final metric: name to one sentence; the floor only of series whose linear law is known."""
    metrics = {}
    for span, where in (("extrapolation", "beyond the observed span"), ("reconstruction", "in the observed span")):
        metrics |= {f"test_{span}_{error}": f"{what}, {where} of the test series" for error, what in ERRORS.items()}
    metrics |= {
        f"test_baseline_{name}_{error}": f"{what}, beyond the observed span, of {how}"
        for name, how in BASELINES.items()
        for error, what in ERRORS.items()
    }
    if law_is_known:
        metrics |= {
            f"test_{FLOOR}_{error}": f"{what}, beyond the observed span, of x' = A x with the A that made the spirals, "
            "the start fitted to each series' own samples: the floor"
            for error, what in ERRORS.items()
        }
    metrics["test_baselines_beaten"] = f"how many of the {len(BASELINES)} baselines have a larger extrapolation error"
    metrics["test_kl"] = "KL(q(z0) || N(0, I)) in nats, mean over the test series"
    metrics["test_active_units"] = "latent dimensions whose posterior mean has a variance over 0.01 on the test series"
    metrics["test_collapsed_pct"] = "share of latent dimensions with a mean KL below 0.01 nats, in percent"
    return metrics
