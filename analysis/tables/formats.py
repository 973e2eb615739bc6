"""Writes tables as files and text: csv and parquet with all columns, markdown and LaTeX for pasting."""

from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cluster.wording import visible

Format = Literal["csv", "parquet", "markdown", "latex"]


def render(frame: pd.DataFrame, form: Format) -> str | bytes:
    """Return a frame in a format: bytes for parquet, text for all others."""
    if form == "csv":
        return frame.to_csv(index=False)
    if form == "parquet":
        return _parquet(frame)
    if form == "markdown":
        return _markdown(frame) + "\n"
    shown = frame.rename(columns=_visible).map(_visible)
    return shown.to_latex(index=False, escape=True, float_format="%.4g", na_rep="")


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) else value


def _markdown(frame: pd.DataFrame) -> str:
    """Return a markdown table; pandas' own shows missing whole numbers as `<NA>`, and breaks if a text has a bar."""
    from tabulate import tabulate

    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    return tabulate(
        [[_cell(value) for value in row] for row in frame.itertuples(index=False)],
        headers=[_cell(name) for name in frame.columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right" if is_number else "left" for is_number in numeric],
    )


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return visible(" ".join(text.replace("|", "\\|").split()))


def _parquet(frame: pd.DataFrame) -> bytes:
    """Return a frame as parquet bytes; a column of mixed types (true, 3, text) becomes text, which parquet can hold."""
    texts = {name: column.map(_text) for name, column in frame.items() if _is_mixed(column)}
    return frame.assign(**{str(name): column for name, column in texts.items()}).to_parquet(index=False)


def _text(value: object) -> str | None:
    return None if value is None or value != value else str(value)


def _is_mixed(column: pd.Series) -> bool:
    return column.dtype == object and len({type(value) for value in column.dropna()}) > 1


def write(frame: pd.DataFrame, form: Format, path: Path) -> None:
    """Write a frame to a file in a format."""
    content = render(frame, form)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
