"""Finds the models that trainings start from (`init_from`), and checks before the launch that they fit."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.commands.apart import ProcessError, run_apart
from cluster.commands.check_values import Written
from cluster.state.paths import SearchNotFoundError, SearchPaths, find_search
from cluster.study.configurations import Configuration
from search_spaces.errors import KeyPath, Problem
from search_spaces.parameters import Choice, NamedChoice
from search_spaces.spec import Spec, SpecFile
from trainables._shared.config import MethodConfig, structural_key
from trainables._shared.discovery import are_of_one_method
from trainables._shared.model_file import CheckpointError, Leaf, ModelFile, misfit, read_model_file

FIELD = "init_from"
FORMS = (
    "SEARCH/TRIAL for the best model of a trial (SEARCH: a search's name or directory), SEARCH/TRIAL@STEP or @last for "
    "another that it has kept, or a model file such as `swell best` writes"
)
_OF_A_TRIAL = re.compile(r"(.+)/(\d+)(?:@(\d+|last))?")
NUM_NAMED = 20
"""Trials that have kept a model that a message names."""


class _NoModelError(ValueError):
    """There is no model of that name; the message says why."""


def with_models(file: SpecFile) -> SpecFile:
    """Return a spec whose models are named by their files: relative to the working directory if they are below it.

    Trials work in that directory. Raises SpecError if there is no such model.
    """
    spec, problems = file.spec, []
    written = Written(file)

    def found(value: Any, path: KeyPath) -> Any:
        if not isinstance(value, str):
            return value  # null, or nothing that the field takes
        try:
            return model_named(value)
        except (_NoModelError, OSError) as error:  # a name too long for a file's, a folder closed to us
            problems.append(Problem(path, str(error), value, allowed=FORMS))
            return value

    base, space, files = dict(spec.base), dict(spec.space), {}
    if FIELD in base:
        base[FIELD] = found(base[FIELD], ("base", FIELD))
        asked = spec.base[FIELD]
        files = {asked: base[FIELD]} if isinstance(asked, str) and isinstance(base[FIELD], str) else {}
    parameter = space.get(FIELD)
    if isinstance(parameter, NamedChoice):
        named = {label: found(value, written.label(FIELD, 0, label)) for label, value in parameter.choices.items()}
        space[FIELD] = parameter.model_copy(update={"choices": named})
    elif isinstance(parameter, Choice):
        listed = [found(value, written.label(FIELD, index, value)) for index, value in enumerate(parameter.choices)]
        problems += [
            Problem(written.label(FIELD, index, value), "is the same model as another of the choices", value)
            for index, value in enumerate(parameter.choices)
            if listed[index] in listed[:index]
        ]
        space[FIELD] = parameter.model_copy(update={"choices": tuple(listed)})
        files = dict(zip(parameter.choices, listed, strict=True))
    space = {name: _conditions_renamed(other, files) for name, other in space.items()}
    if problems:
        raise file.source.error(problems)
    if base == spec.base and space == spec.space:
        return file
    return SpecFile(spec.model_copy(update={"base": base, "space": space}), file.source)


def _conditions_renamed(parameter: Any, files: Mapping[Any, Any]) -> Any:
    """Return a parameter whose conditions name the models by their files."""
    if FIELD not in parameter.when:
        return parameter
    allowed = tuple(files.get(value, value) for value in parameter.when[FIELD])
    return parameter.model_copy(update={"when": {**parameter.when, FIELD: allowed}})


def model_named(name: str) -> str:
    """Return the file of a model that a spec names; raises _NoModelError if there is none."""
    of_a_trial = _OF_A_TRIAL.fullmatch(name)
    if of_a_trial is None or Path(name).is_file():
        if not Path(name).is_file():
            raise _NoModelError("there is no such file")
        return _short(Path(name))
    search, trial, step = of_a_trial.groups()
    try:
        paths = find_search(search)
    except SearchNotFoundError as error:
        raise _NoModelError(str(error)) from None
    file = paths.model(int(trial), int(step) if step and step.isdecimal() else step)
    if not file.is_file():
        raise _NoModelError(_not_kept(paths, int(trial), step))
    return _short(file)


def _not_kept(paths: SearchPaths, trial: int, step: str | None) -> str:
    if step is not None and paths.checkpoint(trial).is_file():
        there = ", ".join(map(str, paths.kept_steps(trial))) or "none"
        return (
            f"{paths.name} has not kept that model of trial {trial}; there are its best one, and after steps: {there}"
        )
    there = sorted(int(file.stem[-6:]) for file in paths.checkpoints.glob("trial-??????.npz"))
    some = ", ".join(map(str, there[:NUM_NAMED])) + (", ..." if len(there) > NUM_NAMED else "")
    return f"{paths.name} has kept no model of trial {trial}; there are those of: {some or 'none'}"


def _short(file: Path) -> str:
    absolute = Path(os.path.abspath(file))  # noqa: PTH100 - a link stays what the user has named
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def model_problems(
    spec: Spec, built: Sequence[Configuration], written: Written, code: Path | None = None
) -> list[Problem]:
    """Return one problem per model that configurations start from and cannot: of another method, or of other shapes.

    Shapes and types are compared in a process of its own, which loads JAX, and only where a configuration differs from
    the saved one in what its evaluation reads, or either may compute in 64 bits.
    """
    problems: dict[str, Problem] = {}
    unsure: dict[str, tuple[Configuration, ModelFile]] = {}
    files: dict[str, ModelFile] = {}
    for one in built:
        name = one.config.init_from
        if name is None or name in problems:
            continue

        def refuse(why: str, one: Configuration = one, name: str = name) -> None:
            problems[name] = Problem(written.value((FIELD,), one.params), why, name)

        try:
            file = files[name] = files.get(name) or read_model_file(Path(name))
        except CheckpointError as error:
            refuse(str(error).removeprefix(f"{name}: "))
            continue
        if not are_of_one_method(file.trainable, spec.trainable):
            refuse(f"is a model of {file.trainable}, and this is a search of {spec.trainable}")
            continue
        key = structural_key(one.config.for_evaluation())
        if key != _recorded_key(type(one.config), file) or _may_be_of_other_types(file):
            unsure.setdefault(f"{name} {key}", (one, file))
    problems |= {
        str(one.config.init_from): Problem(written.value((FIELD,), one.params), why, one.config.init_from)
        for one, why in _misfits(spec, list(unsure.values()), code)
    }
    return list(problems.values())


def _recorded_key(config_type: type[MethodConfig], file: ModelFile) -> str:
    """Return the structure of a saved model's config; empty if that is no config of the method any more."""
    try:
        return structural_key(config_type.of_values(config_type.recorded(file.config)).for_evaluation())
    except ValueError:
        return ""


