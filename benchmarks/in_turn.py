"""Trainings compared in turn: each in a process of its own that waits while the other's works, counted in CPU seconds.

Their ratio holds on a machine that other work uses too, and each side may be another checkout of swell. Not a benchmark
itself; benchmarks/step_speed.py is one.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Compared(NamedTuple):
    """What two trainings cost: the first, the second, and how many times as much the first costs."""

    milliseconds: tuple[float, float, float]
    """CPU time of an optimiser step: medians, and the median ratio of the turns."""
    compile_s: tuple[float, float, float]
    """CPU time of compiling and making the first step; the last is the second's over the first's."""

    def row(self, name: str) -> str:
        """Return a row of a table in Markdown, under `header`."""
        cells = [*(f"{value:.2f}" for value in self.milliseconds), *(f"{value:.1f}" for value in self.compile_s[:2])]
        return f"| {name} | {' | '.join(cells)} | {self.compile_s[2]:.2f} |"


def header(first: str, second: str) -> str:
    """Return the head of a table of such rows."""
    names = f"| case | {first}, ms a step | {second} | ratio | {first}, compile s | {second} | ratio |"
    return f"{names}\n|{'---|' * 7}"


class Side:
    """A training in a process of its own, of this checkout or of another one that has a `.venv`."""

    def __init__(
        self,
        method: str,
        values: Mapping[str, Any],
        store: Path,
        checkout: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        own = checkout.resolve() == ROOT
        python = sys.executable if own else str(checkout.resolve() / ".venv" / "bin" / "python")
        self._process = subprocess.Popen(
            [python, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=checkout,
            env={"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1", **os.environ, **(environment or {})},
        )  # fmt: skip
        given = {"root": str(checkout.resolve()), "method": method, "values": dict(values), "store": str(store)}
        self.compile_s = self._ask(given)

    def step(self, num: int) -> float:
        """Train so many steps more and return the CPU seconds that they took."""
        return self._ask(num)

    def _ask(self, question: Any) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            self.end()
            raise ChildProcessError(f"the training ended with status {self._process.returncode}, as it says above")
        return float(answer)

    def end(self) -> None:
        """End the process."""
        with self._process:  # closes what it is asked by, and waits
            pass


def compare(sides: Sequence[Side], num_steps: int, rounds: int) -> Compared:
    """Train two sides in turn, round after round, and end them."""
    turns = [[side.step(num_steps) for side in sides] for _ in range(rounds)]
    for side in sides:
        side.end()
    first, second = (1000 * statistics.median(turn[index] for turn in turns) / num_steps for index in (0, 1))
    ratio = statistics.median(one / other for one, other in turns)
    compiled, more = (side.compile_s for side in sides)
    return Compared((first, second, ratio), (compiled, more, more / compiled))


def main() -> None:
    """Train what the first line from standard input says, and as many steps as each further line does."""
    given = json.loads(sys.stdin.readline())
    sys.path.insert(0, given["root"])
    import jax
    import jax.numpy as jnp

    from trainables._shared.datasets import DatasetStore
    from trainables._shared.discovery import load_method
    from trainables._shared.program import Program, Span
    from trainables._shared.training import Training

    method = load_method(given["method"])
    config = method.config_type.of_values(given["values"])
    data, program = method.data(config, DatasetStore(Path(given["store"]))), Program(method, config)
    # By the training, whose attributes are the same in checkouts of other versions.
    training, arrays = Training(program, config, data), jax.device_put(data.phases[0])
    hyper, state = training.hyper, training.state

    def train(num: int) -> float:
        nonlocal state
        start = time.process_time()
        span = Span(*(jnp.asarray(steps, jnp.int32) for steps in (num, 0, 10**6)))
        state, _ = jax.block_until_ready(program.run("chunk", state, hyper, span, arrays))
        return time.process_time() - start

    print(train(1), flush=True)
    for line in sys.stdin:
        print(train(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
