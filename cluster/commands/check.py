"""Finds out everything that can be known of a search before launch; imports no JAX, so that it answers at once."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cluster.commands.check_code import with_code
from cluster.commands.check_environment import environment_problems
from cluster.commands.check_metrics import metric_problems, mode_problems, stopping_problems
from cluster.commands.check_models import model_problems, with_models
from cluster.commands.check_values import Written, value_problems
from cluster.commands.check_yardstick import yardstick_problems
from cluster.machine.file_size import require_unlimited_files
from cluster.machine.resources import cpu_budget, gpu_count
from cluster.machine.variables import overruled_warnings
from cluster.state.storage import storage_problem
from cluster.study.configurations import (
    Configuration,
    Configurations,
    choose_configurations,
    count_programs,
    group_by_structure,
    searched_branches,
)
from cluster.wording import count
from search_spaces.errors import MISSING, Problem, as_text_choices, nearest, show_value
from search_spaces.other_names import with_own_names
from search_spaces.parameters import FloatRange, IntRange, Parameter
from search_spaces.presets import with_preset
from search_spaces.space import resolve
from search_spaces.spec import Spec, SpecFile
from search_spaces.validation import explain_validation
from trainables._shared.config import ConfigError, MethodConfig, check_all_data
from trainables._shared.discovery import UnknownMethodError, load_config_type, loaded_method
from trainables._shared.extras import MissingPackageError, how_missing, is_installed, require_needed

LARGEST_GRID = 100_000
"""The most configurations of a grid without another bound: nobody waits for more."""
NUM_EXAMPLES = 3
"""How many of the configurations that one reason rules out are shown."""


@dataclass(frozen=True)
class ProgramUse:
    """A configuration of a search, and how many of those checked differ from it only in traced values."""

    config: Mapping[str, Any]
    params: Mapping[str, Any]
    num_configurations: int


@dataclass(frozen=True)
class CheckReport:
    """What is known of a search that can run."""

    spec: Spec
    num_configurations: int | None
    """Distinct configurations; None if a range has more than can be counted."""
    num_trials: int | None
    """The most trials the search may have; None if only time bounds it."""
    num_checked: int
    """Configurations that were built and checked against the data."""
    sampled: bool
    """Whether the checked configurations were a sample."""
    programs: tuple[ProgramUse, ...]
    """Configurations that differ in more than traced values."""
    num_programs: int
    """How many programs they compile: some are told apart on the host alone."""
    searched: Mapping[str, Sequence[Any]]
    """The values of fields of which several can share one program."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    code: Path | None = None
    """Where the method's code is on this node, if that is a W&B artifact."""


def check(file: SpecFile, *, here: bool = True) -> CheckReport:
    """Return what is known of a search before launch; with `here`, check it against this machine too.

    Code that the spec names is fetched, and its alias becomes a version. Raises SpecError, with one line per problem,
    if the search cannot run, or would run trials that cannot, and FileSizeError if the size of files is limited here.
    """
    if here:
        require_unlimited_files()  # before anything is written
    file, code = with_code(file)
    file = with_models(file)
    spec, source = file.spec, file.source

    def refuse(problems: Sequence[Problem]) -> None:
        if problems:
            raise source.error(problems)

    refuse(environment_problems(spec.resources, code))  # before a module of the user's starts JAX here
    config_type = find_config_type(file)
    given = file.spec.base
    file, named = with_own_names(file, config_type.other_names)
    file, filled = with_preset(file, config_type.presets)
    spec = file.spec
    chosen = choose_configurations(spec)
    problems = [*_unknown_keys(spec, config_type), *(_machine_problems(spec) if here else ())]
    refuse([*problems, *_sampler_problems(spec, chosen.size)])
    refuse(_storage_problems(spec))
    written = Written(file)
    refuse(value_problems(spec, config_type, written))
    built, ruled_out = _build(spec, config_type, chosen.points, written)
    refuse(_ruled_out_problems(spec, ruled_out, chosen))
    refuse(model_problems(spec, built, written, code))
    configs = [configuration.config for configuration in built]
    stopping, stopping_warnings = stopping_problems(spec, configs)
    modes, mode_warnings = mode_problems(spec, config_type, _selections(file, configs))
    refuse([*metric_problems(spec, config_type, configs), *modes, *stopping, *_unused_problems(spec, built)])
    refuse(yardstick_problems(spec, built))
    data_warnings = dict.fromkeys(
        warning
        for config in configs
        for one in dict.fromkeys((config, config.task()))
        for warning in one.data_warnings()
    )
    warnings = [*stopping_warnings, *mode_warnings, *_base_warnings(given, configs), *_warmup_warnings(configs)]
    warnings += [*overruled_warnings(os.environ), *data_warnings]
    report = _report(spec, chosen, built, warnings)
    return replace(report, code=code, notes=(*named, *filled, *report.notes))


