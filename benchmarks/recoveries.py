"""How many trainings of a plain setting are lost, and how many recover from bad steps; many seeds at once.

    python -m benchmarks.recoveries --seeds 20 --out after.json
    python -m benchmarks.recoveries --seeds 20 --skip-only --out before.json
    python -m benchmarks.recoveries --compare before.json after.json

A cell is one two_body head with one activation on `complex_TBP_planar_10_train`, at the source's constant rate without
warm-up or clipping, or with `--spec` what a search has as
`base`. Its seeds are lanes of one program. `--skip-only` is the rule of before: a bad step is skipped and nothing taken
back. Exits 1 if over 1 % of all trainings were lost, or if a comparison finds a training without a bad step changed.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.settings import config_of, tells_mistakes
from benchmarks.specs import launched
from trainables._shared import recovery
from trainables._shared.config import MethodConfig
from trainables._shared.contract import Method
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_method
from trainables._shared.program import FAILURES, Program, Span, traced_numbers
from trainables._shared.training import phase_numbers
from trainables.two_body.config import Config, HeadName

MOST_LOST = 0.01


class Run(NamedTuple):
    """How one seed of a cell ended."""

    seed: int
    ending: str
    step: int
    skipped: int
    recoveries: int
    errors: list[float]
    """The selection metric at every report."""


def cells(options: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, method and configuration of every cell that was asked for."""
    for path in options.spec:
        spec = launched(path)
        yield path.stem, spec.trainable, {**spec.base, **({"steps": options.steps} if options.steps else {})}
    if options.spec:
        return
    for head in options.heads:
        for activation in options.activations:
            chosen = {"dataset": options.dataset, "head": head, "activation": activation, "loss": options.loss}
            values = {**Config.presets["source"], **chosen}
            name = f"{head.removeprefix('mlp_4D_')}, {activation}"
            yield name, "two_body", {**values, "steps": options.steps or 100, "report_every": 10}


def train(method: Method[Any], config: MethodConfig, seeds: int, store: DatasetStore) -> list[Run]:
    """Return how a configuration ends with each of the seeds, all trained as lanes of one program."""
    program, data = Program(method, config), method.data(config, store)
    numbers = [traced_numbers(config.model_copy(update={"seed": seed})) for seed in range(seeds)]
    hyper = jax.tree.map(lambda *values: jnp.stack(values), *numbers)
    chunk = jax.jit(jax.vmap(program.chunk, in_axes=(0, 0, None, None)), donate_argnums=0)
    validate = jax.jit(jax.vmap(program.evaluation.validate, in_axes=(0, 0, None)))
    state = jax.jit(jax.vmap(program.init))(hyper)
    metric, start, errors = method.selection(config)[0], 0, []
    validation = jax.device_put(data.validation)
    for phase, arrays in zip(method.phases(config), data.phases, strict=True):
        for step in range(0, phase.steps, config.report_every):
            num = min(config.report_every, phase.steps - step)
            first, whole = jnp.asarray(start, jnp.int32), jnp.asarray(phase.steps, jnp.int32)
            span = Span(jnp.asarray(num, jnp.int32), first, whole)
            state, _ = chunk(state, phase_numbers(hyper, phase), span, arrays)
            errors.append(np.asarray(validate(state.params, hyper, validation)[metric]))
        start += phase.steps
    counts = (state.failure, state.step, state.skipped, state.recovery.recoveries)
    lanes = zip(*(np.asarray(count).tolist() for count in counts), np.stack(errors, axis=1).tolist(), strict=True)
    return [Run(seed, FAILURES[failure], *others) for seed, (failure, *others) in enumerate(lanes)]


def row(name: str, runs: Sequence[Run]) -> str:
    """Return a cell's row: seeds, lost ones, those that recovered, bad steps of those, and the median error."""
    recovered = [run.skipped for run in runs if run.skipped and not run.ending]
    bad = f"{statistics.median(recovered):g} ({max(recovered)})" if recovered else ""
    lost = sum(run.ending != "" for run in runs)
    return f"| {name} | {len(runs)} | {lost} | {len(recovered)} | {bad} | {_median_error(runs):.3g} |"


def _median_error(runs: Sequence[Run]) -> float:
    """Return the median of the last errors; a lost training's is infinite."""
    return statistics.median(run.errors[-1] if not run.ending else math.inf for run in runs)


def measure(options: argparse.Namespace) -> int:
    """Train every cell, print its row, and write all runs to the file; return the exit status."""
    if options.skip_only:
        recovery.SHARE_BACK, recovery.MOMENTUM_KEPT = 0.0, 1.0
    found: dict[str, list[Run]] = {}
    print("| cell | seeds | lost | recovered | their bad steps: median (most) | median error at the end |")
    print("|---|---|---|---|---|---|")
    for name, trainable, values in cells(options):
        begin = time.perf_counter()
        method = load_method(trainable)
        config = config_of(method.config_type, values)
        found[name] = train(method, config, options.seeds, DatasetStore())
        print(row(name, found[name]), flush=True)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        jax.clear_caches()  # no cell runs another one's program
        if options.out:
            options.out.write_text(json.dumps({name: [run._asdict() for run in runs] for name, runs in found.items()}))
    runs = [run for of_cell in found.values() for run in of_cell]
    lost = sum(run.ending != "" for run in runs)
    print(f"\n{lost} of {len(runs)} lost ({100 * lost / len(runs):.2f} %)")
    return int(lost > MOST_LOST * len(runs))


def compare(before: Path, after: Path) -> int:
    """Print, for the cells of both files, what was lost and the errors; return 1 if a healthy training has changed."""
    old, new = (
        {name: [Run(**run) for run in runs] for name, runs in json.loads(path.read_text()).items()}
        for path in (before, after)
    )
    changed = 0
    print("| cell | lost before | lost after | without a bad step, identical | median error before | after |")
    print("|---|---|---|---|---|---|")
    for name in (name for name in old if name in new):
        pairs = list(zip(old[name], new[name], strict=True))
        healthy = [(was, now) for was, now in pairs if not was.skipped]
        same = sum(was == now for was, now in healthy)
        changed += len(healthy) - same
        lost = [sum(run.ending != "" for run in runs) for runs in zip(*pairs, strict=True)]
        errors = [_median_error(runs) for runs in zip(*pairs, strict=True)]
        print(f"| {name} | {lost[0]} | {lost[1]} | {same} of {len(healthy)} | {errors[0]:.3g} | {errors[1]:.3g} |")
    return int(changed > 0)


@tells_mistakes
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, metavar="NUMBER")
    parser.add_argument("--heads", nargs="+", default=list(get_args(HeadName)), metavar="HEAD")
    parser.add_argument("--activations", nargs="+", default=["leaky_relu", "tanh", "silu"], metavar="NAME")
    parser.add_argument("--dataset", default="complex_TBP_planar_10_train")
    parser.add_argument("--loss", default="percent_error")
    parser.add_argument("--steps", type=int, help="optimiser steps; by default 100, or what the spec says")
    parser.add_argument("--spec", type=Path, nargs="+", default=[], help="specs whose `base` is trained instead")
    parser.add_argument("--skip-only", action="store_true", help="the rule of before")
    parser.add_argument("--out", type=Path, metavar="FILE", help="every run, as JSON")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    options = parser.parse_args()
    return compare(*options.compare) if options.compare else measure(options)


if __name__ == "__main__":
    sys.exit(main())
