import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.contract import UnknownTestSetError
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import traced_numbers
from trainables.meanflow_ik.coordinates import Scaling, from_latent, seen_from_its_azimuth
from trainables.meanflow_ik.data import Limits
from trainables.meanflow_ik.kinematics import Pose, forward_kinematics
from trainables.meanflow_ik.losses import pose_distance
from trainables.meanflow_ik.method import method, solutions
from trainables.meanflow_ik.model import VelocityNetwork, condition
from trainables.meanflow_ik.robots import ROBOTS, joint_limits
from trainables.meanflow_ik.sampling import sample

PLAIN = {"joint_angles": "absolute", "prediction": "velocity", "pose_share": 0.0}


def config_of(**changed):
    return method.smoke().of_values({**method.smoke().model_dump(mode="json"), **PLAIN, **changed})


def _model(config, value=0.3):
    """Return a model whose average's last bias is not 0, so that it does something."""
    model = method.init(config, traced_numbers(config), jax.random.key(0))
    return eqx.tree_at(lambda m: m.average.last.bias, model, jnp.full_like(model.average.last.bias, value))


def test_solutions_are_made_by_the_average_in_one_step_or_many():
    config = config_of()
    model = _model(config)
    noise = jax.random.normal(jax.random.key(1), (3, 2, 7))
    target = forward_kinematics(ROBOTS["panda"], jnp.zeros((3, 7)))
    one, five = solutions(config, 0.5, model, target, noise, [1, 5])
    expected = from_latent(noise - 0.3, Scaling(model.low, model.high, 0.5))
    assert np.allclose(one, expected, atol=1e-5)  # a constant velocity
    assert np.allclose(five, expected, atol=1e-5)
    other = eqx.tree_at(lambda m: m.network.last.bias, model, jnp.ones(7))
    assert np.array_equal(solutions(config, 0.5, other, target, noise, [1])[0], one)


def _arms(num):
    """Return joint angles of so many arms, their poses, and these as seen from their azimuth."""
    low, high = joint_limits("panda", "published")
    q = np.random.default_rng(0).uniform(low, high, (num, 7)).astype(np.float32)
    target = forward_kinematics(ROBOTS["panda"], q)
    return q, target, seen_from_its_azimuth(ROBOTS["panda"], *target)


def test_where_the_output_is_a_sample_the_last_step_ends_there():
    config = config_of(prediction="sample", joint_angles="relative")
    model = _model(config, 0.1)
    _, target, seen = _arms(3)
    limits = np.array(joint_limits("panda", "published"), np.float32)
    expected = from_latent(np.full((3, 7), 0.1, np.float32), Scaling(*limits), seen)
    noise = np.random.default_rng(1).normal(size=(3, 2, 7)).astype(np.float32)
    t = jnp.array([1.0, 0.2, 0.01])

    @jax.jit
    def tried(target, noise):
        pose = condition(ROBOTS["panda"], 0, *target, seen_from_its_azimuth(ROBOTS["panda"], *target))
        found = solutions(config, 1.0, model, target, noise, [1, 2, 5])
        return found, model.average(jnp.ones((3, 7)), t, t, pose), pose

    found, u, pose = tried(target, noise)
    for q in found:
        assert np.allclose(q, expected[:, None], atol=1e-5)  # whatever the noise
    assert np.allclose(u, 0.9 / np.array([1.0, 0.2, 0.05])[:, None], atol=1e-4)
    reach = ROBOTS["panda"].reach
    turns = np.stack([seen.azimuth, seen.roll], axis=1)
    wrist = (seen.wrist - np.array([0, ROBOTS["panda"].shoulder])) / reach
    assert np.allclose(pose, np.concatenate([wrist, seen.axis, np.sin(turns), np.cos(turns)], axis=1), atol=1e-4)