def find_config_type(file: SpecFile) -> type[MethodConfig]:
    """Return the config class of a spec's method; raises SpecError if there is none."""
    name = file.spec.trainable
    try:
        return load_config_type(name)
    except UnknownMethodError as error:
        own = "or the import path of your own module (my_package.my_module)"
        listed, near = ", ".join(error.choices), nearest(name, error.choices)
        allowed = error.fault.allowed or (f"{listed}, {own}" if listed else own[3:])
        problem = Problem(("trainable",), error.fault.rule, name, allowed=allowed, near=near)
    except Exception as error:  # whatever a user's own module raises is the user's to read, not a traceback of ours
        problem = Problem(("trainable",), f"importing it failed with {type(error).__name__}: {error}", name)
    raise file.source.error([problem])


def _selections(file: SpecFile, configs: Sequence[MethodConfig]) -> set[tuple[str, str]]:
    """Return the metrics, with modes, that select the best model in any configuration; empty if that needs JAX.

    Raises SpecError if the method's own code fails.
    """
    found: set[tuple[str, str]] = {chosen for config in configs if (chosen := config.selected_by()) is not None}
    method = None if found else loaded_method(file.spec.trainable)
    try:
        return found or ({method.selection(config) for config in configs} if method else set())
    except Exception as error:  # a user's own method may raise anything, which is no fault of ours
        rule = f"its selection() failed with {type(error).__name__}: {error}"
        raise file.source.error([Problem(("trainable",), rule, file.spec.trainable)]) from None


def _unknown_keys(spec: Spec, config_type: type[MethodConfig]) -> list[Problem]:
    fields = as_text_choices(config_type.model_fields)
    return [
        Problem((part, key), f"{spec.trainable} has no such field", choices=fields, near=nearest(key, fields))
        for part, given in (("base", spec.base), ("space", spec.space))
        for key in given
        if key not in fields
    ]


def _machine_problems(spec: Spec) -> list[Problem]:
    problems = []
    budget = cpu_budget(spec.resources.max_cpus)
    if spec.resources.cpus_per_trial > budget:
        rule = f"a trial cannot get more CPUs than there are for the search ({budget} on this machine)"
        problems.append(Problem(("resources", "cpus_per_trial"), rule, spec.resources.cpus_per_trial))
    gpus_per_trial = spec.resources.gpus_per_trial
    if gpus_per_trial and gpus_per_trial > (num_gpus := gpu_count()):
        rule = f"a trial cannot get more GPUs than there are for the search ({num_gpus} on this machine)"
        problems.append(Problem(("resources", "gpus_per_trial"), rule, gpus_per_trial))
    return problems


def _sampler_problems(spec: Spec, size: int | None) -> list[Problem]:
    facts = spec.sampler.facts
    if facts.package and not is_installed(facts.package):
        rule = f"this sampler needs {facts.package_name}, which {how_missing(facts.package)}"
        return [Problem(("sampler", "name"), rule, spec.sampler.name)]
    if not spec.is_grid:
        return []
    path = ("sampler", "name")
    if size is None:
        rule = "the conditions of this space are too entangled for its configurations to be counted, as a grid must be"
        return [Problem(path, rule, "grid", allowed="fewer conditions with several keys, or random, qmc, tpe")]
    if size <= LARGEST_GRID or spec.budget.ends:
        return []
    rule = f"this grid has {size:,} configurations, and nothing else ends the search"
    allowed = "fewer values, a bound under budget (trials, hours, ...), or random, qmc, tpe with one"
    return [Problem(path, rule, "grid", allowed=allowed)]


def _storage_problems(spec: Spec) -> list[Problem]:
    reason = storage_problem(spec.storage)
    return [Problem(("storage",), reason, spec.storage)] if reason else []


