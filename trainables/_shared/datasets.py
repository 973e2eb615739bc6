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


def default_cache() -> Path:
    """Return the node's cache: `$SWELL_CACHE`, else `swell` under the user's cache folder."""
    chosen = os.environ.get("SWELL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "swell"


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

    def _write(self, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=self.root))
        try:
            for name, array in arrays.items():
                np.save(unfinished / f"{name}.npy", array)
            unfinished.replace(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
