"""Prints to the terminal; texts of users are printed as they are, never read as markup or terminal control codes."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from cluster.wording import visible


class Console(RichConsole):
    """A console that prints texts as they are: no markup, emoji codes or highlighting; control characters made visible.

    Styles are given by Text objects, or by `style=`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError to the caller that prints; Rich itself would end the process with status 1."""
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments to print; Rich's own control codes stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))
