"""A figure with its data, as notebooks show it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.drawing.discovery import find_figures
from analysis.drawing.figure import Data, Figure
from analysis.drawing.render import drawn, save
from analysis.search import Search

_PIXELS_PER_INCH = 90


@dataclass(frozen=True, repr=False)
class Picture:
    """A figure of a search; a notebook shows it as a picture."""

    figure: Figure
    data: Data

    def table(self) -> pd.DataFrame:
        """Return all numbers that are drawn."""
        return self.data.table()

    def save(self, path: str | Path) -> None:
        """Write it to a file, whose ending says in which format: png, pdf or svg."""
        save(self.figure, self.data, Path(path))

    def __repr__(self) -> str:
        return f"Picture({self.figure.name!r})"

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        canvas = drawn(self.figure, self.data)
        canvas.savefig(out, format="png", dpi=_PIXELS_PER_INCH, facecolor="white", metadata={"Software": None})
        return out.getvalue()


def picture(search: Search, name: str, trials: Sequence[int] | None = None, **options: Any) -> Picture:
    """Return a figure of a search, or of some of its trials, by the figure's name.

    Raises FigureError if there is no such figure or option, and NothingToShowError if the search has nothing for it.
    """
    (found,) = find_figures(search, [name], [])
    return Picture(found, found.look(search, trials, **options))
