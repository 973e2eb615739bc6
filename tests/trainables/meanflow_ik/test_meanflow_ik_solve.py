"""Poses from a file, solved by a trained model from the command line."""

import csv
import math

import numpy as np
import pytest

from tests.methods.ripple.method import Config
from tests.methods.ripple.method import method as ripple
from trainables._shared.config import ConfigError
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.saved import load_model
from trainables._shared.training import Training
from trainables.meanflow_ik.kinematics import Pose, forward_kinematics
from trainables.meanflow_ik.method import method
from trainables.meanflow_ik.metrics import errors_of
from trainables.meanflow_ik.poses import read_poses
from trainables.meanflow_ik.robots import ROBOTS, joint_limits
from trainables.meanflow_ik.rotations import quaternion_from_matrix
from trainables.meanflow_ik.solve import main, solve_poses

HEADER = "x,y,z,qw,qx,qy,qz\n"
GOOD = "0.4,0.1,0.5,0,1,0,0\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("x,y,z,qx,qy,qz\n", "line 1 has no column qw; it has x, y, z, qx, qy, qz"),
        ("x,x,y,z,qw,qx,qy,qz\n", "line 1 names the column x twice"),
        (HEADER, "has no poses"),
        (HEADER + GOOD + "0.4,left,0.5,0,1,0,0\n", "line 3, column y holds 'left', which is no number"),
        (HEADER + "\n" + GOOD + "0.4,0.1,nan,0,1,0,0\n", "line 4, column z holds nan, which is not finite"),
        (HEADER + "0.4,0.1,0.5,0,1,0\n", "line 2 has 6 values, and the header 7"),
        (HEADER + "0.4,,0.5,0,1,0,0\n", "line 2, column y holds ''"),
        (HEADER + GOOD + "400,0.1,0.5,0,1,0,0\n", "line 3, column x holds 400 (allowed: metres, at most 100)"),
        (HEADER + "0.4,0.1,0.5,0,1,1,0\n", "line 2, columns qw, qx, qy, qz hold a quaternion of length 1.41421"),
    ],
)
def test_a_mistake_in_a_file_of_poses_has_its_line_and_column(tmp_path, capsys, text, said):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_poses(path)
    assert f"poses = '{path}': {said}" in str(caught.value)
    assert main([str(tmp_path / "none.npz"), str(path)]) == 2
    assert said in capsys.readouterr().err


def test_a_file_of_poses_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.csv': cannot be read: No such file"):
        read_poses(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"b.csv': is no text in UTF-8 \(byte 0xff\)"):
        read_poses(tmp_path / "b.csv")


