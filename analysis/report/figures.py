"""The figures of a search for the page: a drawing that reads in light and dark, its data, and a chart if it has one."""

import hashlib
import html
import json
import pickle
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from analysis.report.packing import packed, packed_json, shown
from analysis.search import Search

if TYPE_CHECKING:
    from analysis.drawing.figure import Data, Figure

LARGEST_SVG = 400_000
"""A larger drawing is left out where there is a chart of the same."""
UNDER_POLICY = {"scatter", "bar", "box", "violin", "heatmap", "contour", "histogram", "histogram2d", "pie"}
"""Charts that Plotly draws as SVG. It makes code at run time for those that need WebGL, which the page forbids."""
NUM_OF_TRIALS = 2
"""Of so many of the best trials, the page shows figures of their own."""
PATIENCE_S = 20.0
"""After so long with them, no further ones are drawn: a report at the end of a search must not take long."""
FIRST = (
    "best_so_far",
    "learning_curves",
    "levels",
    "four_factors",
    "heat_map",
    "slices",
    "pareto_front",
    "runtime_error",
)
"""The figures that a reader wants before the others."""
_VIEW_BOX = re.compile(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) [\d.]+"')
WIDE = 650.0
"""Points: the text of a drawing that is wider would be too small beside another drawing."""
LARGEST = 1.8
"""Pixels per point at most: the text of a drawing that is narrow would be too large."""
_TEMPLATES = ("hovertemplate", "texttemplate")


@dataclass(frozen=True)
class Drawing:
    """One figure of a search, or of one trial."""

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

    @property
    def is_wide(self) -> bool:
        """Whether it needs the width of two others."""
        found = _VIEW_BOX.search(self.svg)
        return found is not None and float(found[1]) > WIDE


@dataclass(frozen=True)
class Drawings:
    """All figures that have something to show, and why others could not be made."""

    shown: list[Drawing] = field(default_factory=list)
    of_trials: dict[int, list[Drawing]] = field(default_factory=dict)
    """Figures of the best trials, by trial."""
    broken: list[str] = field(default_factory=list)


def draw_all(search: Search, prefix: str, clock: Callable[[], float] = time.monotonic) -> Drawings:
    """Return all figures of a search; `prefix` keeps the ids of two searches' drawings apart.

    A figure that fails, which may be the user's own, does not keep the others away: it is named with its error.
    """
    from analysis.drawing.discovery import find_figures

    drawings = Drawings()
    try:
        figures = sorted(
            find_figures(search), key=lambda one: FIRST.index(one.name) if one.name in FIRST else len(FIRST)
        )
    except Exception as error:  # a package of the user's, which cannot be imported
        drawings.broken.append(f"The figures could not be found: {_said(error)}")
        return drawings
    done: dict[bytes, Drawing] = {}
    for figure in figures:
        if drawing := _drawn(figure, search, None, prefix, done, drawings.broken):
            drawings.shown.append(drawing)
    begun = clock()
    for trial in search.completed["trial"].tolist()[:NUM_OF_TRIALS]:
        for figure in filter(_is_of_trials, figures):
            if clock() - begun > PATIENCE_S:
                return drawings
            if drawing := _drawn(figure, search, [trial], f"{prefix}t{trial}", done, drawings.broken):
                drawings.of_trials.setdefault(trial, []).append(drawing)
    return drawings


def _is_of_trials(figure: "Figure") -> bool:
    """Return whether a figure says something of one trial alone: a method's, or one that says so by PER_TRIAL."""
    return getattr(figure.module, "PER_TRIAL", bool(figure.method))


def _drawn(
    figure: "Figure",
    search: Search,
    trials: Sequence[int] | None,
    prefix: str,
    done: dict[bytes, Drawing],
    broken: list[str],
) -> Drawing | None:
    try:
        data = figure.info(search, trials)
        if data is None:
            return None
        key = _key(figure, data)
        drawing = done.get(key) or _draw(figure, data)
        if key:
            done[key] = drawing
        return replace(drawing, svg=Markup(_inline(str(drawing.svg), prefix)) if drawing.svg else drawing.svg)
    except Exception as error:
        which = f" of trial {trials[0]}" if trials else ""
        broken.append(f"The figure {figure.name}{which} could not be drawn: {_said(error)}")
        return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _key(figure: "Figure", data: "Data") -> bytes:
    """Return what tells a figure's data from others: two trials may have the same. Empty if it cannot be told."""
    try:
        return hashlib.blake2b(pickle.dumps((figure.name, data))).digest()
    except Exception:  # data of a user's figure can be anything
        return b""


def _draw(figure: "Figure", data: "Data") -> Drawing:
    from analysis.drawing.render import svg

    table, chart = data.table(), _chart(figure, data)
    drawn = svg(figure, data)
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


def _chart(figure: "Figure", data: "Data") -> str:
    """Return a figure's chart, packed; empty if it has none, or if the page could not draw it."""
    if not figure.is_interactive or (chart := figure.chart(data)) is None:
        return ""
    if not {trace.get("type", "scatter") for trace in chart["data"]} <= UNDER_POLICY:
        return ""
    return packed_json(_as_text(_plain(chart)))


def _plain(chart: dict[str, Any]) -> dict[str, Any]:
    """Return a chart without numbers of NumPy, and with null for NaN."""
    try:
        return json.loads(json.dumps(chart, allow_nan=False))
    except (TypeError, ValueError):  # only then: Plotly takes a tenth of a second to import
        from plotly.utils import PlotlyJSONEncoder

        return json.loads(json.dumps(chart, cls=PlotlyJSONEncoder))


def _as_text(value: Any, key: str = "") -> Any:
    """Return a chart's data in which no text is read as a tag: Plotly knows some, links among them."""
    if isinstance(value, dict):
        return {name: _as_text(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_text(one, key) for one in value]
    if not isinstance(value, str) or key in _TEMPLATES:
        return value
    return html.escape(shown(value), quote=False).replace("&lt;br&gt;", "<br>")


def _inline(svg: str, prefix: str) -> str:
    """Return an SVG as an element of a page with others, hidden from screen readers, which get its sentence."""
    from analysis.drawing.render import with_prefix

    element, width = with_prefix(svg, prefix), _VIEW_BOX.search(svg)
    most = f' style="max-width:{LARGEST * float(width[1]):.0f}px"' if width else ""
    return element.replace(' role="img"', f' aria-hidden="true" focusable="false"{most}', 1)
