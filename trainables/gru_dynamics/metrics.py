"""Errors of the model and of the baselines on free runs (NumPy, on the host)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from trainables.gru_dynamics.baselines import constant_velocity, linear, persistence
from trainables.gru_dynamics.data import Runs, Test
from trainables.gru_dynamics.layout import Layout
from trainables.gru_dynamics.metric_names import BASELINES, steps

Predicted = Float[np.ndarray, "runs steps states"]


def baseline_predictions(layout: Layout, test: Test) -> dict[str, Predicted]:
    """Return what each baseline of BASELINES predicts for the runs of a test set."""
    runs = test.runs
    last, num = runs.states[:, -1], runs.actions.shape[1]
    found = {
        "persistence": persistence(last, num),
        "constant_velocity": constant_velocity(layout, last, float(runs.dt), num),
        "linear": linear(layout, test.linear, runs.states, runs.controls, runs.actions),
    }
    assert set(found) == set(BASELINES)
    return found


def score_metrics(
    layout: Layout, runs: Runs, predicted: Predicted, baselines: Mapping[str, Predicted]
) -> dict[str, float]:
    """Return the metrics of a test set, without the prefix of their names."""
    error = np.asarray(predicted, np.float64) - runs.future
    mse, mae = (error**2).mean((0, 2)), np.abs(error).mean((0, 2))
    metrics = {"mse": float(mse.mean()), "mae": float(mae.mean()), **parts(layout, runs.future, predicted)}
    metrics |= {f"mse_step_{k}": float(value) for k, value in zip(steps(), mse, strict=True)}
    metrics |= {f"mae_step_{k}": float(value) for k, value in zip(steps(), mae, strict=True)}
    beaten = 0
    for name, values in baselines.items():
        theirs = by_step(runs, values)
        metrics[f"baseline_{name}_mse"] = float(theirs.mean())
        metrics |= {f"baseline_{name}_mse_step_{k}": float(one) for k, one in zip(steps(), theirs, strict=True)}
        beaten += bool((mse < theirs).all())
    return {**metrics, "baselines_beaten": float(beaten)}


def by_step(runs: Runs, predicted: Predicted) -> Float[np.ndarray, " steps"]:
    """Return the mean square error at each step."""
    return ((np.asarray(predicted, np.float64) - runs.future) ** 2).mean((0, 2))


def parts(layout: Layout, true: Predicted, predicted: Predicted) -> dict[str, float]:
    """Return the root mean square errors of coordinates, angles (in degrees) and velocities; 0 of none."""
    num, end = len(layout.coordinates), len(layout.coordinates) + 2 * len(layout.angles)
    error = np.asarray(predicted, np.float64) - true
    c, s = true[..., num:end:2].astype(np.float64), true[..., num + 1 : end : 2].astype(np.float64)
    c_hat, s_hat = predicted[..., num:end:2], predicted[..., num + 1 : end : 2]
    angle = np.degrees(np.arctan2(s_hat * c - c_hat * s, c_hat * c + s_hat * s))
    each = {"coordinate_rmse": error[..., :num], "angle_rmse_deg": angle, "velocity_rmse": error[..., end:]}
    return {name: float(np.sqrt(np.mean(x**2))) if x.size else 0.0 for name, x in each.items()}


def run_table(test: Test, predicted: Predicted, baselines: Mapping[str, Predicted]) -> dict[str, list[float]]:
    """Return where each run starts, and its mean square error, the model's and the baselines'."""

    def errors(values: Predicted) -> list[float]:
        return ((np.asarray(values, np.float64) - test.runs.future) ** 2).mean((1, 2)).tolist()

    return {
        "trajectory": test.trajectory.astype(float).tolist(),
        "row": test.row.astype(float).tolist(),
        "mse": errors(predicted),
        **{f"{name}_mse": errors(values) for name, values in baselines.items()},
    }
