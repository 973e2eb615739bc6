import io

import pytest
from rich.cells import cell_len

from analysis.tables import terminal
from analysis.tables.terminal import RowTable
from cluster.console import Console

COLUMNS = [("rank", True), ("name of\tit", False), ("価値", True), ("flag", False), ("", False)]
ROWS = [
    [1, "a", 0.123456, True, "広い字"],
    [20, "[bold]no markup[/bold] :smile:", float("nan"), False, None],
    [300, "two\nlines \x1b[31m", 1e-12, None, None],
    [4, "幅の広い字 ", "text ", "  led", None],
    [None, "", 1234567.0, "e\u0301", None],
]


def printed(table, width, **options):
    out = io.StringIO()
    Console(file=out, width=width, **options).print(table)
    return out.getvalue()


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_rows_are_printed_as_richs_table_prints_them(rows):
    table = RowTable(COLUMNS, rows)
    fits = cell_len(printed(table, 200).splitlines()[0])
    for width in (200, *range(fits + 3, fits - 12, -1), fits // 2, 20):
        assert printed(table, width) == printed(table._wrapped(), width)


def test_on_a_terminal_the_head_is_bold():
    text = printed(RowTable(COLUMNS[:1], [[1]]), 80, force_terminal=True, color_system="standard")
    assert text == "\x1b[1m rank \x1b[0m\n    1 \n"


def test_rows_that_fit_are_not_laid_out_by_rich(monkeypatch):
    monkeypatch.setattr(terminal, "Table", None)
    lines = printed(RowTable(COLUMNS, ROWS * 100), 200).splitlines()
    assert len(lines) == 501
    with pytest.raises(TypeError):
        printed(RowTable(COLUMNS, ROWS), 30)


def test_a_table_without_columns_prints_what_rich_does():
    table = RowTable([], [])
    assert printed(table, 80) == printed(table._wrapped(), 80)
