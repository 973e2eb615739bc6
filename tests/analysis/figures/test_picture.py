import pytest

import analysis
from analysis.drawing.figure import FigureError
from tests.planted import crossed_search


def test_a_figure_of_a_search_shows_itself_in_a_notebook_and_is_written(tmp_path):
    search = crossed_search([[[1.0, 1.1]], [[2.0, 2.1]]])
    shown = analysis.figure(search, "levels")
    assert shown._repr_png_().startswith(b"\x89PNG")
    assert repr(shown) == "Picture('levels')"
    assert len(shown.table())
    shown.save(tmp_path / "levels.svg")
    assert "<svg" in (tmp_path / "levels.svg").read_text()
    with pytest.raises(FigureError, match=r"no figure 'level'\. Did you mean 'levels'\?"):
        analysis.figure(search, "level")
