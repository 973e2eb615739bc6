"""The committed JSON Schema of specs, kept in step with the methods: `python -m cluster.schema` writes it anew."""

import json
from pathlib import Path

import search_spaces
from search_spaces.json_schema import spec_schema
from trainables._shared.discovery import load_config_type, method_names

SCHEMA_FILE = Path(search_spaces.__path__[0]) / "spec.schema.json"


def schema_text() -> str:
    """Return the schema of specs for the methods of this package, as it is committed."""
    methods = {name: load_config_type(name) for name in method_names()}
    return json.dumps(spec_schema(methods), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