@dataclass(frozen=True)
class _RuledOut:
    """A configuration that cannot be trained, and why."""

    params: Mapping[str, Any]
    problem: Problem


def _build(
    spec: Spec, config_type: type[MethodConfig], points: Sequence[Mapping[str, Any]], written: Written
) -> tuple[list[Configuration], list[_RuledOut]]:
    built: list[Configuration] = []
    ruled_out: list[_RuledOut] = []
    for params in points:
        values = resolve(spec, params)
        try:
            config = config_type.of_values(values)
            require_needed(config)
            check_all_data(config)
            built.append(Configuration(params, config))
        except ValidationError as error:
            found = explain_validation(error, config_type, values)
            ruled_out += [_RuledOut(params, _in_spec(one, params, values, written)) for one in found]
        except ConfigError as error:
            found = Problem((error.field,), error.message, error.value, allowed=error.allowed)
            ruled_out.append(_RuledOut(params, _in_spec(found, params, values, written)))
        except MissingPackageError as error:  # of the whole method, or of its check_data
            ruled_out.append(_RuledOut(params, Problem(("trainable",), str(error), spec.trainable)))
    return built, ruled_out


def _in_spec(problem: Problem, params: Mapping[str, Any], values: Mapping[str, Any], written: Written) -> Problem:
    """Return a configuration's problem with its path in the spec."""
    is_default = problem.path and problem.path[0] not in values
    message = f"the method's default does not fit here: {problem.message}" if is_default else problem.message
    return replace(problem, path=written.value(problem.path, params), message=message)


def _ruled_out_problems(spec: Spec, ruled_out: Sequence[_RuledOut], chosen: Configurations) -> list[Problem]:
    """Return one problem per reason: how many configurations it rules out, the first few, and what to do."""
    groups: dict[tuple[Any, ...], list[_RuledOut]] = {}
    for one in ruled_out:
        groups.setdefault(_reason(spec, one.problem), []).append(one)
    problems = []
    of_all = f"{len(chosen.points)} {'sampled ' if chosen.sampled else ''}configurations"
    for group in groups.values():
        first = group[0].problem
        if any(one.problem.value != first.value for one in group):
            first = replace(first, value=MISSING)
        # A configuration may break one rule twice.
        params = list({id(one.params): one.params for one in group}.values())
        if len(params) == len(chosen.points):  # to list some of them would say nothing
            which = f"all {of_all}" if len(params) > 1 else "the only configuration"
        else:
            shown = ", ".join(show_value(one, 160) for one in params[:NUM_EXAMPLES])
            more = ", ..." if len(params) > NUM_EXAMPLES else ""
            which = f"{len(params)} of {of_all}: {shown}{more}"
        problems.append(replace(first, message=f"{first.message}; this rules out {which}"))
    return problems


def _reason(spec: Spec, problem: Problem) -> tuple[Any, ...]:
    """Return a key that all problems of one rule share; it has no numbers, since these are drawn from ranges."""
    if not any(isinstance(parameter, FloatRange | IntRange) for parameter in spec.space.values()):
        return problem.path, str(problem)
    return problem.path, *(_NUMBER.sub("#", text) for text in (problem.message, problem.allowed or ""))


_NUMBER = re.compile(r"\d+(\.\d*)?([eE][-+]?\d+)?")


def _unused_problems(spec: Spec, built: Sequence[Configuration]) -> list[Problem]:
    """Return a problem per searched field whose value has no effect: trials would be trained more than once."""
    reasons: dict[str, list[str]] = {}
    for configuration in built:
        for name, reason in configuration.config.unused_fields().items():
            if name in configuration.params and not _is_single(spec, name):
                reasons.setdefault(name, []).append(reason)
    way_out = "a condition (`when: {key: value}`) that searches it only where it matters, or base instead of space"
    return [
        Problem(
            ("space", name),
            f"has no effect in {len(found)} of {len(built)} configurations ({found[0]}), "
            "which would be trained several times over",
            allowed=way_out,
        )
        for name, found in reasons.items()
    ]


def _is_single(spec: Spec, name: str) -> bool:
    parameter = spec.space[name]
    if isinstance(parameter, FloatRange | IntRange):
        return parameter.low == parameter.high
    return len(parameter.labels) == 1


