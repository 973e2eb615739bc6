"""Names of the metrics of solutions, and a sentence for each; imports no JAX, so that checking a spec stays fast."""

from collections.abc import Mapping, Sequence

NUM_SOLUTIONS = 32
"""Solutions of each test pose."""
BEST_OF = (8, 32)
"""Of so many of them, the best one is looked at too."""
NUM_POLISHED = 8
"""Solutions of each test pose that are polished."""
SUCCESS_MM, SUCCESS_DEG = 5.0, 5.0
"""Position and rotation error below which a solution counts as a success."""
REACHED_MM, REACHED_DEG = 0.1, 0.1
"""Likewise below which a polished one has reached its pose."""

ERRORS: Mapping[str, str] = {
    "median_position_error_mm": "median distance between the flange and its target, in mm",
    "mean_position_error_mm": "mean distance between the flange and its target, in mm",
    "median_rotation_error_deg": "median angle between the flange and its target, in degrees",
    "mean_rotation_error_deg": "mean angle between the flange and its target, in degrees",
    "success_pct": f"share of solutions within {SUCCESS_MM:g} mm and {SUCCESS_DEG:g} degrees, in percent",
}
"""Figures of solutions, name to what they are."""
POLISHED: Mapping[str, str] = {
    "polished": "polished one-step solutions",
    "random_polished": "joint angles drawn at random and polished likewise, as a baseline",
}


def prefix(steps: int) -> str:
    """Return how the metrics of solutions in so many sampling steps begin."""
    return f"test_{steps}_step_"


def final_metric_names(test_steps: Sequence[int]) -> dict[str, str]:
    """Return every final metric of models that are sampled in these numbers of steps: name to one sentence."""
    metrics = {}
    for steps in test_steps:
        how = f"sampled in {steps} step{'s' if steps > 1 else ''}"
        start = prefix(steps)
        metrics |= {f"{start}{error}": f"{what}; {how}, test poses" for error, what in ERRORS.items()}
        metrics |= {
            f"{start}clamped_{error}": f"{what}; {how}, clamped to the limits" for error, what in ERRORS.items()
        }
        for num in BEST_OF:
            metrics |= {
                f"{start}best_of_{num}_{error}": f"{what}, of the best of {num} solutions of a pose; {how}"
                for error, what in ERRORS.items()
            }
        metrics[f"{start}limit_violation_pct"] = f"share of solutions with a joint beyond its limits, percent; {how}"
        metrics[f"{start}spread_deg"] = (
            f"standard deviation of a joint over the {NUM_SOLUTIONS} solutions of a pose, in degrees, mean; {how}"
        )
    for name, what in POLISHED.items():
        metrics[f"test_{name}_reached_pct"] = (
            f"share of test poses that one of {NUM_POLISHED} {what} reaches within {REACHED_MM:g} mm, "
            f"{REACHED_DEG:g} degrees and the joint limits, in percent"
        )
        metrics[f"test_{name}_spread_deg"] = (
            f"standard deviation of a joint over those of {NUM_POLISHED} {what} that reach their pose, in degrees, "
            "mean over poses that two reach: how different solutions there are"
        )
    metrics |= {
        f"test_nearest_{error}": f"{what}; joint angles, of 10 000 to train on, whose pose is nearest: a baseline"
        for error, what in ERRORS.items()
    }
    return metrics
