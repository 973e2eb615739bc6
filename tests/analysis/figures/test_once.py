"""A drawing in one pass is the drawing that matplotlib's savefig makes in two."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.drawing.once import NO_METADATA, as_svg
from analysis.drawing.style import styled

RANDOM = np.random.default_rng(0)
X, Y = np.arange(1.0, 40.0), 10 ** RANDOM.uniform(-3, 3, 39)


def shapes(svg):
    """Return all that is seen of a drawing: its leaves with their attributes and clips, without ids and groups."""
    found = []

    def walk(node, clip):
        clip = node.get("clip-path", clip)
        for child in node:
            walk(child, clip)
        if not len(node):
            attributes = {name: value for name, value in node.attrib.items() if name != "id"}
            found.append((node.tag, sorted(attributes.items()), (node.text or "").strip(), clip))

    walk(ElementTree.fromstring(svg), None)
    return sorted(found, key=repr)


def canvas(rows, columns, draw):
    with styled():
        made = Figure(figsize=(7.2, 4.4))
        FigureCanvasAgg(made)
        draw(made.subplots(rows, columns))
    return made


def linear(axes):
    axes.plot(X, X**2, "o-", label="squares")
    axes.set(xlabel="x", ylabel="y", title="linear")
    axes.legend()


def decades(axes):
    axes.loglog(X, Y, "o", label="over decades")
    axes.legend(loc="best")
    axes.set(xlabel="x", ylabel="y")


def less_than_a_decade(axes):
    axes.plot(X, np.linspace(2.0, 7.0, 39))
    axes.set(yscale="log", ylabel="minor ticks with labels")


def both_signs(axes):
    axes.plot(X, Y - 100)
    axes.set_yscale("symlog", linthresh=5)


def upside_down(axes):
    axes.semilogy(X, Y)
    axes.invert_yaxis()
    axes.annotate("a point", (X[3], Y[3]), xytext=(4, 4), textcoords="offset points")


def minor_grid(axes):
    axes.semilogx(X, X)
    axes.grid(which="minor")


def large_numbers(axes):
    axes.plot(X, 1e9 + X)  # an offset is written beside the axis
    axes.set_title("moved by the offset")


def cells(axes):
    image = axes.imshow(RANDOM.normal(size=(4, 5)), aspect="auto")
    axes.figure.colorbar(image, ax=axes).set_label("value")
    axes.set_xticks(range(5), ["a rather long level"] * 5)
    axes.tick_params(axis="x", rotation=30)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")


def pixels(axes):
    axes.plot(X, Y, "o", rasterized=True)
    axes.set(aspect="equal")


def several(axes):
    for one in axes.ravel()[:3]:
        one.semilogy(X, Y, label="series")
    axes[1, 1].set_axis_off()
    axes[0, 1].sharex(axes[0, 0])
    axes[0, 0].set_xlim(2, 9)
    axes[0, 0].figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center")


ONE = [linear, decades, less_than_a_decade, both_signs, upside_down, minor_grid, large_numbers, cells, pixels]
CASES = [(1, 1, one) for one in ONE] + [(2, 2, several)]


@pytest.mark.parametrize(("rows", "columns", "draw"), CASES, ids=[case[2].__name__ for case in CASES])
def test_it_is_what_savefig_draws(rows, columns, draw):
    state = RANDOM.bit_generator.state
    twice, out = canvas(rows, columns, draw), io.StringIO()
    RANDOM.bit_generator.state = state
    once = canvas(rows, columns, draw)
    with styled():
        twice.savefig(out, format="svg", dpi=200, metadata=NO_METADATA)
        text = as_svg(once, 200)
    assert len(shapes(text)) > 20
    assert shapes(text) == shapes(out.getvalue())


def test_minor_ticks_are_one_group():
    made = canvas(1, 1, decades)
    with styled():
        text = as_svg(made, 200)
    assert text.count('id="ytick_') < 12  # some 50 minor marks are one of them
