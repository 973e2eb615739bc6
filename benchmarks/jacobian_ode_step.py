"""What one optimiser step of jacobian_ode costs: before and now, part by part, and what fewer nodes do to integrals.

    python -m benchmarks.jacobian_ode_step [--against CHECKOUT]
    python -m benchmarks.jacobian_ode_step --profile [--earlier]
    python -m benchmarks.jacobian_ode_step --nodes
    python -m benchmarks.jacobian_ode_step --errors

CPU seconds throughout, one core, so that the ratios hold on a machine that other work uses too. Without an option, the
step with the earlier settings (straight lines to every stage; the trapezoid, or five Gauss-Legendre nodes where the
shipped searches had them) and with today's are made in turn, a few at a time, each in a process of its own; with
`--against`, the earlier ones by the code of that checkout of an earlier version.

`--profile` times the parts of a step, each compiled by itself: forward alone, and with its gradient. `--nodes` trains a
model of each system and compares integrals of its J with those of 40 nodes. `--errors` trains three seeds with either
settings.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINES = {"stages": "straight_lines"}
SPLINE = {"spline_quadrature": "trapezoid"}
FIVE = {"quadrature": "gauss_legendre", "inner_points": 5, "loop_inner_points": 5}
VAN_DER_POL = {"system": "van_der_pol", "noise": 0.05, "hidden": [64, 64], "jacobian_weight": 1e-6}
LORENZ96 = {"system": "lorenz96", "noise": 0.05}
# Fields of both, and the earlier ones that a checkout from before the later fields knows too.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {"quadrature": "trapezoid"}),
    "Lorenz, width 64": ({"hidden": [64, 64]}, FIVE),
    "Lorenz, width 128": ({"hidden": [128, 128]}, FIVE),
    "Van der Pol, width 64": (VAN_DER_POL, FIVE),
    "Van der Pol, width 64, 5 given": (VAN_DER_POL | {"traj_init_steps": 5}, FIVE),
    "Lorenz-96, width 64": (LORENZ96 | {"hidden": [64, 64]}, FIVE),
    "Lorenz-96, width 128": (LORENZ96 | {"hidden": [128, 128]}, FIVE),
    "neural ODE, width 64": ({"model": "neural_ode", "hidden": [64, 64]}, {}),
}
LEARNED = {"learning_rate": 2e-3, "loop_weight": 1e-3, "report_every": 500}
LORENZ = {"hidden": [128, 128], "gamma": 0.99, "steps": 3000, **LEARNED}
TRAINED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Lorenz, no noise": (LORENZ, FIVE),
    "Lorenz, 5 % noise": (LORENZ | {"noise": 0.05}, FIVE),
    "Van der Pol": ({**VAN_DER_POL, **LEARNED, "gamma": 0.98, "steps": 2000, "report_every": 250}, FIVE),
    "Lorenz-96": ({**LORENZ, **LORENZ96, "hidden": [64, 64]}, FIVE),
    "defaults, 1000 steps": ({"steps": 1000, "report_every": 250}, {"quadrature": "trapezoid"}),
}
METRICS = ("val_free_running_mse", "val_jacobian_error_pct")


# -- the step, before and now


def serve(fields: dict[str, Any], data: Path) -> None:
    """Compile a step, print its CPU seconds, and then for each number of steps on stdin those of so many steps."""
    import jax
    import jax.numpy as jnp

    from trainables._shared.datasets import DatasetStore
    from trainables._shared.program import Program, Span
    from trainables._shared.training import Training
    from trainables.jacobian_ode.config import Config
    from trainables.jacobian_ode.method import method

    config = Config.of_values(fields)
    whole, program = method.data(config, DatasetStore(data)), Program(method, config)
    arrays = jax.device_put(whole.phases[0])
    training = Training(program, config, whole)
    numbers, state = training.hyper, training.state
    for num in itertools.chain([1], map(int, sys.stdin)):
        span = Span(*(jnp.asarray(steps, jnp.int32) for steps in (num, 0, 10**6)))
        start = time.process_time()
        state, _ = jax.block_until_ready(program.run("chunk", state, numbers, span, arrays))
        print(time.process_time() - start, flush=True)


class Server:
    """A process that makes steps of one setting when it is asked to."""

    def __init__(self, root: Path, fields: dict[str, Any], data: Path) -> None:
        # The checkout's packages before any installed ones; this file's own folder is not the checkout's.
        code = (
            f"import sys, runpy; sys.path.insert(0, {str(root)!r}); "
            f"sys.argv[1:] = {['--serve', json.dumps(fields), str(data)]!r}; "
            f"runpy.run_path({__file__!r}, run_name='__main__')"
        )
        environment = os.environ | {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.compile_s = self._answer()
        self.seconds: list[float] = []

    def _answer(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def make(self, num: int) -> None:
        """Make so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{num}\n")
        self._process.stdin.flush()
        self.seconds.append(self._answer() / num)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def in_turn(name: str, num_steps: int, rounds: int, against: Path | None, data: Path) -> str:
    """Return a row: CPU milliseconds of a step and CPU seconds of compiling it, before and now."""
    fields, before = CASES[name]
    earlier = fields | before | ({} if against else LINES | SPLINE)
    servers = [Server(against or ROOT, earlier, data), Server(ROOT, fields, data)]
    for _ in range(rounds):
        for server in servers:
            server.make(num_steps)
    for server in servers:
        server.close()
    old, new = servers
    ratio = statistics.median(a / b for a, b in zip(old.seconds, new.seconds, strict=True))
    times = " | ".join(f"{1000 * statistics.median(server.seconds):.2f}" for server in servers)
    compiling = f"{old.compile_s:.1f} | {new.compile_s:.1f} | {new.compile_s / old.compile_s:.2f}"
    return f"| {name} | {times} | {ratio:.2f} | {compiling} |"


