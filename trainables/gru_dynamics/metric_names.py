"""Names of the final metrics, and a sentence for each; imports no JAX, so that checking a spec stays fast."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

HORIZON = 9
"""Steps of the free runs that validation and tests score, whatever horizon was trained."""
BASELINES: Mapping[str, str] = {
    "persistence": "the last state, for ever",
    "constant_velocity": "positions that go on at their last rates, which stay",
    "linear": "a linear map, by least squares on the training data with the ridge that validates best, of as many past "
    "states and actions as the model reads to the next change of state, applied step by step",
}
"""What a sceptic would try first."""
PARTS: Mapping[str, str] = {
    "coordinate_rmse": "root mean square error of the coordinates, in their unit",
    "angle_rmse_deg": "root mean square error of the angles, in degrees",
    "velocity_rmse": "root mean square error of the velocities, in their units",
}
MSE = "mean square error over the states' components (coordinates, cosines and sines, velocities; in the data's units)"
MAE = MSE.replace("square", "absolute")


def steps() -> range:
    """Return the steps of a free run, from 1."""
    return range(1, HORIZON + 1)


def folder_names(folders: Sequence[str]) -> tuple[str, ...]:
    """Return what folders are called in the names of test sets: by their own names, numbered if some are the same."""
    found: list[str] = []
    for folder in folders:
        name = re.sub(r"[^A-Za-z0-9]+", "_", Path(folder).name).strip("_") or "folder"
        number = 2
        while name in found:
            name, number = f"{name.removesuffix(f'_{number - 1}')}_{number}", number + 1
        found.append(name)
    return tuple(found)


def validation_metric_names() -> dict[str, str]:
    """Return the metrics of the validation windows: name to one sentence."""
    where = "free runs from validation windows"
    metrics = {
        "val_free_running_mse": f"{MSE}, over {HORIZON} steps of {where}; of several folders the mean of theirs",
        "val_over_constant_velocity": "val_free_running_mse over that of constant_velocity: below 1 where the model "
        "knows more",
        **{f"val_{name}": f"{what}, over {HORIZON} steps of {where}" for name, what in PARTS.items()},
    }
    for name, what in (("mse", MSE), ("mae", MAE)):
        metrics |= {f"val_{name}_step_{k}": f"{what}, at step {k} of {where}" for k in steps()}
    return metrics


def final_metric_names(sets: Sequence[str]) -> dict[str, str]:
    """Return every final metric of test sets by their names: name to one sentence."""
    metrics = {}
    for one in sets:
        prefix, where = metric_prefix(one, sets), "free runs from the test windows"
        where += f" of {one}" if len(sets) > 1 else ""
        metrics |= {f"{prefix}mse": f"{MSE}, over {HORIZON} steps of {where}"}
        metrics |= {f"{prefix}mae": f"{MAE}, over {HORIZON} steps of {where}"}
        metrics |= {f"{prefix}{name}": f"{what}, over {HORIZON} steps of {where}" for name, what in PARTS.items()}
        metrics |= {f"{prefix}mse_step_{k}": f"{MSE}, at step {k} of {where}" for k in steps()}
        metrics |= {f"{prefix}mae_step_{k}": f"{MAE}, at step {k} of {where}" for k in steps()}
        for name, what in BASELINES.items():
            metrics[f"{prefix}baseline_{name}_mse"] = f"{MSE}, over {HORIZON} steps of {where}, of {what}"
            metrics |= {
                f"{prefix}baseline_{name}_mse_step_{k}": f"{MSE}, at step {k} of {where}, of {what}" for k in steps()
            }
        metrics[f"{prefix}baselines_beaten"] = (
            f"how many of the {len(BASELINES)} baselines have a larger mean square error at each of the {HORIZON} "
            f"steps of {where}"
        )
    return metrics


def metric_prefix(name: str, sets: Sequence[str]) -> str:
    """Return what the names of a test set's metrics begin with: its own name only if there are several sets."""
    return f"test_{name}_" if len(sets) > 1 else "test_"
