"""Making a search: its directory, its resolved spec, and where it came from."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cluster.files import write_json, write_text
from cluster.paths import SearchPaths, new_search_directory
from search_spaces.spec import Spec

PACKAGES = ("swell", "ray", "optuna", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy")


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *command], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def provenance() -> dict[str, Any]:
    """Return what is needed to say later how a result came about."""
    changes = _git("status", "--porcelain")
    return {
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "working_directory": str(Path.cwd()),
        "host": socket.gethostname(),
        "user": os.environ.get("USER", str(os.getuid())),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(changes) if changes is not None else None,
    }


def create_search(spec: Spec, source: Path, name: str | None = None) -> SearchPaths:
    """Make the search directory of a checked spec and return its paths."""
    paths = new_search_directory(name or spec.name)
    paths.make_folders()
    shutil.copyfile(source, paths.spec_source)
    write_json(paths.provenance, provenance())
    write_text(paths.spec, spec.model_dump_json(indent=1) + "\n")
    return paths