def test_columns_may_stand_in_any_order_among_others(tmp_path):
    path = tmp_path / "p.csv"
    half = math.sqrt(0.5)
    path.write_text(f"name, qz, qy ,qx,qw,z,y,x\nfirst,{half},0,0,{half},0.3,0.2,0.1\n\n")
    pose = read_poses(path)
    assert pose.position.tolist() == [[0.1, 0.2, 0.3]]
    assert np.allclose(pose.rotation[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a few steps, saved as a search saves it."""
    folder = tmp_path_factory.mktemp("model")
    config = method.smoke()
    training = Training(Program(method, config), config, method.data(config, DatasetStore(folder)))
    training.advance()
    path = folder / "model.npz"
    training.save(path, {"trainable": "meanflow_ik"})
    return path


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    path = tmp_path_factory.mktemp("poses") / "poses.csv"
    q = np.random.default_rng(5).uniform(*joint_limits("panda", "published"), size=(12, 7))
    pose = forward_kinematics(ROBOTS["panda"], q)
    rows = np.concatenate([pose.position, quaternion_from_matrix(pose.rotation)], axis=1)
    path.write_text(HEADER + "\n".join(",".join(f"{value:.10f}" for value in row) for row in rows) + "\n")
    return path


def test_polished_solutions_reach_their_poses_within_the_limits(model, poses):
    saved, pose = load_model(model), read_poses(poses)
    solved = solve_poses(saved, pose, 4, polished=True)
    low, high = map(np.array, joint_limits("panda", "published"))
    assert solved.q.shape == (12, 4, 7)
    assert ((solved.q >= low) & (solved.q <= high)).all()
    assert not solved.is_outside.any()
    again = errors_of(ROBOTS["panda"], Pose(*pose), solved.q)
    assert np.array_equal(again.position_mm, solved.errors.position_mm)
    assert np.median(solved.before.position_mm) > 50
    assert np.mean(solved.errors.position_mm.min(1) < 0.1) > 0.7  # of a model that has hardly been trained
    rough = solve_poses(saved, pose, 4)
    assert np.array_equal(rough.errors.position_mm, rough.before.position_mm)
    assert np.allclose(rough.errors.position_mm, solved.before.position_mm, rtol=1e-3)
    other = solve_poses(saved, pose, 4, seed=1)
    assert not np.array_equal(other.q, rough.q)


def test_the_script_prints_the_errors_before_and_after_and_writes_the_solutions(model, poses, tmp_path, capsys):
    output = tmp_path / "solutions.csv"
    given = [str(model), str(poses), "--solutions", "4", "--polish", "--output", str(output)]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "12 poses, 4 solutions each" in said
    rows = [line for line in said.splitlines() if line.startswith(("before", "after"))]
    assert [row.split("  ")[0] for row in rows] == ["before all", "before best of 4", "after all", "after best of 4"]
    before, after = (float(rows[k].split()[-4]) for k in (1, 3))
    assert after < 0.1 * before
    with output.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == 48
    assert list(written[0])[:3] == ["pose", "solution", "q1"]
    pose = read_poses(poses)
    q = np.array([[float(row[f"q{k + 1}"]) for k in range(7)] for row in written]).reshape(12, 4, 7)
    errors = errors_of(ROBOTS["panda"], pose, q)
    stated = np.array([float(row["position_error_mm"]) for row in written]).reshape(12, 4)
    assert np.allclose(errors.position_mm, stated, atol=1e-3)
    assert {row["within_limits"] for row in written} == {"1"}


def test_what_is_no_model_ends_with_status_2(poses, tmp_path, capsys):
    assert main([str(tmp_path / "none.npz"), str(poses)]) == 2
    assert "none.npz" in capsys.readouterr().err
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    assert main([str(tmp_path / "bad.npz"), str(poses)]) == 2
    assert "bad.npz" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--solutions", "0"), ("--steps", "0"), ("--seed", "-1"), ("--seed", "a")])
def test_a_wrong_option_ends_with_status_2(tmp_path, capsys, wrong):
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), str(tmp_path), *wrong])
    assert caught.value.code == 2
    said = f"error: argument {wrong[0]}: {wrong[1]} is no whole number of at least {int(wrong[0] != '--seed')}\n"
    assert capsys.readouterr().err.endswith(said)


def test_a_model_of_another_method_is_refused_by_its_name(poses, tmp_path, capsys):
    config = Config(steps=10)
    training = Training(Program(ripple, config), config, ripple.data(config, DatasetStore()))
    while not training.advance().ending:
        pass
    training.save(tmp_path / "ripple.npz", {"trainable": "tests.methods.ripple"})
    assert main([str(tmp_path / "ripple.npz"), str(poses)]) == 2
    assert "ripple.npz: is a model of tests.methods.ripple, and meanflow_ik is wanted" in capsys.readouterr().err


def test_a_place_that_solutions_cannot_be_written_to_is_told_before_they_are_computed(poses, tmp_path, capsys):
    before, unread = poses.read_bytes(), tmp_path / "unread.npz"
    unread.write_bytes(b"unread")
    for output, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "solutions.csv", f"there is no folder {tmp_path / 'none'}"),
        (poses, "is the file of the poses"),
        (unread, "is the file of the model"),
    ):
        assert main([str(unread), str(poses), "--output", str(output)]) == 2
        assert capsys.readouterr().err.startswith(f"output = '{output}': {said}")
    assert unread.read_bytes() == b"unread"
    assert poses.read_bytes() == before
