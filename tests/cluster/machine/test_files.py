import json

import pytest

from cluster.machine.files import read_json, repair_last_line, write_json, write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": [1, 2]})
    assert read_json(path) == {"a": [1, 2]}
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udc80")
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_reads_as_none(tmp_path):
    assert read_json(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b"one\n", b"one\n"),
        (b"one\ntwo\n", b"one\ntwo\n"),
        (b"one\ntw", b"one\n"),
        (b"tw", b""),
        (b"one\n" + b"x" * 10000, b"one\n"),
        (b"y" * 5000 + b"\n" + b"x" * 4096, b"y" * 5000 + b"\n"),
        (b"y" * 4095 + b"\n" + b"x" * 4096, b"y" * 4095 + b"\n"),
        (b"x" * 9000, b""),
        (b"\n\n\nx", b"\n\n\n"),
    ],
)
def test_a_torn_last_line_is_cut_off(tmp_path, content, kept):
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert repair_last_line(path) == len(content) - len(kept)
    assert path.read_bytes() == kept
    assert repair_last_line(path) == 0


def test_a_missing_file_needs_no_repair(tmp_path):
    assert repair_last_line(tmp_path / "none") == 0
    assert not (tmp_path / "none").exists()
