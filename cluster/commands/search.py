"""Makes a search: its directory, its resolved spec, and the record of where it came from."""

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cluster.machine.files import read_json, write_json, write_text
from cluster.machine.user import user_name
from cluster.machine.variables import settings
from cluster.state.code import code_of_trial, imported_later, keep_code, repository_facts, take_code
from cluster.state.paths import SearchPaths, new_search_directory
from cluster.state.records import launched_from, method_folders
from cluster.state.sources import git, sources_of
from cluster.study.inputs import note_inputs
from cluster.tracking.artifacts import fetch_artifacts
from cluster.tracking.code import place_code
from search_spaces.spec import Spec
from trainables._shared.discovery import found_in

CURRENT = "current"
"""Instead of a code's id: the method's modules as they are now."""
PACKAGES = ("swell", "ray", "optuna", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def provenance() -> dict[str, Any]:
    """Return what is needed to say later how a result came about."""
    here = Path(__file__).parent
    changes = git(here, "status", "--porcelain")
    return {
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "working_directory": str(Path.cwd()),
        "host": socket.gethostname(),
        "user": user_name(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "git_commit": git(here, "rev-parse", "HEAD"),
        "git_dirty": bool(changes) if changes is not None else None,
        "environment": settings(os.environ),
    }


def _inherited(origin: SearchPaths | None) -> dict[str, Any]:
    known = (read_json(origin.provenance) or {}) if origin is not None else {}
    return {name: known[name] for name in ("working_directory", "environment") if name in known}


def place_sources(paths: SearchPaths, spec: Spec, origin: SearchPaths | None = None, code: str = "") -> None:
    """Copy a method's modules into a search, from where they are now, or from another search, `origin`.

    `code` says which of the origin's codes to copy. The provenance notes which repository the modules are from.
    """
    if code != CURRENT and origin is not None and (folder := code_of_trial(origin, code)) is not None:
        take_code(paths, folder)
        return
    launch = launched_from(paths)
    with found_in(*method_folders(paths)):
        sources = sources_of(spec.trainable, launch, imported_later(paths))
    if sources.files:
        keep_code(paths, sources)
        facts = {**read_json(paths.provenance), "method": repository_facts(sources)}
        write_json(paths.provenance, facts)


def create_search(
    spec: Spec,
    source: Path,
    name: str | None = None,
    origin: SearchPaths | None = None,
    code: str = "",
    searched: Mapping[str, Sequence[Any]] | None = None,
    warnings: Sequence[str] = (),
) -> SearchPaths:
    """Make the search directory of a checked spec and return its paths.

    `searched` are the values of fields of which several can share one program, `warnings` what the launch has printed.

    The modules of its method are copied into it. If it has an `origin`, they are copied from that search's `code`, and
    the new search works in the folder and with the settings of the origin's launch.

    Data sets and code that the spec names as W&B artifacts are copied from the origin if that has them, else fetched;
    raises ArtifactError if they cannot be fetched.
    """
    paths = new_search_directory(name or spec.name)
    paths.make_folders()
    try:
        shutil.copyfile(source, paths.spec_source)
        noted = {"warnings": list(warnings)} if warnings else {}
        write_json(paths.provenance, provenance() | _inherited(origin) | noted)
        spec = place_code(paths, fetch_artifacts(paths, spec, origin), origin)
        note_inputs(paths, spec)
        write_text(paths.spec, spec.model_dump_json(indent=1) + "\n")
        # A trial of another search gets the same numbers only in company of the same values.
        searched = read_json(origin.branches) if origin is not None else searched
        if searched:
            write_json(paths.branches, dict(searched))
        place_sources(paths, spec, origin, code)
    except BaseException:  # also a full disk: nothing half made stays
        shutil.rmtree(paths.root, ignore_errors=True)
        raise
    return paths
