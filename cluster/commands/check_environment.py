"""Checks that JAX starts with the variables that the user has set, as every trial needs."""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from cluster.doctor.threads import WorkerError, run_worker
from cluster.machine.files import write_text
from cluster.machine.scratch import ScratchError, node_cache
from cluster.machine.variables import settings
from cluster.worker.environment import Origin, training_environment
from search_spaces.errors import Problem
from search_spaces.sections import Resources


def environment_problems(resources: Resources, code: Path | None = None) -> list[Problem]:
    """Return the problems of variables that change numbers, as JAX reports them in a process of its own.

    No process is started if no such variable is set, or if the same ones have worked on this node before.
    """
    given = settings(os.environ)
    if not given:
        return []
    try:
        environment = training_environment(resources, Origin.here(code)) | {"JAX_PLATFORMS": "cpu"}
        seen = _seen(given)
    except ScratchError:
        return []  # create_search reports it
    if seen.exists():
        return []
    try:
        run_worker("jax", environment=environment)
    except WorkerError as error:
        named = [f"{name}={value}" for name, value in given.items() if name in str(error)]
        what = ", ".join(named or [f"{name}={value}" for name, value in given.items()])
        return [Problem((), f"no trial could start with {what} in the environment: {error}")]
    write_text(seen, "")
    return []


def _seen(given: dict[str, str]) -> Path:
    """Return the file that exists if these variables have worked on this node with the installed JAX."""
    folder = node_cache() / "settings-seen"
    folder.mkdir(mode=0o700, exist_ok=True)
    text = json.dumps([given, version("jax"), version("jaxlib")])
    return folder / hashlib.sha256(text.encode()).hexdigest()[:16]
