"""Data sets from W&B artifacts: a stand-in for wandb on the path of the process that fetches."""

import json

import numpy as np
import pytest

from cluster.commands.search import create_search
from cluster.machine.scratch import Scratch
from cluster.state.records import load_spec
from cluster.tracking.artifacts import ArtifactError, artifact_names
from cluster.worker.environment import driver_environment
from tests.searching import make_spec
from tests.tracking import environment
from trainables._shared.artifact_names import ARTIFACTS, folder_name, is_artifact
from trainables._shared.config import ConfigError
from trainables._shared.datasets import DatasetStore, NotFetchedError
from trainables.two_body.config import Config
from trainables.two_body.data import check_fetched, generate
from trainables.two_body.dataset_names import parse_dataset

WANDB = """
import json, os, pathlib, shutil
calls = pathlib.Path(os.environ["FAKE_WANDB"])

class Artifact:
    version = "v3"

    def __init__(self, name):
        self.name = name

    def download(self, root):
        with (calls / "calls").open("a") as file:
            file.write(json.dumps([self.name, {k: v for k, v in os.environ.items() if k.startswith("WANDB_")}]) + "\\n")
        print("wandb:   1 of 1 files downloaded.")
        shutil.copy(calls / "orbits.npz", root)

class Api:
    def artifact(self, name):
        if "missing" in name:
            raise ValueError("artifact membership 'missing:v0' not found\\nin 'lab/orbits'")
        return Artifact(name)
"""
NAME = "wandb:lab/orbits/leo:latest"
TWO_BODY = {"trainable": "two_body", "objective": {"metric": "val_accel_error_pct"}, "space": {"width": [16, 32]}}
FETCHED = {"planar": True, "val_dataset": "training", "test_datasets": ["simple_TBP_planar_1_test"]}


@pytest.fixture
def calls(tmp_path, searches, monkeypatch):
    """The log of what was fetched; the process that fetches finds a wandb of the test's own."""
    place = tmp_path / "fake"
    place.mkdir()
    (place / "wandb.py").write_text(WANDB)
    orbits = generate(
        parse_dataset("simple_TBP_planar_4_train"), fix_nu0=False, sampling="mean_anomaly", missing_tail=0
    )
    np.savez(place / "orbits.npz", **orbits)
    for name, value in environment(tmp_path, FAKE_WANDB=str(place)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(place))
    monkeypatch.setenv("SWELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.chdir(tmp_path / "cwd")
    return place / "calls"


def make(tmp_path, **parts):
    source = tmp_path / "source.yaml"
    source.write_text("")
    return create_search(make_spec(**parts), source)


def fetched(calls):
    return [json.loads(line)[0] for line in calls.read_text().splitlines()] if calls.exists() else []


def test_a_launch_fetches_what_the_spec_names_and_notes_the_version(calls, tmp_path):
    paths = make(tmp_path, **TWO_BODY, base={"dataset": NAME, **FETCHED})
    spec = load_spec(paths)
    assert spec.base["dataset"] == "wandb:lab/orbits/leo:v3"
    assert fetched(calls) == ["lab/orbits/leo:latest"]
    (folder,) = paths.artifacts.iterdir()
    assert folder.name == folder_name("wandb:lab/orbits/leo:v3")
    assert [file.name for file in folder.iterdir()] == ["orbits.npz"]
    told = json.loads(calls.read_text().splitlines()[0])[1]
    assert all(str(tmp_path / "s") in told[f"WANDB_{name}_DIR"] for name in ("CACHE", "CONFIG", "ARTIFACT"))
    assert list((tmp_path / "home").rglob("*")) == list((tmp_path / "cwd").rglob("*")) == []
    assert list((tmp_path / "s").iterdir()) == []


def test_choices_are_fetched_too_each_once(calls, tmp_path):
    space = {"dataset": [NAME, "wandb:lab/orbits/geo:v0"]}
    paths = make(tmp_path, **{**TWO_BODY, "space": space}, base=FETCHED)
    assert sorted(fetched(calls)) == ["lab/orbits/geo:v0", "lab/orbits/leo:latest"]
    assert load_spec(paths).space["dataset"].labels == ("wandb:lab/orbits/leo:v3", "wandb:lab/orbits/geo:v3")


def test_what_cannot_be_fetched_is_said_and_leaves_no_search(calls, tmp_path, searches):
    with pytest.raises(ArtifactError) as error:
        make(tmp_path, **TWO_BODY, base={"dataset": "wandb:lab/orbits/missing:v0", **FETCHED})
    assert str(error.value) == (
        "wandb:lab/orbits/missing:v0 could not be fetched: artifact membership 'missing:v0' not found in 'lab/orbits'"
    )
    assert list(searches.iterdir()) == []


def test_a_spec_without_artifacts_starts_nothing(calls, tmp_path):
    paths = make(tmp_path)
    assert not paths.artifacts.exists()
    assert not paths.spool.exists()


def test_a_fetched_data_set_is_read_on_every_node_without_a_network_and_trains(calls, tmp_path, monkeypatch):
    from trainables.two_body.method import method

    paths = make(tmp_path, **TWO_BODY, base={"dataset": NAME, **FETCHED})
    spec = load_spec(paths)
    told = driver_environment(spec, paths, Scratch.create({}), "token", 1)
    monkeypatch.setenv(ARTIFACTS, told[ARTIFACTS])
    config = Config(**{**spec.base, "test_datasets": tuple(spec.base["test_datasets"])})
    data = method.data(config, DatasetStore())
    generated = method.data(config.model_copy(update={"dataset": "simple_TBP_planar_4_train"}), DatasetStore())
    np.testing.assert_array_equal(data.phases[0].y, generated.phases[0].y)
    monkeypatch.delenv(ARTIFACTS)  # in the node's cache by now
    np.testing.assert_array_equal(method.data(config, DatasetStore()).phases[0].t, generated.phases[0].t)


def test_a_data_set_that_was_not_fetched_says_how(calls, tmp_path, monkeypatch):
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "empty"))
    with pytest.raises(NotFetchedError, match="wandb:lab/orbits/leo:v3 is not on this machine: `swell run` and"):
        DatasetStore().fetched("wandb:lab/orbits/leo:v3")


