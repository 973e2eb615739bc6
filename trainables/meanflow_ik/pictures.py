"""What figures show of a trained model: plain arrays of the errors of its solutions of the test poses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import traced_numbers
from trainables._shared.saved import SavedModel
from trainables.meanflow_ik.data import Limits
from trainables.meanflow_ik.kinematics import Pose
from trainables.meanflow_ik.metrics import errors_of
from trainables.meanflow_ik.robots import ROBOTS


def errors(saved: SavedModel) -> dict[str, np.ndarray]:
    """Return position (mm) and rotation errors (degrees) of solutions of the test poses, by the number of steps.

    As `1_step_position_mm` (poses, solutions) and so on; `polished_position_mm` of polished one-step solutions and
    `random_polished_position_mm` of polished random joint angles. `limits` are the lower and the upper joint limits,
    and `q` (poses, solutions, joints) one-step solutions, in radians.
    """
    config: Any = saved.config
    ((name, test),) = saved.method.trial_data(config, DatasetStore()).tests.items()
    task = config.task()
    on_device = jax.tree.map(jnp.asarray, {name: test})
    hyper = traced_numbers(task)
    predicted = jax.jit(lambda tests: saved.method.predict(task, hyper, saved.model, tests))(on_device)[name]
    robot, limits = ROBOTS[config.robot], Limits(*test.targets.limits)
    pose = Pose(test.targets.position, test.targets.rotation)
    q = {f"{num}_step": array for num, array in predicted["solutions"].items()} | predicted["polished"]
    arrays = {}
    for key, array in q.items():
        found = errors_of(robot, pose, np.asarray(array))
        arrays |= {f"{key}_position_mm": found.position_mm, f"{key}_rotation_deg": found.rotation_deg}
    return {**arrays, "limits": np.stack(limits), "q": np.asarray(q[f"{min(map(int, predicted['solutions']))}_step"])}
