"""Optimiser steps per second of two-body training, by solver; compile time apart; what a second trial compiles.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.two_body_speed

200 segments of 18 samples, all in each batch, MLP 64x2, one core. Every variant runs in a process of its own, one
after the other: first without, then with what the first left in a persistent compilation cache. `diffrax` is the
same training through a vmapped `diffrax.diffeqsolve` at the tolerances of `adaptive`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

VARIANTS: dict[str, dict[str, Any]] = {
    "per_sample": {"solver": "per_sample"},
    "adaptive": {"solver": "adaptive"},
    "diffrax": {"solver": "adaptive"},
    "per_sample tanh": {"solver": "per_sample", "activation": "tanh"},
    "adaptive tanh": {"solver": "adaptive", "activation": "tanh"},
    "diffrax tanh": {"solver": "adaptive", "activation": "tanh"},
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
        return Solution(y, jnp.zeros_like(y), jnp.all(solved))

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
        **VARIANTS[variant],
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of one measurement (three are made)")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.steps)))
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
