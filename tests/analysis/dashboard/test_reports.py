"""The curves of a history that grows."""

import json

from analysis.dashboard.reports import MOST_POINTS, Reports
from cluster.state.paths import SearchPaths


def line(trial, step, value):
    return json.dumps({"trial": trial, "step": step, "seconds": 1.0, "metrics": {"loss": value}}) + "\n"


def test_curves_grow_with_the_files_and_torn_lines_wait(tmp_path):
    paths = SearchPaths(tmp_path)
    paths.histories.mkdir()
    first, second = paths.history(1), paths.history(2)
    whole = line(3, 20, 0.5)
    first.write_text(line(3, 10, 1.0) + line(14, 10, 9.0) + whole[:20])
    reports = Reports(paths)
    reports.update()
    assert reports.curves([3, 14, 15], "loss") == {3: [(10, 1.0)], 14: [(10, 9.0)], 15: []}
    with first.open("a") as file:
        file.write(whole[20:] + "no JSON\n" + '{"trial": 3, "tests": {}}\n' + line(3, 30, float("nan")))
    second.write_text(line(3, 20, 0.5) + line(3, 40, 0.25))
    reports.update()
    assert reports.curves([3], "loss") == {3: [(10, 1.0), (20, 0.5), (30, None), (40, 0.25)]}
    assert reports.curves([3], "other") == {3: []}


def test_what_has_been_looked_at_is_not_read_again(tmp_path):
    paths = SearchPaths(tmp_path)
    paths.histories.mkdir()
    paths.history(1).write_text(line(1, 10, 1.0))
    reports = Reports(paths)
    reports.update()
    looked = []
    reports._look = lambda index, lines: looked.append(index)
    reports.update()
    assert looked == []


def test_only_new_reports_are_read_and_long_curves_are_thinned(tmp_path):
    paths = SearchPaths(tmp_path)
    paths.histories.mkdir()
    many = 3 * MOST_POINTS + 1
    paths.history(1).write_text("".join(line(1, step, float(step)) for step in range(many)))
    reports, read = Reports(paths), []
    reports.update()
    line_of = reports._line
    reports._line = lambda place, opened: read.append(place) or line_of(place, opened)
    points = reports.curves([1], "loss")[1]
    assert len(read) == many
    assert len(points) <= MOST_POINTS + 1
    assert (points[0], points[-1]) == ((0, 0.0), (many - 1, many - 1.0))
    with paths.history(1).open("a") as file:
        file.write(line(1, many, 7.0))
    reports.update()
    assert reports.curves([1], "loss")[1][-1] == (many, 7.0)
    assert len(read) == many + 1
    assert reports.curves([1], "other")[1] == []
