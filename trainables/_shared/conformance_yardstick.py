"""The conformance checks of the yardstick: what moves it is declared, and a task is the same for all."""

from itertools import islice
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from pydantic import ValidationError

from trainables._shared.config import MethodConfig, numeric
from trainables._shared.conformance_case import MOST_CHANGES, Case, same, text_of
from trainables._shared.datasets import DatasetStore
from trainables._shared.other_values import changes
from trainables._shared.program import traced_numbers


def what_moves_the_yardstick_is_declared(case: Case) -> None:
    """Each field that changes validation data, or what a metric makes of a model, is one of `yardstick_fields`."""
    applied = {repr(case.config): _Applied(case, case.config)}
    found: list[str] = []
    for name in type(case.config).model_fields:
        if name == "scored_on":
            continue
        for base, changed in islice(changes(case.config, name), MOST_CHANGES):
            if repr(base) not in applied:
                applied[repr(base)] = _Applied(case, base)
            if undeclared := sorted(applied[repr(base)].undeclared(name, changed)):
                new, old = getattr(changed, name), getattr(base, name)
                found.append(f"{name} changes what {', '.join(undeclared)} is measured by ({new!r} instead of {old!r})")
                break
    ways = "declare it in yardstick_fields, or in predicts_by if the model predicts by it"
    assert not found, "; ".join([*found, ways])


class _Applied:
    """An initial model of a config, its validation and its loss on one batch."""

    def __init__(self, case: Case, config: MethodConfig) -> None:
        self._case, self._config = case, config
        self._store = DatasetStore(case.folder)
        method, key, step = case.method, jax.random.key(0), jnp.zeros((), jnp.int32)
        hyper, data = traced_numbers(config), method.data(config, self._store)
        # Compiled as a whole: one operation after the other, each would be compiled alone.
        begin = eqx.filter_jit(lambda hyper, data: (method.init(config, hyper, key), method.batch(config, data, key)))
        model, batch = begin(hyper, data.phases[0])
        self._arrays, static = eqx.partition(model, eqx.is_array)
        self._init, self._data = self._initial(config), data.validation
        self._validate = lambda config: (
            lambda arrays, data, hyper: method.validate(config, hyper, eqx.combine(arrays, static), data)
        )
        self._trace = text_of(self._validate(config), self._arrays, self._data, hyper)
        self._compiled = jax.jit(self._validate(config))
        self._loss = jax.jit(
            lambda hyper: method.loss(config, hyper, eqx.combine(self._arrays, static), batch, key, step).value
        )
        self._metrics = self._compiled(self._arrays, self._data, hyper)
        self._first_loss = self._loss(hyper)

    def _initial(self, config: MethodConfig) -> str:
        def made(hyper: Any) -> Any:
            return eqx.filter(self._case.method.init(config, hyper, jax.random.key(0)), eqx.is_array)

        return text_of(made, traced_numbers(config))

    def undeclared(self, name: str, changed: MethodConfig) -> set[str]:
        """Return the metrics that a config, which differs in one field, measures otherwise without saying so."""
        measured = self._measured_otherwise(name, changed)
        return {one for one in measured if self._config.measured_by(one) == changed.measured_by(one)}

    def _measured_otherwise(self, name: str, changed: MethodConfig) -> set[str]:
        if name in changed.predicts_by:
            return set()
        data, hyper = self._case.method.data(changed, self._store).validation, traced_numbers(changed)
        other_data, everything = not same(self._data, data), set(self._metrics)
        if name not in numeric(changed) and self._initial(changed) != self._init:  # another model
            return everything if other_data else set()
        if name in numeric(changed):
            of_loss = set() if same(self._loss(hyper), self._first_loss) else {"train_loss"}
            return self._differing(self._compiled(self._arrays, data, hyper)) | of_loss
        if text_of(self._validate(changed), self._arrays, data, hyper) == self._trace and not other_data:
            return set()
        values = jax.jit(self._validate(changed))(self._arrays, data, hyper)
        # Of an untrained model, metrics may happen to be the same.
        return self._differing(values) or everything

    def _differing(self, values: Any) -> set[str]:
        return {name for name in {*values, *self._metrics} if not same(values.get(name), self._metrics.get(name))}


def a_task_is_the_same_for_all(case: Case) -> None:
    """With `scored_on`, a config that trains on other data is validated on the same, by the same yardstick."""
    store = DatasetStore(case.folder)
    for name in case.config.scorable_fields():
        for base, changed in islice(changes(case.config, name), 1):
            task = {name: base.model_dump(mode="json")[name]}
            try:
                pair = [one.of_values({**one.model_dump(mode="json"), "scored_on": task}) for one in (base, changed)]
            except ValidationError:
                continue  # no model of this config can be scored on the other's data
            first, second = (case.method.trial_data(one, store).validation for one in pair)
            assert same(first, second), f"{name}: validation data differ, although scored_on says {task}"
            for metric in base.reported_metrics:
                alike = metric.startswith("train_") or pair[0].measured_by(metric) == pair[1].measured_by(metric)
                assert alike, f"{name}: {metric} is measured otherwise, although scored_on says {task}"
