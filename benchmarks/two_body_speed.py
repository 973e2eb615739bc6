"""Optimiser steps per second of two-body training, by solver; compile time apart; what a second trial compiles.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.two_body_speed
    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.two_body_speed --in-turn

200 segments of 18 samples, all in each batch, MLP 64x2, the source's setting (`preset: source`), one core. Every
variant runs in a process of its own, one after the other: first without, then with what the first left in a persistent
compilation cache. `diffrax` is the same training through a vmapped `diffrax.diffeqsolve` at the tolerances of
`adaptive`.

With `--in-turn`, per_sample, mesh, and mesh in a program that the quick start's heads and activations share train in
one process, a few steps each, again and again, and CPU seconds are counted: their ratios hold on a machine that other
work uses too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "per_sample": {"solver": "per_sample"},
    "mesh": {"solver": "mesh"},
    "adaptive": {"solver": "adaptive"},
    "diffrax": {"solver": "adaptive"},
    "per_sample tanh": {"solver": "per_sample", "activation": "tanh"},
    "mesh tanh": {"solver": "mesh", "activation": "tanh"},
    "adaptive tanh": {"solver": "adaptive", "activation": "tanh"},
    "diffrax tanh": {"solver": "adaptive", "activation": "tanh"},
}
SEARCHED = {
    "head": ["mlp_4D_signed", "mlp_4D_logmag_unit_exp", "mlp_4D_unit_softplus", "mlp_4D_softplus"],
    "activation": ["leaky_relu", "tanh"],
}
"""The heads and activations of the quick start, which share its programs."""
IN_TURN: dict[str, dict[str, Any]] = {
    "10 orbits, segment 18": {},
    "10 orbits, segment 18, tanh": {"activation": "tanh"},
    "1 orbit, segment 18": {"dataset": "complex_TBP_planar_1_train"},
    "100 orbits, segment 10": {"dataset": "complex_TBP_planar_100_train", "segment_length": 10},
    "100 orbits, segment 4": {"dataset": "complex_TBP_planar_100_train", "segment_length": 4},
    "10 orbits, segment 36": {"segment_length": 36},
    "10 orbits, segment 90": {"segment_length": 90},
}


def use_diffrax() -> None:
    """Make the peer: diffrax's own adaptive solve of every segment, in place of ours."""
    import diffrax
    import jax
    import jax.numpy as jnp

    from trainables.two_body import method
    from trainables.two_body.solvers import Field, Solution

    def adaptive(field: Field, y0: Any, t: Any, rtol: Any, atol: Any, max_steps: int) -> Solution:
        def one(y0: Any, t: Any) -> Any:
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, y, args: field(y[:, None])[:, 0]),  # pyright: ignore[reportArgumentType]
                diffrax.Tsit5(), t[0], t[-1], t[1], y0,
                saveat=diffrax.SaveAt(ts=t[1:]),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
                max_steps=max_steps,
                throw=False,
            )  # fmt: skip
            return solution.ys, solution.result == diffrax.RESULTS.successful

        y, solved = jax.vmap(one, in_axes=1, out_axes=(2, 0))(y0, t)
        y = jnp.where(jnp.isfinite(y), y, 0.0)
        return Solution(y, jnp.zeros_like(y), jnp.all(solved), jnp.full((), jnp.nan))

    method.adaptive = adaptive


