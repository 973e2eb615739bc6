"""Other valid values of a config's fields, made from what their annotations say; for the conformance checks."""

import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any, TypeGuard

from trainables._shared.config import MethodConfig

Schema = dict[str, Any]
DEEPEST = 6
"""Levels of lists and models within each other, below which no further values are made."""

MOST_ITEMS = 4
"""Other items of which lists are made: those of a model are many."""


def changes(config: MethodConfig, name: str) -> Iterator[tuple[MethodConfig, MethodConfig]]:
    """Yield pairs of valid configs that differ in one field alone: the config, and the same with another value there.

    If no other value is valid beside the config's, both configs of a pair have one other field changed as well. None
    come if even so there is none.
    """
    besides = (base for beside in type(config).model_fields if beside != name for base in _valid(config, beside))
    for base in itertools.chain([config], besides):
        any_valid = False
        for changed in _valid(base, name):
            any_valid = True
            yield base, changed
        if any_valid:
            return


def other_values(config: MethodConfig, name: str) -> list[Any]:
    """Return other values of a field, as JSON has them; those that its own annotation allows and some that it may not.

    They come from the default, `examples`, the names of a Literal, bounds of numbers, and shorter and longer lists. A
    default that is much larger than the present value comes last: two values are tried of many fields, and thousands
    of samples in place of dozens take long and show no more than twice as many do.
    """
    schema = _schema(type(config))
    field, present = schema["properties"][name], config.model_dump(mode="json")[name]
    return _made(field, present, schema.get("$defs", {}))


def _valid(config: MethodConfig, name: str) -> Iterator[MethodConfig]:
    values = config.model_dump(mode="json")
    for value in other_values(config, name):
        try:
            changed = type(config).of_values(values | {name: value})
            changed.check_data()
        except ValueError:  # of pydantic's and of ours
            continue
        if getattr(changed, name) != getattr(config, name):
            yield changed


@functools.cache
def _schema(config_type: type[MethodConfig]) -> Schema:
    return config_type.model_json_schema(by_alias=False)


def _made(schema: Schema, present: Any, defs: Schema, depth: int = 0) -> list[Any]:
    """Return values of a schema other than the present one, which may be of another schema."""
    if depth > DEEPEST:
        return []
    if "$ref" in schema:
        schema = defs[schema["$ref"].removeprefix("#/$defs/")] | {k: v for k, v in schema.items() if k != "$ref"}
    default = [schema["default"]] if "default" in schema else []
    last = default if default and _is_much_larger(default[0], present) else []
    found = [*([] if last else default), *schema.get("examples", [])]
    found += [schema["const"]] if "const" in schema else schema.get("enum", [])
    for option in schema.get("anyOf", schema.get("oneOf", [])):
        found += _made(option, present, defs, depth + 1)
    if not {"const", "enum"} & set(schema):
        found += _of_kind(schema, present, defs, depth + 1)
    different = {json.dumps(value, sort_keys=True): value for value in [*found, *last]}
    different.pop(json.dumps(present, sort_keys=True), None)
    return list(different.values())


def _is_much_larger(value: Any, present: Any) -> bool:
    """Return whether a number is more than twice the present one, or a list is longer or has such a number."""
    if isinstance(value, list) and isinstance(present, list):
        pairs = zip(value, present, strict=False)
        return len(value) > len(present) + 1 or any(itertools.starmap(_is_much_larger, pairs))
    return _is_number(value) and _is_number(present) and abs(value) > 2 * abs(present)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_kind(schema: Schema, present: Any, defs: Schema, depth: int) -> list[Any]:
    match schema.get("type"):
        case "boolean":
            return [False, True]
        case "null":
            return [None]
        case "integer" | "number":
            return _numbers(schema, present)
        case "string":
            return [f"{present}_2" if isinstance(present, str) else "other"]
        case "array" if "prefixItems" in schema:
            return _tuples(schema["prefixItems"], present, defs, depth)
        case "array":
            return _lists(schema.get("items", {}), present, defs, depth)
        case "object":
            return _objects(schema, present, defs, depth)
        case _:
            return []


def _numbers(schema: Schema, present: Any) -> list[Any]:
    """Return two numbers within the bounds: the present one doubled and halved, if these are."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(present, int | float) and not isinstance(present, bool):
        tried = [2 * present, present / 2, present + 1, present - 1]
    else:
        present, tried = None, [0.5, 1, 2]
    least, most = (next((end for end in ends if end is not None), None) for ends in ((low, above), (high, below)))
    if least is not None and most is not None:
        tried += [(least + most) / 2, (3 * least + most) / 4]
    tried += [end + step for end in (least, most) if end is not None for step in (0, 1, -1)]
    fitting = []
    for number in (int(value) if schema["type"] == "integer" else float(value) for value in tried):
        fits = (low is None or number >= low) and (high is None or number <= high)
        fits = fits and (above is None or number > above) and (below is None or number < below)
        if fits and number != present and number not in fitting:
            fitting.append(number)
    return fitting[:2]


def _tuples(items: list[Schema], present: Any, defs: Schema, depth: int) -> list[Any]:
    """Return lists of a fixed length: the present one with one item changed, or new ones."""
    if not isinstance(present, list) or len(present) != len(items):
        return [list(made) for made in itertools.product(*(_made(item, None, defs, depth)[:2] for item in items))]
    others = [_made(item, value, defs, depth) for item, value in zip(items, present, strict=True)]
    return [[*present[:at], value, *present[at + 1 :]] for at, values in enumerate(others) for value in values]


def _lists(item: Schema, present: Any, defs: Schema, depth: int) -> list[Any]:
    """Return lists that are shorter than the present one, longer, or have another last item."""
    given = present if isinstance(present, list) else []
    new = _made(item, given[-1] if given else None, defs, depth)[:MOST_ITEMS]
    if not given:
        return [[value] for value in new]
    return [given[:-1], *([*given[:-1], value] for value in new), *([*given, value] for value in [*new[:1], given[-1]])]


def _objects(schema: Schema, present: Any, defs: Schema, depth: int) -> list[Any]:
    """Return mappings that differ from the present one in one key, or new ones with what they need."""
    given, parts = (present if isinstance(present, dict) else {}), schema.get("properties", {})
    needed = {key: _made(parts[key], None, defs, depth)[:1] for key in schema.get("required", []) if key not in given}
    base = given | {key: value for key, values in needed.items() for value in values}
    found = [base]
    for key, part in parts.items():
        found += [{**base, key: value} for value in _made(part, base.get(key), defs, depth)]
    if isinstance(further := schema.get("additionalProperties"), dict):
        found += [{**base, "other": value} for value in _made(further, None, defs, depth)]
        found += [{k: v for k, v in base.items() if k != key} for key in base if key not in parts]
    return found
