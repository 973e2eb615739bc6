"""Names of the final metrics, and a sentence for each; imports no JAX, so that checking a spec stays fast."""

from collections.abc import Mapping, Sequence

from trainables.two_body.dataset_names import parse_dataset

QUANTITIES: Mapping[str, tuple[str, str]] = {
    "accel_error": ("pct", "acceleration error in percent"),
    "accel_angle": ("deg", "angle between true and predicted acceleration in degrees"),
    "outward": ("pct", "samples whose acceleration points outward, in percent"),
}
"""Per-sample quantities: unit and what they are."""
PLACES: Mapping[str, str] = {"": "at the true states", "propagated_": "along the model's own propagated orbits"}
"""Where a quantity is measured, by the prefix of its name."""
STATISTICS: Mapping[str, tuple[bool, str]] = {
    "mean": (True, "mean"),
    "median": (True, "median"),
    "std": (True, "standard deviation"),
    "skewness": (False, "skewness E[((x - mu) / sigma)^3]"),
    "pearson_1": (False, "Pearson's first skewness (mean - mode) / sigma"),
    "pearson_2": (False, "Pearson's second skewness 3 (mean - median) / sigma"),
    "bowley": (False, "Bowley's skewness (Q1 + Q3 - 2 Q2) / (Q3 - Q1)"),
    "outliers": (False, "number of samples more than 1.5 interquartile ranges outside the quartiles"),
}
"""Statistics over the samples of a test set: whether they have the quantity's unit, and what they are."""
SHAPES = ("skewness", "pearson_1", "pearson_2", "bowley")
"""Statistics that have no worst value: too many lost samples make them NaN, which ranks last in either mode."""
FAILED = "propagated_failed_pct"
MOST_LOST_PCT = 1.0
"""Lost samples in percent above which a statistic is infinite: of the others alone, it would reward divergence."""


def metric_prefixes(names: Sequence[str]) -> dict[str, str]:
    """Return the prefix of each test set's metrics: its number of orbits, or its name where two have the same."""
    numbers = [parse_dataset(name).num_orbits for name in names]
    return {
        name: f"test_{number if numbers.count(number) == 1 else name.removesuffix('_test')}_"
        for name, number in zip(names, numbers, strict=True)
    }


def statistic_name(prefix: str, place: str, quantity: str, statistic: str) -> str:
    """Return the name of one metric, like test_100_accel_error_mean_pct."""
    unit = f"_{QUANTITIES[quantity][0]}" if STATISTICS[statistic][0] else ""
    return f"{prefix}{place}{quantity}_{statistic}{unit}"


def final_metric_names(names: Sequence[str]) -> dict[str, str]:
    """Return every final metric of these test sets: name to one sentence."""
    metrics = {}
    for name, prefix in metric_prefixes(names).items():
        for place, where in PLACES.items():
            for quantity, (_, what) in QUANTITIES.items():
                for statistic, (_, how) in STATISTICS.items():
                    worst = "not a number" if statistic in SHAPES else "infinite"
                    metrics[statistic_name(prefix, place, quantity, statistic)] = (
                        f"{name}: {how} of the {what}, {where}; {worst} if over {MOST_LOST_PCT:g} % of them are lost"
                    )
        metrics[prefix + FAILED] = f"{name}: lost samples (not finite) of the propagated orbits, in percent"
    return metrics
