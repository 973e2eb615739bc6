"""Data files as users have them: each is one clear message, or the right numbers, with a warning for what is odd."""

import gzip
import io
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.test_readme import block
from trainables._shared.config import ConfigError
from trainables._shared.data_files import Source, read_npz
from trainables._shared.data_numbers import outliers
from trainables._shared.datasets import DatasetStore
from trainables._shared.kepler import kepler_states
from trainables.jacobian_ode.config import Config as JacobianConfig
from trainables.jacobian_ode.data import build, load
from trainables.jacobian_ode.recordings import VERSION, read_recording
from trainables.latent_ode.config import Config as LatentConfig
from trainables.latent_ode.data import as_series, statistics
from trainables.latent_ode.files import _split, read_file
from trainables.two_body.data import check_fetched

T = np.sort(np.random.default_rng(0).random((20, 12)), axis=1)
Y = np.stack([np.sin(7 * T + np.arange(20)[:, None]), np.cos(3 * T + np.arange(20)[:, None])], -1)
K = np.arange(60.0)
X = np.stack([np.stack([np.sin(0.2 * K + p), np.cos(0.11 * K + p)], -1) for p in range(5)])
EPOCH_NS = 1_700_000_000_000_000_000 + (T * 1e9).astype(np.int64)
SAMPLES = np.ones(T.shape, bool)
TESTED = int(_split(np.arange(20))["test"][-1])
"""A series that is not trained on."""


def put(array, place, value):
    changed = np.array(array)
    changed[place] = value
    return changed


def latent(path):
    return LatentConfig(dataset="file", file=str(path), file_components=2)


def jacobian(path):
    return JacobianConfig(system="file", file=str(path), dimension=2, horizon=10, test_horizons=(1, 10))


def said(config):
    """What a file's reader has to say: the error, or its warnings without the file's name."""
    try:
        config.check_data()
        return [text.removeprefix(f"{config.file}: ") for text in config.data_warnings()]
    except ConfigError as error:
        found = error
    assert found.value == config.file
    assert found.allowed
    return f"{found.message} (allowed: {found.allowed})"


def series(tmp_path, **arrays):
    np.savez(tmp_path / "series.npz", **({"y": Y, "t": T} | arrays))
    return latent(tmp_path / "series.npz")


def recording(tmp_path, **arrays):
    given = {"x": X} | arrays
    np.savez(tmp_path / "recording.npz", **(given if "t" in given else {"dt": 0.1} | given))
    return jacobian(tmp_path / "recording.npz")


REFUSED_SERIES = {
    "complex": ({"y": Y + 1j}, "its y is of complex128: there is no place for the imaginary part"),
    "dates": ({"t": (1e9 * T).astype("M8[ns]")}, "its t is of datetime64[ns]: say since when, and in which unit, as"),
    "not a date": ({"t": put((1e9 * T).astype("M8[ns]"), (0, 0), "NaT")}, "its t is of datetime64[ns]"),
    "durations": ({"y": (1e9 * Y).astype("m8[ns]")}, "its y is of timedelta64[ns]: divide it by its unit"),
    "booleans": ({"y": Y > 0}, "its y is of bool (allowed: real numbers"),
    "bytes": ({"y": Y.astype("S9")}, "its y is of |S9 (allowed: real numbers"),
    "text": ({"t": T.astype("U9")}, "its t is of <U9 (allowed: real numbers"),
    "records": ({"y": np.zeros((20, 12, 2), [("a", float)])}, "its y is of [('a', '<f8')]"),
    "objects": (
        {"y": Y.astype(object)},
        "its y has Python objects, which would be pickles (allowed: arrays of",
    ),
    "beyond float64": ({"y": Y.astype("g") * np.longdouble(10) ** 400}, "480 values of its y (float128) are beyond"),
    "NaN in a mask": ({"mask": put(SAMPLES.astype(float), (0, 0), np.nan)}, "1 values of its mask are neither 0 nor 1"),
    "weights as a mask": ({"mask": SAMPLES * 0.5}, "240 values of its mask are neither 0 nor 1, such as 0.5"),
    "text as a mask": ({"mask": SAMPLES.astype(str)}, "its mask is of <U5 (allowed: booleans, or numbers 0"),
    "all masked": ({"mask": ~SAMPLES}, "0 of its 20 series have two observed samples and a later one"),
    "1e150": ({"y": Y * 1e150}, "component 1 of y goes up to 9.99949e+149 (240 of 240 values are beyond 1e+30)"),
    "a fill value": ({"y": put(Y, (3, 4, 1), 9.97e36)}, "component 2 of y goes up to 9.97e+36 (1 of 240 values"),
    "1e-60": (
        {"y": Y * 1e-60},
        "component 1 of y varies by 2e-60, which float32, in which models are",
    ),
    "subnormal": ({"y": Y * 1e-310}, "component 1 of y varies by 2e-310, which float32"),
    "long times": ({"t": T * 1e150}, "the longest time of a series is 9.76e+149, which float32"),
    "short times": ({"t": T * 1e-60}, "the longest time of a series is 9.76e-61, which float32"),
    "still": ({"y": Y * 0}, "its y never changes"),
    "no series": ({"y": Y[:0], "t": T[:0]}, "0 of its 0 series"),
    "no samples": ({"y": Y[:, :0], "t": T[:, :0]}, "0 of its 20 series"),
    "no components": ({"y": Y[..., :0]}, "must hold y (series, samples, components), t"),
    "one component, flat": ({"y": Y[..., 0]}, "but it has t (20, 12), y (20, 12)"),
    "a number": ({"y": np.array(1.0)}, "but it has t (20, 12), y ()"),
}


