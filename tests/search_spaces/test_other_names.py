from pathlib import Path

import pytest

from search_spaces.errors import SpecError
from search_spaces.loader import parse_yaml
from search_spaces.other_names import with_own_names
from search_spaces.spec import SpecFile, parse_spec

NAMES = {"head": {"old": ("new", ""), "older": ("new", "")}, "loss": {"loss_with": ("loss", "weight")}}


def file_of(text):
    values, source = parse_yaml("name: try\ntrainable: t\nobjective: {metric: e}\n" + text, Path("s.yaml"))
    return SpecFile(parse_spec(values, source), source)


def renamed(text):
    file, notes = with_own_names(file_of(text), NAMES)
    return file.spec, notes


def refused(text):
    with pytest.raises(SpecError) as caught:
        renamed(text)
    return str(caught.value).splitlines()


def test_a_fixed_value_gets_its_own_name_and_a_note_says_so():
    spec, notes = renamed("base: {head: old, width: 3}\nspace: {a: [1]}\nsampler: {name: grid}\n")
    assert spec.base == {"head": "new", "width": 3}
    assert notes == ["old is another name of new, by which it is recorded"]


def test_choices_and_conditions_get_their_own_names_and_structures_keep_theirs():
    spec, notes = renamed(
        "space:\n  head: {choices: [old, other]}\n  a: {choices: [1, 2], when: {head: [old, other]}}\n"
        "  loss: {choices: {old: loss_with, b: mse}}\n  weight: {choices: [1, 2], when: {loss: old}}\n"
        "sampler: {name: grid}\n"
    )
    assert spec.space["head"].choices == ("new", "other")
    assert spec.space["a"].when == {"head": ("new", "other")}
    assert spec.space["loss"].choices == {"old": "loss", "b": "mse"}
    assert spec.space["weight"].when == {"loss": ("old",)}
    assert len(notes) == 2
    own, no_notes = renamed("space: {head: [new, other]}\nsampler: {name: grid}\n")
    assert own.space["head"] == renamed("space: {head: [old, other]}\nsampler: {name: grid}\n")[0].space["head"]
    assert no_notes == []


def test_two_names_of_one_value_are_not_two_choices():
    rest = "sampler: {name: grid}\n"
    assert refused(f"space:\n  head: [new, old]\n{rest}") == [
        "s.yaml:5: space.head[1] = 'old': is new, which is another of the choices. Allowed: one of them"
    ]
    assert len(refused(f"space:\n  head: [old, older]\n{rest}")) == 2
    assert refused(f"base: {{weight: 1.0}}\nspace:\n  loss: {{choices: {{a: loss, b: loss_with}}}}\n{rest}") == [
        "s.yaml:6: space.loss.choices.b = 'loss_with': is loss, which is another of the choices. "
        "Allowed: one of them; what differs is weight, under space"
    ]


def test_a_name_that_says_more_than_the_value_needs_the_field_that_says_the_rest():
    rest = "space: {a: [1]}\nsampler: {name: grid}\n"
    assert refused(f"base: {{loss: loss_with}}\n{rest}") == [
        "s.yaml:4: base.loss = 'loss_with': is loss with weight, which is not given. "
        "Allowed: loss_with with weight under base or space, or loss without"
    ]
    assert renamed(f"base: {{loss: loss_with, weight: 2.0}}\n{rest}")[0].base["loss"] == "loss"
    assert (
        renamed("base: {loss: loss_with}\nspace: {weight: [1, 2]}\nsampler: {name: grid}\n")[0].base["loss"] == "loss"
    )