def test_the_distance_of_one_step_solutions_is_added_with_its_weight_from_its_step_on():
    config = config_of(
        joint_angles="relative",
        pose_share=0.5,
        pose_weight=3.0,
        pose_start=0.25,
        steps=28,
        warmup_steps=0,
        weight_power=0.0,
        prediction="sample",
    )
    model = _model(config)
    model = eqx.tree_at(lambda m: m.network, model, model.average)
    q, target, seen = _arms(64)
    limits = Limits(*(np.array(side, np.float32) for side in joint_limits("panda", "published")))

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def loss(network, step):
        changed = eqx.tree_at(lambda m: m.network, model, network)
        batch = q, *target, limits
        found = method.loss(config, traced_numbers(config), changed, batch, jax.random.key(0), step)
        return found.value, found.components

    (value, parts), _ = loss(model.network, jnp.asarray(6))
    assert float(value) == pytest.approx(float(parts["residual"]), rel=1e-5)
    assert float(parts["pose"]) > 0
    (value, parts), slope = loss(model.network, jnp.asarray(7))
    # The network's output is a constant, whatever the noise; of the batch, the second half is sampled.
    found = from_latent(np.full((64, 7), 0.3, np.float32), Scaling(*limits), seen)[32:]
    reached, posed = forward_kinematics(ROBOTS["panda"], found), Pose(*(part[32:] for part in target))
    expected = float(jax.jit(pose_distance)(reached, posed, found, limits))
    assert float(parts["pose"]) == pytest.approx(expected, rel=1e-4)
    assert float(value) == pytest.approx(float(parts["residual"]) + 3 * expected, rel=1e-4)
    moved = eqx.tree_at(lambda n: n.last.bias, model.network, model.network.last.bias - 1e-2 * slope.last.bias)
    assert float(loss(moved, jnp.asarray(7))[0][1]["pose"]) < float(parts["pose"])


@pytest.mark.parametrize("by_average", [True, False])
def test_steps_go_from_1_to_0_with_averages_or_velocities(by_average):
    asked = []

    def network(z, r, t, pose):
        asked.append((r, t))
        return (t + 10 * r)[:, None] * jnp.ones_like(z) + pose

    noise, pose = jnp.ones((4, 2)), jnp.arange(4.0)[:, None]
    found = sample(network, noise, pose, [1, 2, 5], by_average=by_average)
    for num, z in zip([1, 2, 5], found, strict=True):
        expected = noise
        for k in range(num, 0, -1):
            t, r = k / num, (k - 1) / num
            expected = expected - (t + 10 * (r if by_average else t) + pose) / num
        assert np.allclose(z, expected, atol=1e-4)
    assert len(asked) == 1  # compiled once


def test_the_network_is_blind_to_the_scale_of_nothing_but_sees_pose_and_span():
    config = config_of(pose_frequencies=2, blocks=2)
    network = VelocityNetwork(config, jax.random.key(0))
    network = eqx.tree_at(lambda n: n.last.weight, network, jnp.ones_like(network.last.weight))
    pose = forward_kinematics(ROBOTS["panda"], jnp.array([[0.1] * 7, [0.2] * 7]))
    seen = condition(ROBOTS["panda"], 2, pose.position, pose.rotation)
    assert seen.shape == (2, 9 + 12)
    assert np.allclose(seen[:, :3], (pose.position - jnp.array([0, 0, 0.333])) / 0.855)
    z, r, t = jnp.zeros((2, 7)), jnp.array([0.2, 0.2]), jnp.array([0.7, 0.7])
    u = network(z, r, t, seen)
    assert float(jnp.abs(u[0] - u[1]).max()) > 1e-3
    assert float(jnp.abs(u - network(z, t, t, seen)).max()) > 1e-3
    assert float(jnp.abs(u - network(z, r, r, seen)).max()) > 1e-3
    half = VelocityNetwork(config_of(pose_frequencies=2, blocks=2, precision="bfloat16"), jax.random.key(0))
    half = eqx.tree_at(lambda n: n.last.weight, half, jnp.ones_like(half.last.weight))
    low = half(z, r, t, seen)
    assert low.dtype == jnp.float32
    assert 0 < float(jnp.abs(low - u).max()) < 0.3


