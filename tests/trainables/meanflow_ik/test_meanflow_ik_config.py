import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from search_spaces.presets import with_preset
from search_spaces.spec import load_spec
from trainables._shared.config import ConfigError, structural_key
from trainables.meanflow_ik.config import Config
from trainables.meanflow_ik.kinematics import forward_kinematics
from trainables.meanflow_ik.robots import ROBOTS, joint_limits
from trainables.meanflow_ik.rotations import quaternion_from_matrix


def test_checking_a_config_does_not_load_jax(tmp_path):
    path = _file(tmp_path)
    code = (
        "import sys; from trainables.meanflow_ik.config import Config; c = Config(); c.unused_fields(); "
        f"c.final_metrics(); Config(dataset='file', file={path!r}).check_data(); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"robot": "ur5"}, ["robot", "ur5", "'panda' or 'ur10'"]),
        ({"objective": "mean"}, ["objective", "mean", "'meanflow', 'improved' or 'flow_matching'"]),
        ({"equal_share": 1.5}, ["equal_share", "less than or equal to 1", "1.5"]),
        ({"pose_share": 1.5}, ["pose_share", "less than or equal to 1", "1.5"]),
        ({"pose_weight": -1.0}, ["pose_weight", "greater than or equal to 0", "-1.0"]),
        ({"pose_start": -0.1}, ["pose_start", "greater than or equal to 0", "-0.1"]),
        ({"pose_start": 1.0}, ["pose_start", "less than 1", "1.0"]),
        ({"joint_angles": "axes"}, ["joint_angles", "axes", "'absolute' or 'relative'"]),
        ({"prediction": "x"}, ["prediction", "x", "'velocity' or 'sample'"]),
        ({"weight_power": -1.0}, ["weight_power", "greater than or equal to 0", "-1.0"]),
        ({"ema_decay": 1.0}, ["ema_decay", "less than 1", "1.0"]),
        ({"activation": "relu"}, ["activation", "relu", "'silu', 'gelu' or 'tanh'"]),
        ({"sampling_steps": 0}, ["sampling_steps", "greater than or equal to 1"]),
        ({"test_steps": ()}, ["test_steps", "at least 1"]),
        ({"test_steps": (2, 2)}, ["test_steps", "[2, 2]", "each once"]),
        ({"steps": 1000}, ["warmup_steps = 1000", "after 1000 steps", "0..999"]),
        ({"dataset": "file"}, ["file = None", "is needed with dataset file"]),
        ({"file": "/a/b.npz"}, ["file = '/a/b.npz'", "belongs to dataset file", "dataset: file"]),
        ({"dataset": "file", "file": "b.npz"}, ["file = 'b.npz'", "absolute path"]),
        ({"dataset": "file", "file": "/a/b.csv"}, ["file = '/a/b.csv'", "absolute path of an .npz file"]),
        ({"scored_on": {"robot": "ur10"}}, ["scored_on", "has poses of ur10", "those of panda"]),
    ],
)
def test_errors_name_the_field_the_value_and_what_is_allowed(fields, expected):
    with pytest.raises(ValidationError) as caught:
        Config(**fields)
    assert all(part in str(caught.value) for part in expected), caught.value


def _arrays(num=40, robot="panda"):
    q = np.random.default_rng(0).uniform(*joint_limits(robot, "published"), size=(num, ROBOTS[robot].num_joints))
    pose = forward_kinematics(ROBOTS[robot], q)
    return {"q": q, "pose": np.concatenate([pose.position, quaternion_from_matrix(pose.rotation)], axis=1)}


def _file(folder, **changed):
    path = folder / "samples.npz"
    np.savez(path, **{**_arrays(), **changed})
    return str(path)


def test_a_file_is_looked_at_before_the_launch(tmp_path):
    def problem(**changed):
        with pytest.raises(ConfigError) as caught:
            Config(dataset="file", file=_file(tmp_path, **changed)).check_data()
        return str(caught.value)

    assert "cannot be read: No such file" in _missing(tmp_path)
    q, pose = _arrays().values()
    assert "holds pose (40, 7), q (40, 6)" in problem(q=q[:, :6])
    assert "7 joints of panda" in problem(q=q[:, :6])
    assert "holds 10 samples, too few to split" in problem(q=q[:10], pose=pose[:10])
    bad = pose.copy()
    bad[3, 4] = np.nan
    assert "1 values of its pose are missing or infinite, first row 4, column 5 (qx)" in problem(pose=bad)
    bad = q.copy()
    bad[5, 1] = 2.0
    assert "first row 6, column 2: 2" in problem(q=bad)
    assert "-1.7628 to 1.7628 rad" in problem(q=bad)
    bad = pose.copy()
    bad[7, 3:] *= 1.1
    assert "columns 4 to 7) have not length 1, such as row 8: 1.1" in problem(pose=bad)
    shifted = pose + np.array([0, 0, 0.1034, 0, 0, 0, 0])  # of a tool
    said = problem(pose=shifted)
    assert "40 of its 40 poses are not where panda has its flange" in said
    assert "103.4 mm and 0.00 degrees off" in said
    last = pose[:, [0, 1, 2, 4, 5, 6, 3]]
    assert "qw qx qy qz" in problem(pose=last)
    assert Config(dataset="file", file=_file(tmp_path)).data_warnings() == ()


