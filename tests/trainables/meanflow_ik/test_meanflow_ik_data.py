import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables.meanflow_ik.config import Config
from trainables.meanflow_ik.data import held_out_test, load, nearest, targets, training_arrays
from trainables.meanflow_ik.files import split_rows
from trainables.meanflow_ik.kinematics import Pose, forward_kinematics
from trainables.meanflow_ik.metrics import (
    Errors,
    best_of,
    errors_of,
    figures,
    is_outside,
    is_there,
    score_metrics,
    spread_deg,
)
from trainables.meanflow_ik.robots import ROBOTS, joint_limits
from trainables.meanflow_ik.rotations import quaternion_from_matrix, rotation_angle

SMALL = {"dataset": "generated", "num_samples": 200, "num_validation": 20, "num_test": 10}


@pytest.fixture
def store(tmp_path):
    return DatasetStore(tmp_path)


def test_generated_samples_are_uniform_in_the_limits_with_their_poses(store):
    config = Config(robot="ur10", limits="one_turn", **{**SMALL, "num_samples": 5000})
    samples = load(config, "train", store)
    low, high = map(np.array, joint_limits("ur10", "one_turn"))
    share = (samples.q - low) / (high - low)
    assert share.min() >= 0
    assert share.max() <= 1
    assert np.abs(share.mean(0) - 0.5).max() < 0.02
    assert np.abs(share.std(0) - 12**-0.5).max() < 0.01
    pose = forward_kinematics(ROBOTS["ur10"], np.asarray(samples.q))
    assert np.array_equal(pose.position, samples.position)
    assert np.array_equal(pose.rotation, samples.rotation)


def test_a_data_seed_is_another_draw_to_train_on_and_the_same_to_validate_on(store):
    one, two = (Config(data_seed=seed, **SMALL) for seed in (0, 1))
    assert np.array_equal(load(one, "train", store).q, load(one, "train", store).q)
    assert not np.array_equal(load(one, "train", store).q, load(two, "train", store).q)
    for split, num in (("val", 20), ("test", 10)):
        assert np.array_equal(load(one, split, store).q, load(two, split, store).q)
        assert len(load(one, split, store).q) == num
    assert not np.array_equal(load(one, "val", store).q[:10], load(one, "test", store).q)


def test_on_the_fly_there_are_limits_and_no_samples(store):
    config = Config()
    arrays = training_arrays(config, load(config, "train", store))
    assert set(arrays) == {"limits"}
    assert set(training_arrays(Config(**SMALL), load(Config(**SMALL), "train", store))) == {"limits", "samples"}


def test_a_file_is_split_by_sample(tmp_path, store):
    low, high = joint_limits("panda", "published")
    q = np.random.default_rng(0).uniform(low, high, size=(50, 7))
    pose = forward_kinematics(ROBOTS["panda"], q)
    path = tmp_path / "samples.npz"
    np.savez(path, q=q, pose=np.concatenate([pose.position, quaternion_from_matrix(pose.rotation)], axis=1))
    config = Config(dataset="file", file=str(path), num_test=3)
    parts = {split: load(config, split, store) for split in ("train", "val", "test")}
    assert [len(part.q) for part in parts.values()] == [40, 5, 3]
    rows = np.concatenate(list(split_rows(50).values()))
    assert sorted(rows) == list(range(50))
    assert np.array_equal(parts["train"].q, q[split_rows(50)["train"]])
    assert np.abs(parts["val"].rotation - pose.rotation[split_rows(50)["val"]]).max() < 1e-12


def test_the_nearest_sample_is_that_of_the_nearest_pose(store):
    known = load(Config(**SMALL), "train", store)
    wanted = load(Config(**SMALL), "val", store)
    found = nearest(known, wanted.position, wanted.rotation)
    for k in range(len(wanted.q)):
        gap = ((known.position - wanted.position[k]) ** 2).sum(1)
        angle = rotation_angle(np.einsum("ij,nkj->nik", wanted.rotation[k], known.rotation))
        size = gap + 0.3**2 * 4 * np.sin(angle / 2) ** 2
        assert np.array_equal(found[k], known.q[size.argmin()].astype(np.float32))
    own = nearest(known, known.position[:5], known.rotation[:5])
    assert np.array_equal(own, known.q[:5].astype(np.float32))


