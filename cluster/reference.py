"""Makes docs/reference.md, the page of all keys, from the models; `python -m cluster.reference` rewrites it."""

from pathlib import Path
from typing import Any

import search_spaces
from cluster.jobs.queues import default_queue
from search_spaces.json_schema import documented_schema, spec_schema
from trainables._shared.config import numeric
from trainables._shared.discovery import load_config_type, method_names

REFERENCE_FILE = Path(search_spaces.__path__[0]).parent / "docs" / "reference.md"


def reference_text() -> str:
    """Return the page as it should be committed."""
    methods = {name: load_config_type(name) for name in method_names()}
    schema = spec_schema(methods)
    parts = [
        "# Every key of a spec\n",
        "Written by `make schema` from the models that read the specs.\n",
        "## The spec\n",
        _table(schema["properties"], schema["$defs"], nested=True),
    ]
    for name, config_type in methods.items():
        fields = schema["$defs"][f"{name}.base"]["properties"]
        traced = ", ".join(f"`{field}`" for field in numeric(config_type()))
        parts += [
            f"## Fields of {name}\n",
            "For `base` and `space`. Numeric fields, which compile nothing new when they change: " + traced + ".\n",
            _table(fields, schema["$defs"], nested=False),
            "### Metrics of every report\n",
            *(f"- `{metric}`: {text}" for metric, text in config_type.reported_metrics.items()),
            "",
        ]
    site = documented_schema(default_queue().site_type)
    parts += [
        "## A site's file\n",
        f"For `--site`; `{default_queue().name}/sites` has those that come along, `generic.yaml` to copy.\n",
        _table(site["properties"], site.get("$defs", {}), nested=False),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _table(properties: dict[str, Any], definitions: dict[str, Any], *, nested: bool) -> str:
    rows = ["| key | what | values | default |", "|---|---|---|---|"]
    for name, field in properties.items():
        target = _target(field, definitions)
        rows.append(_row(name, field, _default(field) if target is None else ""))
        if nested and target is not None:
            rows += [_row(f"{name}.{key}", inner, _default(inner)) for key, inner in target["properties"].items()]
    return "\n".join(rows) + "\n"


def _target(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part of the spec that a key holds; None if it holds none."""
    options = [field, *field.get("anyOf", [])]
    for option in options:
        name = option.get("$ref", "").removeprefix("#/$defs/")
        if "properties" in definitions.get(name, {}):
            return definitions[name]
    return None


def _row(name: str, field: dict[str, Any], default: str) -> str:
    what = " ".join(field.get("description", "").split()).replace("|", "\\|")
    return f"| `{name}` | {what} | {_values(field)} | {default} |"


def _values(field: dict[str, Any]) -> str:
    found: list[str] = []
    for option in field.get("anyOf", [field]):
        if "enum" in option:
            found += [f"`{value}`" for value in option["enum"]]
        elif "const" in option:
            found.append(f"`{option['const']}`")
        elif option.get("type") == "null":
            found.append("`null`")
        elif "type" in option:
            found.append(f"{option['type']}{_bounds(option)}")
    return ", ".join(dict.fromkeys(found))


def _bounds(option: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    parts = [f"{sign} {option[key]:g}" for key, sign in signs.items() if key in option]
    return f" {' and '.join(parts)}" if parts else ""


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    value = field["default"]
    if value == "":
        return ""
    return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    REFERENCE_FILE.write_text(reference_text(), encoding="utf-8")