@pytest.mark.parametrize("case", REFUSED_SERIES)
def test_series_without_a_clear_meaning_are_refused_by_name(tmp_path, case):
    arrays, expected = REFUSED_SERIES[case]
    assert expected in said(series(tmp_path, **arrays))
    with pytest.raises(ConfigError):
        read_file(tmp_path / "series.npz", "train", 1.0)


ODD_SERIES = {
    "good": ({}, []),
    "a constant component": ({"y": put(Y, (..., 1), 0.1)}, ["component 2 of y never changes: it is predicted by its"]),
    "constant in one series": (
        {"y": put(Y, (3, slice(None), 1), 0.3)},
        ["component 2 of y does not change in 1 of 20 series: series 4"],
    ),
    "constant while it trains": (
        {"y": put(Y, (np.arange(20) != TESTED, slice(None), 1), 0.0)},
        [
            "component 2 of y does not change in 19 of 20 series: series 1, ",
            "12 of 240 values of component 2 of y lie far from the others and set its scale",
            "component 2 of y changes in no observed span of a training series, only elsewhere: it is not scaled",
        ],
    ),
    "an outlier": (
        {"y": put(Y, (3, 4, 1), 1e8)},
        ["1 of 240 values of component 2 of y lie far from the others and set its scale: standard deviation 6.44e+06 "],
    ),
    "an endless series": ({"t": put(T, (3, 11), 1e8)}, ["1 of 20 usable series last 1e+08, the others at most 0.976"]),
    "infinite": ({"y": put(Y, (3, 4, 1), np.inf)}, ["1 of 240 samples of y are infinite, and count as missing"]),
    "half missing": ({"y": put(Y, (3, 4, 1), np.nan)}, ["1 of 240 samples of y lack some components, and count as"]),
    "missing": ({"y": put(Y, (3, 4), np.nan)}, []),
    "no time": ({"t": put(T, (3, 4), np.nan)}, ["1 of 240 samples have no finite time, and count as missing"]),
    "twice": ({"t": put(T, (3, 4), T[3, 5])}, ["1 samples of 1 series have the time of another sample"]),
    "nearly twice": (
        {"t": put(T, (3, 5), T[3, 4] + 1e-12)},
        ["1 samples of 1 series are so near the one before that float32, in which models are trained, gives both the"],
    ),
    "one sample, and an outlier elsewhere": (
        {"mask": put(SAMPLES, (2, slice(1, None)), False), "y": put(Y, (3, 4, 1), 1e8)},
        [
            "1 of its 20 series are left out, as they have not two observed samples and a later one: series 3",
            "1 of 228 values of component 2 of y lie far from the others and set its scale: standard deviation",
        ],
    ),
    "other arrays": ({"labels": K, "notes": np.array([{}])}, ["its labels, notes are not read, only y (series, "]),
    "float32 far from 0": ({"y": np.float32(Y[..., :1] + 1e6).repeat(2, -1)}, ["component 1 of y varies by 0.", ""]),
    "series far apart": (
        {"y": Y * 1e-3 + 1e9 * np.arange(20)[:, None, None]},
        ["component 1 of y varies by 0.00", "component 2 of y varies by 0.00"],
    ),
}


