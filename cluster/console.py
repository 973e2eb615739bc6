"""The terminal: what users have written is printed as it is, never taken for markup or for orders to the terminal."""

import re
from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and ends of lines; what reverses a line's direction; halves of characters."""


def visible(text: str) -> str:
    r"""Return a text with `\x1b` for an escape character and the like: what terminals obey is shown to people."""
    return _ORDERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str) -> str:
    r"""Return a text as `visible` does, with `\n` for the ends of its lines too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


class Console(RichConsole):
    """A console that takes texts as they are: without markup, emoji codes and highlighting, control characters shown.

    Styles are given by Text objects, or by `style=`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of what is to be printed; Rich's own orders to the terminal stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
