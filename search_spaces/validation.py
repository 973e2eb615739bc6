"""Turns pydantic's errors into problems in the user's words: what was given, what is allowed, the nearest spelling."""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from search_spaces.errors import MISSING, BrokenRule, KeyPath, Problem, as_text_choices, nearest

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "mapping_type": "a mapping",
    "none_required": "null",
    "finite_number": "a finite number",
}
_INT_KINDS = [kind for kind, wanted in _WANTED.items() if wanted == "a whole number"]
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def explain_validation(error: ValidationError, model: type[BaseModel], data: object) -> list[Problem]:
    """Return the problems that pydantic found in `data` when it validated it as `model`.

    Key paths are those of `data`: names that pydantic adds (of a union's members) are left out.
    """
    problems: list[Problem] = []
    found = error.errors(include_url=False)
    for details in _best_of_unions([one for one in found if not _follows(one, found)], data):
        path = _path_in(details, data)
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, BrokenRule):
            inside = _value_at(data, path) if path else data
            problems += [replace(one, path=path + _written(inside, one.path)) for one in cause.problems]
        elif cause is not None and isinstance(getattr(cause, "field", None), str):
            problems.append(_from_cause(cause, path))
        else:
            problems.append(_problem(details, path, model, data))
    return problems


def _follows(error: Any, others: Sequence[Any]) -> bool:
    """Return whether a list only counts as too short because pydantic left out its bad entries."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in others
    )


def _written(data: object, path: KeyPath) -> KeyPath:
    """Return a model's path as the author wrote it: a plain list stands for {choices: [...]}."""
    skips = bool(path) and path[0] == "choices" and isinstance(data, list | tuple)
    return path[1:] if skips else path


def _from_cause(cause: Any, path: KeyPath) -> Problem:
    """Return the problem of a rule that a method's own validator found broken, which names field, value and advice."""
    parts = path if cause.field in path else (*path, cause.field)
    return Problem(parts, cause.message, cause.value, allowed=getattr(cause, "allowed", None))


def _problem(details: Any, path: KeyPath, model: type[BaseModel], data: object) -> Problem:
    kind, context = details["type"], details.get("ctx", {})
    value = _value_at(data, path)
    if kind == "extra_forbidden":
        choices = _fields_at(model, details["loc"][:-1])
        return Problem(path, "unknown key", value, choices=choices, near=nearest(path[-1], choices))
    if kind == "missing":
        return Problem(path, "is required but not given")
    if kind in ("literal_error", "enum"):
        choices = tuple(quoted or bare for quoted, bare in re.findall(r"'([^']*)'|([-+.\d]+)", context["expected"]))
        return Problem(path, "is not one of the choices", value, choices=choices)
    if kind in _WANTED:
        keys = _fields_at(model, details["loc"]) if _WANTED[kind] == "a mapping" else ()
        return replace(_wrong_type(path, value, _WANTED[kind], keys), wants_int=kind in _INT_KINDS)
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return Problem(path, f"must be {words} {context[key]:g}", value)
    if kind in ("too_short", "too_long"):
        words, key = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return Problem(path, f"must have {words} {context[key]} entries, but has {context['actual_length']}", value)
    message = str(context["error"]) if "error" in context else details["msg"]
    return Problem(path, message, value)


def _inside(data: object, part: str | int) -> object:
    """Return one value of a mapping or a list, or MISSING if it is not there."""
    if isinstance(data, Mapping):
        return data.get(part, MISSING)
    if isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
        return data[part]
    return MISSING


def _value_at(data: object, path: KeyPath) -> object:
    """Return the value that the author wrote; pydantic's own `input` may have been reshaped by validators."""
    for part in path:
        data = _inside(data, part)
    return data if path else MISSING


