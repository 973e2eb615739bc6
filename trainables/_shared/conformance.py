"""What every method must do; run all of it on a method of your own with one parametrised test over `CHECKS`."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from trainables._shared.checkpoint import leaves_of
from trainables._shared.config import NUMERIC, ConfigError, MethodConfig, branch_fields, numeric, structural_key
from trainables._shared.conformance_case import MOST_CHANGES, Case, same, text_of
from trainables._shared.conformance_yardstick import a_task_is_the_same_for_all, what_moves_the_yardstick_is_declared
from trainables._shared.other_values import changes, other_values
from trainables._shared.program import Program, Span, traced_numbers
from trainables._shared.saved import load_model
from trainables._shared.training import Report, Training, phase_numbers

ABSURD_LEARNING_RATE = 1e8


def _to_the_end(training: Training) -> list[Report]:
    reports = [training.advance()]
    while not reports[-1].ending:
        reports.append(training.advance())
    return reports


def smoke_config_trains(case: Case) -> None:
    """The smoke config completes, its selection metric improves, and every metric has the name it announced."""
    training = case.training()
    reports = _to_the_end(training)
    assert reports[-1].ending == "completed"
    first, last = reports[0].metrics, training.best
    assert last is not None
    metric, mode = case.method.selection(case.config)
    assert last.value <= first[metric] if mode == "min" else last.value >= first[metric]
    assert metric in case.config.reported_metrics
    assert case.config.selected_by() in (None, (metric, mode))
    assert case.config.metric_modes.get(metric, mode) == mode
    assert set(case.config.metric_modes) <= {*case.config.reported_metrics, *case.config.final_metrics()}
    assert case.config.num_steps() in (None, reports[-1].step)
    assert list(case.config.phase_steps()) in ([], [phase.steps for phase in case.method.phases(case.config)])
    missing = set(case.config.reported_metrics) - set(first)
    assert not missing, f"announced, but not reported: {sorted(missing)}"
    final = {name for result in training.test().values() for name in result.metrics}
    assert final == set(case.config.final_metrics())


def same_seed_gives_same_numbers(case: Case) -> None:
    """A seed gives the same numbers, bit for bit; another seed gives others."""
    first, second = case.training(), case.training()
    assert _to_the_end(first) == _to_the_end(second)
    assert same(first.state, second.state)
    other = case.training(case.changed(seed=case.config.seed + 1))
    _to_the_end(other)
    assert not same(first.state.params, other.state.params)


def stopped_and_resumed_is_the_same(case: Case) -> None:
    """Saved after any report and continued by another object, a training gives the same numbers, bit for bit.

    The report that it was saved at comes again first.
    """
    whole = case.training()
    reports = _to_the_end(whole)
    path = case.folder / "checkpoint.npz"
    pieces: list[Report] = []
    while not pieces or not pieces[-1].ending:
        part = case.training()
        if pieces:
            part.load(path)
            assert part.advance() == pieces[-1]
        pieces.append(part.advance())
        part.save(path)
    assert [report.metrics for report in pieces] == [report.metrics for report in reports]
    final = case.training()
    final.load(path)
    assert same(final.state, whole.state)
    assert final.best is not None
    assert whole.best is not None
    assert same(final.best.params, whole.best.params)


def vmapped_lanes_equal_single_trials(case: Case) -> None:
    """Trials that differ in numeric fields, trained together by vmap, end where each ends alone."""
    rate = case.config.learning_rate
    configs = [case.changed(seed=seed, learning_rate=rate * factor) for seed, factor in ((0, 1.0), (1, 0.5), (2, 0.1))]
    singles = [phase_numbers(traced_numbers(config), case.method.phases(config)[0]) for config in configs]
    hyper = jax.tree.map(lambda *lanes: jnp.stack(lanes), *singles)
    whole = case.method.phases(case.config)[0].steps
    span = Span(*(jnp.asarray(steps, jnp.int32) for steps in (min(10, whole), 0, whole)))
    data = jax.device_put(case.data.phases[0])

    def train(hyper: Any) -> Any:
        return case.program.chunk(case.program.init(hyper), hyper, span, data)

    lanes, _ = jax.jit(jax.vmap(train))(hyper)
    for index, numbers in enumerate(singles):
        alone, _ = case.program.run("chunk", case.program.run("init", numbers), numbers, span, data)
        for ours, theirs in zip(jax.tree.leaves(alone.params), jax.tree.leaves(lanes.params), strict=True):
            # Rounding differs: a batched matrix product sums in another order.
            np.testing.assert_allclose(ours, theirs[index], rtol=2e-3, atol=2e-4)


def numeric_change_compiles_nothing(case: Case) -> None:
    """A trial that differs in numeric fields alone runs on the compiled program of another."""
    case.training().advance()
    before = case.program.compilations
    changes = {
        name: value * 2 + 1 if isinstance(value, int) else value * 0.9
        for name, value in numeric(case.config).items()
        if value
    }
    config = case.changed(**changes)
    assert structural_key(config) == structural_key(case.config)
    case.training(config).advance()
    assert case.program.compilations == before


def fields_said_to_be_unread_change_nothing(case: Case) -> None:
    """What `for_training` or `for_evaluation` takes out of a config changes no traced function, whatever its value.

    Every such field is given other values, one after the other, that are valid beside the rest of the smoke config, or
    of one that differs from it in one further field; at least one must be.
    """
    for said_by, trace in ((_for_training, _training), (_for_evaluation, _evaluation)):
        where, expected = f"{said_by.__name__.removeprefix('_')}()", trace(case, case.config)
        assert trace(case, said_by(case.config)) == expected, f"{where} changes a field that is read"
        traces = {repr(case.config): expected}
        # The task that a config is scored on is no field of the task's own config, which evaluation reads.
        skipped = {*numeric(case.config), "scored_on"}
        for name in [name for name in type(case.config).model_fields if name not in skipped]:
            for base, changed in islice(_unread_changes(case.config, name, said_by), MOST_CHANGES):
                if repr(base) not in traces:
                    traces[repr(base)] = trace(case, base)
                new, old = getattr(changed, name), getattr(base, name)
                assert trace(case, changed) == traces[repr(base)], (
                    f"{where} says that {name} is not read, but {new!r} there is traced otherwise than {old!r}"
                )


def _for_training(config: MethodConfig) -> MethodConfig:
    return config.for_training()


def _for_evaluation(config: MethodConfig) -> MethodConfig:
    return config.for_evaluation()


def _unread_changes(
    config: MethodConfig, name: str, said_by: Callable[[MethodConfig], MethodConfig]
) -> Iterator[tuple[MethodConfig, MethodConfig]]:
    """Yield pairs of valid configs that differ in one field and are said to be of one program; none if none are."""
    any_valid = False
    for pair in changes(config, name):
        any_valid = True
        if len({structural_key(said_by(each)) for each in pair}) == 1:
            yield pair
    if any_valid:
        return
    for value in [*other_values(config, name), "other"]:
        # No valid value: but if it tells programs apart, nobody says that it is unread. A config that is not valid may
        # be too much for the method.
        with suppress(Exception):
            if structural_key(said_by(config.model_copy(update={name: value}))) != structural_key(said_by(config)):
                return
    raise AssertionError(
        f"{name} may be unread, but no other valid value of it could be made to try that: its annotation could give "
        "some, as in Field(examples=[...])"
    )


def _training(case: Case, config: MethodConfig) -> str:
    """Return what is traced of a training, of a model that is put together as Program does it."""
    method, key, hyper = case.method, jax.random.key(0), traced_numbers(config)
    shapes, static = _parts(case, config.for_evaluation())

    def traced(arrays: Any, data: Any, hyper: Any) -> Any:
        model = eqx.combine(arrays, static)
        batch = method.batch(config, data, key)
        made = eqx.filter(method.init(config, hyper, key), eqx.is_array)
        loss = method.loss(config, hyper, model, batch, key, jnp.zeros((), jnp.int32))
        return made, tuple(loss)[:3], method.rate_factor(config, hyper, model)

    return text_of(traced, shapes, case.data.phases[0], hyper)


def _evaluation(case: Case, config: MethodConfig) -> str:
    method, hyper = case.method, traced_numbers(config)
    shapes, static = _parts(case, config)

    def traced(arrays: Any, data: Any, tests: Any, hyper: Any) -> Any:
        model = eqx.combine(arrays, static)
        return method.validate(config, hyper, model, data), method.predict(config, hyper, model, tests)

    return text_of(traced, shapes, case.data.validation, dict(case.data.tests), hyper)


def _parts(case: Case, config: MethodConfig) -> tuple[Any, Any]:
    """Return the shapes of a model's arrays, and the rest of it."""
    model = eqx.filter_eval_shape(lambda: case.method.init(config, traced_numbers(config), jax.random.key(0)))
    return eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))