@pytest.mark.parametrize("case", ODD_SERIES)
def test_what_is_odd_about_series_is_counted_and_said(tmp_path, case):
    arrays, expected = ODD_SERIES[case]
    found = said(series(tmp_path, **arrays))
    assert len(found) == len(expected), found
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start)
    for split in ("train", "val", "test"):
        spans = as_series(read_file(tmp_path / "series.npz", split, 1.0))
        assert all(np.isfinite(array).all() for span in spans for array in span)


def test_outliers_are_named_by_the_files_own_numbers(tmp_path):
    arrays, _ = ODD_SERIES["one sample, and an outlier elsewhere"]
    assert said(series(tmp_path, **arrays))[1].endswith("the largest is 1e+08 (series 4)")


@pytest.mark.parametrize(
    "arrays",
    [
        {"y": np.asfortranarray(Y.astype(">f8")), "t": T.astype(">f8")},
        {"y": Y.astype("g")},
        {"y": Y[:, ::-1], "t": T[:, ::-1]},
        {"mask": SAMPLES.astype(np.int8)},
        {"y": np.where((np.arange(12) == 4)[:, None], 1e40, Y), "mask": SAMPLES & (np.arange(12) != 4)},
    ],
)
def test_the_same_series_are_the_same_however_they_are_written(tmp_path, arrays):
    mask = arrays.get("mask", SAMPLES).astype(bool)
    series(tmp_path, mask=mask)
    good = as_series(read_file(tmp_path / "series.npz", "train", 1.0))
    assert said(series(tmp_path, **arrays)) == []
    again = as_series(read_file(tmp_path / "series.npz", "train", 1.0))
    for ours, theirs in zip(good, again, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_nanoseconds_since_1970_are_exact(tmp_path, kind):
    masked = (3, 4)
    t = put(EPOCH_NS, masked, np.iinfo(np.int64).min).astype(kind)
    config = series(tmp_path, t=t, mask=put(SAMPLES, masked, False))
    assert said(config) == []
    data = read_file(tmp_path / "series.npz", "train", 1.0)
    there = data["mask"]
    exact = {int(one) for one in (EPOCH_NS - EPOCH_NS[put(SAMPLES, masked, False)].min()).ravel()}
    assert {int(one) for one in data["t"][there]} <= exact
    assert (data["t"][there] == np.round(data["t"][there])).all()


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1e-29), (0.0, 1e29), (1e9, 1e-3)])
def test_what_float32_would_lose_is_normalised_in_float64(tmp_path, offset, scale):
    series(tmp_path)
    plain = as_series(read_file(tmp_path / "series.npz", "train", 1.0))
    assert said(series(tmp_path, y=offset + scale * Y)) == []
    found = as_series(read_file(tmp_path / "series.npz", "train", 1.0))
    z = [(one.observed.y - statistics(one).mean) / statistics(one).scale for one in (plain, found)]
    np.testing.assert_allclose(z[1], z[0], atol=1e-3)


def test_what_rounding_leaves_of_a_constant_component_is_not_scaled_up(tmp_path):
    rounded = 0.1 * (1 + 2.3e-16 * np.random.default_rng(0).integers(-1, 2, T.shape))
    assert np.ptp(rounded) > 0
    assert said(series(tmp_path, y=put(Y, (..., 1), rounded)))[0].startswith("component 2 of y never changes")
    found = as_series(read_file(tmp_path / "series.npz", "train", 1.0))
    assert (found.observed.y[..., 1] == 0).all()
    assert statistics(found).scale[1] == 1


