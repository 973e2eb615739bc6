"""Where a step of the latent ODE spends its CPU time, and how exact its solvers are on what it learns.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.latent_ode
    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.latent_ode --errors
    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.latent_ode --tutorial
    python -m benchmarks.latent_ode --floors
    python -m benchmarks.latent_ode --farthest MODEL

The cases are those of `python -m benchmarks.step_speed --method latent_ode`, which says what a step costs against
another checkout or solver. A part is measured alone, in a compiled loop: forward, and with its gradient less that.

Errors are differences to a solution in float64 with 16 steps between samples, on the validation series of a trained
model, in standard deviations of the latent state: the largest / the root mean square, over the observed span as it is
solved in training, and over the extrapolation span, which the objective scores, in float32 (what trials compute in)
and in float64.

--tutorial trains the preset diffrax_tutorial, and it with what else the method offers, and prints the loss of the last
steps in the observations' own units, as Diffrax's example of a latent ODE prints it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.settings import tells_mistakes
from benchmarks.step_speed import CASES
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import ProgramCache, Span, traced_numbers
from trainables._shared.saved import load_model
from trainables.latent_ode import losses
from trainables.latent_ode.config import Config
from trainables.latent_ode.data import load, statistics
from trainables.latent_ode.method import method, normalised
from trainables.latent_ode.metric_names import FLOOR
from trainables.latent_ode.metrics import baseline_predictions, errors_of, floor_prediction, pooled_law
from trainables.latent_ode.solvers import fixed, solve

TRAINED_STEPS = 60
SOLVERS = ("mesh", "tsit5", "rk4")
SETTINGS: dict[str, dict[str, Any]] = {
    "mesh, samples_per_step 3": {"solver": "mesh"},
    "mesh, samples_per_step 2": {"solver": "mesh", "samples_per_step": 2},
    "mesh, samples_per_step 1": {"solver": "mesh", "samples_per_step": 1},
    "tsit5": {"solver": "tsit5"},
    "tsit5, substeps 2": {"solver": "tsit5", "substeps": 2},
    "rk4": {"solver": "rk4"},
}
"""Whose errors are measured: the settings of a solver."""
PRESET = Config.presets["diffrax_tutorial"]
TUTORIALS: dict[str, dict[str, Any]] = {
    "preset diffrax_tutorial": {},
    "without lifted state": {"state": None},
    "without both, tanh": {"state": None, "field": "mlp", "activation": "tanh"},
}
"""What is trained beside the preset: changes to it."""
LAST_STEPS = 14
PROGRAMS = ProgramCache()


class Case:
    """A configuration, trained for a few steps or to its end, and a batch of its series."""

    def __init__(self, values: dict[str, Any], num_steps: int) -> None:
        self.config = Config.of_values(values)
        with tempfile.TemporaryDirectory() as folder:
            data = method.data(self.config, DatasetStore(Path(folder)))
        self.validation, self.data = data.validation, jax.device_put(data.phases[0])
        self.program, self.hyper = PROGRAMS.get(method, self.config), traced_numbers(self.config)
        self.state = self.program.run("init", self.hyper)
        self.train(num_steps)

    @property
    def model(self) -> Any:
        """Return the model as it is now."""
        return self.program.model(jax.tree.map(jnp.array, self.state.params))

    def train(self, num_steps: int) -> float:
        """Advance the training by so many steps and return the CPU seconds that they took."""
        start = time.process_time()
        span = Span(*(jnp.asarray(number, jnp.int32) for number in (num_steps, 0, self.config.steps)))
        self.state, _ = jax.block_until_ready(self.program.run("chunk", self.state, self.hyper, span, self.data))
        return time.process_time() - start

    def profile(self, num_steps: int, turns: int) -> dict[str, float]:
        """Return the CPU milliseconds of a step and of its parts, least of some turns."""
        step = 1000 * min(self.train(num_steps) for _ in range(turns)) / num_steps
        series, _ = method.batch(self.config, self.data, jax.random.key(0))
        x, t, mask = normalised(self.model, series.observed, self.hyper["noise"])
        num, seen = len(t), (x, t, mask)
        if self.config.target == "whole":
            later = normalised(self.model, series.later, self.hyper["noise"])
            x, t, mask = (jnp.concatenate(pair) for pair in zip(seen, later, strict=True))
        z0 = self.model.start(self.model.encode(*seen)[0])
        z = self._solve(self.config, self.model.field, z0, t, num)

        def encode(both: Any, seen: Any) -> Any:
            return sum(jnp.sum(part**2) for part in both.encode(*seen) if part is not None)

        def run(both: Any, t: Any) -> Any:
            field, z0 = both
            return jnp.sum(self._solve(self.config, field, z0, t, num) ** 2)

        def decode(both: Any, truth: Any) -> Any:
            return jnp.sum(losses.squared_error(truth[0], both[0].decode(both[1]), truth[1]))

        parts: list[tuple[str, Callable[..., Any], Any, Any]] = [
            ("encoder", encode, self.model, seen),
            ("solver", run, (self.model.field, z0), t),
            ("decoder", decode, (self.model, z), (x, mask)),
        ]
        found = {"step": step}
        for name, function, arguments, given in parts:
            forward, both = (_milliseconds(f, arguments, given, num_steps, turns) for f in _loops(function))
            found |= {f"{name}, forward": forward, f"{name}, backward": both - forward}
        found["rest"] = 2 * step - sum(found.values())
        return found

    def last_losses(self, num: int) -> list[float]:
        """Train on and return the loss before each step, of a batch, in the units of the observations."""

        @jax.jit
        def loss(model: Any, data: Any, key: Any) -> Any:
            to_batch, to_sample = jax.random.split(key)
            series, _ = method.batch(self.config, data, to_batch)
            x, t, mask = normalised(model, series.observed, self.hyper["noise"])
            mean, log_std = model.encode(x, t, mask)
            z0 = model.start(mean + jnp.exp(log_std) * jax.random.normal(to_sample, mean.shape))
            found = model.decode(self._solve(self.config, model.field, z0, t, len(t)))
            squares = losses.squared_error(x, found, mask) * model.scale[:, None] ** 2
            return (0.5 * jnp.sum(squares) + jnp.sum(losses.kl_to_normal(mean, log_std))) / t.shape[1]

        found = []
        for key in jax.random.split(jax.random.key(self.config.seed), num):
            found.append(float(loss(self.model, self.data, key)))
            self.train(1)
        return found

    def errors(self) -> dict[str, tuple[str, str, str]]:
        """Return the errors of every setting: observed span, extrapolation span, and that one in float64."""
        x, t, mask = normalised(self.model, self.validation.observed, self.hyper["noise"])
        times = jnp.concatenate([t, jnp.transpose(self.validation.later.t) / self.model.time_scale])
        single, num = (self.model.field, self.model.start(self.model.encode(x, t, mask)[0]), times), len(t)
        with jax.enable_x64(True):
            double: tuple[Any, Any, Any] = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), single)
            fine = np.asarray(fixed("tsit5", *double, 16).z)

        def shown(part: slice, z: Any) -> str:
            error = np.abs(np.asarray(z, np.float64) - fine[part]) / fine.std()
            return f"{error.max():.0e} / {np.sqrt(np.mean(error**2)):.0e}"

        found, later = {}, slice(num, None)
        for name, values in SETTINGS.items():
            config = self.config.model_copy(update=values)
            # The observed span as in training, where the later one is not solved; this one as in validation.
            field, z0, times = single
            seen, whole = (self._solve(config, field, z0, part, num) for part in (times[:num], times))
            with jax.enable_x64(True):
                exact = self._solve(config, *double, num)
            found[name] = shown(slice(num), seen), shown(later, whole[num:]), shown(later, exact[num:])
        return found

    def _solve(self, config: Config, field: Any, z0: Any, t: Any, num_observed: int) -> Any:
        return solve(config, self.hyper["rtol"], self.hyper["atol"], field, z0, t, num_observed).z


def _loops(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return compiled loops of a function, and of it with its gradient; a turn depends on the one before."""

    def forward(arguments: Any, given: Any) -> Any:
        value = function(arguments, given)
        return jax.tree.map(lambda a: 0 * a + value, arguments)

    def loop(part: Callable[..., Any]) -> Callable[..., Any]:
        def turn(_: Any, carry: Any) -> Any:
            arguments, given = carry
            changes = part(arguments, given)
            return jax.tree.map(lambda a, change: a - 1e-9 * change, arguments, changes), given

        return jax.jit(lambda arguments, given, num: jax.lax.fori_loop(0, num, turn, (arguments, given)))

    return [loop(forward), loop(jax.grad(function))]


