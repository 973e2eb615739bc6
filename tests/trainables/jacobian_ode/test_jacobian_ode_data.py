import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from trainables._shared.config import ConfigError
from trainables._shared.datasets import DatasetStore
from trainables.jacobian_ode import data as data_module
from trainables.jacobian_ode.baselines import fit_locally, one_step
from trainables.jacobian_ode.config import Config
from trainables.jacobian_ode.data import build, generate, load, smooth, split
from trainables.jacobian_ode.systems import SYSTEMS, lorenz


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


SMALL = Config(trajectories=8, periods=2)


@pytest.mark.parametrize(
    ("name", "n", "tolerance"), [("lorenz", 3, 1e-7), ("van_der_pol", 2, 1e-9), ("lorenz96", 6, 1e-7)]
)
def test_generated_trajectories_are_those_of_another_solver(name, n, tolerance):
    system = SYSTEMS[name]
    data = generate(system, n, trajectories=3, periods=2, points_per_period=50)
    assert data["x"].shape == (3, 100, n)
    assert data["x"].dtype == np.float64
    t = np.arange(100) * data["dt"]
    assert t[50] == pytest.approx(system.period)
    for x in data["x"]:
        other = solve_ivp(
            lambda _, x: system.field(x), (0, t[-1]), x[0], method="LSODA", t_eval=t, rtol=1e-12, atol=1e-12
        ).y.T
        assert np.abs(other - x).max() < tolerance * np.abs(x).max()


@pytest.mark.parametrize(("name", "n"), [("lorenz", 3), ("van_der_pol", 2), ("lorenz96", 7)])
def test_fields_are_the_same_in_numpy_and_jax_and_their_jacobians_exact(name, n):
    field, x = SYSTEMS[name].field, np.random.default_rng(0).normal(size=(4, n)) * 3
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(field)(x), field(x), rtol=1e-13)
        J = np.asarray(jax.vmap(jax.jacfwd(field))(jax.numpy.asarray(x)))
    step = 1e-6
    for index in range(n):
        shift = step * np.eye(n)[index]
        np.testing.assert_allclose(J[:, :, index], (field(x + shift) - field(x - shift)) / (2 * step), atol=1e-7)


def test_lorenz_has_its_parameters():
    np.testing.assert_allclose(lorenz(np.array([1.0, 2.0, 3.0])), [10.0, 23.0, -6.0])


def test_lorenz_trajectories_lie_on_the_attractor(store):
    x = np.stack(load(SMALL, store).x)
    assert np.abs(x[..., 0]).max() < 21
    assert x[..., 2].min() > 0
    assert x[..., 2].max() < 49


def test_a_data_set_is_made_once_and_always_the_same(store, monkeypatch):
    config = Config(system="van_der_pol", trajectories=4, periods=2)
    first = load(config, store)
    np.testing.assert_array_equal(generate(SYSTEMS["van_der_pol"], 2, 4, 2, 100)["x"], np.stack(first.x))
    monkeypatch.setattr(data_module, "generate", None)
    np.testing.assert_array_equal(load(config, store).x[3], first.x[3])


def test_splits_share_no_initial_condition(store):
    parts = split(load(SMALL, store))
    assert [len(part) for part in parts] == [6, 1, 1]
    starts = [x[0].tobytes() for part in parts for x in part]
    assert len(set(starts)) == 8


def test_sequences_lie_in_one_training_trajectory_and_held_out_states_in_none(store):
    training, held_out, test = build(SMALL, store)
    std, mean = training.scaling.std, training.scaling.mean
    originals = split(load(SMALL, store))
    for part, z in zip(originals, (training.z, held_out.states, test.trajectories), strict=True):
        whole = np.concatenate(part)
        for state in z.reshape(-1, 3)[::50]:
            assert np.abs(whole - (state * std + mean)).max(1).min() < 1e-4
    assert len(training.starts) == 6 * (200 - 25 + 1)
    inside = training.starts % 200
    assert inside.max() == 175
    np.testing.assert_array_equal(held_out.windows[1, 0], held_out.windows.reshape(-1, 3)[40])


def test_each_data_seed_has_its_own_trajectories_split_and_noise(store):
    seeded = SMALL.model_copy(update={"data_seed": 1})
    first, other = load(SMALL, store), load(seeded, store)
    assert np.abs(first.x[0][0] - other.x[0][0]).max() > 1e-3
    np.testing.assert_array_equal(load(seeded, store).x[0], other.x[0])
    chosen = [[x[0].tobytes() for x in part] for part in split(first, 0)]
    assert chosen != [[x[0].tobytes() for x in part] for part in split(first, 1)]
    noisy = {"noise": 0.1}
    (ours, held, _), (theirs, theirs_held, _) = (
        build(config.model_copy(update=noisy), store) for config in (SMALL, seeded)
    )
    assert not np.array_equal(ours.noise, theirs.noise)
    assert not np.array_equal(held.noise, theirs_held.noise)


def test_a_recordings_data_seed_splits_it_anew(store, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.stack(load(SMALL, store).x), dt=0.015)
    parts = [
        build(Config(system="file", file=str(tmp_path / "x.npz"), dimension=3, data_seed=seed), store)[1].states[0]
        for seed in (0, 1, 2, 3)
    ]
    assert len({part.tobytes() for part in parts}) > 1


def test_validation_noise_is_the_samples_whatever_the_windows_are(store):
    first, fewer = (
        build(SMALL.model_copy(update={"traj_init_steps": num, "noise": 0.2}), store)[1] for num in (15, 10)
    )
    np.testing.assert_array_equal(first.noise[:, 5:], fewer.noise)
    assert first.noise.shape == first.windows.shape
    assert first.noise.std() == pytest.approx(0.2, rel=0.05)
    assert not build(SMALL, store)[1].noise.any()
    np.testing.assert_array_equal(first.smoother, np.eye(15))