def branches_share_a_program(case: Case) -> None:
    """Trials that choose among branches compile once, give the same whoever came before, and what they give alone."""
    others: dict[str, Any] = {}
    for field, mark in branch_fields(case.config).items():
        value = getattr(case.config, field)
        known = get_args(type(case.config).model_fields[field].annotation)
        together = [other for other in known if other != value and other in mark.together(value, known)]
        if together:
            others[field] = together[-1]
    if not others:
        return
    program = Program(
        case.method, case.config, {name: sorted({getattr(case.config, name), others[name]}) for name in others}
    )
    alone = Training(case.program, case.config, case.data).advance()
    first = Training(program, case.config, case.data)
    report, compiled = first.advance(), program.compilations
    assert math.isclose(report.metrics["train_loss"], alone.metrics["train_loss"], rel_tol=1e-2)
    for field, other in others.items():
        changed = case.changed(**{field: other})
        there = Training(program, changed, case.data).advance()
        single = Training(Program(case.method, changed), changed, case.data).advance()
        assert math.isclose(there.metrics["train_loss"], single.metrics["train_loss"], rel_tol=1e-2), (field, other)
    assert program.compilations == compiled
    again = Training(program, case.config, case.data)
    assert again.advance() == report
    assert same(again.state, first.state)


def absurd_learning_rate_diverges(case: Case) -> None:
    """A learning rate far beyond reason ends as an outcome, without an exception."""
    reports = _to_the_end(case.training(case.changed(learning_rate=ABSURD_LEARNING_RATE)))
    assert reports[-1].ending in ("diverged", "solver_failed")


