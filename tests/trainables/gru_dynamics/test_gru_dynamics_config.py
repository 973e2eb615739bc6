import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from trainables._shared import extras
from trainables._shared.config import ConfigError, structural_key
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.metric_names import folder_names
from trainables.gru_dynamics.recordings import read_folder
from trainables.gru_dynamics.simulator import simulate, write_csv

HEADER = "timestamp,qpos_0,qpos_1,qpos_2,qvel_0,qvel_1,qvel_2,ctrl_0"


def lines(num=40, dt=0.01, phase=0.0):
    """The rows of a consistent recording: a sine in each position, its derivative as the velocity."""
    t = dt * np.arange(num)
    q = np.stack([np.sin(w * t + phase) for w in (1, 2, 3)], 1)
    v = np.stack([w * np.cos(w * t + phase) for w in (1, 2, 3)], 1)
    table = np.concatenate([t[:, None], q, v, np.cos(5 * t + phase)[:, None]], 1)
    return [HEADER, *(",".join(map(repr, row)) for row in table.tolist())]


def folder(path, num=4, **changes):
    path.mkdir(exist_ok=True)
    for k in range(num):
        (path / f"run_{k}.csv").write_text("\n".join(lines(phase=k, **changes)) + "\n")
    return path


def of(*folders, **fields):
    return Config(dataset="csv", folders=tuple(map(str, folders)), **fields)


def problem(config):
    with pytest.raises(ConfigError) as caught:
        config.check_data()
    assert caught.value.allowed
    return str(caught.value)


def test_checking_a_config_loads_neither_jax_nor_mujoco():
    code = (
        "import sys; from trainables.gru_dynamics.config import Config; c = Config(); c.check_data(); "
        "c.unused_fields(); c.final_metrics(); sys.exit('jax' in sys.modules or 'mujoco' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"dataset": "cart"}, ["dataset", "cart", "'double_cart_pole' or 'csv'"]),
        ({"dataset": "csv"}, ["folders = []", "are needed with dataset csv", "absolute paths"]),
        ({"folders": ("/a",)}, ["folders = ['/a']", "belong to dataset csv", "dataset: csv"]),
        ({"dataset": "csv", "folders": ("a",)}, ["folders = 'a'", "absolute paths"]),
        ({"dataset": "csv", "folders": ("/a", "/a")}, ["names a folder twice"]),
        ({"angles": (0, 1)}, ["angles = [0, 1]", "qpos_0 is one of the coordinates, too"]),
        ({"angles": (1, 1)}, ["angles = [1, 1]", "names an index twice"]),
        ({"velocities": (3,)}, ["velocities = [3]", "qvel_0 to qvel_2", "0 to 2"]),
        ({"controls": (1,)}, ["controls = [1]", "ctrl_0 to ctrl_0"]),
        ({"coordinates": (), "angles": (), "velocities": ()}, ["there is no state"]),
        ({"coordinates": (-1,)}, ["coordinates", "greater than or equal to 0", "-1"]),
        ({"horizons": ()}, ["horizons", "at least 1 item"]),
        ({"horizons": (1, 3), "shares": (1.0,)}, ["shares = [1.0]", "there are 2 horizons"]),
        ({"horizons": (1, 3), "steps": 1}, ["steps = 1", "2 phases", "at least 2"]),
        ({"horizons": (12,), "samples": 12}, ["horizons = [12]", "a trajectory has 12 rows", "at most 11"]),
        ({"history": 0}, ["history", "greater than or equal to 1"]),
        ({"scored_on": {"angles": [1]}}, ["scored_on", "other columns than the model"]),
    ],
)
def test_errors_name_the_field_the_value_and_what_is_allowed(fields, expected):
    with pytest.raises(ValidationError) as caught:
        Config(**fields)
    assert all(part in str(caught.value) for part in expected)


def test_a_curriculum_shares_out_the_steps():
    assert Config(steps=90, horizons=(1, 3, 9)).phase_steps() == (30, 30, 30)
    assert Config(steps=100, horizons=(1, 9), shares=(1.0, 3.0)).phase_steps() == (25, 75)
    for steps in (3, 4, 7, 1000):
        found = Config(steps=steps, horizons=(1, 3, 9), shares=(1e-9, 1.0, 5.0)).phase_steps()
        assert sum(found) == steps
        assert min(found) >= 1


def test_what_only_the_host_reads_shares_a_program():
    one = Config()
    for changed in ({"horizons": (1, 3, 9)}, {"data_seed": 3}, {"steps": 7}, {"loss_units": "data"}, {"samples": 50}):
        other = Config(**changed)
        assert structural_key(one.for_training()) == structural_key(other.for_training())
    assert structural_key(one.for_training()) != structural_key(Config(history=3).for_training())
    assert structural_key(one.for_evaluation()) == structural_key(Config(batch_size=7).for_evaluation())


