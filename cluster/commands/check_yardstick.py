"""Checks that the trials of a search are measured by the same yardstick, so that the better one is the better model."""

from collections.abc import Iterator, Sequence
from typing import Any

from cluster.study.configurations import Configuration
from search_spaces.errors import MISSING, Problem, show_value
from search_spaces.parameters import FloatRange, IntRange
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig

SCORED_ON = "scored_on"
NUM_VALUES = 4
"""Values of a field that a message names."""
LONGEST_TASK = 300
"""Characters of a task that a message shows."""


def yardstick_problems(spec: Spec, built: Sequence[Configuration]) -> list[Problem]:
    """Return a problem per searched field that changes what an objective, or a constraint's metric, is measured by."""
    configs = [one.config for one in built]
    found: dict[str, Problem] = {}
    for metric in _metrics(spec):
        if len({config.measured_by(metric) for config in configs}) > 1:
            blamed = _to_blame(spec, metric, configs)
            for name in blamed:
                found.setdefault(name, _problem(spec, name, metric, _way_out(name, metric, configs, blamed)))
    return list(found.values())


def _metrics(spec: Spec) -> Iterator[str]:
    yield from dict.fromkeys(one.metric for one in (*spec.objectives, *spec.constraints))


def _to_blame(spec: Spec, metric: str, configs: Sequence[MethodConfig]) -> list[str]:
    """Return the searched fields that change what a metric is measured by, each alone if that can be told."""
    varied = [name for name in spec.space if len(_values(name, configs)) > 1]
    return [name for name in varied if _decides(name, metric, configs)] or varied


def _values(name: str, configs: Sequence[MethodConfig]) -> list[Any]:
    return list({repr(value): value for config in configs for value in [getattr(config, name)]}.values())


def _decides(name: str, metric: str, configs: Sequence[MethodConfig]) -> bool:
    """Return whether a field, changed alone in one of the configurations, changes what a metric is measured by."""
    values = _values(name, configs)
    for config in configs[:: max(1, len(configs) // 10)]:
        try:
            if len({config.model_copy(update={name: value}).measured_by(metric) for value in values}) > 1:
                return True
        except ValueError:  # what is changed alone need not fit the rest
            continue
    return False


def _problem(spec: Spec, name: str, metric: str, way_out: str) -> Problem:
    rule = f"changes what {metric} is measured by, so that trials cannot be compared by it"
    return Problem(("space", name), rule, _given(spec, name), allowed=way_out)


def _given(spec: Spec, name: str) -> Any:
    parameter = spec.space[name]
    if isinstance(parameter, FloatRange | IntRange):
        return {"low": parameter.low, "high": parameter.high}
    return list(parameter.labels) if len(parameter.labels) <= NUM_VALUES else MISSING


def _way_out(name: str, metric: str, configs: Sequence[MethodConfig], blamed: Sequence[str]) -> str:
    """Return what to write instead: the task that a message shows fixes everything that the search is blamed for."""
    config_type = type(configs[0])
    single = "one value under base, and a search for each"
    if metric.startswith("train_"):
        others = [one for one in config_type.metric_modes if not one.startswith("train_")]
        return f"an objective of other data ({', '.join(others)}); or {single}" if others else single
    if name in config_type.yardstick_advice:
        return f"{config_type.yardstick_advice[name]}; or {single}"
    scorable = config_type.scorable_fields()
    if name not in scorable:
        return single
    task = {**configs[0].scored_on, **{one: _usual(one, configs) for one in blamed if one in scorable}}
    return (
        f"base.{SCORED_ON}, the task that validates and tests every trial, whatever it trains on, for instance "
        f"{show_value(task, LONGEST_TASK)}; or {single}"
    )


def _usual(name: str, configs: Sequence[MethodConfig]) -> Any:
    """Return one of the values that a search gives a field: the default if it is among them."""
    default = type(configs[0]).model_fields[name].default
    chosen = next((config for config in configs if getattr(config, name) == default), configs[0])
    return chosen.model_dump(mode="json")[name]