# -- its parts


def cpu_ms(call: Callable[[], Any], num: int) -> float:
    """Return the CPU milliseconds of one of `num` repetitions that a call makes: the median of five calls."""
    import jax

    jax.block_until_ready(call())
    found = []
    for _ in range(5):
        start = time.process_time()
        jax.block_until_ready(call())
        found.append(1000 * (time.process_time() - start) / num)
    return statistics.median(found)


def profile(name: str, *, earlier: bool, data: Path, num: int = 10) -> str:
    """Return a row: CPU milliseconds of a step and of its parts, each compiled by itself."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from trainables._shared.datasets import DatasetStore
    from trainables._shared.program import Program, Span, traced_numbers
    from trainables.jacobian_ode import forcing, losses, rollout
    from trainables.jacobian_ode import method as steps
    from trainables.jacobian_ode.config import Config
    from trainables.jacobian_ode.model import Untrained

    fields, before = CASES[name]
    config = Config.of_values(fields | before | LINES | SPLINE if earlier else fields)
    method, numbers, key = steps.method, traced_numbers(config), jax.random.key(0)
    arrays = jax.device_put(method.data(config, DatasetStore(data)).phases[0])
    program = Program(method, config)
    span = Span(*(jnp.asarray(value, jnp.int32) for value in (num, 0, 10**6)))
    whole = cpu_ms(
        lambda: program.run("chunk", program.run("init", numbers), numbers, span, arrays)[0].step, num
    )  # donates its state
    model = method.init(config, numbers, key)
    z, _, scaling = method.batch(config, arrays, key)
    model = eqx.tree_at(lambda tree: tree.untrained, model, Untrained(jnp.asarray(0.8), *scaling))
    given, observed = z[:, : config.traj_init_steps], z[:, config.traj_init_steps :]
    states = z.reshape(-1, z.shape[-1])

    def of(network: Any) -> Any:
        return type(model)(network, model.untrained)

    def run(network: Any) -> Any:
        step, start = steps._run(config, of(network), given)
        return jnp.mean((rollout.forced_run(step, start, observed, 0.8) - observed) ** 2)

    def base(network: Any) -> Any:
        rule = config.spline_quadrature, config.spline_points
        return jnp.mean(rollout.base_point_field(of(network), given, scaling.dt, *rule) ** 2)

    def loops(network: Any) -> Any:
        corners = losses.draw_corners(states, config.batch_size, config.loop_points, key)
        return losses.loop_closure(of(network), corners, config.quadrature, config.loop_inner_points)

    def alpha(network: Any) -> Any:
        J = of(network).jacobian(z)
        return forcing.next_alpha(jnp.asarray(0.8), J, scaling.dt, numbers["gamma"], numbers["alpha_min"])

    def repeated(part: Callable[[Any], Any]) -> float:
        @jax.jit
        def calls(network: Any) -> Any:
            def body(_: Any, total: Any) -> Any:  # each on another network, or XLA would compute it once
                moved = jax.tree.map(lambda leaf: leaf * (1 + 1e-7 * total), network)
                return 1e-3 * total + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(part(moved)))

            return jax.lax.fori_loop(0, num, body, jnp.zeros(()))

        return cpu_ms(lambda: calls(model.network), num)

    trained = eqx.filter(model, method.trained(model))
    moments = program._adam.init(trained)

    @jax.jit
    def optimiser(trained: Any, moments: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            trained, moments = carry
            updates, moments = program._adam.update(trained, moments, trained)
            return jax.tree.map(lambda p, u: p - 1e-4 * (u + 1e-4 * p), trained, updates), moments

        return jax.lax.fori_loop(0, num, body, (trained, moments))

    is_field = config.model == "neural_ode"
    parts = [run] if is_field else [run, base, loops]
    cells = [f"{repeated(part):.2f}, {repeated(jax.grad(part)):.2f}" for part in parts] + ["", ""] * is_field
    rest = repeated(alpha) / forcing.EVERY, cpu_ms(lambda: optimiser(trained, moments), num)
    return f"| {name} | {whole:.2f} | {' | '.join(cells)} | {rest[0]:.3f} | {rest[1]:.3f} |"


# -- what nodes and settings do to errors


def trained(fields: dict[str, Any], data: Path, program: Any = None) -> Any:
    """Return a training that has ended, and its program."""
    from trainables._shared.datasets import DatasetStore
    from trainables._shared.program import Program
    from trainables._shared.training import Training
    from trainables.jacobian_ode.config import Config
    from trainables.jacobian_ode.method import method

    config = Config.of_values(fields)
    program = program or Program(method, config)
    training = Training(program, config, method.data(config, DatasetStore(data)))
    while not training.advance().ending:
        pass
    return training


def nodes(name: str, data: Path) -> list[str]:
    """Return rows: by rule, the errors of integrals of a learned J, over the field's size or the exact loop loss."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from trainables.jacobian_ode import losses, rollout
    from trainables.jacobian_ode.quadrature import RuleName

    training = trained(TRAINED[name][0], data)
    model = training.program.model(jax.device_put(training.best.params))
    z, starts = training._data.phases[0].z, training._data.phases[0].starts[::40][:64]
    z = jnp.asarray(z[starts[:, None] + np.arange(25)])
    size = float(jnp.sqrt(jnp.mean(((z[:, 1:] - z[:, :-1]) / model.untrained.dt) ** 2)))
    corners = losses.draw_corners(z.reshape(-1, z.shape[-1]), 64, 20, jax.random.key(2))

    def root_mean_square(error: Any) -> float:
        return float(jnp.sqrt(jnp.mean(error**2)))

    def line(rule: RuleName, num: int) -> Any:
        return rollout.line_integral(model, z[:, 14], z[:, 24], rule, num)

    def loop(rule: RuleName, num: int) -> Any:
        return losses.loop_integrals(model, corners, rule, num)

    def base(rule: Any, num: int) -> Any:
        return rollout.base_point_field(model, z[:, :15], model.untrained.dt, rule, num)

    exact = [part("gauss_legendre", num) for part, num in ((line, 40), (loop, 40), (base, 12))]
    rows: list[str] = []
    rules: list[tuple[RuleName, int]] = [("trapezoid", 20), *(("gauss_legendre", num) for num in (2, 3, 4, 5))]
    for rule, num in rules:
        errors = root_mean_square(line(rule, num) - exact[0]) / size, root_mean_square(loop(rule, num) - exact[1])
        rows.append(f"| {name} | {rule}, {num} | {errors[0]:.1e} | {errors[1] / root_mean_square(exact[1]):.1e} | |")
    for rule, num in (("trapezoid", 4), ("gauss_legendre", 1), ("gauss_legendre", 2)):
        rows.append(
            f"| {name} | {rule}, {num} an interval | | | {root_mean_square(base(rule, num) - exact[2]) / size:.1e} |"
        )
    return rows


