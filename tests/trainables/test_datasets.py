import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables._shared.node_cache import default_cache

ROOT = Path(__file__).parents[2]


BUILD_SLOWLY = """
import sys, time
from pathlib import Path
import numpy as np
from trainables._shared.datasets import DatasetStore

folder, me = Path(sys.argv[1]), sys.argv[2]

def build():
    (folder / f"built-{me}").touch()
    time.sleep(0.5)
    return {"a": np.arange(6.0), "b": np.ones((2, 2))}

(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
arrays = DatasetStore(folder).get("orbits", "v1", build)
print(arrays["a"].sum(), type(arrays["a"]).__name__)
"""


def test_a_data_set_is_built_once_by_two_processes_and_never_seen_half_built(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD_SLOWLY, tmp_path, me], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for me in "12"
    ]
    while len(list(tmp_path.glob("ready-*"))) < 2:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    folder = DatasetStore(tmp_path).path("orbits", "v1")
    seen = set()
    while any(worker.poll() is None for worker in workers):
        if folder.is_dir():
            seen.add(tuple(sorted(file.name for file in folder.iterdir())))
        time.sleep(0.001)
    seen.add(tuple(sorted(file.name for file in folder.iterdir())))  # at the latest now, however busy the machine is
    assert [worker.communicate()[0] for worker in workers] == ["15.0 memmap\n"] * 2
    assert len(list(tmp_path.glob("built-*"))) == 1
    assert seen == {("a.npy", "b.npy")}


def test_a_failed_build_leaves_nothing_and_the_next_one_succeeds(tmp_path):
    store = DatasetStore(tmp_path)

    def fail():
        raise RuntimeError("no orbits today")

    with pytest.raises(RuntimeError, match="no orbits today"):
        store.get("orbits", "v1", fail)
    assert not store.path("orbits", "v1").exists()
    assert store.get("orbits", "v1", lambda: {"a": np.ones(2)})["a"].sum() == 2


def test_a_failed_write_leaves_no_half_data_set(tmp_path):
    store = DatasetStore(tmp_path)
    with pytest.raises(ValueError, match="setting an array element"):
        store.get("orbits", "v1", lambda: {"a": np.ones(2), "b": [[1], [1, 2]]})
    assert [path.name for path in store.root.iterdir() if path.is_dir()] == []


def test_another_recipe_is_another_data_set(tmp_path):
    store = DatasetStore(tmp_path)
    for recipe, value in (("v1", 1), ("v2", 2), ("v1", 3)):
        store.get("a set/of orbits", recipe, lambda value=value: {"a": np.full(1, value)})
    values = [store.get("a set/of orbits", recipe, dict)["a"][0] for recipe in ("v1", "v2")]
    assert values == [1, 2]


def test_data_sets_cannot_be_written_to(tmp_path):
    arrays = DatasetStore(tmp_path).get("a", "v1", lambda: {"a": np.ones(2)})
    with pytest.raises(ValueError, match="read-only"):
        arrays["a"][0] = 5


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SWELL_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("SWELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "swell"
