"""Measures in a process of its own what a trial's process would get; writes JSON on stdout.

Run as `python -P -m cluster.doctor.worker jax [TRAINABLE]` or `... ray`, with a trial's environment set already.
"""

import contextlib
import importlib
import json
import os
import sys
import time
from collections import Counter
from importlib.metadata import entry_points
from typing import Any

from cluster.machine.memory import peak_memory_mb
from cluster.machine.resources import THREAD_VARIABLES, xla_pool_threads


def measure_jax(trainable: str | None = None) -> dict[str, Any]:
    """Return the threads of XLA's pool after one computation, the devices, and whether the method can be loaded."""
    import jax

    jax.block_until_ready(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((64, 64))))
    measured: dict[str, Any] = {
        "pool_threads": xla_pool_threads(),
        "variables": {name: os.environ.get(name, "") for name in THREAD_VARIABLES},
        "platforms": dict(Counter(device.platform for device in jax.devices())),
        "plugins": sorted({plugin.name for plugin in entry_points(group="jax_plugins")}),
        "memory_gb": peak_memory_mb() * 2**20 / 1e9,
    }
    if trainable is not None:
        measured |= _load(trainable)
    return measured


def _load(trainable: str) -> dict[str, Any]:
    from cluster.worker.directory import enter_working_directory
    from trainables._shared.discovery import load_method

    enter_working_directory()
    start = time.perf_counter()
    try:
        load_method(trainable)
    except (Exception, SystemExit) as error:  # a user's own module may raise anything; the user reads it
        return {"trainable_failure": f"{type(error).__name__}: {error}"}
    return {"trainable_s": time.perf_counter() - start}


def measure_ray() -> dict[str, Any]:
    """Return how long the import of Ray Tune takes."""
    start = time.perf_counter()
    importlib.import_module("ray.tune")  # starts nothing
    return {"import_s": time.perf_counter() - start}


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # keep a module's prints out of the result
        result = measure_ray() if what == "ray" else measure_jax(*arguments)
    json.dump(result, sys.stdout)
