"""Optimiser steps per CPU second of jacobian_ode, the loop closure's share of them, and what batching segments saves.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.jacobian_ode

Lorenz's system, batch 16 of 25 samples, 16 loops of 20 segments, one core. What is compared runs in turn in one
process, and the ratios are medians over the rounds: another process on the machine slows both alike. `--quick` takes
the widths 64, 64 alone. The gradient of the loop closure is taken in one batched call, in a compiled loop over segments
(`lax.scan`), and in a Python loop with a compiled call for each segment. The exit status is 1 where weight 0 costs more
than a fifth over no loop closure, or where the batched one is not 5 times faster than the Python loop; that it is not 5
times faster than the compiled one is printed, and no failure.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, Span, traced_numbers
from trainables.jacobian_ode import losses
from trainables.jacobian_ode.config import Config
from trainables.jacobian_ode.method import method
from trainables.jacobian_ode.model import make_model
from trainables.jacobian_ode.rollout import line_integral

WIDTHS = ((64, 64), (128, 128), (256, 256))
RULES: dict[str, dict[str, Any]] = {
    "trapezoid, 20 nodes": {"quadrature": "trapezoid"},
    "Gauss-Legendre, 4 nodes": {},
}
BATCHED_AT_LEAST = 5.0
WEIGHT_0_AT_MOST = 1.2


def in_turn(calls: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Return the CPU seconds of each call in each round; all were called once before."""
    for call in calls:
        jax.block_until_ready(call())
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, found in zip(calls, seconds, strict=True):
            start = time.process_time()
            jax.block_until_ready(call())
            found.append(time.process_time() - start)
    return seconds


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median over the rounds of the ratios."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def training_call(config: Config, num_steps: int, store: DatasetStore) -> Callable[[], Any]:
    """Return a function that makes `num_steps` optimiser steps from the start."""
    program, numbers = Program(method, config), traced_numbers(config)
    data = jax.device_put(method.data(config, store).phases[0])
    whole = jnp.asarray(num_steps, jnp.int32)
    span = Span(whole, jnp.asarray(0, jnp.int32), whole)
    return lambda: program.run("chunk", program.run("init", numbers), numbers, span, data)


def measure_steps(hidden: tuple[int, ...], rule: str, num_steps: int, rounds: int, store: DatasetStore) -> float:
    """Print a row for one network and rule; return the time with weight 0 over that without loop closure."""
    fields = {"hidden": hidden, **RULES[rule]}
    configs = [Config(**fields), Config(**fields, loop_weight=0.0), Config(**fields, loop_closure=False)]
    weighted, weightless, without = in_turn([training_call(c, num_steps, store) for c in configs], rounds)
    share = 1 - ratio(without, weighted)
    cost = ratio(weightless, without)
    rate = num_steps / statistics.median(weighted)
    name = ", ".join(map(str, hidden))
    print(f"| {name} | {rule} | {rate:.1f} | {100 * share:.0f} % | {cost:.2f} |", flush=True)
    return cost


def measure_batching(hidden: tuple[int, ...], rounds: int) -> float:
    """Print a row; return the time of a gradient by a Python loop over segments over that in one batched call."""
    config = Config(hidden=hidden)
    model = make_model("jacobian", 3, hidden, jax.random.key(0))
    states = jax.random.normal(jax.random.key(1), (400, 3))
    corners = losses.draw_corners(states, config.batch_size, config.loop_points, jax.random.key(2))
    rule = config.quadrature, config.loop_inner_points

    def batched(network: Any) -> Any:
        return losses.loop_closure(type(model)(network, model.untrained), corners, *rule)

    def by_segment(network: Any) -> Any:
        jacobian = type(model)(network, model.untrained)

        def add(total: Any, segment: Any) -> Any:
            start, end = segment
            return total + line_integral(jacobian, start, end, *rule), None

        def around(loop: Any) -> Any:
            return jax.lax.scan(add, jnp.zeros(3), (loop, jnp.roll(loop, -1, axis=0)))[0]

        return jnp.mean(jax.lax.map(around, corners) ** 2)

    def one_segment(network: Any, start: Any, end: Any) -> Any:
        return line_integral(type(model)(network, model.untrained), start, end, *rule)

    @jax.jit
    def pull_back(network: Any, start: Any, end: Any, error: Any) -> Any:
        return jax.vjp(lambda network: one_segment(network, start, end), network)[1](error)[0]

    forward, add_up = jax.jit(one_segment), jax.jit(lambda a, b: jax.tree.map(jnp.add, a, b))
    ends = jnp.roll(corners, -1, axis=1)
    segments = [[(corners[i, k], ends[i, k]) for k in range(config.loop_points)] for i in range(config.batch_size)]

    def by_hand(network: Any) -> Any:
        gradient = jax.tree.map(jnp.zeros_like, network)
        for loop in segments:
            total = sum((forward(network, *segment) for segment in loop), start=jnp.zeros(3))
            for segment in loop:
                gradient = add_up(gradient, pull_back(network, *segment, 2 * total / (3 * config.batch_size)))
        return gradient

    compiled = [jax.jit(jax.grad(loss)) for loss in (batched, by_segment)]
    calls = [lambda call=call: call(model.network) for call in (*compiled, by_hand)]
    together, scanned, dispatched = in_turn(calls, rounds)
    times = [f"{1000 * statistics.median(found):.1f}" for found in (together, scanned, dispatched)]
    ratios = ratio(scanned, together), ratio(dispatched, together)
    print(
        f"| {', '.join(map(str, hidden))} | {' | '.join(times)} | {ratios[0]:.1f} | {ratios[1]:.1f} |",
        flush=True,
    )
    return ratios[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of one measurement")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    widths = WIDTHS[:1] if options.quick else WIDTHS
    with tempfile.TemporaryDirectory() as folder:
        store = DatasetStore(Path(folder))
        print("| hidden | quadrature | steps per CPU s | loop closure's share | weight 0 over no loop closure |")
        print("|---|---|---|---|---|")
        costs = [
            measure_steps(hidden, rule, options.steps, options.rounds, store) for hidden in widths for rule in RULES
        ]
    print("\n| hidden | batched, ms | compiled loop, ms | Python loop, ms | times faster than compiled | than Python |")
    print("|---|---|---|---|---|---|")
    gains = [measure_batching(hidden, options.rounds) for hidden in widths]
    return int(max(costs) > WEIGHT_0_AT_MOST or min(gains) < BATCHED_AT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