def _milliseconds(loop: Callable[..., Any], arguments: Any, given: Any, num: int, turns: int) -> float:
    jax.block_until_ready(loop(arguments, given, 1))
    seconds = []
    for _ in range(turns):
        start = time.process_time()
        jax.block_until_ready(loop(arguments, given, num))
        seconds.append(time.process_time() - start)
    return 1000 * min(seconds) / num


def tutorial(num_seeds: int) -> None:
    """Print the loss of the last steps of the preset, and of it with changes, for some seeds."""
    print("| | seed | mean loss of the last steps | least | largest |\n|---|---|---|---|---|")
    for name, changes in TUTORIALS.items():
        for seed in range(num_seeds):
            case = Case({**PRESET, **changes, "seed": seed}, PRESET["steps"] - LAST_STEPS)
            found = case.last_losses(LAST_STEPS)
            print(f"| {name} | {seed} | {np.mean(found):.2f} | {min(found):.2f} | {max(found):.2f} |", flush=True)


def floors() -> None:
    """Print what the pooled law and the true one reach on the spirals with 10 % noise, by the number of series.

    Beside them, how far from 0 the farthest series begins: a model that is no linear one goes beyond what it has seen.
    """
    laws = ("pooled_linear_dynamics", FLOOR)
    columns = [f"{law.replace('_', ' ')}, {split}, %" for split in ("validation", "test") for law in laws]
    columns += [f"farthest start, {split}" for split in ("training", "validation", "test")]
    print(f"| training series | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for num in (256, 2048, 10_000):
        config = Config(noise=0.1, num_series=num)
        with tempfile.TemporaryDirectory() as folder:
            training, *held_out = (
                load(config, split, DatasetStore(Path(folder))) for split in ("train", "val", "test")
            )
        stats = statistics(training)
        pooled = pooled_law(training.observed, stats, config.noise)
        found = []
        for series in held_out:
            predicted = baseline_predictions(series, pooled, stats, config.noise)
            predicted |= floor_prediction(series, stats, config.noise)
            found += [errors_of(series.later, stats, predicted[law])[0] for law in laws]
        found += [float(np.linalg.norm(series.observed.y[:, 0], axis=1).max()) for series in (training, *held_out)]
        print(f"| {num} | {' | '.join(f'{value:.2f}' for value in found)} |", flush=True)


def farthest(path: Path) -> None:
    """Print a saved model's validation error, with and without the series that begins farthest from 0."""
    saved = load_model(path)
    config: Any = saved.config
    data = method.data(config, DatasetStore())
    ((name, test),) = data.tests.items()
    held_out = data.validation
    tests = jax.tree.map(jnp.asarray, {name: {**test, "series": held_out[:2]}})
    predict = jax.jit(lambda tests: method.predict(config, traced_numbers(config), saved.model, tests))
    predicted = np.asarray(predict(tests)[name]["later"])
    start = np.linalg.norm(held_out.observed.y[:, 0], axis=1)
    far, others = (
        held_out.later._replace(mask=held_out.later.mask & chosen[:, None])
        for chosen in (start == start.max(), start < start.max())
    )
    errors = [errors_of(span, held_out.statistics, predicted)[0] for span in (held_out.later, far, others)]
    print(
        f"validation error {errors[0]:.2f} %; of the series that begins at {start.max():.2f}, {errors[1]:.2f} %; "
        f"of all others, {errors[2]:.2f} %"
    )


@tells_mistakes
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cases = CASES["latent_ode"]
    parser.add_argument("--cases", nargs="+", default=list(cases), choices=cases, metavar="CASE")
    parser.add_argument("--solver", default="mesh", choices=SOLVERS, help="of the profile")
    parser.add_argument("--errors", action="store_true", help="errors of every solver, not the profile")
    parser.add_argument("--tutorial", action="store_true", help="losses of the preset, beside Diffrax's example's")
    parser.add_argument("--floors", action="store_true", help="the pooled and the true law on the spirals")
    parser.add_argument(
        "--farthest", type=Path, metavar="MODEL", help="what the farthest validation series costs a model"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of the preset")
    parser.add_argument("--trained", type=int, default=600, help="optimiser steps before the errors")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps of one turn")
    options = parser.parse_args()
    if options.floors:
        floors()
        return
    if options.farthest:
        farthest(options.farthest)
        return
    if options.tutorial:
        tutorial(options.seeds)
        return
    if options.errors:
        print("| case | solver | observed span | extrapolation span | the same in float64 |\n|---|---|---|---|---|")
    for index, name in enumerate(options.cases):
        if options.errors:
            more = {"steps": options.trained, "schedule": "cosine"}
            for solver, errors in Case(cases[name] | more, options.trained).errors().items():
                print(f"| {name} | {solver} | {' | '.join(errors)} |", flush=True)
            continue
        found = Case(cases[name] | {"solver": options.solver}, TRAINED_STEPS).profile(options.steps, options.turns)
        if index == 0:
            print(f"| case | {' | '.join(found)} |\n|{'---|' * (len(found) + 1)}")
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in found.values())} |", flush=True)


if __name__ == "__main__":
    main()
