"""What holds for every figure: it bears every search, and its data can be handed on."""

import json
import re

import pandas as pd
import pytest

import analysis
from analysis.drawing.discovery import figures, find_figures
from analysis.drawing.figure import FigureError, NothingToShowError
from analysis.drawing.plot import list_figures, plot_figures
from analysis.drawing.render import drawn, save, svg
from analysis.report.figures import UNDER_POLICY
from tests.analysis.odd_searches import make_odd

OURS = [figure for figure in figures() if not figure.method]


def looked_at(search):
    for figure in OURS:
        data = figure.info(search)
        if data is not None:
            yield figure, data


def test_an_odd_search_has_figures_or_reasons(odd_search):
    search = analysis.load(odd_search.name)
    for figure, data in looked_at(search):
        table = data.table()
        assert isinstance(table, pd.DataFrame), figure.name
        assert len(table), figure.name
        drawn(figure, data)  # that it can be rendered too, the reports of these searches show
        chart = figure.chart(data)
        if chart is not None:
            json.dumps(chart)
            assert {"data", "layout"} <= {*chart}
            assert {trace["type"] for trace in chart["data"]} <= UNDER_POLICY, figure.name  # or the report has none


def test_what_a_search_has_nothing_for_is_said(tmp_path, searches):
    search = analysis.load(make_odd("empty", tmp_path).name)
    for figure in OURS:
        with pytest.raises(NothingToShowError, match="has no trials yet"):
            figure.look(search)


def test_a_figure_in_a_page_has_ids_of_its_own(tmp_path, searches):
    search = analysis.load(make_odd("repeated", tmp_path).name)
    for figure, data in looked_at(search):
        drawing = svg(figure, data)
        assert drawing.startswith("<svg viewBox="), figure.name
        assert "7a7a7a" not in drawing.lower()
        found = re.findall(r'\bid="([^"]*)"', drawing)
        assert all(one.startswith(f"{figure.name}-") for one in found)
        assert len({*found}) == len(found)


@pytest.fixture
def own(tmp_path):
    """Return a folder with a user's own figure."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "count.py").write_text(
        'import pandas as pd\nTITLE = "Count of [all] trials"\nSENTENCE = "How many."\n\n\nclass Data:\n'
        "    def __init__(self, n):\n        self.n = n\n\n    def table(self):\n"
        '        return pd.DataFrame({"n": [self.n]})\n\n\ndef info(search, trials=None, twice: bool = False):\n'
        "    return Data(len(search.trials) * (2 if twice else 1))\n\n\n"
        "def draw(data, axes):\n    axes.bar([0], [data.n])\n"
    )
    return folder


def test_the_list_of_figures_has_one_plain_line_for_each(tmp_path, searches, own, capsys):
    search = analysis.load(make_odd("repeated", tmp_path).name)
    list_figures(search, [str(own)])
    lines = capsys.readouterr().out.splitlines()
    found = find_figures(search, (), [str(own)])
    assert [line.split("  ")[:2] for line in lines] == [[figure.name, figure.title] for figure in found]
    assert "count  Count of [all] trials  (twice=False)" in lines


def test_a_users_own_figure_is_found_and_drawn(tmp_path, searches, own):
    search = analysis.load(make_odd("repeated", tmp_path).name)
    (count,) = find_figures(search, ["count"], [str(own)])
    assert count.look(search, twice=True).table()["n"][0] == 2 * len(search.trials)
    (file,) = plot_figures(search, ["count"], "svg", None, ["twice=true"], [str(own / "count.py")], tmp_path / "out")
    assert file.read_text().count("<svg") == 1
    (own / "wrong.py").write_text("TITLE = 'no figure'\n")
    with pytest.raises(FigureError, match="it has no SENTENCE and no info and no draw"):
        figures(str(own))
    with pytest.raises(FigureError, match="neither a folder, a"):
        figures("no_such_package")


def test_what_is_asked_for_wrongly_is_said(tmp_path, searches):
    search = analysis.load(make_odd("repeated", tmp_path).name)
    with pytest.raises(FigureError, match=r"no figure 'slies'\. Did you mean 'slices'"):
        find_figures(search, ["slies"])
    with pytest.raises(FigureError, match=r"has no option 'z'\. Its options: x"):
        plot_figures(search, ["learning_curves"], "png", None, ["z=1"], [], tmp_path)
    with pytest.raises(FigureError, match="x must be one of step, seconds"):
        plot_figures(search, ["learning_curves"], "png", None, ["x=hours"], [], tmp_path)


def test_files_are_written_in_every_format_and_read_on_any_ground(tmp_path, searches):
    from PIL import Image

    search = analysis.load(make_odd("repeated", tmp_path).name)
    (curves,) = find_figures(search, ["learning_curves"])
    for form in ("png", "pdf", "svg"):
        save(curves, curves.look(search), tmp_path / f"f.{form}")
    assert Image.open(tmp_path / "f.png").convert("RGBA").getpixel((1, 1))[3] == 0
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")