REFUSED_RECORDINGS = {
    "complex": ({"x": X + 1j}, "its x is of complex128: there is no place for the imaginary part"),
    "booleans": ({"x": X > 0}, "its x is of bool"),
    "dates": ({"t": K.astype("M8[s]")}, "its t is of datetime64[s]: say since when"),
    "durations": ({"t": K.astype("m8[ms]")}, "its t is of timedelta64[ms]: divide it"),
    "text": ({"t": K.astype(str)}, "its t is of <U32"),
    "true": ({"dt": True}, "its dt is of bool"),
    "several steps": ({"dt": [0.1, 0.2]}, "its dt is an array (2,) (allowed: one positive number)"),
    "no step": ({"dt": 0}, "its dt is 0 (allowed: one positive number)"),
    "NaN step": ({"dt": np.nan}, "its dt is nan (allowed"),
    "endless step": ({"dt": np.inf}, "its dt is inf (allowed"),
    "1e-60 as step": ({"dt": 1e-60}, "the time between two samples is 1e-60, whose powers float32 does not hold"),
    "1e150 as step": ({"t": K * 1e150}, "the time between two samples is 1e+150, whose powers float32 does not hold"),
    "1e150": ({"x": X * 1e150}, "component 1 of x goes up to 9.9999e+149 (299 of 300 values are beyond 1e+30)"),
    "1e-60": ({"x": X * 1e-60}, "component 1 of x varies by 2e-60, which float32"),
    "subnormal": ({"x": X * 1e-310}, "component 1 of x varies by 2e-310, which float32"),
    "twice": (
        {"t": put(K, 5, 4.0)},
        "1 times are not later than the one before, first at sample 6 of trajectory 1",
    ),
    "backwards": ({"t": K[::-1]}, "59 times are not later than the one before, first at sample 2 of trajectory 1"),
    "a gap": ({"t": K + (K > 30)}, "is not sampled every 1.01695, the mean gap of all: samples 31 and 32 are 2 apart"),
    "other steps": ({"t": np.outer([1, 1, 2, 1, 1], K)}, "trajectory 1 of 5 is not sampled every 1.2, the mean gap"),
    "microseconds": ({"t": 1.7e9 + K * 1e-6}, "its times resolve 3.77e-07, and its samples are 9.98e-07 apart"),
    "no time": ({"t": put(K, 5, np.nan)}, "trajectory 1 of 5 is not finite at sample 6 (1 such samples)"),
    "infinite": ({"x": put(X, (2, 3, 1), np.inf)}, "trajectory 3 of 5 is not finite at sample 4"),
    "constant": ({"x": put(X, (..., 1), 0.1)}, "component 2 never changes: it is 0.1"),
    "constant in float32": ({"x": np.float32(1e9 + X)}, "component 1 never changes: it is 1e+09"),
    "no trajectory": ({"x": X[:0]}, "holds no trajectory, or no component"),
    "one sample": ({"x": X[:, :1]}, "5 of 5 trajectories have fewer than two samples, first trajectory 1"),
    "no component": ({"x": X[..., :0]}, "holds no trajectory, or no component"),
}


@pytest.mark.parametrize("case", REFUSED_RECORDINGS)
def test_recordings_without_a_clear_meaning_are_refused_by_name(tmp_path, case):
    arrays, expected = REFUSED_RECORDINGS[case]
    assert expected in said(recording(tmp_path, **arrays))


ODD_RECORDINGS = {
    "good": ({}, []),
    "an outlier": (
        {"x": put(X, (2, 3, 1), 1e8)},
        ["1 of 300 values of component 2 of x lie far from the others and set its scale: standard deviation 5.76e+06 "],
    ),
    "constant in one": (
        {"x": put(X, (2, slice(None), 1), 0.1)},
        ["component 2 of x does not change in 1 of 5 trajectories: trajectory 3"],
    ),
    "constant while it trains": (
        {"x": put(X, (np.arange(5) != 0, slice(None), 1), 0.0)},
        [
            "component 2 of x does not change in 4 of 5 trajectories",
            "component 2 of x changes in no training trajectory, only in others: it is not scaled",
        ],
    ),
    "a mask": ({"mask": X > 0}, ["its mask is not read, only x (trajectories, samples, n)"]),
    "units far apart": ({"x": X * [1, 1e12]}, ["component 2 of x varies by 7.09e+11 and component 1 by 0.711: in "]),
    "far from 0": (
        {"x": X * 1e-3 + [1e9, 0]},
        ["component 1 of x is taken relative to 1e+09, its mean, about which it varies by 0.000711"],
    ),
}


