import json
from pathlib import Path

import jsonschema
import pytest

import search_spaces
from cluster.schema import SCHEMA_FILE, schema_text
from search_spaces.loader import load_yaml, parse_yaml

SHIPPED = sorted(Path(search_spaces.__path__[0]).glob("*.yaml"))
VALID = """\
name: try
trainable: two_body
objective: {metric: val_accel_error_pct}
base: {width: 64}
space: {depth: [2, 4]}
budget: {trials: 3}
"""


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_current():
    assert SCHEMA_FILE.read_text() == schema_text(), "write it anew with: python -m cluster.schema"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_search_names_the_schema_and_is_valid_by_it(validator, file):
    assert file.read_text().startswith("# yaml-language-server: $schema=spec.schema.json\n")
    validator.validate(load_yaml(file)[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depth: [2, 4]", "depth: {low: 2, high: 4, type: int, when: {head: [mlp_rtn]}}"),
        ("depth: [2, 4]", "curriculum: {choices: {a: [{steps: 3, window: [0.0, 0.1]}], b: []}}"),
        ("depth: [2, 4]", "learning_rate: {low: 1e-4, high: 1, log: true}"),
        ("width: 64", "width: 64, preset: source, loss: mean_squared_error"),
        ("depth: [2, 4]", "head: [mlp_simple_hybrid, mlp_4D_signed]"),
        ("trainable: two_body", "trainable: my_package.my_module"),
        ("trainable: two_body", "trainable: my_package.my_module\ncode: wandb:lab/methods/mine:v3"),
        ("objective: {", "objective: [{metric: a}, {mode: max, "),
        ("budget: {trials: 3}", "resources: {cpus: auto, memory_gb_per_trial: 2}"),
    ],
)
def test_valid_forms_are_valid(validator, old, new):
    text = VALID.replace(old, new).replace("_pct}", "_pct}]") if "[{metric" in new else VALID.replace(old, new)
    validator.validate(parse_yaml(text, Path("s.yaml"))[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width: 64", "widht: 64"),
        ("width: 64", "width: wide"),
        ("depth: [2, 4]", "depht: [2, 4]"),
        ("depth: [2, 4]", "depth: [2, four]"),
        ("depth: [2, 4]", "depth: 2"),
        ("depth: [2, 4]", "depth: {low: 2, hihg: 4}"),
        ("depth: [2, 4]", "depth: {low: 2, high: 4}"),
        ("depth: [2, 4]", "head: [mlp_4D]"),
        ("depth: [2, 4]", "curriculum: [{steps: 3}]"),
        ("depth: [2, 4]", "curriculum: {choices: {a: [{stps: 3}]}}"),
        ("trainable: two_body", "trainable: two_bdy"),
        ("trainable: two_body", "trainable: my_package.my_module\ncode: lab/methods/mine"),
        ("budget: {trials: 3}", "budget: {trails: 3}"),
        ("budget: {trials: 3}", "sampler: {name: bayes}"),
        ("budget: {trials: 3}", "bugdet: {trials: 3}"),
    ],
)
def test_typical_errors_are_invalid(validator, old, new):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(parse_yaml(VALID.replace(old, new), Path("s.yaml"))[0])


def test_fields_of_a_method_are_described_for_completion():
    schema = json.loads(SCHEMA_FILE.read_text())
    for part in ("base", "space"):
        fields = schema["$defs"][f"two_body.{part}"]["properties"]
        assert all(field.get("description") for field in fields.values())
        assert {"head", "learning_rate", "curriculum", "seed"} <= set(fields)
