import numpy as np
import pytest

from trainables._shared.kepler import EARTH_RADIUS, LOWEST_AXIS, eccentric_anomaly, kepler_states
from trainables.two_body.data import cut, draw_elements, generate, recipe
from trainables.two_body.dataset_names import parse_dataset
from trainables.two_body.windows import usable_starts

PLAIN = {"fix_nu0": False, "sampling": "mean_anomaly", "missing_tail": 0.0}


def orbits(name, **options):
    return generate(parse_dataset(name), **(PLAIN | options))


def test_keplers_equation_holds_to_rounding():
    M = np.linspace(-10, 10, 4001)[None]
    e = np.array([0.0, 0.3, 0.6, 0.85, 0.99])[:, None]
    E = eccentric_anomaly(M, e)
    np.testing.assert_allclose(E - e * np.sin(E), np.broadcast_to(M, E.shape), atol=1e-13)


@pytest.mark.parametrize("name", ["complex_TBP_planar_50_train", "complex_TBP_3D_50_train"])
def test_energy_and_angular_momentum_are_those_of_the_elements(name):
    data = orbits(name)
    a, e, i = data["elements"][:, :3].T
    r, v = data["y"][..., :3], data["y"][..., 3:]
    energy = (v**2).sum(-1) / 2 - 1 / np.linalg.norm(r, axis=-1)
    np.testing.assert_allclose(energy, np.broadcast_to(-1 / (2 * a[:, None]), energy.shape), rtol=1e-11)
    h = np.cross(r, v)
    np.testing.assert_allclose(
        np.linalg.norm(h, axis=-1), np.broadcast_to(np.sqrt(a * (1 - e**2))[:, None], h.shape[:2]), rtol=1e-11
    )
    cosine = h[..., 2] / np.linalg.norm(h, axis=-1)
    np.testing.assert_allclose(cosine, np.broadcast_to(np.cos(np.deg2rad(i))[:, None], cosine.shape), atol=1e-12)


@pytest.mark.parametrize("sampling", ["mean_anomaly", "true_anomaly"])
def test_times_fit_the_states(sampling):
    data = orbits("complex_TBP_3D_20_train", sampling=sampling)
    a, e, *_, nu0 = data["elements"].T
    half = np.deg2rad(nu0) / 2
    E0 = 2 * np.arctan2(np.sqrt(1 - e) * np.sin(half), np.sqrt(1 + e) * np.cos(half))
    M = (E0 - e * np.sin(E0))[:, None] + data["t"] * a[:, None] ** -1.5
    np.testing.assert_allclose(kepler_states(data["elements"], M), data["y"], atol=1e-10)
    assert (np.diff(data["t"], axis=1) > 0).all()


def test_samples_are_a_degree_of_the_chosen_anomaly_apart():
    by_time = orbits("complex_TBP_planar_5_train")
    steps = np.diff(by_time["t"], axis=1) * by_time["elements"][:, :1] ** -1.5
    np.testing.assert_allclose(np.rad2deg(steps), 1.0, rtol=1e-9)
    y = orbits("complex_TBP_planar_5_train", sampling="true_anomaly")["y"]
    angle = np.unwrap(np.arctan2(y[..., 1], y[..., 0]), axis=1)
    np.testing.assert_allclose(np.rad2deg(np.diff(angle, axis=1)), 1.0, rtol=1e-9)


def test_families_have_their_elements():
    for family, largest in (("complex", 0.99), ("simple", 0.1), ("circular", 0.0)):
        a, e, *_ = draw_elements(parse_dataset(f"{family}_TBP_3D_2000_train"), fix_nu0=False).T
        assert a.min() >= LOWEST_AXIS
        assert a.max() <= 1.0
        assert e.max() <= largest
        assert (a * (1 - e) >= EARTH_RADIUS - 1e-12).all()
    assert np.ptp(draw_elements(parse_dataset("complex_TBP_3D_2000_train"), fix_nu0=False)[:, 1]) > 0.7


def test_planar_orbits_stay_in_the_plane_and_3d_ones_do_not():
    assert (orbits("complex_TBP_planar_5_train")["y"][..., [2, 5]] == 0).all()
    assert np.abs(orbits("complex_TBP_3D_5_train")["y"][..., 2]).max() > 0.1


