"""Writes a canvas as SVG in one drawing; matplotlib's `savefig` draws twice what has a constrained layout."""

import copy
import io
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from matplotlib.axis import Tick, XTick, YTick
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from matplotlib.ticker import NullLocator

from analysis.drawing.texts import PlacedText, TextRenderer

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
    points = TextRenderer(
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
        if isinstance(axis.minor.locator, NullLocator) and "minorTicks" not in vars(axis):
            axis.minorTicks = []  # else one is made as soon as anybody counts them
        axis._update_ticks = _kept(axis, _with_one_minor_tick(axis, axis._update_ticks))
        axis._get_ticklabel_bboxes = _kept(axis, axis._get_ticklabel_bboxes)
        axis.get_major_ticks = _with_shared_lines(axis, axis.get_major_ticks)
    try:
        yield
    finally:
        for axis in axes:
            del axis._update_ticks, axis._get_ticklabel_bboxes, axis.get_major_ticks


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


class _Light(Tick):
    """A tick whose lines are those of others too: they are where it is as long as it is drawn."""

    def update_position(self, loc: float) -> None:
        """Set the location, in data coordinates."""
        self._at(self.label1, loc)
        self._loc = loc

    def draw(self, renderer: Any) -> None:
        """Draw the lines and the label."""
        for line in (self.tick1line, self.gridline):
            self._at(line, self._loc)
        super().draw(renderer)

    @staticmethod
    @abstractmethod
    def _at(artist: Any, loc: float) -> None:
        """Put a line or a text at a place along the axis."""


class _LightX(_Light, XTick):
    @staticmethod
    def _at(artist: Any, loc: float) -> None:
        artist.set_x(loc) if isinstance(artist, Text) else artist.set_xdata((loc,))


class _LightY(_Light, YTick):
    @staticmethod
    def _at(artist: Any, loc: float) -> None:
        artist.set_y(loc) if isinstance(artist, Text) else artist.set_ydata((loc,))


_LIGHT = {XTick: _LightX, YTick: _LightY, _LightX: _LightX, _LightY: _LightY}


def _with_shared_lines(axis: Any, find: Callable[..., list[Tick]]) -> Callable[..., list[Tick]]:
    """Return a function for an axis's major ticks that makes further ones of the first one's lines.

    matplotlib makes three lines and two texts for each, of which two are hardly ever seen.
    """

    def found(num: int | None = None) -> list[Tick]:
        ticks = axis.majorTicks
        num = len(axis.get_majorticklocs()) if num is None else num
        if len(ticks) < num and (light := _LIGHT.get(type(ticks[0]))):
            first = ticks[0]
            if not (first.tick2line.get_visible() or first.label2.get_visible()):
                first.__class__ = light
                if type(first.label1) is Text:
                    first.label1.__class__ = PlacedText
                while len(ticks) < num:
                    tick = copy.copy(first)
                    tick.label1 = copy.copy(first.label1)
                    ticks.append(tick)
        return find(num)

    return found
