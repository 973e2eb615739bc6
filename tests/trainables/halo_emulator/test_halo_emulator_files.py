import re

import h5py
import numpy as np
import pytest

from trainables._shared.config import ConfigError
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.files import FEWEST_SIMULATIONS, read_file, split_of


def haloes(num_simulations=10, per=4, **changed):
    rng = np.random.default_rng(0)
    sim = np.repeat(np.arange(num_simulations) * 7 + 2**40, per)
    num = len(sim)
    of_simulation = np.repeat(rng.random((num_simulations, 3)) + 0.5, per, axis=0)
    arrays = {
        "params": of_simulation,
        "mass": 10 ** rng.uniform(13, 15, num),
        "pk_ratio": 1 - np.repeat(rng.random((num_simulations, 2)), per, axis=0) / 9,
        "profile": 10 ** rng.normal(size=(num, 4)),
        "sim": sim,
    }
    return arrays | changed


def config_of(path, **fields):
    return Config(dataset="file", file=str(path), num_parameters=3, num_ratios=2, num_bins=4, gp_haloes=0, **fields)


@pytest.fixture
def npz(tmp_path):
    def write(**changed):
        path = tmp_path / "haloes.npz"
        arrays = haloes(**changed)
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


def test_npz_and_hdf5_hold_the_same(npz, tmp_path):
    path, other = npz(), tmp_path / "haloes.h5"
    with h5py.File(other, "w") as file:
        for name, array in haloes().items():
            file[name] = array
    for split in ("train", "val", "test"):
        first, second = (read_file(config_of(one).wanted, split, 0) for one in (path, other))
        assert first.keys() == second.keys()
        for name, array in first.items():
            np.testing.assert_array_equal(array, second[name])
    assert config_of(other).needs() == {"h5py": "file"}
    assert config_of(path).needs() == {}


def test_splits_share_no_simulation_and_every_halo_is_in_one(npz):
    config, arrays = config_of(npz(num_simulations=21)), haloes(num_simulations=21)
    parts = {split: read_file(config.wanted, split, 0) for split in ("train", "val", "test")}
    sims = [set(part["sim"].tolist()) for part in parts.values()]
    assert [len(one) for one in sims] == [15, 3, 3]
    assert len(set.union(*sims)) == 21
    assert sum(len(part["sim"]) for part in parts.values()) == len(arrays["sim"])
    assert split_of(arrays["sim"], 0)["train"].tolist() != split_of(arrays["sim"], 1)["train"].tolist()
    masses = np.concatenate([part["log_mass"] for part in parts.values()])
    np.testing.assert_allclose(np.sort(masses), np.sort(np.log10(arrays["mass"])), rtol=1e-6)


@pytest.mark.parametrize("first", [np.int64(2**53), np.int64(-(2**62)), np.uint64(2**64 - 60), np.int32(-5), 3.0])
def test_simulations_keep_apart_whatever_their_numbers_are(npz, first):
    sim = first + np.repeat(np.arange(10), 4).astype(np.asarray(first).dtype)
    wanted = config_of(npz(sim=sim)).wanted
    parts = [read_file(wanted, split, 0)["sim"] for split in ("train", "val", "test")]
    assert [len(np.unique(part)) for part in parts] == [6, 2, 2]
    assert sorted(np.concatenate(parts)) == np.repeat(np.arange(10), 4).tolist()


def test_the_groups_of_an_hdf5_file_are_told(tmp_path):
    with h5py.File(tmp_path / "haloes.h5", "w") as file:
        for name, array in haloes().items():
            file[f"data/{name}"] = array
    with pytest.raises(ConfigError, match=r"but it has data \(a group\)"):
        config_of(tmp_path / "haloes.h5").check_data()


def bad(name, row, column, value):
    array = haloes()[name].astype(float)
    array[(row, column) if column is not None else row] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (bad("params", 12, 1, np.nan), "1 values of its params are not finite, first nan at row 13, column 2"),
        (bad("mass", 3, None, np.inf), "1 values of its mass are not finite, first inf at row 4"),
        (bad("mass", 5, None, -1.0), "1 values of its mass are not positive, first -1 at row 6"),
        (bad("profile", 7, 3, 0.0), "1 values of its profile are not positive, first 0 at row 8, column 4"),
        (bad("sim", 0, None, 0.5), "1 values of its sim are no whole numbers, first 0.5 at row 1"),
        (
            bad("sim", 2, None, 1e300),
            "1 values of its sim are floats too large to be told apart, first 1e.300 at row 3",
        ),
        ({"params": haloes()["params"] + 1j}, "its params is of complex128"),
        ({"profile": np.ones((40, 4))}, "its profile never changes"),
        ({"pk_ratio": None}, "must hold params .* but it has mass .40,., params .40, 3., profile .40, 4., sim .40,."),
        ({"sim": np.zeros((40, 1))}, "must hold params"),
        ({"sim": np.arange(40) % 3}, f"3 simulations, too few .* at least {FEWEST_SIMULATIONS} simulations"),
    ],
)
def test_a_bad_file_is_refused_with_row_and_column(npz, changed, said):
    with pytest.raises(ConfigError, match=said) as error:
        config_of(npz(**changed)).check_data()
    assert error.value.field == "file"


def test_other_columns_than_the_config_says_are_refused_by_field(npz):
    path = npz(params=haloes()["params"][:, :2])
    with pytest.raises(ConfigError, match=re.escape("2 columns of params (allowed: 2)")) as error:
        config_of(path).check_data()
    assert error.value.field == "num_parameters"


def test_a_file_that_is_no_hdf5_file_or_is_not_there_is_refused(tmp_path):
    path = tmp_path / "haloes.h5"
    with pytest.raises(ConfigError, match="No such file"):
        config_of(path).check_data()
    path.write_text("no")
    with pytest.raises(ConfigError, match="cannot be read"):
        config_of(path).check_data()


def test_profiles_of_either_sign_are_taken_by_asinh(npz):
    path = npz(**bad("profile", 7, 3, -2.0))
    config_of(path, transform="asinh").check_data()


def test_odd_files_are_warned_of(npz):
    (said,) = config_of(npz(mass=np.linspace(13, 15, 40))).data_warnings()
    assert "logarithms are to be written as 10**mass" in said
    params = haloes()["params"]
    params[4:8] = params[:4]
    (said,) = config_of(npz(params=params)).data_warnings()
    assert "1 of 10 simulations have the params of another one" in said
    params = haloes()["params"]
    params[0] += 1
    (said,) = config_of(npz(params=params)).data_warnings()
    assert f"params differ between haloes of 1 of 10 simulations, first {2**40}" in said
