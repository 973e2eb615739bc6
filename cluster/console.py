"""The terminal: what users have written is printed as it is, never taken for markup or for orders to the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from cluster.wording import visible


class Console(RichConsole):
    """A console that takes texts as they are: without markup, emoji codes and highlighting, control characters shown.

    Styles are given by Text objects, or by `style=`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Leave it to whoever has printed: Rich would end the process with status 1."""
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of what is to be printed; Rich's own orders to the terminal stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
