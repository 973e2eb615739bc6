"""The rules between a spec's fields; each field's own rules are in its model."""

import math
import re
from collections.abc import Iterator, Mapping

from search_spaces.conditions import condition_problems
from search_spaces.errors import KeyPath, Problem, show_value
from search_spaces.parameters import FloatRange, IntRange, NamedChoice
from search_spaces.samplers import SAMPLERS, samplers_for_trade_offs
from search_spaces.sections import ENDING_BOUNDS, SpecFields

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def rule_problems(spec: SpecFields) -> list[Problem]:
    """Return a problem for each rule between fields that a spec breaks."""
    rules = (_name, _code, _keys, _finite, _objectives, _sampler, _repeats, _budget, _resources)
    conditions = condition_problems(spec.space, spec.base)
    return [problem for rule in rules for problem in rule(spec)] + conditions


def _name(spec: SpecFields) -> list[Problem]:
    if _NAME.fullmatch(spec.name):
        return []
    allowed = "letters, digits, '.', '_' and '-', beginning with a letter or a digit"
    return [Problem(("name",), "must be fit for a directory's name", spec.name, allowed=allowed)]


def _code(spec: SpecFields) -> list[Problem]:
    if spec.code is None or "." in spec.trainable:
        return []
    rule = f"has no use: trainable = {spec.trainable!r}, without a dot, is a method of this package"
    allowed = "beside the import path of a module in it (my_package.my_module)"
    return [Problem(("code",), rule, spec.code, allowed=allowed)]


def _keys(spec: SpecFields) -> list[Problem]:
    return [
        Problem(("space", key), "is both under base and under space; keep one of them")
        for key in spec.space
        if key in spec.base
    ]


def _finite(spec: SpecFields) -> list[Problem]:
    """Return a problem for each number that JSON records cannot hold; a parameter checks its own values."""
    given: list[tuple[KeyPath, object]] = [(("base",), spec.base)]
    for name, parameter in spec.space.items():
        if isinstance(parameter, NamedChoice):
            given.append((("space", name, "choices"), parameter.choices))
    return [
        Problem(path, "must be a finite number", value)
        for start, values in given
        for path, value in _numbers(start, values)
        if not math.isfinite(value)
    ]


def _numbers(path: KeyPath, value: object) -> Iterator[tuple[KeyPath, float]]:
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _numbers((*path, key), inside)
    elif isinstance(value, list | tuple):
        for index, inside in enumerate(value):
            yield from _numbers((*path, index), inside)


def _objectives(spec: SpecFields) -> list[Problem]:
    problems = []
    metrics = [objective.metric for objective in spec.objective]
    for index, metric in enumerate(metrics):
        if metric in metrics[:index]:
            problems.append(Problem(("objective", index, "metric"), "this metric is an objective already", metric))
    if not spec.is_multi_objective:
        return problems
    many = f"{len(metrics)} objectives"
    if spec.early_stopping.name != "none":
        rule = f"early stopping compares one number, and there are {many}: give one objective, or stop no trial early"
        problems.append(Problem(("early_stopping", "name"), rule, spec.early_stopping.name, allowed="none"))
    if not spec.sampler.facts.knows_several_objectives:
        rule = f"this sampler optimises one objective, and there are {many}"
        allowed = ", ".join(samplers_for_trade_offs())
        problems.append(Problem(("sampler", "name"), rule, spec.sampler.name, allowed=allowed))
    for key in ("target", "patience_trials"):
        if getattr(spec.budget, key) is not None:
            rule = f"needs one objective to measure, and there are {many}"
            problems.append(Problem(("budget", key), rule, getattr(spec.budget, key)))
    return problems


def _sampler(spec: SpecFields) -> list[Problem]:
    if spec.is_grid:
        return [
            Problem(
                ("space", name),
                "a grid needs values it can count, and this range has uncountably many",
                allowed=f"a list such as {_some_values(parameter)}, a step, or another sampler",
            )
            for name, parameter in spec.space.items()
            if isinstance(parameter, FloatRange) and parameter.values() is None
        ]
    numbers = [
        parameter
        for parameter in spec.space.values()
        if isinstance(parameter, FloatRange | IntRange) and not parameter.when and parameter.low < parameter.high
    ]
    if spec.sampler.facts.needs_a_range and not numbers:
        rule = "this sampler searches unconditional ranges only, and space has none: all else it draws at random"
        allowed = ", ".join(name for name, facts in SAMPLERS.items() if not facts.needs_a_range)
        return [Problem(("sampler", "name"), rule, spec.sampler.name, allowed=allowed)]
    return []


def _some_values(parameter: FloatRange) -> str:
    low, high = parameter.low, parameter.high
    middle = (low * high) ** 0.5 if parameter.log else (low + high) / 2
    return show_value([low, float(f"{middle:.2g}"), high])


def _repeats(spec: SpecFields) -> list[Problem]:
    if spec.repeats is None:
        return []
    return [
        Problem((part, "seed"), "the seed is set by repeats.seeds; leave it out here")
        for part in ("base", "space")
        if "seed" in getattr(spec, part)
    ]


def _budget(spec: SpecFields) -> list[Problem]:
    if spec.is_grid or spec.budget.ends:
        return []
    rule = "the search would never end: only a grid ends by itself"
    if spec.budget.target is not None:
        rule = "a target may never be reached, and the search would never end"
    return [Problem(("budget",), rule, allowed=f"at least one of {', '.join(ENDING_BOUNDS)}")]


def _resources(spec: SpecFields) -> list[Problem]:
    resources = spec.resources
    problems = []
    if isinstance(resources.cpus, int) and resources.cpus_per_trial > resources.cpus:
        rule = f"a trial cannot get more CPUs than the search has ({resources.cpus})"
        problems.append(Problem(("resources", "cpus_per_trial"), rule, resources.cpus_per_trial))
    if resources.gpus_per_trial > 1 and not float(resources.gpus_per_trial).is_integer():
        rule = "must be a part of one GPU, or a whole number of them"
        problems.append(Problem(("resources", "gpus_per_trial"), rule, resources.gpus_per_trial))
    return problems
