"""Makes the committed JSON Schema of specs from the models and methods; `python -m cluster.schema` rewrites it."""

import json
from pathlib import Path

import search_spaces
from search_spaces.json_schema import spec_schema
from trainables._shared.discovery import load_config_type, method_names

SCHEMA_FILE = Path(search_spaces.__path__[0]) / "spec.schema.json"


def schema_text() -> str:
    """Return the schema of specs for this package's methods, as it should be committed."""
    methods = {name: load_config_type(name) for name in method_names()}
    return json.dumps(spec_schema(methods), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
