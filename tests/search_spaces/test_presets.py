from pathlib import Path

import pytest

from search_spaces.errors import SpecError
from search_spaces.loader import parse_yaml
from search_spaces.presets import with_preset
from search_spaces.spec import SpecFile, parse_spec

PRESETS = {"plain": {"rate": 1e-3, "shape": "constant"}, "fast": {"rate": 0.1}}
REST = "sampler: {name: grid}\n"


def filled(text, presets=PRESETS):
    values, source = parse_yaml(f"name: try\ntrainable: t\nobjective: {{metric: e}}\n{text}{REST}", Path("s.yaml"))
    return with_preset(SpecFile(parse_spec(values, source), source), presets)


def refused(text):
    with pytest.raises(SpecError) as caught:
        filled(text)
    return str(caught.value)


def test_a_preset_fills_in_what_neither_base_nor_space_gives():
    file, notes = filled("base: {preset: plain, width: 3}\nspace: {depth: [1]}\n")
    assert file.spec.base == {"rate": 1e-3, "shape": "constant", "width": 3}
    assert notes == ["preset plain: rate: 0.001, shape: constant"]
    file, notes = filled("base: {preset: plain, rate: 0.5}\nspace: {shape: [cosine, constant]}\n")
    assert file.spec.base == {"rate": 0.5}
    assert notes == ["preset plain: all that it says is given"]


def test_without_a_preset_a_spec_stays_as_it_is():
    file, notes = filled("base: {width: 3}\nspace: {depth: [1]}\n")
    assert (file.spec.base, notes) == ({"width": 3}, [])
    file, notes = filled("base: {preset: 3}\nspace: {depth: [1]}\n", presets={})  # a field of a user's own method
    assert (file.spec.base, notes) == ({"preset": 3}, [])


@pytest.mark.parametrize("name", ["plan", 3])
def test_an_unknown_preset_is_refused_with_those_there_are(name):
    message = refused(f"base: {{preset: {name}}}\nspace: {{depth: [1]}}\n")
    assert message.startswith("s.yaml:4: base.preset = ")
    assert "there is no such preset. Allowed: plain, fast" in message


def test_a_preset_cannot_be_searched():
    message = refused("space: {preset: [plain, fast]}\n")
    assert message.startswith("s.yaml:4: space.preset: a preset is many values under one name, and belongs under base")
    assert message.endswith("Allowed: base: {preset: plain | fast}")
