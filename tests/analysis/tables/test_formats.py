import io
import re

import pandas as pd
import pytest

from analysis.tables.formats import render, write


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "rank": pd.array([1, 2, None], dtype="Int64"),
            "head": ["signed", "a,b", 'quo"te'],
            "value": [0.123456789012345, 1e-9, float("nan")],
            "mixed": [True, 3, "text"],
            "choice": [None, True, False],
            "steps": [10, 20, 30],
        }
    )


def test_csv_keeps_every_digit_and_every_text(frame):
    back = pd.read_csv(io.StringIO(render(frame, "csv")))
    assert list(back.columns) == list(frame.columns)
    assert list(back["head"]) == ["signed", "a,b", 'quo"te']
    assert list(back["value"][:2]) == [0.123456789012345, 1e-9]
    assert back["value"].isna()[2]
    assert list(back["rank"].dropna()) == [1, 2]


def test_parquet_keeps_types_and_writes_mixed_columns_as_text(frame):
    back = pd.read_parquet(io.BytesIO(render(frame, "parquet")))
    assert list(back.columns) == list(frame.columns)
    assert list(back["value"][:2]) == [0.123456789012345, 1e-9]
    assert back["steps"].dtype == "int64"
    assert list(back["rank"].dropna()) == [1, 2]
    assert list(back["mixed"]) == ["True", "3", "text"]
    assert list(back["choice"][1:]) == [True, False]
    assert back["choice"].isna()[0]


def test_writing_parquet_leaves_the_frame_as_it_was(frame):
    render(frame, "parquet")
    assert list(frame["mixed"]) == [True, 3, "text"]


def test_markdown_is_a_table_with_four_digits(frame):
    lines = render(frame[["rank", "head", "value"]], "markdown").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["rank", "head", "value"]
    assert cells[2:] == [["1", "signed", "0.1235"], ["2", "a,b", "1e-09"], ["", 'quo"te', ""]]


def test_a_bar_in_a_text_does_not_break_the_markdown_table():
    lines = render(pd.DataFrame({"error": ["int | None"], "n": [1]}), "markdown").splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}


def test_line_breaks_in_a_text_do_not_break_the_markdown_table():
    frame = pd.DataFrame({"error": ["Traceback\n  line 1\nValueError"], "n": [1]})
    assert len(render(frame, "markdown").splitlines()) == 3


def test_latex_escapes_what_it_would_stumble_over():
    frame = pd.DataFrame({"val_error": [0.123456], "what": ["100 % of a_b & {c} #1 $x ~ ^ \\"]})
    text = render(frame, "latex")
    assert r"val\_error & what \\" in text
    assert r"100 \% of a\_b \& \{c\} \#1 \$x \textasciitilde \space \textasciicircum \space \textbackslash" in text
    assert "0.1235" in text


@pytest.mark.parametrize("form", ["csv", "parquet", "markdown", "latex"])
def test_a_file_has_what_is_printed(frame, form, tmp_path):
    write(frame, form, tmp_path / "table")
    content = render(frame, form)
    assert (tmp_path / "table").read_bytes() == (content if isinstance(content, bytes) else content.encode())
