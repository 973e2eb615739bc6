"""The JSON Schema of specs, for completion and checks while a YAML file is written in an editor."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from search_spaces.spec import Spec

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema(methods: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Return the schema of specs; `methods` are config classes by name of the trainable.

    For a trainable among them, base and space know its fields; for any other, every key is let through.
    """
    schema = {"$schema": _DIALECT, **Spec.model_json_schema()}
    schema["properties"]["trainable"]["anyOf"] = [{"enum": sorted(methods)}, {"type": "string", "pattern": r"\."}]
    schema["allOf"] = []
    for name, config in sorted(methods.items()):
        fields = config.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        schema["$defs"] |= {f"{name}.{key}": value for key, value in fields.pop("$defs", {}).items()}
        schema["$defs"][f"{name}.base"] = _base(fields)
        schema["$defs"][f"{name}.space"] = _space(fields)
        schema["allOf"].append(
            {
                "if": {"properties": {"trainable": {"const": name}}, "required": ["trainable"]},
                "then": {
                    "properties": {
                        "base": {"$ref": f"#/$defs/{name}.base"},
                        "space": {"$ref": f"#/$defs/{name}.space"},
                    }
                },
            }
        )
    return schema


def _base(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": fields["properties"]}


def _space(fields: Mapping[str, Any]) -> dict[str, Any]:
    properties = {name: _parameter(field) for name, field in fields["properties"].items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _parameter(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the forms in which one field may be searched."""
    value = {key: part for key, part in field.items() if key not in ("title", "description", "default")}
    values = {"type": "array", "items": value, "minItems": 1}
    structures = {"type": "object", "additionalProperties": value, "minProperties": 1}
    when = Spec.model_json_schema()["$defs"]["Choice"]["properties"]["when"]
    named = {
        "type": "object",
        "additionalProperties": False,
        "required": ["choices"],
        "properties": {"choices": {"anyOf": [values, structures]}, "when": when},
    }
    forms: list[dict[str, Any]] = [values, named]
    kinds = {part.get("type") for part in [value, *value.get("anyOf", [])]}
    if "number" in kinds:
        forms.append({"$ref": "#/$defs/FloatRange"})
    if "integer" in kinds:
        forms.append({"$ref": "#/$defs/IntRange"})
    described = {key: field[key] for key in ("description",) if key in field}
    return {**described, "anyOf": forms}
