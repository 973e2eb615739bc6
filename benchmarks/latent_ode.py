"""Optimiser steps per second of the latent ODE by solver, and what share of a step the ODE and the encoder have.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.latent_ode --solvers tsit5 rk4 --turns 7

Damped spirals at the defaults: batch 256, 20 observed samples, hidden = latent = width = 16. Everything is measured in
turn in one process, turn after turn; the numbers are medians, and the ratios are medians of the ratios of each turn. A
share is the time of that part alone, gradient included, over that of the whole loss with its gradient. The error is the
largest difference to a solution with 16 times as many steps, over a briefly trained model's trajectories and in
units of the latent state's standard deviation; `adaptive` is diffrax's Tsit5 at the config's tolerances.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, Span, traced_numbers
from trainables.latent_ode.config import Config
from trainables.latent_ode.method import method, normalised
from trainables.latent_ode.solvers import fixed, solve

TRAINED_STEPS = 60


class Parts(NamedTuple):
    """Seconds of one turn."""

    step: float
    whole: float
    solve: float
    encode: float


class Case:
    """One solver: compiled functions of the training step and of its parts."""

    def __init__(self, config: Config, num_steps: int) -> None:
        self.config, self.num_steps = config, num_steps
        with tempfile.TemporaryDirectory() as folder:
            self.data = jax.device_put(method.data(config, DatasetStore(Path(folder))).phases[0])
        self.program, self.hyper = Program(method, config), traced_numbers(config)
        self.state = self.program.run("init", self.hyper)
        self.train(TRAINED_STEPS)
        self.model = self.program.model(jax.tree.map(jnp.array, self.state.params))
        self.batch = method.batch(config, self.data, jax.random.key(0))
        x, t, mask = normalised(self.model, self.batch[0].observed, self.hyper["noise"])
        self.z0, self.t = self.model.encode(x, t, mask)[0], t
        rtol, atol = self.hyper["rtol"], self.hyper["atol"]

        def whole(model: Any) -> Any:
            return method.loss(config, self.hyper, model, self.batch, jax.random.key(1), jnp.asarray(0)).value

        def solved(both: Any) -> Any:
            return jnp.sum(solve(config, rtol, atol, both[0], both[1], t).z ** 2)

        def encoded(model: Any) -> Any:
            return sum(jnp.sum(part**2) for part in model.encode(x, t, mask) if part is not None)

        self.parts: list[tuple[Callable[[Any], Any], Any]] = [
            (jax.jit(jax.value_and_grad(whole)), self.model),
            (jax.jit(jax.value_and_grad(solved)), (self.model.field, self.z0)),
            (jax.jit(jax.value_and_grad(encoded)), self.model),
        ]
        for function, argument in self.parts:
            jax.block_until_ready(function(argument))

    def train(self, num_steps: int) -> None:
        """Advance the training by so many steps."""
        steps, start, whole = (jnp.asarray(number, jnp.int32) for number in (num_steps, 0, self.config.steps))
        span = Span(steps, start, whole)
        self.state, terms = self.program.run("chunk", self.state, self.hyper, span, self.data)
        jax.block_until_ready(terms)

    def turn(self) -> Parts:
        """Measure the step and each part once."""
        start = time.perf_counter()
        self.train(self.num_steps)
        seconds = [(time.perf_counter() - start) / self.num_steps]
        for function, argument in self.parts:
            start = time.perf_counter()
            for _ in range(self.num_steps):
                jax.block_until_ready(function(argument))
            seconds.append((time.perf_counter() - start) / self.num_steps)
        return Parts(*seconds)

    def error(self, field: Any, z0: Any) -> float:
        """Return the largest error of this solver's trajectories of a field, in standard deviations of the state."""
        found = solve(self.config, self.hyper["rtol"], self.hyper["atol"], field, z0, self.t).z
        fine = fixed("tsit5", field, z0, self.t, 16).z
        return float(jnp.max(jnp.abs(found - fine)) / jnp.std(fine))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solvers", nargs="+", default=["tsit5", "rk4"], choices=["tsit5", "rk4", "adaptive"])
    parser.add_argument("--encoders", nargs="+", default=["gru"], choices=["gru", "mlp"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of one turn")
    options = parser.parse_args()
    names = [(solver, encoder) for solver in options.solvers for encoder in options.encoders]
    cases = [Case(Config(solver=solver, encoder=encoder), options.steps) for solver, encoder in names]
    turns = [[case.turn() for case in cases] for _ in range(options.turns)]
    first = cases[0]
    print("| solver | encoder | steps/s | of the first | share of the ODE | share of the encoder | largest error |")
    print("|---|---|---|---|---|---|---|")
    for index, ((solver, encoder), case) in enumerate(zip(names, cases, strict=True)):
        mine = [turn[index] for turn in turns]
        rate = 1 / statistics.median(parts.step for parts in mine)
        ratio = statistics.median(turn[0].step / turn[index].step for turn in turns)
        ode = statistics.median(parts.solve / parts.whole for parts in mine)
        read = statistics.median(parts.encode / parts.whole for parts in mine)
        error = case.error(first.model.field, first.z0)
        print(f"| {solver} | {encoder} | {rate:.1f} | {ratio:.2f} | {ode:.2f} | {read:.2f} | {error:.1e} |")


if __name__ == "__main__":
    main()