def _missing(folder):
    with pytest.raises(ConfigError) as caught:
        Config(dataset="file", file=str(folder / "none.npz")).check_data()
    return str(caught.value)


def test_either_sign_of_a_quaternion_is_the_same_pose(tmp_path):
    q, pose = _arrays().values()
    pose[::2, 3:] *= -1
    Config(dataset="file", file=_file(tmp_path, q=q, pose=pose)).check_data()


def test_what_has_no_effect_is_said():
    assert set(Config().unused_fields()) == {"num_samples", "data_seed", "limits"}
    assert "equal_share" in Config(objective="flow_matching").unused_fields()
    assert "limits" not in Config(robot="ur10").unused_fields()
    assert "weight_offset" in Config(weight_power=0.0).unused_fields()
    assert {"pose_share", "pose_weight", "pose_start"} <= set(Config(objective="flow_matching").unused_fields())
    assert {"pose_weight", "pose_start"} <= set(Config(pose_share=0.0).unused_fields())
    assert not {"pose_weight", "pose_start"} & set(Config(pose_share=0.5, pose_start=0.9).unused_fields())
    assert {"time_mean", "time_std"} <= set(Config(time_distribution="uniform").unused_fields())


@pytest.mark.parametrize("preset", Config.presets)
def test_presets_are_configs(preset):
    config = Config.of_values(dict(Config.presets[preset]))
    assert config.robot == ("ur10" if preset == "ur10" else "panda")
    assert config.schedule == "cosine"


def test_a_spec_names_a_preset_and_overrides_it(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: try\ntrainable: meanflow_ik\nobjective: {metric: val_position_error_mm, mode: min}\n"
        "base: {preset: ur10, width: 64}\nspace:\n  ema_decay: [0.9, 0.99]\n"
        "sampler: {name: random}\nbudget: {trials: 2}\n"
    )
    base = with_preset(load_spec(file), Config.presets)[0].spec.base
    assert (base["robot"], base["limits"], base["width"], base["batch_size"]) == ("ur10", "one_turn", 64, 256)


def test_an_earlier_record_has_what_was_in_effect_then():
    old = {name: value for name, value in Config().model_dump(mode="json").items() if name not in Config.later_fields}
    config = Config.of_values(Config.recorded(old))
    assert (config.joint_angles, config.prediction, config.num_posed) == ("absolute", "velocity", 0)
    assert config.pose_start == 0
    assert Config(pose_share=0.3, batch_size=10).num_posed == 3
    assert Config(pose_share=0.3, objective="flow_matching").num_posed == 0


def test_programs_are_shared_by_what_only_the_host_reads():
    def key(**fields):
        return structural_key(Config(**fields).for_training())

    for fields in ({"steps": 5000}, {"num_samples": 10}, {"data_seed": 1}, {"ema_decay": 0.5}, {"test_steps": (3,)}):
        assert key() == key(**fields)
    for fields in (
        {"pose_share": 0.9},
        {"equal_share": 0.5},
        {"objective": "improved"},
        {"width": 8},
        {"precision": "bfloat16"},
    ):
        assert key() != key(**fields)
    evaluated = [structural_key(Config(objective=name).for_evaluation()) for name in ("meanflow", "improved")]
    assert evaluated[0] == evaluated[1] != structural_key(Config(objective="flow_matching").for_evaluation())


def test_a_yardstick_is_what_held_out_poses_are():
    one, two = Config(), Config(dataset="generated", num_samples=10, data_seed=3)
    assert one.measured_by("val_position_error_mm") == two.measured_by("val_position_error_mm")
    assert one.measured_by("train_loss") != two.measured_by("train_loss")
    ur10, other = Config(robot="ur10"), Config(robot="ur10", limits="one_turn")
    assert ur10.measured_by("val_position_error_mm") != other.measured_by("val_position_error_mm")
    few = Config(test_steps=(1,))
    assert one.measured_by("test_1_step_success_pct") == few.measured_by("test_1_step_success_pct")
