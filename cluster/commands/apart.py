"""Asks a process of its own, which may import JAX and a method, and may die of it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.worker.environment import Origin, training_environment
from search_spaces.sections import Resources

TIMEOUT_S = 600.0
"""Longest that such a process may take: the compilation of the largest program and a few seconds of training."""


class ProcessError(RuntimeError):
    """The process failed; the text says why."""


def run_apart(module: str, request: Mapping[str, Any], resources: Resources, code: Path | None = None) -> Any:
    """Run a module that reads a request as JSON, with a trial's environment, and return what it writes as JSON.

    `code` is the folder of the method's W&B artifact, if any. Raises ProcessError if the process fails.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=training_environment(resources, Origin.here(code)),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProcessError(f"took longer than {TIMEOUT_S:.0f} s") from None
    if done.returncode < 0:
        raise ProcessError(f"ended by signal {-done.returncode}; 9 is often the lack of memory")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        # JAX adds lines about its frames after a traceback: the error is the last line that is no indented dashes.
        said = [line for line in lines if line[0] not in " -" and "Error" in line.split(":")[0]]
        raise ProcessError((said or lines or [f"exit status {done.returncode}"])[-1])
    return json.loads(done.stdout)