def bad_fields_are_named(case: Case) -> None:
    """An unknown field and a value out of range are refused, naming field and value."""
    for name, value in (("no_such_field", 1), ("learning_rate", -1.0), ("learning_rate", "fast"), ("batch_size", 0)):
        try:
            case.changed(**{name: value})
        except ValidationError as error:
            details = error.errors()
            assert any(name in map(str, detail["loc"]) for detail in details)
            assert any(detail["input"] == value for detail in details)
        else:
            raise AssertionError(f"{name} = {value!r} was accepted")


def fields_have_defaults(case: Case) -> None:
    """Every field has a default, and the numeric ones are numbers."""
    for name, field in case.method.config_type.model_fields.items():
        assert not field.is_required(), f"{name} has no default"
        if NUMERIC in field.metadata:
            assert isinstance(getattr(case.config, name), int | float), f"{name} is numeric, but no number"


def saved_model_is_the_trained_one(case: Case) -> None:
    """A model read back from its checkpoint predicts what the trained one did."""
    training = case.training()
    _to_the_end(training)
    path = case.folder / "model.npz"
    training.save(path, {"trainable": case.name})
    saved = load_model(path)
    assert training.best is not None
    # Their leaves alone: what the model chooses among branches is no part of the parameters.
    arrays = eqx.filter(saved.model, eqx.is_array)
    assert same(jax.tree.leaves(arrays), jax.tree.leaves(training.best.params))
    metric, _ = case.method.selection(case.config)
    validate = eqx.filter_jit(lambda model, data: case.method.validate(saved.config, training.hyper, model, data))
    again = validate(saved.model, jax.device_put(case.data.validation))
    assert math.isclose(float(again[metric]), training.best.value, rel_tol=1e-4)


