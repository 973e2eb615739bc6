"""Writes a canvas as SVG in one drawing; matplotlib's `savefig` draws twice what has a constrained layout."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import NullLocator

POINTS_PER_INCH = 72
CLOSE = 1e-10
"""Of an axis's length: a tick so little outside is drawn all the same."""
_NONE = NullLocator()
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def as_svg(canvas: Canvas, pixels_per_inch: int) -> str:
    """Return a canvas as SVG: what `savefig` writes, in half of its time.

    `savefig` draws everything once to no end, since a layout may need it. A constrained one measures for itself.
    """
    width, height = canvas.get_size_inches()
    canvas.dpi, out = POINTS_PER_INCH, io.StringIO()
    points = RendererSVG(
        POINTS_PER_INCH * width, POINTS_PER_INCH * height, out, image_dpi=pixels_per_inch, metadata=NO_METADATA
    )
    renderer: Any = MixedModeRenderer(canvas, width, height, pixels_per_inch, points)
    _Surface(canvas, renderer)
    with _ticks_known(canvas):
        layout = canvas.get_layout_engine()
        if layout is not None:
            with suppress(ValueError):  # as where matplotlib executes it
                layout.execute(canvas)
            canvas.set_layout_engine("none")
        canvas.draw(renderer)
    renderer.finalize()
    return out.getvalue()


class _Surface(FigureCanvasSVG):
    """Has the layout measure texts with the renderer that draws them, which then knows their sizes."""

    def __init__(self, canvas: Canvas, renderer: Any) -> None:
        super().__init__(canvas)
        self._renderer = renderer

    def get_renderer(self) -> Any:
        """Return the renderer, as matplotlib asks for it."""
        return self._renderer


@contextmanager
def _ticks_known(canvas: Canvas) -> Iterator[None]:
    """Have each axis find its ticks, and measure their labels, once for each of its ranges and places.

    Layout and drawing ask for them some ten times, which is half of all their work. What is drawn is the same.
    """
    axes: list[Any] = [axis for one in canvas.axes for axis in (one.xaxis, one.yaxis)]
    for axis in axes:
        axis._update_ticks = _kept(axis, _with_one_minor_tick(axis, axis._update_ticks))
        axis._get_ticklabel_bboxes = _kept(axis, axis._get_ticklabel_bboxes)
    try:
        yield
    finally:
        for axis in axes:
            del axis._update_ticks, axis._get_ticklabel_bboxes


def _kept(axis: Any, find: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of an axis that is called again only if the axis has another range or place."""
    last: list[Any] = [None, None]

    def found(*args: Any) -> Any:
        state = (*axis.get_view_interval(), *axis.axes.bbox.bounds, *map(_identity, args))
        if state != last[0]:
            last[:] = state, find(*args)
        return last[1]

    return found


def _identity(value: Any) -> Any:
    return tuple(map(id, value)) if isinstance(value, list) else id(value)


def _with_one_minor_tick(axis: Any, update: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    """Return an update of an axis's ticks that makes one of all minor ticks, if they are marks alone.

    A logarithmic axis has dozens, and matplotlib makes lines and texts for each.
    """

    def updated() -> list[Any]:
        places, shown = axis.get_minorticklocs(), axis._minor_tick_kw
        if not len(places) or shown.get("gridOn") or shown.get("tick2On") or shown.get("tick1On") is False:
            return update()
        if any(axis.minor.formatter.format_ticks(places)):
            return update()
        locator, axis.minor.locator = axis.minor.locator, _NONE
        try:
            ticks = update()
        finally:
            axis.minor.locator = locator
        there = axis.get_transform().transform(places)
        low, high = sorted(axis.get_transform().transform(np.asarray(axis.get_view_interval())))
        places = places[(there >= low - CLOSE * (high - low)) & (there <= high + CLOSE * (high - low))]
        if not len(places):
            return ticks
        (tick,) = axis.get_minor_ticks(1)
        tick.update_position(places[0])
        along = (places, np.zeros_like(places))
        tick.tick1line.set_data(*(along if axis.axis_name == "x" else along[::-1]))
        return [*ticks, tick]

    return updated
