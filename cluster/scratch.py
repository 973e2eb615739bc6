"""Node-local scratch: everything disposable of a wave under one short, owned folder, deleted when the wave is over."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from cluster.processes import identity

OWNER_FILE = "owner.json"


def scratch_root() -> Path:
    """Return where scratch folders are made: `$SWELL_SCRATCH`, else the system's folder for temporary files.

    It must be short: Ray's socket paths lie below it and may have 107 bytes.
    """
    return Path(os.environ.get("SWELL_SCRATCH") or tempfile.gettempdir())


class Scratch:
    """One wave's scratch folder: Ray's sessions, Tune's directory and TMPDIR."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls) -> "Scratch":
        """Make a new folder, owned by this process and private to its user."""
        root = scratch_root()
        root.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(prefix="swell-", dir=root)).resolve()
        (path / OWNER_FILE).write_text(json.dumps(identity()))
        scratch = cls(path)
        for folder in (scratch.ray, scratch.tune, scratch.tmp):
            folder.mkdir()
        return scratch

    @property
    def ray(self) -> Path:
        """Ray's temporary directory."""
        return self.path / "r"

    @property
    def tune(self) -> Path:
        """Tune's own directory; nothing in it is ever read."""
        return self.path / "tune"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the driver and its workers."""
        return self.path / "tmp"

    def used_bytes(self) -> int:
        """Return what the folder takes on the disk."""
        total = 0
        for folder, _, files in os.walk(self.path):
            for file in files:
                try:
                    total += os.lstat(os.path.join(folder, file)).st_blocks * 512  # noqa: PTH118  # 3x faster
                except OSError:  # gone meanwhile
                    continue
        return total

    def delete(self) -> int:
        """Delete the folder and return the bytes freed; only ever one that carries our owner file."""
        if not (self.path / OWNER_FILE).is_file():
            return 0
        freed = self.used_bytes()
        shutil.rmtree(self.path, ignore_errors=True)
        return freed
