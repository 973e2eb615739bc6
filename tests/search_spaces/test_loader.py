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
        ("a: &x\n  <<: *x\n", "sweep.yaml:2: a: refers to itself through its own anchor"),
        ("a: {<<: 3}\n", "sweep.yaml:1: a: the merge key << takes a mapping, or a list of mappings: <<: *anchor, or"),
        (
            "a:\n  b: !!python/name:os.system\n",
            "sweep.yaml:2: a.b: has the tag !!python/name:os.system, and tags are not supported; write the plain value",
        ),
        ("a: !!set {x, y}\n", "sweep.yaml:1: a: has the tag !!set, and tags are not supported; write a list: [a, b] i"),
        ("a: !!binary aGk=\n", "sweep.yaml:1: a: has the tag !!binary, and tags are not supported; write text, or the"),
        ("a: !!str 5\n", "sweep.yaml:1: a: has the tag !!str, and tags are not supported; put the text in quotes inst"),
        ("a: !!int '5'\n", "sweep.yaml:1: a: has the tag !!int, and tags are not supported; write the plain value ins"),
        ("a: !include b.yaml\n", "sweep.yaml:1: a: has the tag !include, and tags are not supported; write the plain"),
        ("!!str a: 5\n", "sweep.yaml:1: a: has the tag !!str, and tags are not supported; put the text in quotes"),
        ("a: 1\n---\nb: 2\n", "sweep.yaml:2: a second document begins here (---): a file is one search, put it into"),
        ("? \n: 1\n", "sweep.yaml:1: a key is missing before the colon"),
        ("a: 1\nb: x\x07y\n", "sweep.yaml:2: there is a control character (U+0007), which YAML does not allow; delete"),
        ("a: 1\n  \tb: 2\n", "sweep.yaml:2: a tab stands where YAML wants spaces; indent with spaces"),
        ('a: b: "x\ty"\n', "sweep.yaml:1: this is not valid YAML (mapping values are not allowed here)"),
        ("a: " + "9" * 5000 + "\n", "sweep.yaml:1: a: is a number of 5,000 digits; no number here is that long"),
        ("[" * 3000, "sweep.yaml: lists and mappings are nested too deeply in one another"),
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


def test_a_merge_key_brings_in_what_is_not_given_with_the_lines_where_it_stands():
    text = "a: &lr\n  low: 1\n  high: 2\nb: &two {high: 5, log: true}\nc:\n  <<: [*lr, *two]\n  low: 0\nd: {'<<': 1}\n"
    values, source = parse_yaml(text, FILE)
    assert values["c"] == {"low": 0, "high": 2, "log": True}
    assert [source.line(("c", key)) for key in ("low", "high", "log")] == [7, 3, 4]
    assert values["d"] == {"<<": 1}


def test_anchors_that_stand_for_billions_of_values_are_refused():
    text = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    assert refused(text) == (
        "sweep.yaml: its anchors stand for more than 200,000 values in all; write out what the search needs"
    )


def test_a_byte_order_mark_is_no_part_of_the_first_key_and_other_encodings_are_named_by_line(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert load_yaml(file)[0] == {"name": "x"}
    file.write_bytes("name: x\nbase: {café: 1}\n".encode("latin-1"))
    with pytest.raises(SpecError, match=r"s\.yaml:2: the file is not text in UTF-8 \(byte 0xe9\); save it as UTF-8"):
        load_yaml(file)


def test_one_document_may_have_its_marks():
    assert read("%YAML 1.1\n---\na: 1\n...\n") == {"a": 1}
    assert read("1: x\ntrue: y\n2026-11-29: z\n") == {"1": "x", "true": "y", "2026-11-29": "z"}
