"""What figures show of a trained model: how errors grow along free runs, beyond the horizon that is scored."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import traced_numbers
from trainables._shared.saved import SavedModel
from trainables.gru_dynamics.data import MAX_VALIDATED, Test, runs, task
from trainables.gru_dynamics.metrics import baseline_predictions, by_step

LONGEST = 50
"""Steps of the free runs, if the test trajectories are long enough."""


def error_growth(saved: SavedModel) -> dict[str, np.ndarray]:
    """Return the mean square error by step of free runs from test trajectories, test sets first.

    `model` is the model's, and each baseline has its own by its name; `sets` are the test sets' names, and `dt` is the
    time of a step.
    """
    config: Any = saved.config
    store = DatasetStore()
    linear = next(iter(saved.method.trial_data(config, store).tests.values())).linear
    config = config.task()
    tasks = [task(config, folder, "test", store) for folder in config.folders or (None,)]
    horizon = min(LONGEST, *(max(len(x) for x in one.states) - 1 for one in tasks))
    tests = [Test(*runs(config, one, MAX_VALIDATED, horizon), linear) for one in tasks]
    base_step = traced_numbers(config)["base_step"]
    predict = jax.jit(lambda states, controls, actions: saved.model.run(base_step, states, controls, actions)[0])
    found: dict[str, list[np.ndarray]] = {}
    for test in tests:
        predicted = np.asarray(predict(*map(jnp.asarray, test.runs[:3])))
        for name, values in {"model": predicted, **baseline_predictions(config.layout, test)}.items():
            found.setdefault(name, []).append(by_step(test.runs, values))
    arrays = {name: np.stack(values) for name, values in found.items()}
    return {**arrays, "sets": np.array(config.test_sets), "dt": np.array(tasks[0].dt)}