@pytest.mark.parametrize("case", ODD_RECORDINGS)
def test_what_is_odd_about_recordings_is_counted_and_said(tmp_path, case):
    arrays, expected = ODD_RECORDINGS[case]
    config = recording(tmp_path, **arrays)
    found = said(config)
    assert len(found) == len(expected), found
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start)
    assert all(np.isfinite(x).all() for x in load(config, DatasetStore(tmp_path / "store")).x)


def test_a_recording_far_from_0_is_trained_on_as_the_same_about_0(tmp_path):
    store = DatasetStore(tmp_path / "store")
    plain = build(recording(tmp_path, x=X), store)[0].z
    far = build(recording(tmp_path, x=1e9 + 1e-3 * X), store)[0].z
    np.testing.assert_allclose(far, plain, atol=5e-3)
    np.testing.assert_allclose(far.mean(0), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("t", "dt", "exact"),
    [
        (1.7e9 + K * 1e-3, 1e-3, 1e-5),
        (1.7e9 + K * 1e-4, 1e-4, 1e-4),
        (1_700_000_000_000_000_000 + K.astype(np.int64) * 1000, 1000, 0),
        ((1_700_000_000_000_000_000 + K.astype(np.int64) * 1000).astype(np.uint64), 1000, 0),
        ((K * 0.1).astype(np.float16), 0.1, 1e-3),
        ((1e6 + K).astype(np.float32), 1, 0),
        (np.stack([K + i for i in range(5)]), 1, 0),
        (K.astype(">i2"), 1, 0),
    ],
)
def test_the_time_between_two_samples_is_that_of_the_whole_span(tmp_path, t, dt, exact):
    config = recording(tmp_path, t=t)
    assert said(config) == []
    assert read_recording(config.file).dt == pytest.approx(dt, rel=exact, abs=0)


def test_what_an_earlier_version_has_cached_of_a_recording_is_read_anew(tmp_path):
    config, store = recording(tmp_path), DatasetStore(tmp_path / "store")
    load(config, store)
    (folder,) = (path for path in store.root.iterdir() if path.is_dir())
    status = Path(config.file).stat()
    recipe = f'[{VERSION}, "{config.file}", {status.st_mtime_ns}, {status.st_size}]'
    assert store.path("jacobian_ode_recording", recipe) == folder


