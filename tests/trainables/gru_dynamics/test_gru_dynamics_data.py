import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables.gru_dynamics import simulator
from trainables.gru_dynamics.baselines import constant_velocity, linear, moved, persistence
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.data import (
    FIRST_ROW,
    Task,
    linear_model,
    moves,
    phases,
    runs,
    statistics,
    task,
    together,
)
from trainables.gru_dynamics.layout import Layout
from trainables.gru_dynamics.method import method
from trainables.gru_dynamics.simulator import STEP_S, simulate, write_csv
from trainables.gru_dynamics.splits import split_indices

LAYOUT = Config().layout


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


def marked(*lengths):
    """Trajectories whose states and actions say which trajectory and row they are of."""
    states, controls = [], []
    for k, length in enumerate(lengths):
        row = np.arange(length, dtype=float)
        angle = np.zeros(length)
        q, v = np.stack([1000.0 * (k + 1) + row, angle, angle], 1), np.stack([row, angle, angle], 1)
        states.append(LAYOUT.state_of(q, v))
        controls.append(1000.0 * (k + 1) + row[:, None])
    return Task(states, controls, STEP_S)


def test_the_state_of_the_double_cart_pole_has_the_sources_layout():
    assert LAYOUT.num_states == 8
    assert LAYOUT.num_states + LAYOUT.num_controls == 9
    q, v = np.array([0.5, 0.3, -2.0]), np.array([1.0, 2.0, 3.0])
    expected = [0.5, np.cos(0.3), np.sin(0.3), np.cos(-2.0), np.sin(-2.0), 1.0, 2.0, 3.0]
    np.testing.assert_allclose(LAYOUT.state_of(q, v), expected)
    assert LAYOUT.state_names == (
        "qpos_0", "cos qpos_1", "sin qpos_1", "cos qpos_2", "sin qpos_2", "qvel_0", "qvel_1", "qvel_2",
    )  # fmt: skip


