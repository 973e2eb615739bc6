"""Node-local scratch: everything disposable of a wave under one short, owned folder, deleted when the wave is over."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from cluster.processes import identity

OWNER_FILE = "owner.json"


LONGEST_ROOT = 43 - len("/swell-12345678/r")
"""Characters of a root below which Ray's socket paths, 64 more, stay within a socket's 107 bytes."""


class ScratchError(ValueError):
    """The folder for scratch cannot be used."""


def scratch_root() -> Path:
    """Return where scratch folders are made: `$SWELL_SCRATCH`, else the system's folder for temporary files.

    Raises ScratchError for one that cannot be used.
    """
    root = Path(os.environ.get("SWELL_SCRATCH") or tempfile.gettempdir()).resolve()
    if len(str(root)) > LONGEST_ROOT:
        raise ScratchError(
            f"scratch folder {root} has {len(str(root))} characters, at most {LONGEST_ROOT} are allowed: Ray's sockets "
            "lie below it. Set SWELL_SCRATCH to a shorter path"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScratchError(f"scratch folder {root} cannot be made: {error.strerror}. Set SWELL_SCRATCH") from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise ScratchError(f"scratch folder {root} is not writable. Set SWELL_SCRATCH to one that is")
    return root


class Scratch:
    """One wave's scratch folder: Ray's sessions, Tune's directory and TMPDIR."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls) -> "Scratch":
        """Make a new folder, owned by this process and private to its user."""
        path = Path(tempfile.mkdtemp(prefix="swell-", dir=scratch_root()))
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
