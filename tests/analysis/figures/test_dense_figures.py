"""A figure of thousands of points stays small enough for a page, and a figure of few stays sharp."""

import re
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd

from analysis.drawing.figure import Figure
from analysis.drawing.render import MOST_SHAPES, svg


@dataclass(frozen=True)
class Points:
    """So many points in each of three groups, which share a panel."""

    num: int

    def table(self):
        """Return the number alone."""
        return pd.DataFrame({"num": [self.num]})


def draw(data, axes):
    places = np.random.default_rng(0).normal(size=(3, 2, data.num))
    for x, y in places:
        axes.scatter(x, y)
    axes.plot([0.123456789], [0.5], marker="o", gid="best")


def picture(num):
    module = ModuleType("points")
    module.draw = draw
    return svg(Figure("points", module), Points(num))


def test_thousands_of_points_of_a_panel_become_a_picture_but_marks_among_them_stay_shapes():
    text = picture(MOST_SHAPES // 3 + 1)
    assert text.count("data:image/png;base64,") >= 1
    assert len(text) < 250_000
    assert 'id="points-best"' in text


def test_few_points_are_shapes_with_short_numbers():
    text = picture(MOST_SHAPES // 3 - 1)
    assert "data:image" not in text
    assert text.count("<use") >= MOST_SHAPES - 3
    assert not re.search(r' d="[^"]*\.\d{3}', text)