def _base_warnings(given: Iterable[str], configs: Sequence[MethodConfig]) -> list[str]:
    unused = [config.unused_fields() for config in configs]
    return [
        f"base.{name} has no effect: {unused[0][name]}"
        for name in given
        if unused and all(name in fields for fields in unused)
    ]


def _warmup_warnings(configs: Sequence[MethodConfig]) -> Iterator[str]:
    """Yield a warning if a learning rate rises for most of a phase: a default is made for the default's steps."""
    known = [(min(steps), one.warmup_steps) for one in configs if (steps := one.phase_steps())]
    rising = [(steps, warmup) for steps, warmup in known if 2 * warmup > steps]
    if rising:
        steps, warmup = min(rising)
        yield (
            f"warmup_steps: in {len(rising)} of {len(configs)} configurations the learning rate rises for more than "
            f"half of a phase (of {steps} steps, with {warmup} of warm-up): give fewer"
        )


def _report(spec: Spec, chosen: Configurations, built: Sequence[Configuration], warnings: Sequence[str]) -> CheckReport:
    searched = searched_branches(spec, type(built[0].config)) if built else {}
    groups = group_by_structure(built, searched)
    uses = tuple(ProgramUse(found[0].config.model_dump(mode="json"), found[0].params, len(found)) for found in groups)
    return CheckReport(
        spec=spec,
        num_configurations=chosen.size,
        num_trials=num_trials(spec, chosen.size),
        num_checked=len(built),
        sampled=chosen.sampled,
        programs=uses,
        num_programs=count_programs((found[0].config for found in groups), searched),
        searched=searched,
        notes=(*_notes(spec, chosen.size), *_kept_notes(spec, [one.config for one in built])),
        warnings=(*warnings, *_repeat_warnings(spec)),
    )


def num_trials(spec: Spec, num_configurations: int | None) -> int | None:
    """Return the most trials that a search may have; None if only time bounds it."""
    bounds = [spec.budget.trials] if spec.budget.trials else []
    if spec.is_grid and num_configurations is not None:
        bounds.append(num_configurations * len(spec.seeds))
    return min(bounds, default=None)


def _notes(spec: Spec, size: int | None) -> Iterator[str]:
    trials = spec.budget.trials
    if spec.is_grid and size is not None and trials and trials < size * len(spec.seeds):
        yield f"budget.trials: {trials} of the grid's {size * len(spec.seeds)} trials will run"
    if spec.constraints and not spec.sampler.facts.knows_constraints:
        yield f"sampler {spec.sampler.name} does not know constraints: they only decide the ranking"
    if spec.sampler.facts.only_ranges:
        others = [name for name, parameter in spec.space.items() if not _is_free_range(parameter)]
        if others:
            yield f"sampler {spec.sampler.name} draws at random: {', '.join(others)}"


def _kept_notes(spec: Spec, configs: Sequence[MethodConfig]) -> Iterator[str]:
    """Yield how many models beside the best ones stay on disk, and that none does if no training lasts so long."""
    keep, steps = spec.keep, [config.num_steps() for config in configs]
    if not keep.further_models:
        return
    each = keep.most_steps if keep.every_steps else 0
    if keep.every_steps and steps and None not in steps:
        longest = max(step for step in steps if step is not None)
        each = min(each, longest // keep.every_steps)
        if not each:
            yield f"keep.every_steps: no training has {keep.every_steps} steps; the longest has {longest}"
    each += keep.last
    best = "the best trial" if keep.top == 1 else f"each of the {keep.top} best trials"
    whose = best if keep.checkpoints == "best" else "every trial"
    most = f" ({each * keep.top} in all)" if keep.checkpoints == "best" else ""
    yield f"keep: up to {count(each, 'model')} beside the best one of {whose}{most}, and of those that run"


def _is_free_range(parameter: Parameter) -> bool:
    return isinstance(parameter, FloatRange | IntRange) and not parameter.when


def _repeat_warnings(spec: Spec) -> Iterator[str]:
    trials, repeats = spec.budget.trials, len(spec.seeds)
    if trials and trials % repeats:
        yield f"budget.trials: {trials} is not a multiple of {repeats} repeats: the last configuration stays incomplete"
