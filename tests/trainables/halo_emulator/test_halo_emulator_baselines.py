import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables.halo_emulator import baselines
from trainables.halo_emulator.baselines import Predicted, corrected, gaussian_process, mean_profile, ridge
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.method import method
from trainables.halo_emulator.metrics import scores

DEX = Config()


def as_test(y, sigma=0.1):
    return {"target": y, "profile": 10**y}


def test_ridge_recovers_a_linear_map_and_its_noise():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 3))
    x, x_val, x_test = (rng.normal(size=(num, 6)) for num in (400, 200, 100))
    y, y_val, y_test = (one @ weights + 2 + 0.05 * rng.normal(size=(len(one), 3)) for one in (x, x_val, x_test))
    predicted = ridge(x, y, x_val, y_val, x_test)
    np.testing.assert_allclose(predicted.mean, x_test @ weights + 2, atol=0.05)
    np.testing.assert_allclose(np.sqrt(predicted.variance), 0.05, rtol=0.2)
    found = scores(DEX, as_test(y_test), predicted._asdict())
    assert 58 < found["coverage_68_pct"] < 78
    assert found["rmse_dex"] == pytest.approx(0.05, rel=0.2)


def test_mean_profile_is_that_of_the_haloes_of_like_mass():
    log_mass = np.repeat([13.0, 14.0], 50)
    rng = np.random.default_rng(0)
    y = np.where(log_mass < 13.5, 1.0, 5.0)[:, None] + 0.1 * rng.normal(size=(100, 2))
    predicted = mean_profile(log_mass, y, np.array([13.1, 14.2]))
    np.testing.assert_allclose(predicted.mean, [y[:50].mean(0), y[50:].mean(0)])
    np.testing.assert_allclose(predicted.variance, [y[:50].var(0), y[50:].var(0)])


@pytest.mark.slow
def test_gaussian_processes_recover_a_smooth_map_and_its_noise():
    rng = np.random.default_rng(0)
    x, x_test = rng.uniform(-2, 2, (150, 3)), rng.uniform(-1.5, 1.5, (200, 3))

    def truth(x):
        return np.stack([np.sin(2 * x[:, 0]), np.sin(2 * x[:, 0]) + 0.5 * x[:, 1], x[:, 1]], axis=1)

    y = truth(x) + 0.05 * rng.normal(size=(150, 3))
    predicted = gaussian_process(x, y, x_test, 150)
    assert np.sqrt(((predicted.mean - truth(x_test)) ** 2).mean()) < 0.05
    y_test = truth(x_test) + 0.05 * rng.normal(size=(200, 3))
    found = scores(DEX, as_test(y_test), predicted._asdict())
    assert 58 < found["coverage_68_pct"] < 80
    line = ridge(x, y, x, y, x_test)
    assert found["rmse_dex"] < 0.5 * scores(DEX, as_test(y_test), line._asdict())["rmse_dex"]


def test_a_variance_is_corrected_by_bin_and_by_mass_as_the_validation_haloes_say():
    rng = np.random.default_rng(0)
    log_mass = rng.uniform(13, 15, (2, 6000))
    sigma = np.array([0.1, 0.3]) * 10 ** (-0.2 * (log_mass - 14))[..., None]
    y_val = 1 + sigma[0] * rng.normal(size=(6000, 2))
    said = Predicted(np.ones((6000, 2)), np.full((6000, 2), 0.04))
    found = corrected(said, y_val, said, *log_mass)
    np.testing.assert_array_equal(found.mean, said.mean)
    np.testing.assert_allclose(np.sqrt(found.variance), sigma[1], rtol=0.06)
    # Nothing is left to be corrected.
    right = Predicted(said.mean, sigma[0] ** 2)
    np.testing.assert_allclose(
        corrected(right, y_val, right, log_mass[0], log_mass[0]).variance, sigma[0] ** 2, rtol=0.12
    )


def test_scores_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(4000, 2))
    y = mean + np.array([0.1, 0.2]) * rng.normal(size=(4000, 2))
    known = {"mean": mean, "variance": np.broadcast_to([0.01, 0.04], y.shape)}
    right = scores(DEX, as_test(y), known)
    assert right["coverage_68_pct"] == pytest.approx(68, abs=1.5)
    assert right["coverage_95_pct"] == pytest.approx(95, abs=1)
    assert right["calibration_error_pct"] < 1.5
    by_bin = scores(DEX, as_test(y), known, axis=0)
    np.testing.assert_allclose(by_bin["rmse_dex"], [0.1, 0.2], rtol=0.05)
    np.testing.assert_allclose(
        by_bin["median_error_pct"], [100 * 0.6745 * np.log(10) * s for s in (0.1, 0.2)], rtol=0.1
    )
    assert by_bin["nll"].mean() == pytest.approx(right["nll"])
    assert by_bin["r2"].shape == by_bin["calibration_error_pct"].shape == (2,)
    narrow = scores(DEX, as_test(y), known | {"variance": known["variance"] / 25})
    assert narrow["nll"] > right["nll"]
    assert narrow["coverage_68_pct"] < 25
    assert narrow["calibration_error_pct"] > 20


def test_baselines_are_computed_once_for_all_trials_of_the_same_data(tmp_path, monkeypatch):
    store = DatasetStore(tmp_path)
    fields = {"num_simulations": 4, "num_held_out": 2, "haloes_per_simulation": 6, "num_ratios": 3, "num_bins": 4}
    config = Config(**fields, gp_haloes=12)
    first = method.data(config, store).tests["generated_test"]["baselines"]
    assert set(first) == {"mean_profile", "ridge", "gaussian_process"}
    assert all(np.isfinite(array).all() for one in first.values() for array in one.values())

    def again(*args):
        raise AssertionError("computed again")

    monkeypatch.setattr(baselines, "_predictions", again)
    second = method.data(Config(**fields, gp_haloes=12, width=8), store).tests["generated_test"]["baselines"]
    np.testing.assert_array_equal(first["ridge"]["mean"], second["ridge"]["mean"])
    with pytest.raises(AssertionError, match="computed again"):
        method.data(Config(**fields, gp_haloes=13), store)