def test_another_draw_of_simulated_training_data_moves_no_yardstick(tmp_path):
    metric = "val_free_running_mse"
    assert Config(data_seed=1).measured_by(metric) == Config().measured_by(metric)
    assert Config(data_seed=1).measured_by("train_loss") != Config().measured_by("train_loss")
    folders = of(folder(tmp_path / "a"))
    other = folders.model_copy(update={"data_seed": 1})
    assert folders.measured_by(metric) != other.measured_by(metric)
    assert Config(horizons=(1,)).measured_by(metric) == Config(history=1).measured_by(metric)


def test_without_mujoco_the_error_has_the_command_that_installs_it(monkeypatch):
    found = extras.is_installed
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "mujoco" and found(name))
    with pytest.raises(ConfigError) as caught:
        extras.require_needed(Config())
    assert "dataset = 'double_cart_pole': needs mujoco" in str(caught.value)
    assert "pip install 'swell[mujoco]'" in str(caught.value) or "pip install mujoco" in str(caught.value)
    with pytest.raises(extras.MissingPackageError):
        simulate(1, 10, "test")
    extras.require_needed(of("/nowhere"))


def put(rows, line, column, text):
    """Return the rows with another text in the cell of a line of the file, from 1."""
    cells = rows[line - 1].split(",")
    cells[HEADER.split(",").index(column)] = text
    return [*rows[: line - 1], ",".join(cells), *rows[line:]]


def renamed(old, new):
    return lambda rows: [rows[0].replace(old, new), *rows[1:]]


def timed(time):
    """Return what gives each row, from 0, the time of a function."""
    return lambda rows: [rows[0], *(f"{time(k)},{row.partition(',')[2]}" for k, row in enumerate(rows[1:]))]


def each(column, change):
    """Return what changes a column's cells."""
    place = HEADER.split(",").index(column)

    def changed(rows):
        cells = [row.split(",") for row in rows[1:]]
        return [rows[0], *(",".join([*row[:place], change(row[place]), *row[place + 1 :]]) for row in cells)]

    return changed


def beside(text):
    return lambda rows: [rows[0] + ",note", *(f"{row},{text}" for row in rows[1:])]


