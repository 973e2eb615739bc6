"""Data sets, built once per node into a cache behind a lock, and memory-mapped from there."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock

from trainables._shared.artifact_names import ARTIFACTS, folder_name
from trainables._shared.data_files import Source, read_npz
from trainables._shared.node_cache import default_cache


class NotFetchedError(ValueError):
    """A data set that comes from elsewhere, and has not been fetched."""


class DatasetStore:
    """A folder of data sets, each a folder of `.npy` files that appears whole or not at all."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_cache()) / "datasets"

    def path(self, name: str, recipe: str) -> Path:
        """Return where a data set lies; another recipe (generator version, options) is another data set."""
        readable = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        digest = hashlib.sha256(f"{name} {recipe}".encode()).hexdigest()[:12]
        return self.root / f"{readable}-{digest}"

    def get(self, name: str, recipe: str, build: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays of a data set, memory-mapped and read-only; the first caller on a node builds them.

        `recipe` says how it is made (version and options); `build` is called at most once per node and recipe.
        """
        folder = self.path(name, recipe)
        if not folder.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.is_dir():
                    self._write(folder, build())
        return {file.stem: np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}

    def fetched(self, name: str, field: str = "dataset") -> dict[str, np.ndarray]:
        """Return the arrays of a data set that is a W&B artifact, from its `.npz` and `.npy` files, memory-mapped.

        The first caller on a node copies them from where the launch has put them; no network is asked. Raises
        NotFetchedError where they are in neither place, and ConfigError, which names the config's `field`, if a file
        cannot be read.
        """

        def read() -> dict[str, np.ndarray]:
            folder = Path(os.environ.get(ARTIFACTS, "")) / folder_name(name)
            if ARTIFACTS not in os.environ or not folder.is_dir():
                raise NotFetchedError(
                    f"{name} is not on this machine: `swell run` and `swell launch` fetch it into the search "
                    "directory, from where every node has it"
                )
            return _arrays(name, folder, field)

        return self.get(name, "fetched", read)

    def _write(self, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=self.root))
        try:
            for name, array in arrays.items():
                np.save(unfinished / f"{name}.npy", array)
            unfinished.replace(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


def _arrays(name: str, folder: Path, field: str) -> dict[str, np.ndarray]:
    """Return the arrays of an artifact's files: of a `.npz` by their names in it, of a `.npy` by the file's."""
    found: dict[str, np.ndarray] = {}
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".npz", ".npy")):
        # No pickles: whoever can write to the project could run code here.
        if file.suffix == ".npz":
            arrays = read_npz(Source(f"{name}: {file.name}", field, file), "arrays of numbers", None)
        else:
            arrays = {file.stem: np.load(file, allow_pickle=False)}
        if twice := sorted(set(found) & set(arrays)):
            raise ValueError(f"{name} has the array {twice[0]} in more than one file")
        found |= arrays
    if not found:
        raise ValueError(f"{name} holds no .npz or .npy file")
    return found
