import math
from pathlib import Path

import pytest

from search_spaces.errors import SpecError
from search_spaces.loader import load_yaml, parse_yaml

FILE = Path("sweep.yaml")


def read(text):
    return parse_yaml(text, FILE)[0]


def refused(text):
    with pytest.raises(SpecError) as caught:
        read(text)
    return str(caught.value)


def test_an_exponent_without_a_dot_is_a_number():
    values = read("a: 1e-4\nb: 1E3\nc: -2.5e+2\nd: .5\ne: 3.\n")
    assert values == {"a": 1e-4, "b": 1000.0, "c": -250.0, "d": 0.5, "e": 3.0}
    assert all(type(value) is float for value in values.values())


def test_words_that_yaml_1_1_takes_for_booleans_and_numbers_stay_text():
    words = "yes no on off y n Yes ON 1_000 1:30 0x10 2026-11-20 e5 . + nan inf"
    for word in words.split():
        assert read(f"a: {word}") == {"a": word}


def test_plain_scalars_have_their_types():
    values = read("a: true\nb: False\nc: null\nd:\ne: ~\nf: -7\ng: 010\nh: .inf\ni: '1'\nj: \"true\"\nk: .nan")
    assert math.isnan(values.pop("k"))
    expected = {"a": True, "b": False, "c": None, "d": None, "e": None, "f": -7, "g": 10, "h": math.inf}
    assert values == {**expected, "i": "1", "j": "true"}
    assert [type(values[key]) for key in "afgij"] == [bool, int, int, str, str]


def test_a_key_given_twice_is_refused_with_both_lines():
    text = "name: a\ndata: one\nspace:\n  depth: [1]\ndata: two\n"
    assert refused(text) == "sweep.yaml:5: data: the key is given twice, on line 2 and on line 5; keep one"


def test_nested_keys_given_twice_are_all_reported():
    text = "space:\n  depth: [1]\n  width: [1]\n  depth: [2]\nbase: {a: 1, 'a': 2}\n"
    assert refused(text).splitlines() == [
        "sweep.yaml:4: space.depth: the key is given twice, on line 2 and on line 4; keep one",
        "sweep.yaml:5: base.a: the key is given twice, on line 5 and on line 5; keep one",
    ]


def test_every_key_and_entry_has_its_line():
    _, source = parse_yaml("a: 1\nb:\n  c:\n    - 1\n    - {d: 2,\n       e: 3}\n", FILE)
    found = [source.line(path) for path in [("a",), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1, "e")]]
    assert found == [1, 2, 3, 4, 6]
    assert source.line(("b", "c", 1, "missing")) == 5
    assert source.line(("nowhere",)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sweep.yaml: the file is empty: it must at least give name, trainable and space"),
        ("# nothing\n", "sweep.yaml: the file is empty: it must at least give name, trainable and space"),
        ("- a\n- b\n", "sweep.yaml:1: the file must be a mapping of `key: value` lines"),
        ("a: 1\n\tb: 2\n", "sweep.yaml:2: a tab stands where YAML wants spaces; indent with spaces"),
        ("a: 1\n? [x]\n: 2\n", "sweep.yaml:2: a key must be a single word, not a list or a mapping"),
        ("a: &x\n  b: *x\n", "sweep.yaml:1: a.b: refers to itself through its own anchor"),
        ("a: !!python/name:os.system\n", "sweep.yaml:1: a: the tag tag:yaml.org,2002:python/name:os.system is not "),
    ],
)
def test_what_is_no_plain_mapping_is_refused(text, message):
    assert refused(text).startswith(message)


def test_broken_syntax_names_the_line():
    assert refused("a: 1\nb: [1, 2\nc: 3\n").startswith("sweep.yaml:3: this is not valid YAML (")


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.yaml: the file cannot be read: No such file or directory"):
        load_yaml(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not text in UTF-8"):
        load_yaml(tmp_path / "binary.yaml")


def test_an_anchor_may_be_used_again():
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}
