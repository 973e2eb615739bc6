import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables.halo_emulator import generated
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.features import FLOOR, from_target, inputs_of, statistics, to_target
from trainables.halo_emulator.generated import (
    PARAMETERS,
    RADII,
    TABLE,
    design,
    mean_profiles,
    power_spectrum_ratios,
    radii,
    retained,
    scatter_dex,
    scatter_sigma,
)
from trainables.halo_emulator.method import method

SMALL = {
    "num_simulations": 3, "num_held_out": 2, "haloes_per_simulation": 5, "num_ratios": 6, "num_bins": 5, "gp_haloes": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


PUBLISHED = (
    (
        0.49484, 0.92096, 0.9291, 0.407, 11.692, 10.286, 0.030145, 0.5934, 1.0497, 1.2503, 0.33417, -1.9275, 9.6254,
        0.033297, 787.3, 0.056092, 172.07, 0.10632, 0.004258, 2.5292, 0.72668, 0.00010209, 0.39463, 0.18979, 0.039801,
        0.23328, 0.00017062, 1.6484, 8.6911, -0.77588, 1.0781, -0.50453, 0.0014984, 1.1649, 1.8553,
    ),
    (
        0.19675, 0.66352, 4.3997, 2.0977, 5.3344, 28.777, 0.067695, 0.76203, 0.85037, 3.5719, 0.13472, -2.4187, 6.7677,
        0.16489, 2890.2, 0.0070107, 363.54, 0.82771, 0.00063153, 1.6038, 0.28339, 5.7958e-05, 2.0454, 4.3702, 0.19667,
        0.12465, 0.016656, 2.0022, 1.046, -4.1827, 0.26019, -0.23104, 0.0012542, 1.0275, 2.953,
    ),
)  # fmt: skip
"""The first two simulations of the published set (CosmoAstroSeed_IllustrisTNG_L50n512_SB35.txt of CAMELS)."""


def test_published_simulations_are_points_of_one_sobol_sequence_in_the_ranges():
    shares = []
    for simulation in PUBLISHED:
        pairs = zip(simulation, PARAMETERS.values(), strict=True)
        shares.append(
            [
                np.log(value / low) / np.log(high / low) if in_log else (value - low) / (high - low)
                for value, (low, high, in_log) in pairs
            ]
        )
    first, second = np.array(shares)
    assert ((first > 0) & (first < 1)).all()
    assert ((second > 0) & (second < 1)).all()
    # Of the first two points of a scrambled Sobol sequence, one is in the lower half of each range, one in the upper.
    assert ((first < 0.5) != (second < 0.5)).all()


def test_simulations_fill_their_ranges_and_more_of_them_begin_with_the_same():
    config = Config()
    many = design(config, "train", 256)
    for k, (low, high, in_log) in enumerate(PARAMETERS.values()):
        column = np.log(many.params[:, k]) if in_log else many.params[:, k]
        low, high = (np.log(low), np.log(high)) if in_log else (low, high)
        share = (column - low) / (high - low)
        assert share.min() >= 0
        assert share.max() <= 1
        # Sobol points: every quarter of a range has a quarter of them.
        counts, _ = np.histogram(share, bins=4, range=(0, 1))
        assert (abs(counts - 64) <= 1).all()
    few = design(config, "train", 20)
    np.testing.assert_array_equal(few.params, many.params[:20])
    np.testing.assert_array_equal(few.black_holes, many.black_holes[:20])


def test_no_two_splits_share_a_simulation_and_another_draw_is_held_out_on_the_same(store):
    first = method.data(Config(**SMALL), store)
    second = method.data(Config(**SMALL, data_seed=1), store)
    test = first.tests["generated_test"]
    rows = [{tuple(row) for row in part["params"].tolist()} for part in (first.phases[0], first.validation, test)]
    assert [len(part) for part in rows] == [3, 2, 2]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    assert not rows[0] & {tuple(row) for row in second.phases[0]["params"].tolist()}
    for name, array in first.validation.items():
        np.testing.assert_array_equal(array, second.validation[name])
    # Not from the store alone, which another node does not have.
    for split, held_out in (("train", False), ("val", True), ("test", True)):
        params = [design(Config(data_seed=seed), split, 3).params for seed in (0, 1)]
        assert np.array_equal(*params) == held_out


def test_what_colossus_computes_is_kept(store, monkeypatch):
    method.data(Config(**SMALL), store)

    def missing(package):
        raise AssertionError(f"{package} was asked for again")

    monkeypatch.setattr(generated, "require", missing)
    # Other bins, ratios and haloes of the same simulations.
    again = method.data(Config(**(SMALL | {"num_bins": 4, "num_ratios": 3, "haloes_per_simulation": 2})), store)
    assert again.validation["profile"].shape == (4, 4)
    with pytest.raises(AssertionError, match="colossus was asked for again"):
        method.data(Config(**SMALL, data_seed=5), store)


def test_concentrations_are_those_of_a_known_cosmology_and_leave_no_trace(tmp_path, monkeypatch):
    from colossus.cosmology import cosmology

    monkeypatch.setenv("HOME", str(tmp_path))
    before = cosmology.current_cosmo
    row = design(Config(), "train", 1).params.copy()
    names = list(PARAMETERS)
    for name, value in (("Omega0", 0.3), ("sigma8", 0.8), ("OmegaBaryon", 0.048), ("HubbleParam", 0.7), ("n_s", 0.96)):
        row[0, names.index(name)] = value
    c = np.exp(generated._concentrations(row)[0])
    assert cosmology.current_cosmo is before
    assert not list(tmp_path.iterdir())
    # Figure 5 of Diemer and Joyce 2019, for such a cosmology at z = 0: about 6 at 10^13, 4.5 at 10^14.5 solar masses.
    assert 5.0 < np.interp(13.0, TABLE, c) < 7.0
    assert 3.5 < np.interp(14.5, TABLE, c) < 5.0


def test_gas_within_r200_is_what_is_retained_of_the_baryons():
    x = np.linspace(1e-5, 1.0, 20001)
    log_mass, concentration = np.array([13.0, 14.5]), np.array([6.0, 4.0])
    share, supernovae, black_holes = np.array([0.1, 0.2]), np.array([0.5, -1.0]), np.array([-1.0, 1.2])
    args = (x, log_mass, concentration, share, supernovae, black_holes)
    gas, total = (mean_profiles(quantity, *args) for quantity in ("gas", "total"))
    kept = retained(log_mass, supernovae, black_holes)
    np.testing.assert_allclose(np.trapezoid(3 * x**2 * gas, x) / 200, kept * share, rtol=1e-3)
    dark = np.trapezoid(3 * x**2 * (total - gas), x) / 200
    np.testing.assert_allclose(dark, 1 - share, rtol=1e-3)
    assert (np.diff(gas, axis=1) < 0).all()


def test_scatter_is_of_the_size_that_it_is_said_to_be_in_each_bin():
    rng, x = np.random.default_rng(0), radii(7)
    assert (x[0], x[-1]) == pytest.approx(RADII)
    for log_mass, expected in ((13.0, 0.2), (15.0, 0.1)):
        masses = np.full(20000, log_mass)
        found = scatter_dex(0.1, x, masses, rng.standard_normal((20000, 3)))
        np.testing.assert_allclose(found.std(0), expected, rtol=0.03)
        np.testing.assert_allclose(scatter_sigma(0.1, masses), expected)


def test_power_spectra_say_of_the_feedback_what_parameters_do_not():
    many = design(Config(), "train", 256)
    names = list(PARAMETERS)
    share = many.params[:, names.index("OmegaBaryon")] / many.params[:, names.index("Omega0")]
    ratios = power_spectrum_ratios(79, share, many.supernovae, many.black_holes)
    assert ratios.shape == (256, 79)
    assert (ratios > 0).all()
    assert (ratios < 1).all()
    side = np.log(many.params[:, [k for k, r in enumerate(PARAMETERS.values()) if r.in_log]])

    def unexplained(inputs):
        inputs = np.concatenate([np.ones((256, 1)), inputs], axis=1)
        left = many.black_holes - inputs @ np.linalg.lstsq(inputs, many.black_holes)[0]
        return left.std()

    suppressed = np.log(1 - ratios)
    components = np.linalg.svd(suppressed - suppressed.mean(0), full_matrices=False)[0][:, :8]
    everything = np.concatenate([side, many.params, components], axis=1)
    assert unexplained(everything) < 0.5 * unexplained(np.concatenate([side, many.params], axis=1))


@pytest.mark.parametrize(("transform", "scale"), [("log", 1.0), ("asinh", 0.5)])
def test_targets_are_in_dex_and_go_back(transform, scale):
    config = Config(transform=transform, asinh_scale=scale)
    profile = np.array([[1e3, 1.0, 1e-2]])
    target = to_target(config, profile)
    np.testing.assert_allclose(from_target(config, target, np), profile)
    ten = to_target(config, 10 * profile)
    assert ten[0, 0] - target[0, 0] == pytest.approx(1.0, abs=1e-5)
    if transform == "asinh":
        np.testing.assert_allclose(to_target(config, -profile), -target)


def test_positive_parameters_are_logged_and_columns_that_hardly_vary_are_not_blown_up():
    config = Config(
        dataset="file",
        file="/x.npz",
        num_parameters=3,
        num_ratios=2,
        num_bins=3,
        engineered=True,
        density_columns=(0, 1),
    )
    rng = np.random.default_rng(0)
    params = np.stack([10 ** rng.normal(size=50), np.full(50, 2.0), rng.normal(size=50)], axis=1)
    log_mass, ratios = rng.uniform(13, 15, 50), 1 - np.stack([1e-9 * rng.random(50), rng.random(50)], axis=1)
    stats = statistics(config, params, log_mass, ratios, rng.normal(size=(50, 3)))
    np.testing.assert_array_equal(stats.logged, [1, 1, 0])
    inputs = inputs_of(config, stats.logged, params, log_mass, ratios, np)
    assert inputs.shape == (50, sum(config.groups))
    np.testing.assert_allclose(inputs[:, 0], np.log10(params[:, 0]))
    np.testing.assert_allclose(inputs[:, 2], params[:, 2])
    np.testing.assert_allclose(inputs[:, 3], params[:, 0] / 2)
    np.testing.assert_allclose(inputs[:, 4], log_mass)
    np.testing.assert_allclose(inputs[:, 5], (log_mass - 14) ** 2)
    np.testing.assert_allclose(inputs[:, 8], ratios.mean(1))
    z = (inputs - stats.center) / stats.scale
    assert np.abs(z[:, 6]).max() < 1e-3
    assert stats.scale[6] == pytest.approx(FLOOR)
    np.testing.assert_allclose(z[:, 7].std(), 1.0, rtol=1e-4)
    robust = statistics(
        config.model_copy(update={"normalisation": "robust"}), params, log_mass, ratios, rng.normal(size=(50, 3))
    )
    assert robust.center[4] == pytest.approx(np.median(log_mass), rel=1e-6)