def _may_be_of_other_types(file: ModelFile) -> bool:
    """Return whether a model with the structure of the file's may have other types of numbers here: 64 bits or 32."""
    return "JAX_ENABLE_X64" in os.environ or any("64" in type_ for type_ in file.types)


def _misfits(
    spec: Spec, unsure: Sequence[tuple[Configuration, ModelFile]], code: Path | None
) -> Iterator[tuple[Configuration, str]]:
    """Yield the configurations whose models have other arrays than their files, and how they differ."""
    if not unsure:
        return
    try:
        here = _shapes(spec, [one.config for one, _ in unsure], code)
    except ProcessError as error:
        yield unsure[0][0], f"its shapes cannot be compared with those of this search's model: {error}"
        return
    for (one, file), leaves in zip(unsure, here, strict=True):
        if different := misfit(file, leaves):
            yield one, f"does not fit this model: {different}"


def _shapes(spec: Spec, configs: Sequence[MethodConfig], code: Path | None) -> list[list[Leaf]]:
    request = {"trainable": spec.trainable, "configs": [config.model_dump(mode="json") for config in configs]}
    found = run_apart("cluster.commands.shapes_worker", request, spec.resources, code)
    return [[Leaf(name, tuple(shape), type_) for name, shape, type_ in leaves] for leaves in found]
