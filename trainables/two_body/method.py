"""The two-body method: what the shared training loop needs of it."""

import functools
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from trainables._shared.artifact_names import is_artifact
from trainables._shared.config import ConfigError
from trainables._shared.contract import Hyper, Loss, Method, Phase, TestResult, TrialData, UnknownTestSetError
from trainables._shared.data_files import Source, read_npz
from trainables._shared.datasets import DatasetStore
from trainables._shared.kepler import ELEMENTS
from trainables.two_body import losses
from trainables.two_body.config import Config, CurriculumPhase
from trainables.two_body.data import WANTED, Segments, as_segments, check_fetched, cut, generate, recipe
from trainables.two_body.dataset_names import parse_dataset
from trainables.two_body.mesh import Mesh, is_trusted, meshed
from trainables.two_body.metric_names import QUANTITIES, metric_prefixes
from trainables.two_body.metrics import field_errors, orbit_table, score_metrics
from trainables.two_body.model import AccelerationField, Dynamics
from trainables.two_body.solvers import Solution, adaptive, per_sample
from trainables.two_body.timetable import TimedSegments, Timetable, on_timetables
from trainables.two_body.windows import NUM_SAMPLES


class TwoBody(Method[Config]):
    """A neural ODE of the two-body problem (Chen et al. 2018, Neural Ordinary Differential Equations)."""

    config_type = Config

    def smoke(self) -> Config:
        """Return a small curriculum on a few orbits: a window of the orbits first, then all of them."""
        return Config(
            dataset="simple_TBP_planar_4_train",
            test_datasets=("simple_TBP_planar_1_test",),
            width=16,
            depth=1,
            batch_size=16,
            report_every=20,
            warmup_steps=5,
            curriculum=(CurriculumPhase(steps=40, window=(0.0, 0.25), segment_length=9), CurriculumPhase(steps=40)),
        )

    def phases(self, config: Config) -> Sequence[Phase]:
        """Return the phases of the curriculum."""
        return [Phase(phase.steps, phase.learning_rate) for phase in config.resolved_phases()]

    def data(self, config: Config, store: DatasetStore) -> TrialData:
        """Return the segments of every phase, and whole orbits to validate and test on."""
        config.check_data()
        training = _training_orbits(config, store)
        phases = [cut(training, phase.window, phase.segment_length) for phase in config.resolved_phases()]
        if config.solver == "mesh":
            phases = on_timetables(phases, config.batch_size)
        return _held_out(config, store)._replace(phases=phases)

    def task_data(self, config: Config, task: Config, store: DatasetStore) -> TrialData:
        """Return the whole orbits of a task, without the segments that nobody trains on."""
        task.check_data()
        return _held_out(task, store)

    def init(self, config: Config, hyper: Hyper, key: PRNGKeyArray) -> AccelerationField:
        """Return the initial field."""
        return AccelerationField(config, hyper, key)

    def batch(self, config: Config, data: PyTree[Array], key: PRNGKeyArray) -> PyTree[Array]:
        """Return segments drawn at random, component and sample axes first; all of them where the batch holds them.

        With solver mesh, in order of falling effort, and the mesh after the mask.
        """
        if config.solver == "mesh":
            return _timed_batch(TimedSegments(*data), key)
        num = data[0].shape[0]
        if num > config.batch_size:
            chosen = jax.random.randint(key, (config.batch_size,), 0, num)
            data = [array[chosen] for array in data]
        return _samples_first(Segments(*data))

    def loss(
        self, config: Config, hyper: Hyper, model: Any, batch: PyTree[Array], key: PRNGKeyArray, step: Int[Array, ""]
    ) -> Loss:
        """Return the error of the segments integrated from their first samples."""
        if config.solver == "mesh":
            y, t, mask, steps = batch
            solution = meshed(Dynamics(model), y[0], t, steps)
        else:
            y, t, mask = batch
            solution = solve(config, hyper, model, y[0], t, config.max_steps)
        errors = (y[1:], solution.y, mask[1:])
        parts = {
            "percent_error": losses.percent_error(*errors),
            "nmse": losses.nmse(*errors),
            "mse": losses.mse(*errors),
            "attraction": losses.attraction(solution.y, solution.dy, mask[1:]),
            "solver_error_pct": 100 * solution.error,
        }
        solved = solution.solved
        if config.solver == "mesh":
            solved &= is_trusted(solution.error, parts["percent_error"] / 100)
        value = losses.LOSSES[config.loss](parts, hyper["nmse_weight"])
        return Loss(value + hyper["attraction_weight"] * parts["attraction"], parts, solved)

    def validate(self, config: Config, hyper: Hyper, model: Any, data: PyTree[Array]) -> dict[str, Float[Array, ""]]:
        """Return the means of the field's errors at the true states of the validation orbits."""
        y, _, mask = _samples_first(Segments(*data))
        y = jnp.moveaxis(jnp.where(mask[:, None], y, 1.0), 1, 0)
        errors = field_errors(y, model(y))
        return {
            f"val_{quantity}_{unit}": losses.masked_mean(errors[quantity], mask)
            for quantity, (unit, _) in QUANTITIES.items()
        }

    def test_set(self, config: Config, store: DatasetStore, name: str) -> PyTree[np.ndarray]:
        """Return the orbits of a generated set of any family, plane and number, or of an `.npz` file (`y`, `t`)."""
        file = Path(name)
        if file.suffix == ".npz":
            if not file.exists():
                raise UnknownTestSetError(f"there is no file {name}")
            try:
                return _test(check_fetched(name, read_npz(Source(name), WANTED, ("y", "t")), 0.0))
            except ConfigError as error:
                allowed = f" (allowed: {error.allowed})" if error.allowed else ""
                raise UnknownTestSetError(f"{name} cannot be read as orbits: {error.message}{allowed}") from None
        try:
            return _test(_orbits(config.task(), name, store, 0.0))
        except ValueError as error:
            raise UnknownTestSetError(
                f"there is no test set {name!r} ({error}); sets are named like complex_TBP_planar_100_test, files end "
                "with .npz"
            ) from None

    def predict(self, config: Config, hyper: Hyper, model: Any, tests: Mapping[str, PyTree[Array]]) -> PyTree[Array]:
        """Return the per-sample errors at the true states, and along the orbits that the model itself propagates.

        The orbits of all sets are propagated together, set after set in the order of the names. A propagated orbit
        can leave every bound: what is not finite, or was never reached, comes back as NaN.
        """
        y, t, _ = _samples_first(_joined(tests))
        # A whole orbit gets the steps of as many segments as it has.
        max_steps = config.max_steps * -(-NUM_SAMPLES // config.segment_length)
        solution = solve(config, hyper, model, y[0], t, max_steps)
        # Zeros are what the solver leaves of samples it never reached.
        reached = jnp.isfinite(solution.y).all(1) & (solution.y != 0).any(1)
        propagated = jnp.concatenate([y[:1], jnp.where(reached[:, None], solution.y, jnp.nan)])
        return {place: _errors_at(model, states) for place, states in (("", y), ("propagated_", propagated))}

    def score(
        self, config: Config, tests: Mapping[str, PyTree[np.ndarray]], prediction: PyTree[np.ndarray]
    ) -> dict[str, TestResult]:
        """Return the statistics of the errors over each test set's samples, and the means of each of its orbits."""
        results, first = {}, 0
        for name in sorted(tests):
            mask, elements = tests[name]["orbits"].mask, tests[name]["elements"]
            rows = slice(first, first + len(mask))
            part = jax.tree.map(operator.itemgetter(rows), prediction)
            own = metric_prefixes(config.test_names)
            prefix = own.get(name) or f"test_{Path(name).stem.removesuffix('_test')}_"
            results[name] = TestResult(score_metrics(prefix, part, mask), orbit_table(elements, part, mask))
            first += len(mask)
        return results


def _test(orbits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    elements = orbits.get("elements")
    if elements is None:  # nobody knows them of orbits from elsewhere
        elements = np.full((len(orbits["y"]), len(ELEMENTS)), np.nan)
    return {"orbits": as_segments(orbits["y"], orbits["t"]), "elements": np.asarray(elements)}


def _training_orbits(config: Config, store: DatasetStore) -> dict[str, np.ndarray]:
    return _orbits(config, config.dataset, store, config.missing_tail, data_seed=config.data_seed)


def _held_out(config: Config, store: DatasetStore) -> TrialData:
    """Return whole orbits to validate and test on, and no phases."""
    if config.val_dataset == "training":
        validation = _training_orbits(config, store)
    else:
        validation = _orbits(config, config.validation_name, store, 0.0, "val_dataset")
    tests = {name: _test(_orbits(config, name, store, 0.0, "test_datasets")) for name in config.test_names}
    return TrialData([], as_segments(validation["y"], validation["t"]), tests)


def _orbits(
    config: Config, name: str, store: DatasetStore, missing_tail: float, field: str = "dataset", data_seed: int = 0
) -> dict[str, np.ndarray]:
    if is_artifact(name):
        return check_fetched(name, store.fetched(name, field), missing_tail, field)
    build = functools.partial(
        generate,
        parse_dataset(name),
        fix_nu0=config.fix_nu0,
        sampling=config.sampling,
        missing_tail=missing_tail,
        data_seed=data_seed,
    )
    return store.get(name, recipe(config.fix_nu0, config.sampling, missing_tail, data_seed), build)


def _joined(tests: Mapping[str, PyTree[Array]]) -> Segments:
    """Return the orbits of all test sets as one set, in the order of the names."""
    sets: list[Segments] = [Segments(*tests[name]["orbits"]) for name in sorted(tests)]
    joined: Segments = jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *sets)
    return joined


def _timed_batch(data: TimedSegments, key: PRNGKeyArray) -> tuple[Array, Array, Array, Mesh]:
    """Return segments in order of falling effort, and their mesh; the last columns have no sample if they are few."""
    table = Timetable(*data.table)
    columns = len(table.last)
    drawn = jax.random.randint(key, (columns,), 0, data.num)
    chosen = jnp.where(data.num > columns, drawn, jnp.arange(columns))
    effort = data.effort[chosen]
    hardest_first = jnp.argsort(-effort[:, -1])
    chosen, effort = chosen[hardest_first], effort[hardest_first]
    y, t, mask = _samples_first(Segments(*(array[chosen] for array in data[:3])))
    return y, t, mask, Mesh(jnp.transpose(effort), jnp.minimum(data.num, columns), table)


def _samples_first(segments: Segments) -> tuple[Array, Array, Array]:
    """Return y (samples, 6, n), t (samples, n) and mask (samples, n): loops run over the segments."""
    return jnp.transpose(segments.y, (1, 2, 0)), jnp.transpose(segments.t), jnp.transpose(segments.mask)


def solve(config: Config, hyper: Hyper, model: Any, y0: Array, t: Array, max_steps: int) -> Solution:
    """Return orbits or segments of a field from their first states, by the config's solver.

    By per_sample instead of mesh: a mesh fits the orbit that was observed, and one that a field propagates far is
    another.
    """
    field = Dynamics(model)
    if config.solver == "adaptive":
        return adaptive(field, y0, t, hyper["rtol"], hyper["atol"], max_steps)
    return per_sample(field, y0, t, config.substeps)


def _errors_at(model: Any, y: Float[Array, "samples 6 n"]) -> dict[str, Float[Array, "n samples"]]:
    y = jnp.moveaxis(y, 1, 0)
    there = jnp.isfinite(y).all(0)
    safe = jnp.where(there, y, 1.0)
    errors = field_errors(safe, model(safe))
    return {name: jnp.where(there, values, jnp.nan).T for name, values in errors.items()}


method = TwoBody()