def test_each_step_draws_its_own_joints_or_rows_of_the_data(tmp_path):
    store = DatasetStore(tmp_path)
    for dataset in ("on_the_fly", "generated"):
        config = config_of(dataset=dataset, num_samples=50)
        data = jax.device_put(method.data(config, store).phases[0])
        batches = [method.batch(config, data, jax.random.key(k)) for k in (0, 0, 1)]
        q, position, rotation, limits = batches[0]
        assert q.shape == (64, 7)
        assert np.array_equal(q, batches[1][0])
        assert not np.array_equal(q, batches[2][0])
        pose = forward_kinematics(ROBOTS["panda"], q)
        assert np.allclose(pose.position, position, atol=1e-5)
        assert np.allclose(pose.rotation, rotation, atol=1e-5)
        assert bool(((q >= limits.low) & (q <= limits.high)).all())
        assert len(np.unique(np.asarray(q)[:, 0])) == (64 if dataset == "on_the_fly" else len(np.unique(q, axis=0)))


def test_the_average_follows_the_network_slower_the_later_it_is():
    config = config_of(ema_decay=0.9)
    model = _model(config, 1.0)
    limits = Limits(model.low, model.high)
    q = jnp.zeros((64, 7))
    batch = (q, *forward_kinematics(ROBOTS["panda"], q), limits)
    loss_at = jax.jit(
        lambda model, step: method.loss(config, traced_numbers(config), model, batch, jax.random.key(0), step)
    )
    for step, decay in ((0, 0.1), (10, 0.55), (1000, 0.9)):
        loss = loss_at(model, jnp.asarray(step))
        assert np.allclose(loss.model.average.last.bias, decay, atol=1e-6)
        assert np.array_equal(loss.model.network.last.bias, model.network.last.bias)
        assert np.array_equal(loss.model.low, model.low)
    trained = method.trained(model)
    assert all(jax.tree.leaves(trained.network))
    assert not any(jax.tree.leaves((trained.average, trained.low, trained.high)))


@pytest.mark.parametrize("objective", ["meanflow", "improved", "flow_matching"])
def test_the_parts_of_the_loss_are_those_of_the_batch(objective):
    config = config_of(objective=objective, equal_share=0.25, weight_power=0.0)
    model = _model(config)
    q = jax.random.uniform(jax.random.key(3), (64, 7), minval=-1, maxval=0)
    batch = (q, *forward_kinematics(ROBOTS["panda"], q), Limits(model.low, model.high))
    loss = jax.jit(
        lambda batch: method.loss(config, traced_numbers(config), model, batch, jax.random.key(0), jnp.asarray(0))
    )(batch)
    parts = {name: float(value) for name, value in loss.components.items()}
    assert float(loss.value) == pytest.approx(parts["residual"], rel=1e-5)  # power 0: all weigh the same
    share = 1.0 if objective == "flow_matching" else 0.25
    mixed = share * parts["instantaneous"] + (1 - share) * parts["average"]
    assert parts["residual"] == pytest.approx(mixed, rel=1e-5)
    assert (parts["average"] == 0) == (objective == "flow_matching")


def test_test_sets_come_from_files_too(tmp_path):
    store, config = DatasetStore(tmp_path), config_of()
    own = method.test_set(config, store, "panda_test")
    assert own.targets.position.shape == (8, 3)
    poses = tmp_path / "poses.csv"
    poses.write_text("x,y,z,qw,qx,qy,qz\n0.4,0.1,0.5,0,1,0,0\n0.3,0.1,0.5,0,0,1,0\n")
    given = method.test_set(config, store, str(poses))
    assert given.targets.position.shape == (2, 3)
    assert np.allclose(given.targets.rotation[0], np.diag([1, -1, -1]))
    poses.write_text("x,y,z,qw,qx,qy,qz\n0.4,0.1,0.5,0,1,0,zero\n")
    with pytest.raises(UnknownTestSetError, match=r"poses.csv': line 2, column qz holds 'zero'"):
        method.test_set(config, store, str(poses))
    with pytest.raises(UnknownTestSetError, match=r"there are: panda_test, an \.npz file"):
        method.test_set(config, store, "ur10_test")
