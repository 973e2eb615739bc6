"""A figure: computes its data from a search, and draws them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import pandas as pd

from analysis.search import Search
from search_spaces.errors import UserError, nearest


class NothingToShowError(UserError):
    """A search has nothing that a figure could show; the message says why."""


class FigureError(UserError):
    """There is no such figure, it has no such option, or its module is no figure."""


class Data(Protocol):
    """What a figure shows."""

    def table(self) -> pd.DataFrame:
        """Return all numbers that are drawn."""
        ...


@dataclass(frozen=True)
class Figure:
    """One figure, as its module defines it."""

    name: str
    module: ModuleType
    method: str = ""
    """The trainable whose searches it is for; empty if it is for all."""

    @property
    def title(self) -> str:
        """What it is called."""
        return self.module.TITLE

    @property
    def sentence(self) -> str:
        """What one sees: its caption, and its text for those who do not see it."""
        return self.module.SENTENCE

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """The options of `look`, by name, with their defaults and types."""
        parameters = inspect.signature(self.module.info).parameters
        return {name: one for name, one in parameters.items() if name not in ("search", "trials")}

    def fits(self, search: Search) -> bool:
        """Return whether it is for a search's method."""
        return not self.method or (search.spec is not None and search.spec.trainable == self.method)

    def look(self, search: Search, trials: Sequence[int] | None = None, **options: Any) -> Data:
        """Return what it shows of a search, or of some of its trials.

        Raises NothingToShowError if there is nothing, and FigureError if it has no such option.
        """
        for name in options:
            if name not in self.options:
                near = nearest(name, list(self.options))
                hint = f" Did you mean {near!r}?" if near else ""
                known = ", ".join(self.options) or "none"
                raise FigureError(f"figure {self.name} has no option {name!r}.{hint} Its options: {known}")
        if not self.fits(search):
            raise NothingToShowError(f"it is for searches of {self.method}")
        if search.trials.empty:
            raise NothingToShowError(f"{search.name} has no trials yet")
        return self.module.info(search, trials, **options)

    def info(self, search: Search, trials: Sequence[int] | None = None, **options: Any) -> Data | None:
        """Return what `look` returns; None if there is nothing to show."""
        try:
            return self.look(search, trials, **options)
        except NothingToShowError:
            return None

    def panels(self, data: Data) -> tuple[int, int]:
        """Return the rows and columns of axes that it draws on."""
        count: Callable[[Any], tuple[int, int]] | None = getattr(self.module, "panels", None)
        return count(data) if count else (1, 1)

    def draw(self, data: Data, axes: Any) -> None:
        """Draw its data on axes of matplotlib: one, or an array of them if it has several panels."""
        self.module.draw(data, axes)

    @property
    def is_interactive(self) -> bool:
        """Whether it also comes as a Plotly figure."""
        return hasattr(self.module, "chart")

    def chart(self, data: Data) -> dict[str, Any] | None:
        """Return it as a Plotly figure in plain JSON, `data` and `layout`; None if it has no such form."""
        return self.module.chart(data) if self.is_interactive else None