def test_an_artifact_with_other_arrays_is_refused_with_those_it_must_hold():
    with pytest.raises(ValueError, match=r"must hold the arrays y \(orbits, 360, 6\) and t .*, but it has x \(3, 2\)"):
        check_fetched("wandb:a/b/c:v0", {"x": np.zeros((3, 2))}, 0.0)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"val_dataset": "wandb:a/b/c:v0"}, "val_dataset"),
        ({"dataset": "wandb:a/b/c:v0", "planar": True, "val_dataset": "training"}, "dataset"),
    ],
)
def test_what_is_wrong_with_an_artifact_is_said_of_the_field_that_names_it(tmp_path, monkeypatch, fields, field):
    from trainables.two_body.method import method

    folder = tmp_path / folder_name("wandb:a/b/c:v0")
    folder.mkdir()
    monkeypatch.setenv(ARTIFACTS, str(tmp_path))
    config = Config(**{"test_datasets": ("simple_TBP_planar_1_test",), **fields})
    for content, why in ((b"PK\x03\x04 cut off", "cannot be read"), (None, "must hold the arrays")):
        if content is None:
            np.savez(folder / "orbits.npz", x=np.zeros(3))
        else:
            (folder / "orbits.npz").write_bytes(content)
        with pytest.raises(ConfigError, match=f"^{field} = 'wandb:a/b/c:v0.*{why}"):
            method.data(config, DatasetStore(tmp_path / f"cache {why}"))


def test_a_missing_tail_is_made_of_a_fetched_data_set_too():
    orbits = generate(
        parse_dataset("simple_TBP_planar_2_train"), fix_nu0=False, sampling="mean_anomaly", missing_tail=0
    )
    y, t = orbits["y"], orbits["t"]
    assert np.isnan(check_fetched("n", {"y": y, "t": t}, 0.25)["y"][:, 270:]).all()
    assert np.isfinite(check_fetched("n", {"y": y, "t": t}, 0.25)["y"][:, :270]).all()
    assert np.isfinite(y).all()


def test_arrays_that_are_pickles_are_not_loaded(tmp_path, monkeypatch):
    folder = tmp_path / folder_name("wandb:a/b/c:v0")
    folder.mkdir()
    np.save(folder / "y.npy", np.array([{"code": 1}]), allow_pickle=True)
    monkeypatch.setenv(ARTIFACTS, str(tmp_path))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        DatasetStore(tmp_path / "cache").fetched("wandb:a/b/c:v0")


def test_what_a_fetched_set_cannot_tell_must_be_given():
    for leave_out in FETCHED:
        given = {name: value for name, value in FETCHED.items() if name != leave_out}
        with pytest.raises(ValueError, match=f"{leave_out} = .*cannot be told from a fetched dataset"):
            Config(dataset="wandb:lab/orbits/leo:v3", **given)
    with pytest.raises(ValueError, match="cannot be fetched"):
        Config(dataset="wandb:lab/orbits/leo:v3", **{**FETCHED, "test_datasets": ("wandb:lab/orbits/leo:v3",)})


@pytest.mark.parametrize("name", ["wandb:orbits", "wandb:lab/orbits/leo", "wandb:lab/orbits/leo:", "wandb:a/b/c d:v0"])
def test_a_name_that_is_none_says_the_pattern(name):
    with pytest.raises(ValueError, match="must be wandb:ENTITY/PROJECT/NAME:VERSION"):
        is_artifact(name)
    with pytest.raises(ArtifactError, match="must be wandb:ENTITY"):
        artifact_names(make_spec(base={"steps": name}))
    with pytest.raises(ValueError, match="must be wandb:ENTITY"):
        Config(dataset=name)
    with pytest.raises(ValueError, match="is no name of a W&B artifact"):
        make_spec(code=name)


def test_folders_of_artifacts_do_not_meet():
    names = ["wandb:a/b/c:v0", "wandb:a/b_c:v0", "wandb:a_b/c:v0", "wandb:a/b/c:v1"]
    assert len({folder_name(name) for name in names}) == 4
    assert all("/" not in folder_name(name) for name in names)


@pytest.mark.parametrize("damage", [lambda data: data[:-30], lambda data: b"", lambda data: b"\x93NUMPY" + data])
def test_a_damaged_file_of_an_artifact_is_named(tmp_path, monkeypatch, damage):
    folder = tmp_path / folder_name("wandb:a/b/c:v0")
    folder.mkdir()
    np.savez(folder / "orbits.npz", y=np.zeros(3))
    (folder / "orbits.npz").write_bytes(damage((folder / "orbits.npz").read_bytes()))
    monkeypatch.setenv(ARTIFACTS, str(tmp_path))
    with pytest.raises(ConfigError, match=r"dataset = 'wandb:a/b/c:v0: orbits.npz': cannot be read: "):
        DatasetStore(tmp_path / "store").fetched("wandb:a/b/c:v0")
