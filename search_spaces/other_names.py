"""Puts a method's own names in place of other names of the same values, so that one thing is recorded under one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from search_spaces.errors import KeyPath, Problem
from search_spaces.parameters import Choice, NamedChoice, Parameter
from search_spaces.spec import Spec, SpecFile

OtherNames = Mapping[str, Mapping[str, tuple[str, str]]]
"""By field and other name: the own name that it stands for, and the field that must be given beside it, or ""."""


class _Use(NamedTuple):
    """Another name, and where the spec has it."""

    path: KeyPath
    field: str
    other: str


def with_own_names(file: SpecFile, names: OtherNames) -> tuple[SpecFile, list[str]]:
    """Return a spec in which every value has the method's own name, and a note per other name that it used.

    Raises SpecError if two choices stand for the same value, or if a name needs a field that is not given.
    """
    spec = file.spec
    used = list(_uses(file, names))
    if problems := [*_unfinished(spec, used, names), *_twice(spec, used, names)]:
        raise file.source.error(problems)
    base = {name: _own(names, name, value) for name, value in spec.base.items()}
    space = {name: _renamed(spec, name, names) for name in spec.space}
    found = dict.fromkeys((use.other, names[use.field][use.other][0]) for use in used)
    notes = [f"{other} is another name of {own}, by which it is recorded" for other, own in found]
    return SpecFile(spec.model_copy(update={"base": base, "space": space}), file.source), notes


def _uses(file: SpecFile, names: OtherNames) -> Iterator[_Use]:
    for path, field, value in _given(file):
        if isinstance(value, str) and value in names.get(field, {}):
            yield _Use(path, field, value)


def _given(file: SpecFile) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield each value that a spec gives a field or asks of one: its path, the field, the value."""
    spec, lines = file.spec, file.source.lines
    for name, value in spec.base.items():
        yield ("base", name), name, value
    for name, parameter in spec.space.items():
        for label, value in _choices(parameter):
            plain = ("space", name, label)
            yield plain if plain in lines else ("space", name, "choices", label), name, value
        for parent, allowed in parameter.when.items():
            for value in allowed if _asks_for_values(spec, parent) else ():
                yield ("space", name, "when", parent), parent, value


def _choices(parameter: Parameter) -> Iterable[tuple[str | int, Any]]:
    """Return a parameter's choices, each with its place in the file; none of a range."""
    if isinstance(parameter, Choice):
        return enumerate(parameter.choices)
    return parameter.choices.items() if isinstance(parameter, NamedChoice) else ()


def _asks_for_values(spec: Spec, parent: str) -> bool:
    """Return whether a condition on a parameter has values of its field; else it has the names of structures."""
    return not isinstance(spec.space.get(parent), NamedChoice)


def _unfinished(spec: Spec, used: Iterable[_Use], names: OtherNames) -> Iterator[Problem]:
    """Yield a problem for each name that says more than the own one, if the field that says the rest is not given."""
    for path, field, other in used:
        own, needed = names[field][other]
        if needed and needed not in spec.base and needed not in spec.space:
            allowed = f"{other} with {needed} under base or space, or {own} without"
            yield Problem(path, f"is {own} with {needed}, which is not given", other, allowed=allowed)


def _twice(spec: Spec, used: Iterable[_Use], names: OtherNames) -> Iterator[Problem]:
    """Yield a problem for each choice that stands for the value of another choice of its parameter."""
    for path, field, other in used:
        if path[:2] != ("space", field):
            continue
        own, needed = names[field][other]
        if [_own(names, field, value) for _, value in _choices(spec.space[field])].count(own) > 1:
            allowed = f"one of them; what differs is {needed}, under space" if needed else "one of them"
            yield Problem(path, f"is {own}, which is another of the choices", other, allowed=allowed)


def _renamed(spec: Spec, name: str, names: OtherNames) -> Parameter:
    parameter = spec.space[name]
    changes: dict[str, Any] = {}
    if isinstance(parameter, Choice):
        changes["choices"] = tuple(_own(names, name, value) for value in parameter.choices)
    elif isinstance(parameter, NamedChoice):
        changes["choices"] = {label: _own(names, name, value) for label, value in parameter.choices.items()}
    changes["when"] = {
        parent: tuple(dict.fromkeys(_own(names, parent, value) for value in allowed))
        if _asks_for_values(spec, parent)
        else allowed
        for parent, allowed in parameter.when.items()
    }
    set_before = parameter.model_fields_set
    return parameter.model_copy(update={key: value for key, value in changes.items() if key in set_before})


def _own(names: OtherNames, field: str, value: Any) -> Any:
    found = names.get(field, {}).get(value) if isinstance(value, str) else None
    return value if found is None else found[0]
