"""Sizes of texts, which all drawings of a process share: measuring them anew is a fifth of a drawing's time."""

import functools
from typing import Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from matplotlib.textpath import TextToPath

MOST_FORMULAS = 2_000
MOST_TEXTS = 20_000
_FONTS: tuple[Any, ...] = tuple(name for name in mpl.rcParams if name.startswith(("font.", "mathtext.")))
"""The settings that say which font a text has."""


_PARSER: Any = MathTextParser  # whose stubs have not all that it has


class _Formulas(MathTextParser):
    """Keeps more formulas than matplotlib: a label of a logarithmic axis is one, and takes milliseconds to read."""

    _parse_cached = functools.lru_cache(MOST_FORMULAS)(_PARSER._parse_cached.__wrapped__)


class _Texts(TextToPath):
    def __init__(self) -> None:
        super().__init__()
        self.mathtext_parser = _Formulas("path")


_TEXTS = _Texts()
_SIZES: dict[Any, tuple[float, float, float]] = {}


class TextRenderer(RendererSVG):
    """Draws SVG, and knows the sizes of texts that another has measured."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._text2path = _TEXTS
        # formulas also know the fonts of the settings with which they were read
        self._fonts = tuple(str(mpl.rcParams[name]) for name in _FONTS)
        if len(_SIZES) > MOST_TEXTS:
            _SIZES.clear()

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> tuple[float, float, float]:
        """Return the width, the height and the descent of a text, as matplotlib asks for it."""
        key = (self._fonts, s, hash(prop), ismath)
        if key not in _SIZES:
            _SIZES[key] = super().get_text_width_height_descent(s, prop, ismath)
        return _SIZES[key]

    def _get_font_height_metrics(self, prop: FontProperties) -> tuple[float | None, float | None, float | None]:
        """Return the ascent, the descent and the gap between lines of a font; None if it has no such table.

        Without it matplotlib reads them from the font's file for each text, each time that it is measured.
        """
        key = (self._fonts, "heights", hash(prop))
        if key not in _SIZES:
            _SIZES[key] = _heights(prop)
        return _SIZES[key]


class PlacedText(Text):
    """A text that may be moved, but stays as it is otherwise: how its lines lie to its place is found out once."""

    def _get_layout(self, renderer: Any) -> Any:
        own, base = cast("Any", self), cast("Any", super())
        font, dpi = hash(own._fontproperties), own.get_figure(root=True).dpi
        alignment = own._horizontalalignment, own._verticalalignment
        state = (own._text, font, self.get_rotation(), alignment, dpi, id(renderer))
        known = vars(self).get("_layout")
        if known is None or known[0] != state:
            known = self._layout = (state, base._get_layout(renderer))
        return known[1]


def _heights(prop: FontProperties) -> Any:
    font: Any = get_font(fontManager._find_fonts_by_props(prop))
    for name, gap, ascent, descent in (
        ("OS/2", "sTypoLineGap", "sTypoAscender", "sTypoDescender"),
        ("hhea", "lineGap", "ascent", "descent"),
    ):
        found = font.get_sfnt_table(name)
        if found is not None:
            head = font.get_sfnt_table("head")
            scale = 1 / head["unitsPerEm"] * prop.get_size_in_points()
            return found[ascent] * scale, -found[descent] * scale, found[gap] * scale
    return None, None, None