def test_errors_of_the_true_joints_are_nothing_and_of_what_is_no_number_infinite(store):
    samples = load(Config(**SMALL), "test", store)
    q = np.stack([samples.q, samples.q + 0.1, np.full_like(samples.q, np.nan)], axis=1)
    errors = errors_of(ROBOTS["panda"], Pose(samples.position, samples.rotation), q)
    assert errors.position_mm[:, 0].max() < 1e-9
    assert errors.rotation_deg[:, 0].max() < 1e-5
    assert errors.position_mm[:, 1].min() > 1
    assert np.isinf(errors.position_mm[:, 2]).all()
    assert np.isinf(errors.rotation_deg[:, 2]).all()
    limits = targets(Config(**SMALL), samples.position, samples.rotation, 1).limits
    assert is_outside(q, limits)[:, 2].all()
    assert not is_outside(q, limits)[:, 0].any()
    beyond = np.where(np.arange(7) == 3, limits.high + 0.01, samples.q)
    assert is_outside(beyond[:, None], limits).all()


def test_figures_of_errors():
    errors = Errors(np.array([[1.0, 4.0], [2.0, 100.0]]), np.array([[1.0, 9.0], [4.9, 1.0]]))
    found = figures(errors)
    assert found["median_position_error_mm"] == 3.0
    assert found["mean_position_error_mm"] == 26.75
    assert found["success_pct"] == 50.0
    best = best_of(errors)
    assert best.position_mm.tolist() == [[1.0], [2.0]]
    assert best.rotation_deg.tolist() == [[1.0], [4.9]]
    q = np.zeros((2, 2, 7))
    q[:, 1] = np.radians(10)
    assert spread_deg(q) == pytest.approx(5.0)
    counted = np.zeros(q.shape[:2], bool)
    assert spread_deg(q, counted) == 0
    counted[0, :1] = True
    assert spread_deg(q, counted) == 0  # one solution is no spread
    counted[0, :] = True
    assert spread_deg(q, counted) == pytest.approx(5.0)


def test_every_final_metric_is_announced_and_a_pose_is_reached_only_within_the_limits(store):
    config = Config(**SMALL, test_steps=(1, 3))
    samples, robot = load(config, "test", store), ROBOTS["panda"]
    test = held_out_test(config, load(config, "train", store), samples.position, samples.rotation)
    assert test.targets.noise.shape == (10, 32, 7)
    assert np.abs(test.targets.noise.mean()) < 0.1
    q = np.repeat(samples.q[:, None], 32, axis=1)
    polished = {"polished": q[:, :8], "random_polished": test.random}
    found = score_metrics(robot, test.targets, test.nearest, {1: q, 3: q + 0.02}, polished)
    assert set(found) == set(config.final_metrics())
    assert found["test_1_step_success_pct"] == 100
    assert found["test_1_step_median_position_error_mm"] < 1e-3
    assert found["test_3_step_median_position_error_mm"] > 1
    assert found["test_polished_reached_pct"] == 100
    assert found["test_nearest_median_position_error_mm"] > 50
    turned = q + 2 * np.pi * (np.arange(7) == 0)  # the same poses, a full turn beyond the limit
    assert not is_there(robot, test.targets, turned).any()


def test_limits_that_are_the_same_for_a_robot_hold_out_the_same_poses(tmp_path):
    store = DatasetStore(tmp_path)
    for robot, are_same in (("panda", True), ("ur10", False)):
        found = [
            load(Config(robot=robot, limits=limits), "val", store).position for limits in ("published", "one_turn")
        ]
        assert np.array_equal(*found) == are_same
