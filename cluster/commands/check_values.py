"""Checks that each value of a search fits its field; finds where each value stands in the file."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from search_spaces.errors import KeyPath, Problem
from search_spaces.parameters import Choice, FloatRange, IntRange, NamedChoice, value_of
from search_spaces.spec import Spec, SpecFile
from search_spaces.validation import explain_validation
from trainables._shared.config import MethodConfig


class Written:
    """Finds where the values of a configuration stand in the spec's file."""

    def __init__(self, file: SpecFile) -> None:
        self._spec = file.spec
        self._lines = file.source.lines

    def label(self, name: str, index: int, label: Any) -> KeyPath:
        """Return the path in the spec of a parameter's choice with this index and label."""
        if isinstance(self._spec.space[name], NamedChoice):
            return ("space", name, "choices", label)
        plain = ("space", name, index)
        return plain if plain in self._lines else ("space", name, "choices", index)

    def value(self, path: KeyPath, params: Mapping[str, Any]) -> KeyPath:
        """Return the path in the spec for a path in the configuration made of `params`; defaults count as in `base`."""
        if not path or path[0] not in self._spec.space:
            return ("base", *path) if path else ()
        name = str(path[0])
        parameter = self._spec.space[name]
        if isinstance(parameter, FloatRange | IntRange) or name not in params:
            return ("space", name)
        labels = list(parameter.labels)
        return (*self.label(name, labels.index(params[name]), params[name]), *path[1:])


def _values_to_try(spec: Spec, written: Written) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield each value of the search with its path: fixed values, all choices, both ends of every range."""
    for name, value in spec.base.items():
        yield ("base", name), name, value
    for name, parameter in spec.space.items():
        if isinstance(parameter, Choice | NamedChoice):
            for index, label in enumerate(parameter.labels):
                yield written.label(name, index, label), name, value_of(parameter, label)
        else:
            yield ("space", name, "low"), name, parameter.low
            yield ("space", name, "high"), name, parameter.high


def value_problems(spec: Spec, config_type: type[MethodConfig], written: Written) -> list[Problem]:
    """Return the problems of single values; each is validated alone, without the rules between fields."""
    problems = []
    for path, name, value in _values_to_try(spec, written):
        values = {name: value}
        try:
            config_type.of_values(values)
        except ValidationError as error:
            direct = any(details["loc"][:1] == (name,) for details in error.errors(include_url=False))
            for problem in explain_validation(error, config_type, values):
                if direct and problem.path[:1] == (name,):
                    problems.append(_with_hint(replace(problem, path=(*path, *problem.path[1:])), spec, name))
    return problems


def _with_hint(problem: Problem, spec: Spec, name: str) -> Problem:
    """Return the problem; if a float range stands for a whole number, with the advice to make it an int range."""
    if isinstance(spec.space.get(name), FloatRange) and problem.wants_int:
        return Problem(problem.path, "the field takes whole numbers; add `type: int` to the range", problem.value)
    return problem
