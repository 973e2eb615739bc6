import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables.meanflow_ik.coordinates import Scaling, from_latent, seen_from_its_azimuth, to_latent
from trainables.meanflow_ik.kinematics import forward_kinematics
from trainables.meanflow_ik.robots import ROBOTS, joint_limits

ARMS = [("panda", "published"), ("ur10", "one_turn"), ("ur10", "published")]


def _scaling(robot, limits, scale=1.0):
    return Scaling(*map(np.array, joint_limits(robot, limits)), scale)


def _arms(robot, limits, num=200):
    low, high = joint_limits(robot, limits)
    q = np.random.default_rng(0).uniform(low, high, size=(num, len(low)))
    return q, _seen(robot, q)


def _seen(robot, q):
    return seen_from_its_azimuth(ROBOTS[robot], *forward_kinematics(ROBOTS[robot], q))


def _turns(angle):
    """Return how far angles are from whole turns."""
    return np.abs((angle + math.pi) % (2 * math.pi) - math.pi)


def test_joint_limits_are_minus_and_plus_the_latent_scale():
    for scale in (1.0, 0.25):
        scaling = _scaling("panda", "published", scale)
        assert np.allclose(to_latent(scaling.low, scaling), -scale)
        assert np.allclose(to_latent(scaling.high, scaling), scale)
        x = np.linspace(-1, 1, 7)
        assert np.allclose(to_latent(from_latent(x, scaling), scaling), x, atol=1e-6)
        assert np.allclose(
            from_latent(2 * scale * np.ones(7), scaling) - scaling.high, (scaling.high - scaling.low) / 2
        )


@pytest.mark.parametrize(("robot", "limits"), ARMS)
def test_the_outer_joints_turn_azimuth_and_roll_and_nothing_else(robot, limits):
    q, seen = _arms(robot, limits)
    turned = q.copy()
    turned[:, 0] += 0.8
    turned[:, -1] -= 1.3
    other = _seen(robot, turned)
    clear = (seen.wrist[:, 0] > 0.05) & (np.hypot(seen.axis[:, 0], seen.axis[:, 2]) > 0.05)
    assert clear.mean() > 0.9
    assert _turns(other.azimuth - seen.azimuth - 0.8)[clear].max() < 1e-3
    assert _turns(other.roll - seen.roll + 1.3)[clear].max() < 1e-3
    assert np.allclose(other.wrist, seen.wrist, atol=1e-5)
    assert np.allclose(other.axis[clear], seen.axis[clear], atol=1e-3)
    scaling = _scaling(robot, limits)
    gap = to_latent(turned, scaling, other) - to_latent(q, scaling, seen)
    assert _turns(gap[:, [0, -1]] * math.pi)[clear].max() < 2e-3
    assert np.allclose(gap[:, 1:-1], 0)


def test_the_first_angle_of_ur10_depends_on_the_distance_of_the_wrist_alone():
    q, seen = _arms("ur10", "one_turn")
    x = to_latent(q, _scaling("ur10", "one_turn"), seen)
    # The wrist is d4 beside the plane of the arm: the textbook's asin(d4 / distance), or its other solution.
    assert np.allclose(np.sin(math.pi * x[:, 0]), ROBOTS["ur10"].d[3] / seen.wrist[:, 0], atol=1e-4)


@pytest.mark.parametrize(("robot", "limits"), ARMS)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_relative_angles_are_within_the_scale_and_lead_back(robot, limits, scale):
    q, seen = _arms(robot, limits)
    scaling = _scaling(robot, limits, scale)
    x = to_latent(q, scaling, seen)
    assert float(np.abs(x).max()) <= scale * (1 + 1e-6)
    back = from_latent(x, scaling, seen)
    assert np.allclose(back[:, 1:-1], q[:, 1:-1], atol=1e-5)
    assert _turns(back - q).max() < 1e-4  # of a joint that turns twice, by a whole turn off
    middle = (scaling.low + scaling.high) / 2
    assert float(np.abs(back - middle)[:, [0, -1]].max()) <= math.pi + 1e-5
    if limits != "published" or robot == "panda":
        assert np.allclose(back, q, atol=1e-4)
    beyond = from_latent(x + 3 * scale, scaling, seen)  # three halves of a turn
    assert _turns(beyond - q - 3 * math.pi)[:, [0, -1]].max() < 1e-4


def test_where_there_is_no_azimuth_there_are_numbers_and_gradients():
    on_axis = np.array([[0.0, 0.0, 0.6]], np.float32), np.eye(3, dtype=np.float32)[None]
    seen = seen_from_its_azimuth(ROBOTS["panda"], *on_axis)
    assert seen.azimuth == 0
    assert all(np.isfinite(part).all() for part in seen)
    # A saved model's limits are NumPy's.
    scaling = Scaling(*(np.array(side, np.float32) for side in joint_limits("panda", "published")))
    traced = jax.jit(lambda x, seen: from_latent(x, scaling, seen))(jnp.zeros((1, 7)), seen)
    assert np.allclose(traced, from_latent(np.zeros((1, 7), np.float32), scaling, seen), atol=1e-6)
    scaling = Scaling(*(jnp.asarray(side, jnp.float32) for side in joint_limits("panda", "published")))
    slope = jax.jit(jax.grad(lambda x: jnp.sum(from_latent(x, scaling, jax.tree.map(jnp.asarray, seen)))))
    assert np.allclose(slope(jnp.zeros((1, 7)))[0, [0, -1]], math.pi)