def test_other_indices_choose_other_columns():
    layout = Layout((2,), (0,), (2, 0), ())
    assert layout.columns == ("qpos_2", "qpos_0", "qvel_2", "qvel_0")
    assert layout.rates == (0, 1)
    assert Layout((1,), (), (0,), ()).rates == (-1,)
    state = layout.state_of(np.array([0.1, 7.0, 5.0]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(state, [5.0, np.cos(0.1), np.sin(0.1), 3.0, 1.0])


@pytest.mark.parametrize("horizon", [1, 4, 9])
def test_windows_never_cross_trajectories(horizon):
    import jax

    config = Config(history=11, horizons=(horizon,), batch_size=10_000)
    (data,) = phases(config, [marked(30, 12, 50)])
    assert len(data.bases) == sum(length - horizon for length in (30, 12, 50))
    (states, controls, actions, future), _ = method.batch(config, data, jax.random.key(0))
    rows = np.concatenate([np.asarray(states), np.asarray(future)], axis=1)[..., 0]
    assert states.shape[1:] == (11, 8)
    assert future.shape[1:] == (horizon, 8)
    trajectory = rows // 1000
    assert (trajectory == trajectory[:, :1]).all()
    # One row follows the other, but where the first state is repeated because no earlier one is known.
    steps = np.diff(rows, axis=1)
    repeated = (steps == 0) & (rows[:, :-1] % 1000 == 0)
    assert ((steps == 1) | repeated).all()
    assert (np.diff(repeated.astype(int), axis=1) <= 0).all()
    # The action of a row is the row's own; before the first row there is none.
    acted = np.concatenate([np.asarray(controls), np.asarray(actions)], axis=1)[..., 0]
    known = np.concatenate([~repeated[:, :10], np.ones((len(rows), horizon), bool)], axis=1)
    np.testing.assert_array_equal(acted[known], rows[:, :-1][known])
    assert (acted[~known] == 0).all()


def test_held_out_runs_start_at_the_same_rows_whatever_is_read():
    one = marked(100, 35, 12)
    starts = []
    for history in (1, 11, 21):
        found, trajectory, row = runs(Config(history=history), one, 1000)
        starts.append((trajectory.tolist(), row.tolist()))
        assert found.states.shape[1] == history
        np.testing.assert_array_equal(found.states[:, -1, 0], 1000 * (trajectory + 1) + row)
        np.testing.assert_array_equal(
            found.future[..., 0] - found.states[:, -1:, 0], np.tile(np.arange(1, 10), (len(row), 1))
        )
        np.testing.assert_array_equal(found.actions[:, 0, 0], found.states[:, -1, 0])
    assert starts[0] == starts[1] == starts[2]
    assert starts[0][1][:3] == [FIRST_ROW, FIRST_ROW + 9, FIRST_ROW + 18]
    assert starts[0][1][-1] == 2  # 12 rows: nine follow the third


def test_the_split_is_by_trajectory(tmp_path, store):
    made = simulate(10, 30, "test")
    write_csv(tmp_path / "robot", made)
    config = Config(dataset="csv", folders=(str(tmp_path / "robot"),))
    parts = {split: task(config, config.folders[0], split, store) for split in ("train", "val", "test")}
    assert [len(one.states) for one in parts.values()] == [8, 1, 1]
    whole = {LAYOUT.state_of(q, v).tobytes() for q, v in zip(made["qpos"], made["qvel"], strict=True)}
    found = [x.tobytes() for one in parts.values() for x in one.states]
    assert len(set(found)) == 10
    assert set(found) == whole
    assert task(config, config.folders[0], "val", store).states[0].tobytes() == found[8]
    others = {tuple(split_indices(10, seed)["test"]) for seed in range(20)}
    assert len(others) > 3


def test_each_draw_of_training_trajectories_is_tested_on_the_same(store):
    first, second = (
        {
            split: task(Config(num_trajectories=2, samples=12, data_seed=seed), None, split, store)
            for split in ("train", "val", "test")
        }
        for seed in (0, 1)
    )
    for split in ("val", "test"):
        np.testing.assert_array_equal(first[split].states, second[split].states)
    assert not np.array_equal(first["train"].states, second["train"].states)
    held_out = {x.tobytes() for split in ("val", "test") for x in first[split].states}
    assert len(held_out) == 32
    assert not held_out & {x.tobytes() for x in (*first["train"].states, *second["train"].states)}


def test_each_folder_counts_alike_in_validation():
    long, short = (runs(Config(), one, 1000)[0] for one in (marked(200), marked(20)))
    both = together([long, short])
    assert both.weight.sum() == pytest.approx(1)
    assert both.weight[: len(long.weight)].sum() == pytest.approx(0.5)
    assert len(both.future) == len(long.future) + len(short.future)


def test_folders_are_drawn_equally_or_by_size():
    import jax

    small, large = marked(20), marked(1020)
    for draws, share in (("equal", 0.5), ("by_size", 11 / 1022)):
        config = Config(batch_size=1000, history=1, folder_draws=draws)
        (data,) = phases(config, [small, large])
        (states, *_), _ = method.batch(config, data, jax.random.key(1))
        of_small = np.isin(np.asarray(states)[:, 0, 5], np.arange(11)) & (np.asarray(states)[:, 0, 0] < 1011)
        of_large_start = 11 / 1011 if draws == "equal" else 11 / 1022
        assert of_small.mean() == pytest.approx(share + (1 - share) * of_large_start, abs=0.05)


def test_moves_are_differences_and_rotations():
    q = np.array([[0.0, 3.1, 0.0], [0.5, -3.1, 0.2]])  # the first angle goes on over pi
    v = np.array([[1.0, 2.0, 3.0], [1.5, 2.0, 2.0]])
    found = moves(LAYOUT, LAYOUT.state_of(q, v))
    np.testing.assert_allclose(found, [[0.5, 2 * np.pi - 6.2, 0.2, 0.5, 0.0, -1.0]], atol=1e-12)
    np.testing.assert_allclose(moved(LAYOUT, LAYOUT.state_of(q, v)[:1], found), LAYOUT.state_of(q, v)[1:], atol=1e-12)


def test_constant_velocity_is_exact_where_velocities_are_constant():
    t = STEP_S * np.arange(10)[:, None]
    v = np.array([1.5, -20.0, 7.0])
    states = LAYOUT.state_of(np.array([0.2, 1.0, -0.5]) + t * v, np.broadcast_to(v, (10, 3)))
    found = constant_velocity(LAYOUT, states[:1], STEP_S, 9)[0]
    np.testing.assert_allclose(found, states[1:], atol=1e-12)
    np.testing.assert_array_equal(persistence(states[:1], 9)[0], np.repeat(states[:1], 9, axis=0))


def test_the_linear_model_is_exact_for_a_linear_system(store):
    """A damped mass on a free rail with a motor: x' = v, v' = -v + 2 u, stepped exactly."""
    layout = Layout((0,), (), (0,), (0,))
    config = Config(coordinates=(0,), angles=(), velocities=(0,), history=2)
    rng = np.random.default_rng(0)
    states, controls = [], []
    for _ in range(6):
        u, x = rng.uniform(-1, 1, (60, 1)), [rng.normal(size=2)]
        for k in range(59):
            position, speed = x[-1]
            x.append(np.array([position + 0.1 * speed, 0.9 * speed + 0.2 * u[k, 0]]))
        states.append(np.array(x))
        controls.append(u)
    one = Task(states, controls, 0.1)
    found, *_ = runs(config, one, 100)
    model = linear_model(config, [one], found, store)
    predicted = linear(layout, model, found.states, found.controls, found.actions)
    np.testing.assert_allclose(predicted, found.future, atol=1e-5)  # of float32


def test_statistics_are_of_the_training_trajectories_beyond_the_base_step(store):
    config = Config(num_trajectories=3, samples=60)
    one = task(config, None, "train", store)
    still = statistics(config.model_copy(update={"base_step": "persistence"}), [one])
    beyond = statistics(config, [one])
    rows = np.concatenate([x[:-1] for x in one.states])
    change = np.concatenate([np.diff(x, axis=0) for x in one.states])
    np.testing.assert_allclose(still.move[0] ** 2, np.mean(change[:, 0] ** 2), rtol=1e-5)
    np.testing.assert_allclose(beyond.move[0] ** 2, np.mean((change[:, 0] - STEP_S * rows[:, 5]) ** 2), rtol=1e-5)
    np.testing.assert_array_equal(still.move[3:], beyond.move[3:])
    assert beyond.mean[:5].tolist() == [0.0] * 5
    assert beyond.scale[1:5].tolist() == [1.0] * 4
    raw = statistics(config.model_copy(update={"normalise": False}), [one])
    assert set(raw.scale) == set(raw.move) == {1.0}


def test_the_simulated_system_is_a_double_cart_pole():
    made, again = simulate(2, 100, "test"), simulate(2, 100, "test")
    np.testing.assert_array_equal(made["qpos"], again["qpos"])
    assert np.abs(made["ctrl"]).max() <= 1
    assert np.abs(made["ctrl"]).max() > 0.2
    mujoco = pytest.importorskip("mujoco")
    model = mujoco.MjModel.from_xml_string(simulator.MODEL)
    assert (model.nq, model.nv, model.nu) == (3, 3, 1)
    assert model.opt.timestep == STEP_S
    np.testing.assert_allclose(model.body_mass[1:], [1.0, 0.1, 0.1])
    np.testing.assert_allclose(model.dof_damping, [1e-4, 1e-2, 1e-2])
    np.testing.assert_allclose(model.jnt_range[0], [-3.8, 3.8])
    assert model.actuator_gear[0, 0] == 20
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0, np.pi, 0.0
    mujoco.mj_forward(model, data)
    assert data.xipos[3, 2] == pytest.approx(data.xpos[1, 2] + 1.5)  # both point up
    np.testing.assert_allclose(data.qacc, 0.0, atol=1e-9)  # an equilibrium
    data.qpos[1] += 0.01
    mujoco.mj_forward(model, data)
    assert data.qacc[1] > 0  # which is not stable
