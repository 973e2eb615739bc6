"""The figures of a search for the page: a drawing that reads in light and dark, its data, and a chart if it has one."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from markupsafe import Markup

from analysis.report.packing import packed, packed_json
from analysis.search import Search

LARGEST_SVG = 400_000
"""A larger drawing is left out where there is a chart of the same: paper shows less than the screen anyway."""
UNDER_POLICY = {"scatter", "bar", "box", "violin", "heatmap", "contour", "histogram", "histogram2d", "pie", "table"}
"""Charts that Plotly draws as SVG. It makes code at run time for those that need WebGL, which the page forbids."""
_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_ID = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass(frozen=True)
class Drawing:
    """One figure of a search."""

    name: str
    title: str
    sentence: str
    """What one sees: its caption, and what a screen reader says."""
    svg: Markup
    """Empty if the chart alone is shown."""
    chart: str
    """Packed; empty if there is none."""
    csv: str
    """Packed."""
    num_rows: int


@dataclass(frozen=True)
class Drawings:
    """All figures that have something to show, and why others could not be made."""

    shown: list[Drawing] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def draw_all(search: Search, prefix: str, trials: Sequence[int] | None = None) -> Drawings:
    """Return all figures of a search, or of some of its trials; `prefix` keeps the ids of two drawings apart.

    A figure that fails, which may be the user's own, does not keep the others away: it is named with its error.
    """
    drawings = Drawings()
    if find_spec("analysis.drawing") is None:
        return drawings
    from analysis.drawing.discovery import figures  # pyright: ignore[reportMissingImports]

    for place, figure in enumerate(figures()):
        try:
            data = figure.info(search, trials)
            if data is not None:
                drawings.shown.append(_draw(figure, data, f"{prefix}f{place}"))
        except Exception as error:
            drawings.broken.append(f"{figure.name}: {type(error).__name__}: {error}")
    return drawings


def _draw(figure: Any, data: Any, prefix: str) -> Drawing:
    from analysis.drawing.render import svg  # pyright: ignore[reportMissingImports]

    table, chart = data.table(), _chart(figure, data)
    drawn = _inline(svg(figure, data), prefix)
    is_too_large = len(drawn) > LARGEST_SVG and bool(chart)
    return Drawing(
        name=figure.name,
        title=figure.title,
        sentence=figure.sentence,
        svg=Markup("") if is_too_large else Markup(drawn),
        chart=chart,
        csv=packed(table.to_csv(index=False)),
        num_rows=len(table),
    )


def _chart(figure: Any, data: Any) -> str:
    """Return a figure's chart, packed; empty if it has none, or if the page could not draw it."""
    if figure.chart is None or (chart := figure.chart(data)) is None:
        return ""
    if not {trace.get("type", "scatter") for trace in chart["data"]} <= UNDER_POLICY:
        return ""
    return packed_json(_plain(chart))


def _plain(value: Any) -> Any:
    """Return data of NumPy and pandas as JSON has it: no number where there is none."""
    from plotly.utils import PlotlyJSONEncoder

    return json.loads(json.dumps(value, cls=PlotlyJSONEncoder))


def _inline(svg: str, prefix: str) -> str:
    """Return an SVG file as an element of a page with others, hidden from screen readers, which get its sentence."""
    element = _METADATA.sub("", _HEAD.sub("", svg, count=1))
    element = _ID.sub(rf"\g<1>{prefix}-", element)
    return element.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