BAD = {
    "a missing column": (renamed("qvel_2", "speed"), "line 1 has no column qvel_2; it has timestamp, qpos_0,"),
    "a column twice": (renamed("qvel_2", "qvel_1"), "line 1 names the column qvel_1 twice"),
    "a text": (
        lambda rows: put(rows, 8, "qpos_1", "left"),
        "line 8, column qpos_1 holds 'left', which is no number",
    ),
    "an empty cell": (lambda rows: put(rows, 8, "ctrl_0", ""), "line 8, column ctrl_0 holds '', which is no number"),
    "NaN": (lambda rows: put(rows, 5, "ctrl_0", "nan"), "line 5, column ctrl_0 holds nan, which is not finite"),
    "infinite": (lambda rows: put(rows, 5, "qvel_0", "-inf"), "line 5, column qvel_0 holds -inf, which is not finite"),
    "a short row": (
        lambda rows: [*rows[:7], rows[7].rpartition(",")[0], *rows[8:]],
        "line 8 has 7 values, and the header 8",
    ),
    "a gap": (
        lambda rows: rows[:9] + rows[10:],
        "is not sampled every 0.0102632, its mean gap: line 10, column timestamp is 0.02 after the one before",
    ),
    "backwards": (
        lambda rows: [*rows[:9], rows[5], *rows[10:]],
        "1 times are not later than the one before, first at line 10, column timestamp: ",
    ),
    "no rows": (lambda rows: rows[:1], "has 0 rows below its header"),
    "empty": (lambda rows: [], "is empty"),
    "semicolons": (lambda rows: [row.replace(",", ";") for row in rows], "has semicolons between its columns"),
    "another step": (
        lambda rows: lines(dt=0.02),
        "column timestamp: its rows are 0.02 apart, and those of run_0.csv 0.01",
    ),
    "beyond 64 bits": (timed(lambda k: 10**30 + k), "is beyond 64 bits"),
    "too large": (lambda rows: put(rows, 5, "ctrl_0", "1e31"), "(ctrl_0) goes up to 1e+31"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_file_line_and_column(tmp_path, case):
    change, expected = BAD[case]
    path = folder(tmp_path / "robot") / "run_2.csv"
    path.write_text("\n".join(change(lines())))
    said = problem(of(path.parent))
    assert said.startswith(f"folders = '{path.parent if case == 'too large' else path}'")
    assert expected in said


def test_bad_folders_are_refused(tmp_path):
    assert "there is no such folder" in problem(of(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "holds no .csv file" in problem(of(tmp_path / "empty"))
    (tmp_path / "file.csv").write_text("")
    assert "is no folder" in problem(of(tmp_path / "file.csv"))
    (tmp_path / "pipe").mkdir()
    (tmp_path / "pipe" / "inner.csv").mkdir()
    assert "is a folder" in problem(of(tmp_path / "pipe"))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.csv").write_bytes(b"\x89PNG\xff\xfe")
    assert "is no text in UTF-8" in problem(of(tmp_path / "pictures"))
    assert "2 of its 2 trajectories have 10 rows or more" in problem(of(folder(tmp_path / "few", num=2)))
    slow = folder(tmp_path / "slow", dt=0.02)
    assert "is sampled every 0.02, and" in problem(of(folder(tmp_path / "fast"), slow))
    assert "at most 39" in problem(of(tmp_path / "fast", horizons=(40,)))
    (tmp_path / "link").symlink_to(tmp_path / "fast")
    for again in (f"{tmp_path / 'fast'}/", tmp_path / "slow" / ".." / "fast", tmp_path / "link"):
        assert f"is the same folder as {tmp_path / 'fast'}" in problem(of(tmp_path / "fast", again))
    for one in ("nowhere", "empty", "pictures"):
        with pytest.raises(ConfigError) as caught:
            of(tmp_path / one).data_warnings()
        assert str(caught.value) == problem(of(tmp_path / one))
    assert of(tmp_path / "few", tmp_path / "fast", slow).data_warnings() == ()  # each can be evaluated on


def degrees(cell):
    return repr(float(np.degrees(float(cell))))


GOOD = {
    "as it should be": (lambda rows: rows, []),
    "written by a spreadsheet": (lambda rows: ["\ufeff" + rows[0], *rows[1:], "", ""], []),
    "columns in another order": (lambda rows: [",".join(row.split(",")[::-1]) for row in rows], []),
    "rounded times": (timed(lambda k: f"{k / 99:.4f}"), []),
    "another column": (beside("7"), ["the columns note are not read"]),
    "a text beside": (beside("see below"), ["the columns note are not read"]),
    "degrees": (each("qpos_1", degrees), ["qvel_1 is not the rate of qpos_1, which changes 57.3 times as fast"]),
    "another unit of time": (timed(lambda k: 10 * k), [f"qvel_{k} is not the rate of qpos_{k}" for k in range(3)]),
    "a constant control": (each("ctrl_0", lambda cell: "0.5"), ["column ctrl_0 never changes: it is 0.5"]),
    "a far away cart": (
        each("qpos_0", lambda cell: repr(float(cell) + 1e9)),
        ["component 1 of the columns (qpos_0) is taken relative to 1"],
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_files_that_can_be_used_are_read_with_a_warning_for_what_is_odd(tmp_path, case):
    change, expected = GOOD[case]
    path = folder(tmp_path / "robot")
    for file in path.iterdir():
        file.write_text("\n".join(change(file.read_text().splitlines())), encoding="utf-8")
    config = of(path)
    config.check_data()
    found = config.data_warnings()
    assert len(found) == len(expected), found
    assert all(text in one and one.startswith(str(path)) for text, one in zip(expected, found, strict=True)), found


def test_what_is_written_is_read_again(tmp_path):
    made = simulate(3, 12, "test")
    write_csv(tmp_path / "robot", made)
    layout = Config().layout
    found = read_folder(str(tmp_path / "robot"), layout)
    assert found.dt == pytest.approx(0.01)
    for k in range(3):
        np.testing.assert_array_equal(found.states[k], layout.state_of(made["qpos"][k], made["qvel"][k]))
        np.testing.assert_array_equal(found.controls[k], made["ctrl"][k])


def test_nanoseconds_since_1970_are_evenly_spaced(tmp_path):
    path = folder(tmp_path / "robot")
    for file in path.iterdir():
        rows = file.read_text().splitlines()
        start = 1_700_000_000_000_000_000
        rows[1:] = [f"{start + 10_000_000 * k}," + row.partition(",")[2] for k, row in enumerate(rows[1:])]
        file.write_text("\n".join(rows))
    assert read_folder(str(path), Config().layout).dt == 10_000_000
    assert "is not the rate of" in of(path).data_warnings()[0]


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    path = folder(tmp_path / "robot")
    config = of(path)
    config.check_data()
    (path / "run_3.csv").write_text("nothing\n")
    assert "run_3.csv" in problem(config)
    (path / "run_3.csv").unlink()
    config.check_data()


def test_short_trajectories_are_left_out_and_counted(tmp_path):
    path = folder(tmp_path / "robot")
    (path / "run_9.csv").write_text("\n".join(lines(num=5)))
    config = of(path)
    config.check_data()
    (said,) = config.data_warnings()
    assert "1 of its 5 trajectories are left out, as they have fewer than 10 rows: trajectory 5" in said


def test_test_sets_are_called_as_their_folders():
    assert folder_names(["/a/robot", "/b/robot", "/c/my robot-2", "/d/robot"]) == (
        "robot",
        "robot_2",
        "my_robot_2",
        "robot_3",
    )
    names = of("/a/left", "/a/right").final_metrics()
    assert "test_left_mse_step_9" in names
    assert "test_right_baseline_linear_mse" in names
    assert "test_mse_step_9" in Config().final_metrics()