def training_starts_from_a_saved_model(case: Case) -> None:
    """With `init_from` a training begins with a saved model, which validates as it did, and all else anew.

    The first steps change it by what their learning rate says and by nothing else. The same program trains it. A
    checkpoint of its own comes before the model that it began with, and a model of other shapes is refused, by the name
    of the array.
    """
    trained = case.training()
    _to_the_end(trained)
    path, checkpoint = case.folder / "start.npz", case.folder / "started.npz"
    trained.save(path, {"trainable": case.name})
    config = case.changed(init_from=str(path))
    assert structural_key(config) == structural_key(case.config)
    compiled = case.program.compilations
    started, fresh = case.training(config), case.training()
    started.begin()
    assert trained.best is not None
    evaluation, validation = case.program.evaluation, jax.device_put(case.data.validation)
    values = evaluation.run("validate", started.state.params, started.hyper, validation)
    metric, _ = case.method.selection(case.config)
    assert float(values[metric]) == trained.best.value
    assert same(started.state.recovery.good, _leaves_by_trained(case, started.state.params)[0])
    anew = fresh.state._replace(params=started.state.params, recovery=started.state.recovery)
    assert same(started.state, anew)
    report = started.advance()
    assert report.step == fresh.advance().step
    assert not same(started.state.params, fresh.state.params)
    still = case.training(config)
    still.phases = [phase._replace(learning_rate=1e-30) for phase in still.phases]
    assert math.isclose(still.advance().metrics[metric], trained.best.value, rel_tol=1e-3)
    assert case.program.compilations == compiled
    started.save(checkpoint)
    path.unlink()
    again = case.training(config)
    again.load(checkpoint)
    assert again.advance() == report
    assert same(again.state, started.state)
    _refuses_other_shapes(case, trained, path)


def _leaves_by_trained(case: Case, params: Any) -> tuple[Any, Any]:
    return eqx.partition(params, case.program.evaluation.trained)


def _refuses_other_shapes(case: Case, trained: Training, path: Path) -> None:
    """Save a model whose first array is longer by one, and start from it."""
    assert trained.best is not None
    leaves, structure = jax.tree.flatten(trained.best.params)
    longer = np.zeros((leaves[0].size + 1,), leaves[0].dtype)
    params = jax.tree.unflatten(structure, [longer, *leaves[1:]])
    trained.best = trained.best._replace(params=params)
    trained.save(path, {"trainable": case.name})
    try:
        case.training(case.changed(init_from=str(path))).begin()
    except ConfigError as error:
        said = str(error)
    else:
        raise AssertionError("a model of another shape was taken")
    assert said.startswith("init_from = ")
    assert f"{leaves_of(params)[0].name} is {longer.size} there and " in said


CHECKS: tuple[Callable[[Case], None], ...] = (
    smoke_config_trains,
    same_seed_gives_same_numbers,
    stopped_and_resumed_is_the_same,
    vmapped_lanes_equal_single_trials,
    numeric_change_compiles_nothing,
    fields_said_to_be_unread_change_nothing,
    what_moves_the_yardstick_is_declared,
    a_task_is_the_same_for_all,
    branches_share_a_program,
    absurd_learning_rate_diverges,
    bad_fields_are_named,
    fields_have_defaults,
    saved_model_is_the_trained_one,
    training_starts_from_a_saved_model,
)