def measure(variant: str, num_steps: int) -> dict[str, float]:
    """Return the measurements of one variant, made in this process."""
    from trainables._shared.datasets import DatasetStore
    from trainables._shared.program import Program
    from trainables._shared.training import Training
    from trainables.two_body.config import Config
    from trainables.two_body.method import method

    if variant.startswith("diffrax"):
        use_diffrax()
    config = Config(
        dataset="complex_TBP_planar_10_train", batch_size=200, report_every=num_steps, steps=3 * num_steps,
        **{**Config.presets["source"], **VARIANTS[variant]},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        data = method.data(config, DatasetStore(Path(folder)))
    program = Program(method, config)

    def train() -> tuple[list[float], float]:
        training, rates = Training(program, config, data), []
        while True:
            compiled, start = program.compile_s, time.perf_counter()
            report = training.advance()
            rates.append(num_steps / (time.perf_counter() - start - (program.compile_s - compiled)))
            if report.ending:
                return rates, report.metrics["val_accel_error_pct"]

    rates, error = train()
    compilations, compile_s = program.compilations, program.compile_s
    again, _ = train()
    return {
        "steps_per_s": max(rates[1:] + again[1:]),
        "first_steps_per_s": rates[0],
        "compile_s": compile_s,
        "second_trial_compilations": program.compilations - compilations,
        "error": error,
    }


def in_a_process_of_its_own(variant: str, num_steps: int, cache: str) -> dict[str, float]:
    """Return the measurements of one variant, made in a new process with this compilation cache."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, __file__, "--variant", variant, "--steps", str(num_steps)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def trained_in_turn(name: str, num_steps: int, rounds: int) -> str:
    """Return a row: CPU milliseconds of a step and CPU seconds of compiling one, in turn.

    Of per_sample, mesh, and mesh in a program with SEARCHED branches.
    """
    import jax
    import jax.numpy as jnp

    from trainables._shared.datasets import DatasetStore
    from trainables._shared.program import Program, Span
    from trainables.two_body.config import Config
    from trainables.two_body.method import method

    class Runner:
        def __init__(self, solver: str, store: DatasetStore, searched: dict[str, list[str]]) -> None:
            values = {**Config.presets["source"], "solver": solver, "test_datasets": [], **IN_TURN[name]}
            config = Config.of_values(values)
            self.data = jax.device_put(method.data(config, store).phases[0])
            self.program = Program(method, config, searched)
            self.hyper = self.program.hyper(config)
            self.state = self.program.run("init", self.hyper)
            self.compile_s, self.seconds = self(1), []

        def __call__(self, num: int) -> float:
            start = time.process_time()
            span = Span(*(jnp.asarray(steps, jnp.int32) for steps in (num, 0, 10**6)))
            self.state, _ = jax.block_until_ready(self.program.run("chunk", self.state, self.hyper, span, self.data))
            return time.process_time() - start

    with tempfile.TemporaryDirectory() as folder:
        store = DatasetStore(Path(folder))
        runners = [Runner("per_sample", store, {}), Runner("mesh", store, {}), Runner("mesh", store, SEARCHED)]
    for _ in range(rounds):
        for runner in runners:
            runner.seconds.append(runner(num_steps))
    plain, meshed, shared = runners
    faster = statistics.median(a / b for a, b in zip(plain.seconds, meshed.seconds, strict=True))
    slower = statistics.median(a / b for a, b in zip(shared.seconds, meshed.seconds, strict=True))
    milliseconds = [1000 * statistics.median(runner.seconds) / num_steps for runner in runners]
    return (
        f"| {name} | {milliseconds[0]:.2f} | {milliseconds[1]:.2f} | {faster:.2f} | {slower:.2f} "
        f"| {plain.compile_s:.1f} | {meshed.compile_s:.1f} | {meshed.compile_s / plain.compile_s:.2f} "
        f"| {shared.compile_s:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of one measurement (three are made)")
    parser.add_argument("--in-turn", action="store_true", help="per_sample and mesh in turn, in CPU seconds")
    parser.add_argument("--rounds", type=int, default=5, help="turns, with --in-turn")
    parser.add_argument("--cases", nargs="+", choices=IN_TURN, default=list(IN_TURN), metavar="CASE")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.steps)))
        return
    if options.in_turn:
        print("| case | per_sample, ms a step | mesh | ratio | shared, of mesh | compile s | mesh | ratio | shared |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name in options.cases:
            print(trained_in_turn(name, options.steps, options.rounds), flush=True)
        return
    print("| variant | steps/s | of the first steps | compile s | with the cache | compiled by a second trial |")
    print("|---|---|---|---|---|---|")
    for variant in options.only:
        with tempfile.TemporaryDirectory() as cache:
            fresh, cached = (in_a_process_of_its_own(variant, options.steps, cache) for _ in range(2))
        rate = max(fresh["steps_per_s"], cached["steps_per_s"])
        print(
            f"| {variant} | {rate:.1f} | {fresh['first_steps_per_s']:.1f} | {fresh['compile_s']:.1f} "
            f"| {cached['compile_s']:.1f} | {fresh['second_trial_compilations']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
