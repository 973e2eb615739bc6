"""Draws figures to files and to SVG that is part of a page."""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from analysis.drawing.figure import Data, Figure
from analysis.drawing.once import as_svg
from analysis.drawing.style import GREY, styled

Form = Literal["png", "pdf", "svg"]
PANEL = (7.2, 4.4)
"""Inches of a figure with one panel."""
SMALL_PANEL = (4.6, 3.2)
"""Inches of each panel if there are several."""

MOST_SHAPES = 1_500
"""Points of a panel that a page draws one by one; if there are more, they become a picture within the figure."""
FEW_SHAPES = 20
"""Points that stay shapes all the same: marks among the others."""
MOST_CORNERS = 10_000
"""The corners of a line, likewise."""
PIXELS_PER_INCH = 200


def drawn(figure: Figure, data: Data, title: bool = True) -> Canvas:
    """Return a figure's data drawn on a canvas of its own; matplotlib's global state stays as it is."""
    rows, columns = figure.panels(data)
    size = PANEL if rows * columns == 1 else (max(SMALL_PANEL[0] * columns, PANEL[0]), SMALL_PANEL[1] * rows + 0.4)
    with styled():
        canvas = Canvas(figsize=getattr(data, "size", None) or size)
        FigureCanvasAgg(canvas)
        axes: Any = canvas.subplots(rows, columns)
        figure.draw(data, axes)
        if title:
            canvas.suptitle(figure.title, fontsize=11.5, color=GREY)
    return canvas


def save(figure: Figure, data: Data, path: Path) -> None:
    """Write a figure to a file; the file's ending says in which format."""
    canvas = drawn(figure, data)
    _as_pixels(canvas)
    with styled():
        canvas.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def svg(figure: Figure, data: Data) -> str:
    """Return a figure as an SVG element for a page: its grey is the page's text colour, its ids are its own."""
    canvas = drawn(figure, data, title=False)
    _as_pixels(canvas)
    with styled():
        text = as_svg(canvas, PIXELS_PER_INCH)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = text.replace(GREY, "currentColor").replace(GREY.upper(), "currentColor")
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', text, count=1, flags=re.DOTALL)
    return with_prefix(text, figure.name)


def with_prefix(svg: str, prefix: str) -> str:
    """Return an SVG whose ids, and what refers to them, begin with a prefix.

    Not by a regular expression: it would take longer, by far, for the pictures within.
    """
    for before in (' id="', 'href="#', "url(#"):
        svg = svg.replace(before, f"{before}{prefix}-")
    return svg


def _as_pixels(canvas: Canvas) -> None:
    """Have what has thousands of points drawn as pixels: as shapes they take megabytes, and a browser seconds."""
    for axes in canvas.axes:
        scattered = [
            (points, max(np.size(points.get_offsets()) // 2, len(points.get_paths()))) for points in axes.collections
        ]
        marked = [
            (line, np.size(line.get_xdata())) for line in axes.lines if str(line.get_marker()) not in ("None", "", " ")
        ]
        if sum(num for _, num in scattered + marked) > MOST_SHAPES:
            for artist, num in scattered + marked:
                artist.set_rasterized(num > FEW_SHAPES)
        for line in axes.lines:
            if np.size(line.get_xdata()) > MOST_CORNERS:
                line.set_rasterized(True)
        for points in axes.collections:
            if sum(np.size(path.vertices) // 2 for path in points.get_paths()) > MOST_CORNERS:
                points.set_rasterized(True)
