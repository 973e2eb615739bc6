import functools
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.config import ConfigError
from trainables._shared.contract import UnknownTestSetError
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, traced_numbers
from trainables._shared.saved import load_model
from trainables._shared.training import Training
from trainables.gru_dynamics.baselines import constant_velocity
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.controller import dynamics, followed
from trainables.gru_dynamics.data import Runs, Task, moves, phases, task
from trainables.gru_dynamics.method import method
from trainables.gru_dynamics.metric_names import BASELINES, steps
from trainables.gru_dynamics.metrics import baseline_predictions
from trainables.gru_dynamics.model import GRU, changes_between, circle, rotated
from trainables.gru_dynamics.simulator import STEP_S, simulate, write_csv

LAYOUT = Config().layout
SMALL = {"num_trajectories": 4, "samples": 40, "history": 3, "hidden": 5, "batch_size": 16}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of recordings of the double cart-pole, of other starts."""
    made = simulate(12, 40, "folders")
    found = []
    for k in range(2):
        found.append(tmp_path_factory.mktemp("recordings") / f"robot_{k}")
        write_csv(found[-1], {name: array[6 * k : 6 * k + 6] for name, array in made.items()})
    return tuple(map(str, found))


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """A trained model, its file and its config."""
    larger = {**SMALL, "num_trajectories": 20, "samples": 100, "hidden": 16, "batch_size": 32}
    config = Config(**larger, steps=400, report_every=200, learning_rate=1e-2, schedule="cosine", horizons=(1, 3))
    training = Training(Program(method, config), config, method.data(config, store))
    while not training.advance().ending:
        pass
    path = tmp_path_factory.mktemp("model") / "model.npz"
    training.save(path, {"trainable": "gru_dynamics"})
    return load_model(path), path, training


def untrained(config, dt=STEP_S, **scales):
    model = method.init(config, traced_numbers(config), jax.random.key(0))
    return eqx.tree_at(lambda m: m.dt, model, jnp.asarray(dt))


def random_outputs(model, size=1.0, seed=1):
    """The model with an output layer that is not zero."""
    keys = jax.random.split(jax.random.key(seed))
    arrays = [size * jax.random.normal(key, x.shape) for key, x in zip(keys, (model.weight, model.bias), strict=True)]
    return eqx.tree_at(lambda m: (m.weight, m.bias), model, tuple(arrays))


def run(config, model, states, controls, actions):
    choice = traced_numbers(config)["base_step"]
    apply = eqx.filter_jit(lambda *args: model.run(choice, *args))
    return [np.asarray(x) for x in apply(*(jnp.asarray(x, jnp.float32) for x in (states, controls, actions)))]


def random_window(num=4, history=3, horizon=9, seed=0):
    rng = np.random.default_rng(seed)
    q, v = rng.uniform(-3, 3, (num, history, 3)), rng.normal(size=(num, history, 3))
    return LAYOUT.state_of(q, v), rng.uniform(-1, 1, (num, history - 1, 1)), rng.uniform(-1, 1, (num, horizon, 1))


def circles(states):
    return states[..., 1:5].reshape(*states.shape[:-1], 2, 2)


def test_the_change_of_an_angle_is_a_rotation_that_stays_on_the_unit_circle():
    config = Config(history=3, hidden=7)
    states, controls, actions = random_window(horizon=200)
    found, changes = run(config, random_outputs(untrained(config), 3.0), states, controls, actions)
    for points in (circles(found), circles(changes)):
        np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1.0, atol=3e-7)
    before = np.concatenate([states[:, -1:], found[:, :-1]], axis=1)
    c, s = circles(before)[..., 0], circles(before)[..., 1]
    turn = circles(changes)
    expected = np.stack([c * turn[..., 0] - s * turn[..., 1], s * turn[..., 0] + c * turn[..., 1]], -1)
    np.testing.assert_allclose(circles(found), expected, atol=1e-6)
    assert np.abs(turn[..., 1]).max() > 0.5  # it does turn
    for part in (slice(0, 1), slice(5, 8)):
        np.testing.assert_allclose(found[..., part], before[..., part] + changes[..., part], rtol=1e-5, atol=1e-5)


def test_rotations_add_angles():
    angle, by = np.array([0.3, -2.0, 3.1]), np.array([1.0, 2.9, 0.2])
    np.testing.assert_allclose(rotated(circle(angle), circle(by)), circle(angle + by), atol=1e-6)


def test_changes_between_states_lead_from_one_to_the_other():
    states, *_ = random_window(num=1, history=6)
    found = np.asarray(changes_between(LAYOUT, jnp.asarray(states[:, 1:]), jnp.asarray(states[:, :-1])))
    np.testing.assert_allclose(rotated(circles(states[:, :-1]), circles(found)), circles(states[:, 1:]), atol=1e-6)


def test_a_constant_velocity_system_is_predicted_to_rounding_by_the_identity_start():
    config = Config(history=3, hidden=7)
    v = np.array([1.5, -12.0, 7.0])
    q = np.array([0.2, 1.0, -0.5]) + STEP_S * np.arange(12)[:, None] * v
    states = LAYOUT.state_of(q, np.broadcast_to(v, q.shape))
    _, controls, actions = random_window(num=1)
    found, _ = run(config, untrained(config), states[None, :3], controls, actions)
    np.testing.assert_allclose(found[0], states[3:], rtol=1e-6, atol=2e-6)


def test_the_identity_start_is_the_base_step_itself():
    states, controls, actions = random_window()
    steady, still = (Config(history=3, hidden=7, base_step=name) for name in ("constant_velocity", "persistence"))
    found, changes = run(still, untrained(still), states, controls, actions)
    np.testing.assert_allclose(found, np.repeat(states[:, -1:], 9, axis=1), atol=1e-6)
    np.testing.assert_allclose(changes, np.broadcast_to([0, 1, 0, 1, 0, 0, 0, 0], changes.shape), atol=1e-6)
    found, _ = run(steady, untrained(steady), states, controls, actions)
    np.testing.assert_allclose(found, constant_velocity(LAYOUT, states[:, -1], STEP_S, 9), atol=2e-5)


def test_on_a_linear_base_the_start_is_the_linear_baseline_which_training_does_not_change(store):
    config = Config(**SMALL, linear_base=True)
    data = method.data(config, store)
    phase, test, hyper = (
        jax.tree.map(jnp.asarray, data.phases[0]),
        data.tests["double_cart_pole"],
        traced_numbers(config),
    )
    step = eqx.filter_jit(functools.partial(method.loss, config, hyper))

    def after(model, data):
        batch = method.batch(config, data, jax.random.key(2))
        return step(model, batch, jax.random.key(1), jnp.asarray(0)).model

    model = after(untrained(config, dt=0.0), phase)
    again = after(model, phase._replace(linear=phase.linear._replace(offset=phase.linear.offset + 1)))
    found, _ = run(config, model, *test.runs[:3])
    np.testing.assert_allclose(model.linear.weight, test.linear.weight, rtol=1e-6)
    np.testing.assert_array_equal(again.linear.offset, model.linear.offset)  # of a training that goes on
    mask = method.trained(model)
    assert not mask.linear.weight
    assert not mask.linear.offset
    assert mask.weight
    expected = baseline_predictions(LAYOUT, test)["linear"]
    within = np.abs(expected).max((1, 2)) < 30  # beyond some bound the baseline is cut off
    assert within.mean() > 0.5
    np.testing.assert_allclose(found[within], expected[within], rtol=1e-3, atol=1e-3)
    # What is left to the network is in units of what the linear map leaves.
    change = np.concatenate([moves(LAYOUT, x) for x in task(config, None, "train", store).states])
    assert (phase.statistics.move[1:] < np.sqrt(np.mean(change**2, axis=0))[1:]).all()


def test_the_network_sees_coordinates_only_as_they_differ_within_a_window():
    config = Config(history=3, hidden=7)
    model = random_outputs(untrained(config), 0.1)
    states, controls, actions = random_window()
    shifted = states.copy()
    shifted[..., 0] += 64.0
    found, changes = run(config, model, states, controls, actions)
    there, changes_there = run(config, model, shifted, controls, actions)
    np.testing.assert_allclose(changes_there, changes, atol=1e-4)
    np.testing.assert_allclose(there[..., 0] - 64.0, found[..., 0], atol=1e-4)
    shifted[:, 1:, 0] += 0.5
    assert np.abs(run(config, model, shifted, controls, actions)[1] - changes).max() > 1e-3


def test_each_step_reads_the_last_rows_from_a_zero_hidden_state():
    """The second step is the first of the window that has moved on by the predicted state and the logged action."""
    config = Config(history=3, hidden=7)
    model = random_outputs(untrained(config), 0.1)
    states, controls, actions = random_window()
    found, _ = run(config, model, states, controls, actions)
    moved = np.concatenate([states[:, 1:], found[:, :1]], axis=1)
    acted = np.concatenate([controls[:, 1:], actions[:, :1]], axis=1)
    again, _ = run(config, model, moved, acted, actions[:, 1:])
    np.testing.assert_allclose(again, found[:, 1:], rtol=1e-5, atol=1e-5)
    assert np.abs(run(config, model, moved, acted[::-1], actions[:, 1:])[0] - again).max() > 1e-4


@pytest.mark.parametrize("rows", [1, 3])
def test_the_unit_is_that_of_cho_et_al_from_a_zero_state(rows):
    gru = jax.jit(lambda key: GRU(2, 4, key))(jax.random.key(3))
    x = np.random.default_rng(0).normal(size=(5, rows, 2))
    of_x, of_h, bias, state_bias = (
        np.asarray(one, float) for one in (gru.from_input, gru.from_state, gru.bias, gru.state_bias)
    )
    h = np.zeros((5, 4))
    for k in range(rows):
        r, u, new = np.split(x[:, k] @ of_x.T + bias, 3, axis=1)
        back_r, back_u, back = np.split(h @ of_h.T, 3, axis=1)
        update = 1 / (1 + np.exp(-(u + back_u)))
        new = np.tanh(new + (back + state_bias) / (1 + np.exp(-(r + back_r))))
        h = (1 - update) * new + update * h
    np.testing.assert_allclose(eqx.filter_jit(gru)(jnp.asarray(x, jnp.float32)), h, rtol=1e-5, atol=1e-6)


@functools.lru_cache(maxsize=16)
def _loss(config):
    def value(model, hyper, batch):
        loss = method.loss(config, hyper, model, batch, jax.random.key(1), jnp.asarray(0))
        return loss.value, loss

    return eqx.filter_jit(eqx.filter_value_and_grad(value, has_aux=True))


def loss_and_gradient(config, model, data):
    hyper = traced_numbers(config)
    (value, loss), gradient = _loss(config)(model, hyper, method.batch(config, data, jax.random.key(2)))
    return float(value), loss, gradient


def constant_velocity_task(num=20):
    v = np.array([1.5, -12.0, 7.0])
    q = np.array([0.2, 1.0, -0.5]) + STEP_S * np.arange(num)[:, None] * v
    return Task([LAYOUT.state_of(q, np.broadcast_to(v, q.shape))], [np.zeros((num, 1))], STEP_S)


@pytest.mark.parametrize("space", ["delta", "state"])
def test_both_losses_vanish_where_every_step_is_right_and_are_what_they_say(space):
    config = Config(history=3, hidden=7, loss_space=space, loss_units="data", normalise=False)
    (data,) = phases(config, [constant_velocity_task()])
    value, _, gradient = loss_and_gradient(config, untrained(config), data)
    assert value < 1e-10
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    model = eqx.tree_at(lambda m: m.bias, untrained(config), jnp.zeros(8).at[5].set(0.1))
    value, *_ = loss_and_gradient(config, model, data)
    # The cart is faster by 0.1 after each step: so each change of velocity is wrong by 0.1, and the states by 0.1 k.
    k = np.arange(1, 10)
    of_speed = np.full(9, 0.1) if space == "delta" else 0.1 * k
    of_place = 0.1 * STEP_S * ((k - 1) if space == "delta" else (k - 1) * k / 2)
    np.testing.assert_allclose(value, np.mean(of_speed**2 + of_place**2) / 8, rtol=1e-3)


def test_the_gradient_is_finite_where_a_rotation_has_no_length(store):
    config = Config(**SMALL, normalise=False)
    model = eqx.tree_at(lambda m: m.bias, untrained(config), jnp.zeros(8).at[jnp.array([1, 3])].set(-1.0))
    (data,) = method.data(config, store).phases
    value, _, gradient = loss_and_gradient(config, model, data)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_the_first_step_takes_the_scales_of_the_data_and_a_started_training_keeps_the_models(store):
    config = Config(**SMALL)
    (data,) = method.data(config, store).phases
    _, first, _ = loss_and_gradient(config, untrained(config, dt=0.0), data)
    np.testing.assert_array_equal(first.model.scales.move, data.statistics.move)
    assert float(first.model.dt) == np.float32(STEP_S)
    other = data._replace(statistics=data.statistics._replace(move=2 * data.statistics.move))
    _, second, _ = loss_and_gradient(config, first.model, other)
    np.testing.assert_array_equal(second.model.scales.move, data.statistics.move)


def test_a_curriculum_trains_on_one_horizon_after_the_other_and_beats_constant_velocity(trained):
    saved, _, training = trained
    assert [len(phase.horizon) for phase in method.data(saved.config, DatasetStore()).phases] == [1, 3]
    assert training.best is not None
    assert training.best.metrics["val_over_constant_velocity"] < 0.8
    assert float(saved.model.is_fitted) == 1


def test_validation_is_of_nine_steps_and_its_parts_are_the_errors(store):
    config = Config(**SMALL, horizons=(2,))
    data = method.data(config, store)
    hyper, held_out = traced_numbers(config), Runs(*data.validation)
    assert held_out.future.shape[1] == 9
    model = untrained(config)
    validate = jax.jit(lambda data: method.validate(config, hyper, model, data))
    found = {k: float(v) for k, v in validate(data.validation).items()}
    predicted = constant_velocity(LAYOUT, held_out.states[:, -1], STEP_S, 9)
    error = predicted - held_out.future
    np.testing.assert_allclose(found["val_free_running_mse"], np.mean(error**2), rtol=1e-4)
    assert found["val_over_constant_velocity"] == pytest.approx(1.0, rel=1e-4)
    for k in steps():
        np.testing.assert_allclose(found[f"val_mse_step_{k}"], np.mean(error[:, k - 1] ** 2), rtol=1e-4)
        np.testing.assert_allclose(found[f"val_mae_step_{k}"], np.mean(np.abs(error[:, k - 1])), rtol=1e-4)
    np.testing.assert_allclose(found["val_coordinate_rmse"], np.sqrt(np.mean(error[..., 0] ** 2)), rtol=1e-3)
    angle = np.arctan2(predicted[..., 2], predicted[..., 1]) - np.arctan2(
        held_out.future[..., 2], held_out.future[..., 1]
    )
    second = np.arctan2(predicted[..., 4], predicted[..., 3]) - np.arctan2(
        held_out.future[..., 4], held_out.future[..., 3]
    )
    both = np.degrees((np.stack([angle, second]) + np.pi) % (2 * np.pi) - np.pi)
    np.testing.assert_allclose(found["val_angle_rmse_deg"], np.sqrt(np.mean(both**2)), rtol=1e-3)


def test_the_model_and_the_baselines_are_scored_on_the_same_runs(trained):
    saved, _, training = trained
    ((name, result),) = training.test().items()
    assert name == "double_cart_pole"
    assert set(result.metrics) == set(saved.config.final_metrics())
    table = {column: np.array(values) for column, values in result.table.items()}
    assert len({len(column) for column in table.values()}) == 1
    np.testing.assert_allclose(result.metrics["test_mse"], table["mse"].mean(), rtol=1e-5)
    beaten = 0
    for one in BASELINES:
        np.testing.assert_allclose(result.metrics[f"test_baseline_{one}_mse"], table[f"{one}_mse"].mean(), rtol=1e-5)
        beaten += all(
            result.metrics[f"test_mse_step_{k}"] < result.metrics[f"test_baseline_{one}_mse_step_{k}"] for k in steps()
        )
    assert result.metrics["test_baselines_beaten"] == beaten


def test_several_folders_are_trained_on_together_and_tested_one_by_one(folders, store):
    config = Config(
        **{name: value for name, value in SMALL.items() if name not in ("num_trajectories", "samples")},
        dataset="csv", folders=folders, steps=4, report_every=2, horizons=(2,),
    )  # fmt: skip
    data = method.data(config, store)
    assert data.phases[0].folder_sizes.tolist() == [4 * 38, 4 * 38]
    training = Training(Program(method, config), config, data)
    while not training.advance().ending:
        pass
    results = training.test()
    assert list(results) == ["robot_0", "robot_1"]
    assert {name for one in results.values() for name in one.metrics} == set(config.final_metrics())
    assert results["robot_0"].metrics["test_robot_0_mse"] != results["robot_1"].metrics["test_robot_1_mse"]


def test_trials_of_different_folders_can_be_scored_on_the_same(folders, store):
    values = {name: value for name, value in SMALL.items() if name not in ("num_trajectories", "samples")}
    one = Config(**values, dataset="csv", folders=folders[:1], scored_on={"folders": list(folders)})
    data, own = method.trial_data(one, store), method.data(one, store)
    assert list(data.tests) == ["robot_0", "robot_1"]
    np.testing.assert_array_equal(data.phases[0].states, own.phases[0].states)
    for test in data.tests.values():  # the baseline has learnt from what the trial trains on
        np.testing.assert_array_equal(test.linear.weight, own.tests["robot_0"].linear.weight)
    with pytest.raises(ValueError, match="splits a folder that is trained on otherwise"):
        Config(**values, dataset="csv", folders=folders, scored_on={"data_seed": 1})


def slower(folder, path):
    """Copies of recordings whose timestamps say that they are of twice the step."""
    path.mkdir()
    for file in Path(folder).iterdir():
        header, *rows = file.read_text().splitlines()
        cells = [row.partition(",") for row in rows]
        (path / file.name).write_text("\n".join([header, *(f"{2 * float(t):.2f},{rest}" for t, _, rest in cells)]))
    return str(path)


def test_a_saved_model_is_evaluated_on_a_folder_of_recordings(folders, trained, tmp_path, store):
    saved, *_ = trained
    test = method.test_set(saved.config, store, folders[0])
    assert len(set(test.trajectory.tolist())) == 6  # all of them: none was trained on
    prediction = {
        folders[0]: np.asarray(
            method.predict(saved.config, traced_numbers(saved.config), saved.model, {folders[0]: test})[folders[0]]
        )
    }
    (result,) = method.score(saved.config, {folders[0]: test}, prediction).values()
    assert 0 < result.metrics["test_mse"] < 10
    with pytest.raises(UnknownTestSetError, match="no test set 'nowhere' for this model, and no folder"):
        method.test_set(saved.config, store, "nowhere")
    with pytest.raises(UnknownTestSetError, match=r"holds no \.csv file \("):
        method.test_set(saved.config, store, str(tmp_path))
    for name in ("run_2", "run_1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "a.CSV").touch()
    why = "holds no .csv file; there are some in its run_1, run_2, which are folders of their own"
    with pytest.raises(UnknownTestSetError, match=re.escape(why)):
        method.test_set(saved.config, store, str(tmp_path / "runs"))
    with pytest.raises(
        UnknownTestSetError, match=r"is sampled every 0.02, and what the model was trained on every 0.01"
    ):
        method.test_set(saved.config, store, slower(folders[0], tmp_path / "slow"))
    config = Config(dataset="csv", folders=folders[:1], scored_on={"folders": [str(tmp_path / "slow")]})
    with pytest.raises(ConfigError, match=r"is sampled every 0.02, and what is trained on every 0.01"):
        method.trial_data(config, store)


def test_the_step_function_is_pure_and_predicts_what_the_model_does(trained, store):
    saved, *_ = trained
    model = dynamics(saved)
    test = next(iter(method.data(saved.config, store).tests.values())).runs
    expected = np.asarray(
        method.predict(
            saved.config, traced_numbers(saved.config), saved.model, {"a": [jax.tree.map(jnp.asarray, test)]}
        )["a"]
    )
    history = model.begin(test.states[0, 0])
    assert history.states.shape == (3, 8)
    assert history.controls.shape == (2, 1)
    step = jax.jit(model.step)
    history = history._replace(states=jnp.asarray(test.states[0]), controls=jnp.asarray(test.controls[0]))
    for k in range(9):
        state = step(history, test.actions[0, k])
        np.testing.assert_array_equal(state, step(history, test.actions[0, k]))
        np.testing.assert_allclose(state, expected[0, k], rtol=1e-4, atol=1e-5)
        history = followed(history, jnp.asarray(test.actions[0, k]), state)
    slope = jax.jacobian(lambda action: model.step(history, action))(jnp.zeros(1))
    assert np.isfinite(slope).all()
    assert model.dt == pytest.approx(STEP_S)
    many = jax.vmap(model.step, in_axes=(None, 0))(history, jnp.linspace(-1, 1, 5)[:, None])
    assert many.shape == (5, 8)
