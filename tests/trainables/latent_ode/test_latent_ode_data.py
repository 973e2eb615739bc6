import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from trainables._shared.config import ConfigError
from trainables._shared.datasets import DatasetStore
from trainables.latent_ode.config import Config
from trainables.latent_ode.data import SPIRAL, as_series, generate, load, spiral_states, statistics
from trainables.latent_ode.files import SPLITS, read_file


def test_spirals_turn_and_shrink_as_their_eigenvalues_say():
    values = np.linalg.eigvals(SPIRAL)
    np.testing.assert_allclose(sorted(values.imag), [-np.sqrt(1.3), np.sqrt(1.3)], rtol=1e-12)
    np.testing.assert_allclose(values.real, -0.1, rtol=1e-12)


def test_spirals_are_the_matrix_exponential_and_an_independent_integrators_solution():
    rng = np.random.default_rng(0)
    x0, t = rng.normal(size=(3, 2)), np.sort(rng.uniform(0, 7, size=(3, 9)), axis=1)
    y = spiral_states(x0, t)
    exact = np.einsum("nsij,nj->nsi", scipy.linalg.expm(t[..., None, None] * SPIRAL), x0)
    np.testing.assert_allclose(y, exact, atol=1e-13)
    for states, start, times in zip(y, x0, t, strict=True):
        solution = scipy.integrate.solve_ivp(
            lambda _, x: SPIRAL @ x, (0, 7), start, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(states, solution.y.T, atol=1e-10)


def test_a_spiral_has_irregular_times_in_its_span_after_an_offset_and_as_many_beyond():
    data = generate(Config(extrapolation=0.5), "train", 500)
    t, last = data["t"], data["last"]
    offset = t[:, 0].min()
    assert 0 <= offset < 0.2
    assert (np.diff(t, axis=1) >= 0).all()
    assert np.ptp(np.diff(t, axis=1)) > 0.2
    observed, later = t[:, :20], t[:, 20:]
    assert (observed <= last[:, None]).all()
    assert (later > last[:, None]).all()
    length = last - np.minimum(observed[:, 0], 1.0)
    assert 1.3 < length.min() < 2.1 < 2.6 < length.max() <= 3.0
    assert ((later.max(1) - last) <= 0.5 * 3.0).all()
    assert ((later.max(1) - last) > 0.5).all()


def test_orbits_solve_the_two_body_problem_over_about_half_a_period_and_beyond():
    data = generate(Config(dataset="orbits", orbit_family="complex"), "train", 20)
    assert data["y"].shape == (20, 40, 4)
    for y, t in zip(data["y"][:4], data["t"][:4], strict=True):
        solution = scipy.integrate.solve_ivp(
            lambda _, s: [s[2], s[3], *(-s[:2] / np.hypot(*s[:2]) ** 3)],
            (t[0], t[-1]), y[0], method="DOP853", t_eval=t, rtol=1e-12, atol=1e-12,
        )  # fmt: skip
        np.testing.assert_allclose(y, solution.y.T, atol=1e-8)
    radius = np.hypot(data["y"][..., 0], data["y"][..., 1])
    axis = 1 / (2 / radius[:, 0] - (data["y"][:, 0, 2:] ** 2).sum(-1))
    turns = data["last"] / (2 * np.pi * axis**1.5)
    assert 0.4 <= turns.min() < turns.max() <= 0.6


@pytest.mark.parametrize("dataset", ["spirals", "orbits"])
def test_the_split_is_by_series(dataset, tmp_path):
    config, store = Config(dataset=dataset, num_series=300), DatasetStore(tmp_path)
    splits = [load(config, split, store) for split in SPLITS]
    assert [len(series.observed.y) for series in splits] == [300, 256, 256]
    starts = np.concatenate([series.observed.y[:, 0] for series in splits])
    assert len(np.unique(starts, axis=0)) == 300 + 256 + 256
    again = load(config, "train", DatasetStore(tmp_path / "other"))
    np.testing.assert_array_equal(again.observed.y, splits[0].observed.y)


def test_spirals_have_no_family_and_are_kept_once(tmp_path):
    store = DatasetStore(tmp_path)
    first, other = (load(Config(orbit_family=family), "train", store) for family in ("simple", "complex"))
    np.testing.assert_array_equal(first.observed.y, other.observed.y)
    assert len([path for path in store.root.iterdir() if path.is_dir()]) == 1


def test_missing_samples_leave_series_of_different_lengths_padded_at_their_end():
    whole = as_series(generate(Config(), "train", 200))
    assert whole.observed.mask.all()
    observed, later = as_series(generate(Config(missing_share=0.6), "train", 200))
    counts = observed.mask.sum(1)
    assert counts.min() >= 3
    assert as_series(generate(Config(missing_share=0.9), "train", 200)).observed.mask.sum(1).min() == 3
    assert counts.max() == observed.mask.shape[1] <= 20
    assert abs(counts.mean() - 8) < 0.5
    assert (np.diff(observed.mask.astype(int), axis=1) <= 0).all()
    assert (observed.y[~observed.mask] == 0).all()
    assert (np.diff(observed.t, axis=1) >= 0).all()
    np.testing.assert_array_equal(observed.t[:, -1], np.where(observed.mask, observed.t, 0).max(1))
    assert (observed.t[:, 0] == 0).all()
    assert later.mask.all()
    # A series' later samples are the same ones, counted from another first sample.
    np.testing.assert_array_equal(later.y, whole.later.y)


def test_statistics_are_those_of_the_observed_samples_that_are_there():
    series = as_series(generate(Config(missing_share=0.5), "train", 400))
    stats = statistics(series)
    there = series.observed.y[series.observed.mask]
    np.testing.assert_allclose(stats.mean, there.mean(0), atol=1e-6)
    np.testing.assert_allclose(stats.scale, there.std(0), rtol=1e-5)
    np.testing.assert_allclose(stats.time_scale, series.observed.t.max(1).mean() / 2, rtol=1e-6)


@pytest.fixture
def file(tmp_path):
    """Twenty unsorted series that count 0, 1, .. 9 by time from 100 times their number, some samples missing."""
    rng = np.random.default_rng(0)
    t = np.argsort(rng.random((20, 10)), axis=1).astype(float) + 5.0
    y = 100.0 * np.arange(20)[:, None, None] + (t - 5.0)[..., None]
    mask = np.ones((20, 10), bool)
    mask[t == 7.0] = False
    y[t == 9.0] = np.nan
    path = tmp_path / "series.npz"
    np.savez(path, y=y, t=t, mask=mask)
    return path


def test_a_file_gives_its_series_to_one_split_each(file):
    firsts = {}
    for split in SPLITS:
        data = as_series(read_file(file, split, 0.8))
        first, num = data.observed.y[:, :1, 0], len(data.observed.y)
        np.testing.assert_allclose(data.observed.y[:, :, 0] - first, np.tile([0.0, 1.0, 3.0, 5.0], (num, 1)), atol=1e-4)
        np.testing.assert_allclose(data.later.y[:, :, 0] - first, np.tile([6.0, 7.0, 8.0, 9.0], (num, 1)), atol=1e-4)
        np.testing.assert_array_equal(data.observed.t[0], [0, 1, 3, 5])
        np.testing.assert_array_equal(data.later.t[0], [6, 7, 8, 9])
        firsts[split] = first[:, 0]
    assert [len(found) for found in firsts.values()] == [14, 3, 3]
    every = np.sort(np.concatenate(list(firsts.values())))
    np.testing.assert_allclose(every - every[0], 100.0 * np.arange(20))


def test_what_varies_about_a_large_offset_is_kept(tmp_path):
    t = np.tile(np.linspace(0.0, 1.0, 12), (20, 1))
    y = np.sin(7 * t + np.arange(20)[:, None])[..., None]
    spans = []
    for offset, scale in ((0.0, 1.0), (101325.0, 0.01)):
        np.savez(tmp_path / "series.npz", y=offset + scale * y, t=t)
        series = as_series(read_file(tmp_path / "series.npz", "train", 1.0))
        spans.append(series.observed.y / scale)
        assert statistics(series).scale[0] == pytest.approx(scale * spans[-1].std(), rel=1e-3)
    np.testing.assert_allclose(spans[1], spans[0], atol=1e-5)
    # Small is not constant.
    np.savez(tmp_path / "series.npz", y=1e-19 * y, t=t)
    assert statistics(as_series(read_file(tmp_path / "series.npz", "train", 1.0))).scale[0] < 1e-18


def test_series_without_a_later_sample_are_left_out_and_too_few_are_refused(tmp_path):
    t = np.tile(np.arange(4.0), (6, 1))
    mask = np.ones(t.shape, bool)
    mask[1:, 1:] = False
    np.savez(tmp_path / "few.npz", y=t[..., None], t=t, mask=mask)
    with pytest.raises(ConfigError, match="1 of its 6 series have two observed samples and a later one, too few"):
        read_file(tmp_path / "few.npz", "val", 1.0)
