"""Polishing: poses that can be reached are, and never beyond the joint limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.meanflow_ik.kinematics import Pose, forward_kinematics
from trainables.meanflow_ik.metrics import errors_of
from trainables.meanflow_ik.polish import polish
from trainables.meanflow_ik.robots import ROBOTS, joint_limits


def _polished(name, q, start, num=40):
    """Return the errors of one polished solution for each pose of q, before and after, and the solutions."""
    robot, limits = ROBOTS[name], joint_limits(name, "published")
    pose = forward_kinematics(robot, q)
    on_device = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), (limits, pose, start))
    low, high = (jnp.asarray(side, jnp.float32) for side in limits)
    found = jax.jit(lambda pose, start: polish(robot, (low, high), pose, start, num))(*on_device[1:])
    after = np.asarray(found, np.float64)
    before = errors_of(robot, pose, np.clip(start, *limits)[:, None])
    return before, errors_of(robot, pose, after[:, None]), after


@pytest.mark.parametrize("name", ROBOTS)
def test_nearly_right_solutions_reach_their_poses_within_the_limits(name):
    rng = np.random.default_rng(0)
    low, high = map(np.array, joint_limits(name, "published"))
    q = rng.uniform(low, high, size=(300, len(low)))
    q[:100] = np.where(rng.random((100, len(low))) < 0.3, high, q[:100])  # some joints at their limits
    start = q + rng.normal(scale=0.15, size=q.shape)
    before, after, found = _polished(name, q, start)
    assert np.median(before.position_mm) > 30
    assert np.mean((after.position_mm < 0.1) & (after.rotation_deg < 0.1)) > 0.97
    assert (found >= low - 1e-6).all()
    assert (found <= high + 1e-6).all()


def test_solutions_get_no_worse_and_stay_within_the_limits_wherever_they_start():
    rng = np.random.default_rng(1)
    low, high = map(np.array, joint_limits("panda", "published"))
    q = rng.uniform(low, high, size=(200, 7))
    start = rng.uniform(2 * low - 1, 2 * high + 1, size=q.shape)

    def size(errors):
        return errors.position_mm**2 + (300 * np.radians(errors.rotation_deg)) ** 2

    for num in (1, 40):
        before, after, found = _polished("panda", q, start, num)
        assert (size(after) <= size(before) * 1.001 + 1e-6).all()
        assert (found >= low - 1e-6).all()
        assert (found <= high + 1e-6).all()
    assert np.median(size(after)) < 0.05 * np.median(size(before))  # some end beside a limit


def test_a_pose_out_of_reach_is_approached():
    robot = ROBOTS["ur10"]
    low, high = (jnp.asarray(side, jnp.float32) for side in joint_limits("ur10", "published"))
    pose = Pose(jnp.array([[3.0, 0.0, 0.5]]), jnp.eye(3)[None])
    found = polish(robot, (low, high), pose, jnp.array([[0.3, -0.5, 0.4, 0.1, 0.2, 0.0]]))
    reached = forward_kinematics(robot, found).position[0]
    assert bool(jnp.isfinite(found).all())
    assert float(reached[0]) > 0.9
    assert float(jnp.linalg.norm(reached - pose.position[0])) < 2.2