ROWS = [f"{i},{{}},{a!r},{b!r}" for i, one in enumerate(X.tolist()) for a, b in one]
TABLES = {
    "dates": (lambda k: f"2024-01-01 00:00:{k:02}", {}, "line 2, column t holds '2024-01-01 00:00:00', which is no"),
    "underscores": (lambda k: f"1_0{k}", {}, "line 2, column t holds '1_00', which is no number"),
    "complex": (str, {2: "1+2j"}, "line 4, column v holds '1+2j', which is no number"),
    "too large": (str, {2: "1e150"}, "component 2 of x (v) goes up to 1e+150 (1 of 300 values are beyond 1e+30)"),
    "infinite": (str, {2: "1e999"}, "trajectory 1 of 5 is not finite at sample 3"),
    "constant": (str, dict.fromkeys(range(300), "1"), "component 2 (v) never changes: it is 1"),
    "outlier": (str, {2: "1e8"}, ["1 of 300 values of component 2 of x (v) lie far from the others"]),
    "epoch": (lambda k: repr(1.7e9 + k * 1e-3), {}, []),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_held_to_the_same(tmp_path, case):
    times, changes, expected = TABLES[case]
    rows = [row.format(times(k % 60)) for k, row in enumerate(ROWS)]
    for k, value in changes.items():
        rows[k] = rows[k].rpartition(",")[0] + f",{value}"
    (tmp_path / "table.csv").write_text("trajectory,t,u,v\n" + "\n".join(rows))
    found = said(jacobian(tmp_path / "table.csv"))
    if isinstance(expected, str):
        assert expected in found
    else:
        assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(name, member)
    return content.getvalue()


def header(shape):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return content.getvalue()


def saved(save, *arrays, **named):
    content = io.BytesIO()
    save(content, *arrays, **named)
    return content.getvalue()


GOOD = saved(np.savez_compressed, y=Y, t=T)
LARGE, CUT = header((3_000_000, 500, 2)), header((20, 12, 2))
FILES = {
    "an array": (saved(np.save, Y), "cannot be read: it is no .npz file, but a single array of np.save"),
    "gzip": (gzip.compress(GOOD), "cannot be read: it is no .npz file, but compressed by gzip"),
    "pickle": (pickle.dumps(Y), "cannot be read: it is no .npz file, but a pickle"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "cannot be read: it is no .npz file, but an HDF5 file"),
    "text": (b"0 1 2\n", "cannot be read: it is no .npz file, but of another kind"),
    "empty": (b"", "cannot be read: it is empty"),
    "cut off": (GOOD[:-40], "cannot be read: it is damaged or cut off"),
    "damaged": (GOOD[:100] + b"xxxx" + GOOD[104:], "cannot be read: "),
    "text inside": (archive(y="hi", t="1", x="hi"), "cannot be read: EOF"),
    "too large": (archive(**dict.fromkeys(("y.npy", "t.npy", "x.npy"), LARGE)), "has 3,000,000,000 numbers (allowed"),
    "cut inside": (archive(**dict.fromkeys(("y.npy", "t.npy", "x.npy"), CUT)), "is cut off after 128 bytes (allowed"),
}


@pytest.mark.parametrize("config_of", [latent, jacobian])
@pytest.mark.parametrize("case", FILES)
def test_files_of_another_kind_are_said_to_be(tmp_path, case, config_of):
    content, expected = FILES[case]
    (tmp_path / "data.npz").write_bytes(content)
    assert expected in said(config_of(tmp_path / "data.npz"))


@pytest.mark.parametrize("config_of", [latent, jacobian])
def test_what_is_no_file_that_can_be_read_is_said_to_be_none(tmp_path, config_of):
    (tmp_path / "folder.npz").mkdir()
    assert said(config_of(tmp_path / "folder.npz")).startswith("is a folder")
    os.mkfifo(tmp_path / "pipe.npz")
    assert said(config_of(tmp_path / "pipe.npz")).startswith("is no regular file")
    (tmp_path / "loop.npz").symlink_to(tmp_path / "loop.npz")
    assert re.match(r"there is no such file|cannot be read: Too many", said(config_of(tmp_path / "loop.npz")))
    (tmp_path / "device.npz").symlink_to("/proc/self/mem")
    assert said(config_of(tmp_path / "device.npz")).startswith("cannot be read: Input/output error")
    (tmp_path / "folder.csv").mkdir()
    assert said(jacobian(tmp_path / "folder.csv")).startswith("is a folder")
    (tmp_path / "zipped.csv").write_bytes(gzip.compress(b"t,u\n0,1\n"))
    assert said(jacobian(tmp_path / "zipped.csv")).startswith("is no text in UTF-8 (byte 0x8b)")


def test_wrong_names_are_shown_with_what_is_wanted(tmp_path):
    np.savez(tmp_path / "data.npz", Y=Y, T=T)
    with pytest.raises(ConfigError, match=r"must hold y .*, but it has T \(20, 12\), Y \(20, 12, 2\)"):
        latent(tmp_path / "data.npz").check_data()
    assert said(jacobian(tmp_path / "data.npz")).startswith("holds T (20, 12), Y (20, 12, 2) (allowed: x (traj")


def test_no_damage_to_a_file_raises_anything_but_a_clear_error(tmp_path):
    rng, refused = np.random.default_rng(1), 0
    for index in range(150):
        data = bytearray(GOOD)
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        (tmp_path / "data.npz").write_bytes(data[: rng.integers(4, len(data))] if index % 3 == 0 else data)
        try:
            read_npz(Source(str(tmp_path / "data.npz")), "y and t", ("y", "t"))
        except ConfigError:
            refused += 1
    assert refused > 100


def test_a_method_of_the_users_own_reads_by_the_same_rules(tmp_path):
    scope = {}
    exec(block("docs/own_method.md", "python", "def check_data(self)"), scope)
    config = scope["Config"](file=str(tmp_path / "own.npz"))
    np.savez(tmp_path / "own.npz", x=put(X[0], (3, 1), 1e8), other=1)
    others, outlier = said(config)
    assert others == "its other is not read, only x (samples, components)"
    assert outlier.startswith("1 of 60 values of component 2 of x lie far from the others and set its scale")
    np.savez(tmp_path / "own.npz", x=X[0] + 1j)
    assert said(config).startswith("its x is of complex128: there is no place for the imaginary part")
    np.savez(tmp_path / "own.npz", z=X[0])
    assert said(config) == "holds z (60, 2) (allowed: x (samples, components))"


def test_outliers_are_few_and_set_the_scale():
    values = np.random.default_rng(0).normal(size=1000)
    assert not outliers(values).any()
    assert not outliers(put(values, 0, 20.0)).any()
    assert np.flatnonzero(outliers(put(values, [3, 7], [1e8, -1e8]))).tolist() == [3, 7]
    assert not outliers(np.where(np.arange(1000) % 2 == 0, values, values + 1e8)).any()
    assert not outliers(np.ones(50)).any()
    assert not outliers(np.arange(3.0)).any()


# -- orbits


@pytest.fixture
def orbits():
    elements = np.array([[1.0, 0.1, 0.0, 0.0, 0.0, 0.0], [1.5, 0.3, 0.0, 0.0, 0.0, 0.0]])
    M = np.deg2rad(np.arange(360.0))[None]
    return {"y": kepler_states(elements, M), "t": M * elements[:, :1] ** 1.5}


def test_orbits_are_what_was_written(orbits):
    found = check_fetched("mine.npz", orbits, 0.0)
    np.testing.assert_array_equal(found["y"], orbits["y"])
    np.testing.assert_array_equal(found["t"], orbits["t"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda y, t: (y + 0j, t), "its y is of complex128"),
        (lambda y, t: (y, (1e9 * t).astype("M8[ns]")), r"its t is of datetime64\[ns\]: say since when"),
        (lambda y, t: (y, t[:, ::-1]), "times of 2 of its 2 orbits do not increase, first of orbit 1"),
        (lambda y, t: (y, put(t, (1, 7), np.nan)), "times of 1 of its 2 orbits do not increase, first of orbit 2"),
        (
            lambda y, t: (y * ([6.378e6] * 3 + [7905.4] * 3), t * 806.8),
            r"its accelerations are 3.986e\+14 / r\^2 ",
        ),
        (lambda y, t: (y * ([1e8] * 3 + [1e-4] * 3), t * 1e12), "its radii are .*e.07 to .*, which float32 does not"),
        (lambda y, t: (put(y, (slice(None), slice(None, None, 3)), np.nan), t), "has no three states in a row"),
    ],
)
def test_arrays_that_are_no_orbits_are_refused(orbits, change, expected):
    y, t = change(**orbits)
    with pytest.raises(ConfigError, match=expected) as caught:
        check_fetched("mine.npz", {"y": y, "t": t}, 0.0)
    assert caught.value.value == "mine.npz"


def test_orbits_that_are_partly_there_are_counted(orbits):
    y = put(put(orbits["y"], (1, slice(1, None)), np.nan), (0, 5, 2), np.inf)
    with pytest.warns(UserWarning, match="mine") as caught:
        check_fetched("mine.npz", orbits | {"y": y}, 0.0)
    assert [str(one.message) for one in caught] == [
        "mine.npz: 1 of 720 states are infinite, and count as missing",
        "mine.npz: 1 of its 2 orbits have fewer than two states (orbits 2)",
    ]
