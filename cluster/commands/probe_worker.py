"""Times one program in a process of its own: reads {trainable, config} on stdin, writes what it measured on stdout.

The process that starts it sets the thread caps; whatever goes wrong here ends this process alone.
"""

import contextlib
import json
import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

from cluster.machine.resources import xla_pool_threads
from cluster.worker.directory import enter_working_directory
from trainables._shared.contract import Phase
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_config_type, load_method
from trainables._shared.program import FAILURES, Program, Span
from trainables._shared.training import Training, phase_numbers

MEASURED_S = 1.0
"""Seconds of training per phase that give its pace."""


def measure(trainable: str, config: dict[str, Any], searched: dict[str, list[Any]]) -> dict[str, Any]:
    """Return seconds of data, compilation, each phase's step and a report, and the peak memory of one trial."""
    enter_working_directory()
    start = time.perf_counter()
    method = load_method(trainable)
    parsed = load_config_type(trainable).of_values(config)
    imported = time.perf_counter()
    data = method.trial_data(parsed, DatasetStore())
    loaded = time.perf_counter()
    training = Training(Program(method, parsed, searched), parsed, data)
    phases = [
        {"steps": phase.steps, "step_s": _step_seconds(training, phase, jax.device_put(arrays))}
        for phase, arrays in zip(training.phases, data.phases, strict=True)
    ]
    validation = jax.device_put(data.validation)
    report_s = [_timed(training, "validate", training.state.params, training.scoring, validation) for _ in range(2)][-1]
    return {
        "import_s": imported - start,
        "data_s": loaded - imported,
        "compile_s": training.program.compile_s,
        "phases": phases,
        "report_s": report_s,
        "tests_s": _timed_tests(training),
        "report_every": parsed.report_every,
        "model_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(training.state.params)) / 1e6,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": xla_pool_threads(),
        "ending": FAILURES[int(training.state.failure)],
    }


def _step_seconds(training: Training, phase: Phase, arrays: Any) -> float:
    """Return the seconds of one step, measured over chunks that grow until they take long enough."""
    _chunk(training, phase, arrays, 1)
    num_steps = 1
    while True:
        elapsed = _chunk(training, phase, arrays, num_steps)
        if elapsed >= MEASURED_S / 2 or num_steps >= phase.steps:
            return elapsed / num_steps
        # A chunk's time is proportional to its steps: aim at the full measuring time at once.
        num_steps = min(phase.steps, max(2 * num_steps, int(MEASURED_S * num_steps / max(elapsed, 1e-4))))


def _chunk(training: Training, phase: Phase, arrays: Any, num_steps: int) -> float:
    span = Span(
        jnp.asarray(num_steps, jnp.int32),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(num_steps, jnp.int32),
    )
    start = time.perf_counter()
    compiled = training.program.compile_s
    training.state, _ = jax.block_until_ready(
        training.program.run("chunk", training.state, phase_numbers(training.hyper, phase), span, arrays)
    )
    return time.perf_counter() - start - (training.program.compile_s - compiled)


def _timed(training: Training, name: str, *args: Any) -> float:
    compiled = training.program.compile_s
    start = time.perf_counter()
    jax.block_until_ready(training.program.run(name, *args))
    return time.perf_counter() - start - (training.program.compile_s - compiled)


def _timed_tests(training: Training) -> float:
    """Return the seconds of measuring the present model on the test sets."""
    compiled = training.program.compile_s
    start = time.perf_counter()
    training.test(training.state.params)
    return time.perf_counter() - start - (training.program.compile_s - compiled)


if __name__ == "__main__":
    request = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # keep a method's prints out of the result
        result = measure(request["trainable"], request["config"], request["searched"])
    json.dump(result, sys.stdout)
