"""Makes a search: its directory, its resolved spec, and the record of where it came from."""

import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cluster.machine.files import write_json, write_text
from cluster.machine.user import user_name
from cluster.state.paths import SearchPaths, new_search_directory
from cluster.study.inputs import note_inputs
from cluster.tracking.artifacts import fetch_artifacts
from cluster.tracking.code import place_code
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
    """Return what one needs to know later to say how a result came about: versions, commits, host and command."""
    changes = _git("status", "--porcelain")
    return {
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "working_directory": str(Path.cwd()),
        "host": socket.gethostname(),
        "user": user_name(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(changes) if changes is not None else None,
    }


def create_search(spec: Spec, source: Path, name: str | None = None, origin: SearchPaths | None = None) -> SearchPaths:
    """Make the search directory of a checked spec and return its paths.

    Data sets and code that the spec names as W&B artifacts are copied from another search, `origin`, if that has them,
    else fetched. Raises ArtifactError if they cannot be fetched.
    """
    paths = new_search_directory(name or spec.name)
    paths.make_folders()
    try:
        shutil.copyfile(source, paths.spec_source)
        write_json(paths.provenance, provenance())
        spec = place_code(paths, fetch_artifacts(paths, spec, origin), origin)
        note_inputs(paths, spec)
        write_text(paths.spec, spec.model_dump_json(indent=1) + "\n")
    except BaseException:  # also on a full disk: leave nothing half made
        shutil.rmtree(paths.root, ignore_errors=True)
        raise
    return paths
