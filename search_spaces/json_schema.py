"""Makes the JSON Schema of specs, with which editors complete and check YAML files."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import ModelSchema

from search_spaces.other_names import OtherNames
from search_spaces.parameters import plain_text
from search_spaces.presets import PRESET, Presets
from search_spaces.spec import Spec

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@functools.cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring under each field of a model and of its bases, by field.

    Pydantic could read them when a class is made, but for all models that takes 0.12 s at every command's start.
    """
    docs: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = inspect.cleandoc(text)
    return docs


class _Documented(GenerateJsonSchema):
    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        generated = super().model_schema(schema)
        for name, text in field_docs(schema["cls"]).items():
            if name in generated.get("properties", {}):
                generated["properties"][name].setdefault("description", text)
        return generated


def documented_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a model, with its fields' docstrings as descriptions."""
    return model.model_json_schema(schema_generator=_Documented)


def spec_schema(methods: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Return the JSON schema of specs; `methods` are the config classes by the trainable's name.

    The schema knows the fields in `base` and `space` of these trainables; for any other it allows every key.
    """
    schema = {"$schema": _DIALECT, **documented_schema(Spec)}
    schema["properties"]["trainable"]["anyOf"] = [{"enum": sorted(methods)}, {"type": "string", "pattern": r"\."}]
    schema["allOf"] = []
    for name, config in sorted(methods.items()):
        fields = config.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}", schema_generator=_Documented)
        schema["$defs"] |= {f"{name}.{key}": value for key, value in fields.pop("$defs", {}).items()}
        _name_others(fields["properties"], getattr(config, "other_names", {}))
        schema["$defs"][f"{name}.base"] = _base(fields, getattr(config, "presets", {}))
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


def _name_others(properties: Mapping[str, Any], names: OtherNames) -> None:
    """Add the other names that a spec may give to the schemas of fields."""
    for field, others in names.items():
        said = ", ".join(
            f"{other} for {own}" + (f" with {needs}" if needs else "") for other, (own, needs) in others.items()
        )
        properties[field]["enum"] = [*properties[field]["enum"], *others]
        properties[field]["description"] = f"{properties[field]['description']} Also taken: {said}."


def _base(fields: Mapping[str, Any], presets: Presets) -> dict[str, Any]:
    """Return the schema of fixed values; a preset's name is one of them."""
    said = [
        f"{name}: {', '.join(f'{key} {plain_text(value)}' for key, value in presets[name].items())}" for name in presets
    ]
    what = f"Values by one name, where neither base nor space gives others. {'; '.join(said)}."
    preset = {PRESET: {"description": what, "enum": [*presets], "default": ""}} if presets else {}
    return {"type": "object", "additionalProperties": False, "properties": {**preset, **fields["properties"]}}


def _space(fields: Mapping[str, Any]) -> dict[str, Any]:
    when = Spec.model_json_schema(schema_generator=_Documented)["$defs"]["Choice"]["properties"]["when"]
    properties = {name: _parameter(field, when) for name, field in fields["properties"].items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _parameter(field: Mapping[str, Any], when: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the forms in which one field may be searched."""
    value = {key: part for key, part in field.items() if key not in ("title", "description", "default")}
    values = {"type": "array", "items": value, "minItems": 1}
    structures = {"type": "object", "additionalProperties": value, "minProperties": 1}
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
