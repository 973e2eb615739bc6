"""Forward kinematics against pinocchio, on the robots' own URDF files, and rotations against themselves."""

from importlib.metadata import distribution

import jax
import jax.numpy as jnp
import numpy as np
import pinocchio
import pytest

from trainables.meanflow_ik.kinematics import Pose, chain, forward_kinematics, jacobian, pose_errors
from trainables.meanflow_ik.robots import ROBOTS, joint_limits
from trainables.meanflow_ik.rotations import (
    matrix_from_quaternion,
    matrix_from_six_d,
    quaternion_from_matrix,
    relative,
    rotation_angle,
    rotation_vector,
    six_d_from_matrix,
)

FLANGES = {
    "panda": ("panda_description/urdf/panda.urdf", "panda_link8"),
    "ur10": ("ur_description/urdf/ur10_robot.urdf", "tool0"),
}
TURNED = {"panda": np.eye(3), "ur10": np.diag([-1.0, -1.0, 1.0])}
"""From our base frame to the URDF's: UR10's is turned by half a turn about z against the maker's own."""


@pytest.fixture(params=ROBOTS)
def name(request):
    return request.param


def _model(name):
    file, flange = FLANGES[name]
    robots = distribution("example-robot-data").locate_file("cmeel.prefix/share/example-robot-data/robots")
    model = pinocchio.buildModelFromUrdf(str(robots / file))
    return model, model.getFrameId(flange)


def _joints(name, num, seed=0):
    return np.random.default_rng(seed).uniform(*joint_limits(name, "published"), size=(num, ROBOTS[name].num_joints))


def test_the_flange_is_where_pinocchio_has_it(name):
    model, flange = _model(name)
    data, q = model.createData(), _joints(name, 200)
    compiled = jax.jit(lambda q: forward_kinematics(ROBOTS[name], q))(jnp.asarray(q, jnp.float32))
    ours = forward_kinematics(ROBOTS[name], q)
    for row, joints in enumerate(q):
        padded = np.concatenate([joints, np.zeros(model.nq - len(joints))])  # fingers, which carry no flange
        pinocchio.framesForwardKinematics(model, data, padded)
        expected = data.oMf[flange]
        for pose, metres in ((ours, 1e-9), (compiled, 1e-5)):
            position, rotation = TURNED[name] @ pose.position[row], TURNED[name] @ pose.rotation[row]
            assert np.abs(position - expected.translation).max() < metres
            assert np.abs(rotation - expected.rotation).max() < metres


def test_pandas_limits_are_those_of_its_urdf():
    model, _ = _model("panda")
    low, high = joint_limits("panda", "published")
    assert np.array_equal(model.lowerPositionLimit[:7], low)
    assert np.array_equal(model.upperPositionLimit[:7], high)


def test_within_one_turn_every_pose_of_the_published_limits_is_reached():
    q = _joints("ur10", 50)
    low, high = map(np.array, joint_limits("ur10", "one_turn"))
    within = (q - low) % (2 * np.pi) + low
    assert (within <= high).all()
    distance, angle = pose_errors(forward_kinematics(ROBOTS["ur10"], q), forward_kinematics(ROBOTS["ur10"], within))
    assert distance.max() < 1e-12
    assert angle.max() < 1e-7
    assert joint_limits("panda", "one_turn") == joint_limits("panda", "published")


def test_the_jacobian_is_how_the_flange_moves(name):
    q, step = _joints(name, 5), 1e-6
    moves, turns = jacobian(chain(ROBOTS[name], q))
    for joint in range(q.shape[1]):
        change = step * np.eye(q.shape[1])[joint]
        before, after = (forward_kinematics(ROBOTS[name], q + sign * change) for sign in (-1, 1))
        assert np.allclose((after.position - before.position) / (2 * step), moves[..., joint], atol=1e-8)
        turned = rotation_vector(relative(before.rotation, after.rotation)) / (2 * step)
        assert np.allclose(turned, turns[..., joint], atol=1e-7)


def test_any_batch_has_the_poses_of_its_rows(name):
    q = _joints(name, 6).reshape(2, 3, -1)
    pose = forward_kinematics(ROBOTS[name], q)
    assert pose.position.shape == (2, 3, 3)
    assert pose.rotation.shape == (2, 3, 3, 3)
    single = forward_kinematics(ROBOTS[name], q[1, 2])
    assert np.array_equal(single.position, pose.position[1, 2])
    assert np.array_equal(single.rotation, pose.rotation[1, 2])


def _rotations():
    """Return random rotations, and those by half a turn and by nothing, where formulas that divide fail."""
    quaternions = np.random.default_rng(0).normal(size=(100, 4))
    special = np.concatenate([np.eye(4), [[0, 1, 1, 0], [0, 0, 1, -1], [1e-9, 1, 0, 0], [1, 1e-9, 0, 0]]])
    return matrix_from_quaternion(np.concatenate([quaternions, special]))


@pytest.mark.parametrize(("library", "most"), [(np, 1e-14), (jnp, 1e-6)])
def test_quaternions_and_six_numbers_give_back_the_rotation(library, most):
    matrices = library.asarray(_rotations(), None if library is np else "float32")
    quaternions = quaternion_from_matrix(matrices)
    assert float(abs(matrix_from_quaternion(quaternions) - matrices).max()) < most
    assert float(abs(matrix_from_six_d(six_d_from_matrix(matrices)) - matrices).max()) < most
    assert float(quaternions[:, 0].min()) >= 0
    scaled = six_d_from_matrix(matrices) * library.asarray([2.0, 2, 2, 5, 5, 5])
    assert float(abs(matrix_from_six_d(scaled) - matrices).max()) < most


def test_the_angle_is_found_where_an_arc_cosine_loses_it():
    angles = np.array([1e-7, 1e-3, 1.0, 3.0, np.pi - 1e-6])
    axis = np.array([2.0, -1.0, 2.0]) / 3
    turns = np.concatenate([np.cos(angles / 2)[:, None], np.sin(angles / 2)[:, None] * axis], axis=1)
    matrices = matrix_from_quaternion(turns)
    assert rotation_angle(matrices) == pytest.approx(angles, rel=1e-6)
    assert np.allclose(rotation_vector(matrices), angles[:, None] * axis, rtol=1e-6)
    assert rotation_vector(np.eye(3)).tolist() == [0, 0, 0]
    small = rotation_angle(jnp.asarray(matrices[1], jnp.float32))
    assert float(small) == pytest.approx(1e-3, rel=1e-3)


def test_pose_errors_are_distance_and_angle():
    turn = matrix_from_quaternion(np.array([np.cos(0.1), 0.0, np.sin(0.1), 0.0]))
    distance, angle = pose_errors(Pose(np.zeros(3), np.eye(3)), Pose(np.array([3.0, 0.0, 4.0]), turn))
    assert distance == pytest.approx(5.0)
    assert angle == pytest.approx(0.2)