def errors(name: str, seeds: int, data: Path) -> str:
    """Return a row: mean and spread over seeds of the validation errors, before and now."""
    fields, before = TRAINED[name]
    cells = []
    for settings in (fields | before | LINES | SPLINE, fields):
        program, found = None, []
        for seed in range(seeds):
            training = trained(settings | {"seed": seed}, data, program)
            program = training.program
            found.append([training.best.metrics[metric] for metric in METRICS])
        for values in zip(*found, strict=True):
            cells.append(f"{statistics.mean(values):.3g} +- {statistics.stdev(values):.2g}")
    return f"| {name} | {cells[0]} | {cells[2]} | {cells[1]} | {cells[3]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="an earlier version's code for `before`")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--earlier", action="store_true", help="with --profile: the earlier settings")
    parser.add_argument("--nodes", action="store_true")
    parser.add_argument("--errors", action="store_true")
    parser.add_argument("--trained", nargs="+", choices=TRAINED, default=list(TRAINED), metavar="CASE")
    parser.add_argument("--seeds", type=int, default=3, help="with --errors")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(json.loads(options.serve[0]), Path(options.serve[1]))
        return
    os.environ |= {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1"}  # before JAX is imported
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        if options.profile:
            print("| case | step, ms | run: forward, with gradient | base point | loops | alpha | optimiser |")
            print("|---|---|---|---|---|---|---|")
            for name in options.cases:
                print(profile(name, earlier=options.earlier, data=data), flush=True)
        elif options.nodes:
            print("| model | rule | line of 10 samples | loops | base point |")
            print("|---|---|---|---|---|")
            for name in options.trained:
                print("\n".join(nodes(name, data)), flush=True)
        elif options.errors:
            print("| training | free-running MSE, before | now | error of J, %, before | now |")
            print("|---|---|---|---|---|")
            for name in options.trained:
                print(errors(name, options.seeds, data), flush=True)
        else:
            print("| case | before, ms a step | now | ratio | before, compile s | now | ratio |")
            print("|---|---|---|---|---|---|---|")
            for name in options.cases:
                print(in_turn(name, options.steps, options.rounds, options.against, data), flush=True)


if __name__ == "__main__":
    main()