def _wrong_type(path: KeyPath, value: object, wanted: str, keys: tuple[str, ...]) -> Problem:
    hint = ""
    if isinstance(value, str):
        hint = ", but is text"
        if wanted in ("a number", "a whole number") and re.fullmatch(r"[-+0-9.eE_]+|0[xo][0-9a-fA-F]+|[0-9:]+", value):
            hint = ", but is text: write it as a plain decimal number, without quotes, underscores or colons"
    elif wanted == "text" and isinstance(value, bool | int | float):
        hint = f", but is {'true or false' if isinstance(value, bool) else 'a number'}: put it in quotes"
    elif isinstance(value, bool) and wanted != "true or false":
        hint = ", but is true or false"
    elif isinstance(value, list | tuple):
        hint = ", but is a list"
    elif isinstance(value, Mapping):
        hint = ", but is a mapping"
    elif isinstance(value, float) and wanted == "a whole number":
        hint = ", but has a decimal point or an exponent"
    choices = ("true", "false") if wanted == "true or false" else ()
    allowed = f"the keys {', '.join(keys)}" if keys else None
    return Problem(path, f"must be {wanted}{hint}", value, choices, allowed)


def _labels(error: Any, data: object) -> list[int]:
    """Return the indices of an error's location that are not in the data: pydantic's names for a union's members."""
    labels: list[int] = []
    loc = error["loc"]
    for number, part in enumerate(loc):
        inside = _inside(data, part)
        if inside is not MISSING:
            data = inside
        elif error["type"] != "missing" or number < len(loc) - 1:
            labels.append(number)
    return labels


def _path_in(error: Any, data: object) -> KeyPath:
    """Return an error's location as a key path of the data."""
    labels = _labels(error, data)
    return tuple(part for number, part in enumerate(error["loc"]) if number not in labels)


def _best_of_unions(errors: Sequence[Any], data: object, level: int = 0) -> list[Any]:
    """Keep only the errors of the union's member that got furthest into the data.

    Pydantic reports every member's errors. If a list of phases has one bad phase, the user should hear of that phase,
    not that the list is no mapping.
    """
    kept: list[Any] = []
    unions: dict[tuple[Any, ...], dict[Any, list[Any]]] = {}
    for error in errors:
        labels = _labels(error, data)
        if len(labels) <= level:
            kept.append(error)
        else:
            start = error["loc"][: labels[level]]
            unions.setdefault(start, {}).setdefault(error["loc"][labels[level]], []).append(error)
    for members in unions.values():
        reduced = [_best_of_unions(found, data, level + 1) for found in members.values()]
        depths = [max(len(_path_in(error, data)) for error in found) for found in reduced]
        kept += _merged([found for found, depth in zip(reduced, depths, strict=True) if depth == max(depths)])
    return kept


def _merged(members: list[list[Any]]) -> list[Any]:
    """Return as few errors as possible of the members of a union that got equally far."""
    if len(members) == 1:
        return members[0]
    firsts = [found[0] for found in members]
    wanted = list(dict.fromkeys(_WANTED[error["type"]] for error in firsts if error["type"] in _WANTED))
    if "a number" in wanted and "a whole number" in wanted:
        wanted.remove("a whole number")
    literals = [error for error in firsts if error["type"] == "literal_error"]
    specific = [found for found in members if found[0]["type"] not in (*_WANTED, "literal_error")]
    if specific:
        return specific[0]
    wanted = [error["ctx"]["expected"] for error in literals] + wanted
    if len(wanted) == 1:
        return [error for error in firsts if _WANTED.get(error["type"], wanted[0]) == wanted[0]][:1]
    return [{**firsts[0], "type": "several", "msg": f"must be {', '.join(wanted[:-1])} or {wanted[-1]}", "ctx": {}}]


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that are valid at a location of a model."""
    found: list[Any] = [model]
    for part in loc:
        found = [inner for annotation in found for inner in _step(annotation, part)]
    fields = [name for annotation in found for member in _models(annotation) for name in member.model_fields]
    return as_text_choices(dict.fromkeys(fields))


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    """Yield the annotations one step deeper in a location: of a field, an item, or a named member of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if part in annotation.model_fields:
            yield annotation.model_fields[str(part)].annotation
        elif part == annotation.__name__:
            yield annotation
        return
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _step(args[0], part)
    elif origin in (Union, types.UnionType):
        named = [member for arg in args for member in _models(arg) if member.__name__ == part]
        inside = named or [inner for arg in args for inner in _step(arg, part)]
        # Any other part is pydantic's name for a member that is no model.
        yield from inside or [annotation]
    elif origin is not None and isinstance(part, int):
        yield from args[:1]
    elif origin is not None and len(args) == 2:
        yield args[1]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation itself, or a member of its union, stands for."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType):
        for arg in get_args(annotation):
            yield from _models(arg)