def test_fixed_start_is_the_periapsis():
    data = orbits("complex_TBP_planar_5_train", fix_nu0=True)
    a, e = data["elements"][:, :2].T
    np.testing.assert_allclose(np.linalg.norm(data["y"][:, 0, :3], axis=-1), a * (1 - e), rtol=1e-12)


def test_splits_share_no_orbit():
    axes = [
        draw_elements(parse_dataset(f"complex_TBP_planar_{n}_{split}"), fix_nu0=False)[:, 0]
        for split, n in (("train", 1000), ("val", 1000), ("test", 1000))
    ]
    assert len(np.unique(np.concatenate(axes))) == 3000


def test_a_data_seed_draws_other_training_orbits_and_0_those_of_before_there_were_others():
    one, two = (orbits("complex_TBP_planar_10_train", data_seed=seed)["elements"] for seed in (1, 2))
    usual = orbits("complex_TBP_planar_10_train")["elements"]
    assert len(np.unique(np.concatenate([usual, one, two])[:, 0])) == 30
    np.testing.assert_array_equal(one[:4], orbits("complex_TBP_planar_4_train", data_seed=1)["elements"])
    np.testing.assert_array_equal(usual, orbits("complex_TBP_planar_10_train", data_seed=0)["elements"])
    assert len({recipe(False, "mean_anomaly", 0.0, seed) for seed in (0, 1, 2)}) == 3
    assert recipe(False, "mean_anomaly", 0.0) == '[1, false, "mean_anomaly", 0.0]'  # what caches know it by


def test_a_name_gives_the_same_orbits_and_fewer_are_the_first_of_more():
    few, many = orbits("complex_TBP_planar_4_train"), orbits("complex_TBP_planar_10_train")
    np.testing.assert_array_equal(few["y"], orbits("complex_TBP_planar_4_train")["y"])
    np.testing.assert_array_equal(few["elements"], many["elements"][:4])
    # Pinned: another generator needs another version, so that caches and old results are not mixed up.
    np.testing.assert_allclose(few["elements"][0, :2], [0.40817248824010016, 0.4487457415329994], rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "complex",
        "elliptic_TBP_planar_1_train",
        "complex_TBP_planar_0_train",
        "complex_TBP_1_train",
        "complex_TBP_planar_1_dev",
    ],
)
def test_wrong_names_show_the_pattern(name):
    with pytest.raises(ValueError, match="FAMILY_TBP_PLANE_NUMBER_SPLIT") as caught:
        parse_dataset(name)
    assert repr(name) in str(caught.value)


def test_any_number_of_orbits_is_a_dataset():
    assert orbits("complex_TBP_planar_7_val")["y"].shape == (7, 360, 6)


def test_segments_are_consecutive_pieces_of_the_window():
    data = orbits("complex_TBP_planar_3_train")
    segments = cut(data, (0.25, 0.5), 18)
    assert segments.y.shape == (3 * 5, 18, 6)
    np.testing.assert_allclose(segments.y[6], data["y"][1, 108:126], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(segments.t[6], data["t"][1, 108:126] - data["t"][1, 108], rtol=1e-5)
    assert (segments.t[:, 0] == 0).all()
    assert segments.mask.all()


def test_samples_that_fill_no_segment_are_left_out():
    assert cut(orbits("complex_TBP_planar_1_train"), (0.0, 0.1), 10).y.shape[0] == 3
    assert usable_starts((0.0, 0.1), 10, 0) == (0, 10, 20)


def test_a_segment_needs_its_first_two_samples_and_masks_the_others():
    data = orbits("complex_TBP_planar_2_train", missing_tail=0.5)
    assert np.isnan(data["y"][:, 180:]).all()
    assert np.isfinite(data["y"][:, :180]).all()
    for length, missing in ((18, 180), (100, 180), (7, 180), (179, 180), (7, 185)):
        share = missing / 360
        segments = cut(orbits("complex_TBP_planar_2_train", missing_tail=share), (0.0, 1.0), length)
        starts = usable_starts((0.0, 1.0), length, missing)
        assert segments.y.shape[0] == 2 * len(starts)
        there = [min(length, 360 - missing - start) for start in starts]
        assert segments.mask.sum(1).tolist() == there * 2
        assert np.isfinite(segments.y).all()
        assert min(there) >= 2