def test_a_smoothed_training_set_has_less_noise_and_the_same_states(store):
    plain, smoothed = (build(SMALL.model_copy(update={"smoothing": window}), store) for window in (1, 11))
    # Of a cubic in 11 samples the middle one has 89/429 of the variance.
    assert smoothed[0].noise.var() == pytest.approx(89 / 429, rel=0.2)
    assert np.sqrt(np.mean((smoothed[0].z - plain[0].z) ** 2)) < 0.01
    # Each trajectory by itself: the last sample of one does not know the first of the next.
    np.testing.assert_allclose(smoothed[0].z[:200], smooth(plain[0].z[:200], 11), atol=1e-6)
    cubic = (np.arange(15.0)[:, None] / 7 - 1) ** [0, 1, 2, 3]
    np.testing.assert_allclose(smoothed[1].smoother @ cubic, cubic, atol=1e-5)
    np.testing.assert_array_equal(smoothed[1].windows, plain[1].windows)


def test_fewer_samples_than_a_window_are_smoothed_by_what_there_is():
    x = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    np.testing.assert_array_equal(smooth(x, 21), smooth(x, 9))
    np.testing.assert_array_equal(smooth(x[:4], 21), x[:4])
    assert smooth(x, 21).dtype == np.float32


def test_statistics_are_of_the_training_trajectories(store):
    training, _, _ = build(SMALL, store)
    np.testing.assert_allclose(training.z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(training.z.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(training.scaling.mean, np.concatenate(split(load(SMALL, store))[0]).mean(0), rtol=1e-6)
    # In the unit of time, a standardised state moves by about 1.
    speed = np.diff(training.z[:200], axis=0) / training.scaling.dt * training.scaling.time
    assert np.sqrt(np.mean(speed**2)) == pytest.approx(1.0, rel=0.3)
    assert training.noise.std() == pytest.approx(1.0, abs=0.05)


# -- recordings


def recorded(path, x, t, table=False):
    if not table:
        np.savez(path, x=x, t=t)
        return
    rows = [
        f"{i},{time},{','.join(map(repr, state.tolist()))}"
        for i, one in enumerate(x)
        for time, state in zip(t, one, strict=True)
    ]
    path.write_text("trajectory,t,a,b,c\n" + "\n".join(rows) + "\n")


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_recording_is_what_was_written(tmp_path, store, suffix):
    x = np.stack(load(SMALL, store).x)
    t = 0.5 + 0.015 * np.arange(200)
    recorded(tmp_path / f"x{suffix}", x, t, table=suffix == ".csv")
    config = Config(system="file", file=str(tmp_path / f"x{suffix}"), dimension=3)
    config.check_data()
    found = load(config, store)
    np.testing.assert_array_equal(np.stack(found.x), x)
    assert found.dt == pytest.approx(0.015)
    training, _, _ = build(config, store)
    np.testing.assert_allclose(training.z, build(SMALL, store)[0].z, atol=1e-5)


def test_trajectories_of_a_table_may_differ_in_length(tmp_path, store):
    lengths, rows = (70, 90, 80), ["trajectory,t,u,v"]
    rng = np.random.default_rng(0)
    for name, length in zip("abc", lengths, strict=True):
        rows += [f"{name},{0.1 * k},{rng.normal()},{rng.normal()}" for k in range(length)]
    path = tmp_path / "uneven.csv"
    path.write_text("\n".join(rows))
    config = Config(system="file", file=str(path), dimension=2)
    assert [len(x) for x in load(config, store).x] == list(lengths)
    training, _, test = build(config, store)
    assert len(training.starts) == len(training.z) - 24
    assert test.trajectories.shape[0] == 1


def test_a_single_recording_is_cut_in_time(tmp_path, store):
    x = load(SMALL, store).x[0]
    np.savez(tmp_path / "one.npz", x=np.concatenate([x, x]), dt=0.015)
    config = Config(system="file", file=str(tmp_path / "one.npz"), dimension=3, file_pieces=4)
    pieces = load(config, store).x
    assert [len(piece) for piece in pieces] == [100] * 4
    np.testing.assert_array_equal(np.concatenate(pieces[:2]), x)


def test_a_file_that_is_gone_is_named(tmp_path, store):
    with pytest.raises(ConfigError, match="No such file"):
        load(Config(system="file", file=str(tmp_path / "gone.npz")), store)


# -- local regression


def test_local_regression_of_a_linear_system_is_exact():
    A = np.array([[-0.1, 1.3], [-1.0, -0.1]])
    rng = np.random.default_rng(0)
    dt, trajectories = 0.01, []
    M = np.eye(2) + A * dt + A @ A * dt**2 / 2 + A @ A @ A * dt**3 / 6
    for _ in range(4):
        x = [rng.normal(size=2)]
        for _ in range(150):
            x.append(M @ x[-1])
        trajectories.append(np.array(x))
    query = rng.normal(size=(2, 5, 2)) * 0.3
    (fit,) = fit_locally(trajectories[1:], trajectories[0], [query], dt)
    assert fit.jacobian.shape == (2, 5, 2, 2)
    np.testing.assert_allclose(fit.field, query @ A.T, atol=1e-3)
    np.testing.assert_allclose(fit.jacobian, np.broadcast_to(A, (2, 5, 2, 2)), atol=2e-3)
    np.testing.assert_allclose(one_step(query, fit, dt), query @ M.T, atol=1e-5)
