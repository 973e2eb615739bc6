"""The numbers that the general figures show, on tables whose answers can be computed by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.drawing.discovery import figures
from analysis.drawing.figure import NothingToShowError
from analysis.drawing.render import drawn
from analysis.figures.heat_map import trend
from analysis.figures.pareto_front import on_front
from analysis.mattered.comparable import comparable
from analysis.mattered.importance import importance
from analysis.mattered.stability import stability
from analysis.search import Bound, Factor, NotThereError, Objective, Search
from tests.searching import make_spec

ERROR = (Objective("error"),)
BY_NAME = {figure.name: figure for figure in figures()}
SMALL = [
    # trial, outcome, head, width, error, wall, compile, began, ended
    (0, "completed", "a", 8, 4.0, 100.0, 40.0, 0.0, 100.0),
    (1, "pruned", "a", 16, 9.0, 20.0, 10.0, 0.0, 20.0),
    (2, "completed", "b", 8, 2.0, 50.0, 10.0, 20.0, 70.0),
    (3, "crashed", "b", 16, None, 30.0, 5.0, 70.0, 100.0),
    (4, "completed", "b", 16, 3.0, 200.0, 10.0, 100.0, 300.0),
]


def make(rows=SMALL, objectives=ERROR, histories=None, **more):
    names = ["trial", "outcome", "head", "width", "error", "wall_time_s", "compile_time_s", "began_at", "ended_at"]
    frame = pd.DataFrame(rows, columns=names)
    done = frame["outcome"] == "completed"
    frame["rank"] = frame["error"].where(done).rank(method="first").astype("Int64")
    frame["configuration"] = frame["trial"]
    factors = (Factor("head", ("a", "b")), Factor("width", (8, 16)))
    if histories is not None:
        more["read_histories"] = lambda: histories
    return Search("small", frame, factors, objectives, **more)


def look(name, search, trials=None, **options):
    return BY_NAME[name].look(search, trials, **options)


def test_the_best_so_far_counts_completed_trials_in_the_order_of_their_ends():
    points = look("best_so_far", make()).points
    assert points[["trial", "trials", "value", "best"]].values.tolist() == [[2, 2, 2, 2], [0, 3, 4, 2], [4, 5, 3, 2]]
    assert look("best_so_far", make(), x="hours").points["hours"].tolist() == pytest.approx(
        [70 / 3600, 100 / 3600, 300 / 3600]
    )
    spent = look("best_so_far", make(), x="core_hours").points["core_hours"]
    assert spent.tolist() == pytest.approx([70 / 3600, 170 / 3600, 400 / 3600])
    most = look("best_so_far", make(objectives=(Objective("error", "max"),))).points["best"]
    assert most.tolist() == [2, 4, 4]


def test_the_core_hours_add_up():
    parts = dict(look("core_hours", make()).parts[["part", "core_hours"]].values)
    seconds = {name: hours * 3600 for name, hours in parts.items()}
    assert seconds == pytest.approx(
        {"training": 60 + 40 + 190, "training, stopped early": 10, "compiling": 70, "failed": 30}
    )


def test_outcomes_are_counted_as_they_end():
    counts = look("outcomes", make()).counts
    assert counts["hours"].tolist() == pytest.approx([20 / 3600, 70 / 3600, 100 / 3600, 100 / 3600, 300 / 3600])
    assert counts[["completed", "pruned", "crashed"]].values.tolist()[-1] == [3, 1, 1]
    assert list(counts.columns) == ["hours", "completed", "pruned", "crashed"]


def test_the_fast_and_good_are_on_the_front():
    points = look("runtime_error", make()).points
    assert points[["trial", "is_on_front"]].values.tolist() == [[2, True], [0, False], [4, False]]


def test_cells_hold_the_best_the_mean_and_the_spread():
    rows = [(n, "completed", head, width, error, 1, 0, 0, 1) for n, (head, width, error) in enumerate(
        [("a", 8, 4.0), ("a", 8, 6.0), ("b", 8, 1.0), ("b", 16, 5.0)]
    )]  # fmt: skip
    search = make(rows)
    best = look("four_factors", search).table().set_index(["width", "head"])["best"]
    assert best.to_dict() == {("8", "a"): 4.0, ("8", "b"): 1.0, ("16", "b"): 5.0}
    assert look("four_factors", search, cell="mean").table()["mean"].tolist() == [5.0, 1.0, 5.0]
    spread = look("four_factors", search, cell="spread")
    assert np.nanmax(spread.values) == pytest.approx(np.std([4, 6], ddof=1))
    most = make(rows, (Objective("error", "max"),))
    assert look("four_factors", most).table()["best"].tolist() == [6.0, 1.0, 5.0]
    assert look("heat_map", search).means.tolist() == [[5.0, 1.0], [pytest.approx(np.nan, nan_ok=True), 5.0]]
    with pytest.raises(NotThereError, match="has searched no 'heads'"):
        look("four_factors", search, factors="heads,width")


def test_hundreds_of_levels_become_as_many_as_can_be_read():
    kinds = [n if n < 16 else n % 16 if n < 80 else n for n in range(300)]  # 16 kinds five times, 220 once
    trials = pd.DataFrame({"kind": [f"k{n:03}" for n in kinds], "width": [n % 100 for n in range(300)]})
    trials = trials.assign(trial=range(300), outcome="completed", error=np.arange(300.0))
    factors = (Factor("kind", tuple(sorted(set(trials["kind"])))), Factor("width", tuple(range(100))))
    found = look("heat_map", Search("many", trials, factors, ERROR))
    assert found.columns == [f"k{n:03}" for n in range(16)]
    assert (found.rows[0], found.rows[-1], len(found.rows)) == ("0 to 6", "94 to 99", 16)
    assert found.remark == "the 16 of 236 levels of kind with most trials; 100 values of width in 16 groups"
    assert found.counts.sum() == 80
    cell = trials.loc[(trials["kind"] == "k003") & (trials["width"] <= 6), "error"]
    assert found.means[0, 3] == pytest.approx(cell.mean())
    assert drawn(BY_NAME["heat_map"], found).axes[0].get_title() == found.remark


def test_a_trend_is_kendalls():
    rng = np.random.default_rng(1)
    x = np.repeat([1.0, 2.0, 3.0, 4.0], 6)
    values = 3 - 0.5 * x + rng.normal(0, 0.2, len(x))
    found = stats.kendalltau(x, values)
    said = trend(x, values, "error")
    assert said.startswith(f"error falls with it (tau {found.statistic:.2f}, p {found.pvalue:.2g}")
    assert trend(x, rng.normal(size=len(x)), "error").startswith("no monotonic trend is supported")


def with_curves(num, num_pruned=0):
    """Return a search of two factors, its trials' curves, of which some are stopped at step 10."""
    rng = np.random.default_rng(2)
    trials = pd.DataFrame({"trial": range(num), "head": list("ab") * (num // 2), "width": [8, 8, 16, 16] * (num // 4)})
    pruned = [n >= num - num_pruned for n in range(num)]
    trials = trials.assign(configuration=range(num), outcome=np.where(pruned, "pruned", "completed"))
    trials = trials.assign(error=rng.normal(size=num) + (trials["head"] == "a"), steps_trained=np.where(pruned, 10, 30))
    steps = [(t, step, float(e) + 3 / step) for t, e, p in zip(trials["trial"], trials["error"], pruned, strict=True)
             for step in ((10,) if p else (10, 20, 30))]  # fmt: skip
    histories = pd.DataFrame(steps, columns=["trial", "step", "error"]).assign(seconds=1.0)
    factors = (Factor("head", ("a", "b")), Factor("width", (8, 16)))
    spec = make_spec(early_stopping={"name": "asha", "grace_steps": 10, "reduction": 2})
    return Search("curves", trials, factors, ERROR, read_histories=lambda: histories, spec=spec)


def test_the_bars_of_importance_are_those_of_the_comparison_with_their_intervals():
    search = with_curves(12)
    found = look("importance", search)
    table = importance(search, comparable(search)).table
    pd.testing.assert_frame_equal(found.table(), table)
    assert found.factors == ["head", "width"]
    (axes,) = drawn(BY_NAME["importance"], found).axes
    bars = [bar.get_width() for container in axes.containers for bar in getattr(container, "patches", ())]
    assert bars == table["value"].tolist()
    lines = [line.vertices[:, 0].tolist() for one in axes.collections for line in one.get_paths()]
    assert lines == [pytest.approx(ends) for ends in table[["low", "high"]].values.tolist()]


def test_if_few_trials_came_to_their_end_the_importance_is_that_at_the_first_rung():
    search = with_curves(12, num_pruned=6)
    found = look("importance", search)
    assert found.remark == "at step 10, of all trials that reached it, as few came to their end"
    assert set(found.shares["n"]) == {12}
    with pytest.raises(NothingToShowError, match="6 results are too few"):
        look("importance", search, trials=range(6))


def test_ranks_at_each_rung_are_drawn_as_they_are_compared():
    search = with_curves(12, num_pruned=4)
    found = look("rank_stability", search)
    expected = stability(search, comparable(search)).table
    pd.testing.assert_frame_equal(found.table(), expected)
    left, right = drawn(BY_NAME["rank_stability"], found).axes
    assert expected["spearman"].tolist() in [line.get_ydata().tolist() for line in left.lines]
    assert expected["kendall"].tolist() in [line.get_ydata().tolist() for line in left.lines]
    assert [text.get_text() for text in right.texts] == [
        f"{round(share * top)} of {top}" for share, top in zip(expected["kept_share"], expected["top"], strict=True)
    ]
    with pytest.raises(NothingToShowError, match="2 completed trials are too few"):
        look("rank_stability", search, trials=[0, 1])


def test_charts_have_what_is_drawn():
    search = make()
    slices = BY_NAME["slices"].chart(look("slices", search))
    (points,), menu = slices["data"], slices["layout"]["updatemenus"][0]
    assert list(zip(points["text"], points["x"], points["y"], strict=True)) == [
        ("trial 0", "a", 4.0), ("trial 2", "b", 2.0), ("trial 4", "b", 3.0),
    ]  # fmt: skip
    assert [(one["label"], one["args"][0]["x"]) for one in menu["buttons"]] == [
        ("head", [["a", "b", "b"]]), ("width", [["8", "8", "16"]]),
    ]  # fmt: skip
    assert menu["buttons"][1]["args"][1]["xaxis.categoryarray"] == ["8", "16"]
    outcomes = BY_NAME["outcomes"].chart(look("outcomes", search))["data"]
    assert [(one["name"], one["y"]) for one in outcomes] == [
        ("completed", [0, 0, 1, 2, 2, 3]), ("pruned", [0, 1, 1, 1, 1, 1]), ("crashed", [0, 0, 0, 0, 1, 1]),
    ]  # fmt: skip
    lines = BY_NAME["parallel_coordinates"].chart(look("parallel_coordinates", search))
    assert [one["name"] for one in lines["data"]] == ["trial 0", "trial 4", "trial 2"]  # the best on top
    assert lines["data"][2]["text"] == ["head = b", "width = 8", "error = 2"]
    assert lines["data"][2]["y"][2] == 0.0
    assert lines["layout"]["xaxis"]["ticktext"] == ["head", "width", "error"]


def test_the_data_of_levels_tells_those_that_did_not_complete():
    table = look("levels", make()).table()
    wide = table.loc[table["level"] == "16", ["factor", "pruned", "failed", "trial"]]
    assert wide.values.tolist() == [["width", 1, 1, 4]]


def test_the_front_is_what_nothing_dominates():
    costs = np.array([[1.0, 4.0], [2.0, 2.0], [2.0, 3.0], [4.0, 1.0], [0.0, 0.0], [1.0, 4.0]])
    feasible = np.array([True, True, True, True, False, True])
    assert on_front(costs, feasible).tolist() == [True, True, False, True, False, True]


def test_a_level_counts_its_failures_apart():
    levels = look("levels", make())
    assert levels.ends.values.tolist() == [
        ["head", "a", 1, 1, 0], ["head", "b", 2, 0, 1], ["width", "8", 2, 0, 0], ["width", "16", 1, 1, 1],
    ]  # fmt: skip
    assert levels.points.loc[levels.points["factor"] == "head", "value"].tolist() == [4.0, 2.0, 3.0]


def test_curves_come_best_first_and_say_if_trials_are_left_out():
    steps = [(trial, step, step / 10.0, 10.0 - trial % 7 + 1 / step) for trial in range(400) for step in (1, 2)]
    histories = pd.DataFrame(steps, columns=["trial", "step", "seconds", "error"])
    rows = [(n, "completed", "a", 8, 10.0 - n % 7, 1, 0, 0, 1) for n in range(400)]
    curves = look("learning_curves", make(rows, histories=histories))
    assert curves.order[0] % 7 == 6
    assert len(curves.order) == 200
    assert curves.remark.endswith("of 400 trials: the best and a regular choice")
    assert {*curves.reports["trial"]} == {*curves.order}


def test_a_contour_needs_places_that_span_a_plane():
    rng = np.random.default_rng(0)
    rows = [(n, "completed", "a", 8, float(n), 1, 0, 0, 1) for n in range(8)]
    search = make(rows)
    numbers = rng.uniform(1, 2, (2, 8))
    plane = Search("p", search.trials.assign(u=numbers[0], v=numbers[1]), (Factor("u"), Factor("v")), search.objectives)
    assert len(look("contour", plane).points) == 8
    line = Search("l", search.trials.assign(u=numbers[0], v=2 * numbers[0]), plane.factors, search.objectives)
    with pytest.raises(NothingToShowError, match="not on one line"):
        look("contour", line)


def test_a_trial_that_breaks_a_constraint_is_neither_best_nor_compared():
    search = make(constraints=(Bound("wall_time_s", max=150.0),))  # trial 4 took 200 s, trial 2 is the best of the rest
    best = look("best_so_far", search).points
    assert best["trial"].tolist() == [2, 0]
    assert look("runtime_error", search).points["trial"].tolist() == [2, 0]
    assert look("levels", search).points["trial"].tolist().count(4) == 0
    assert look("four_factors", make(constraints=(Bound("error", min=2.5),))).table()["best"].tolist() == [4.0, 3.0]
    with pytest.raises(NothingToShowError, match="keeping all constraints"):
        look("slices", make(constraints=(Bound("error", max=1.0),)))


def test_zeros_that_a_logarithmic_axis_cannot_show_are_said():
    steps = [(0, step, float(step), 1.0, 10.0**-step, 0.0 if step > 2 else 1.0) for step in range(1, 5)]
    histories = pd.DataFrame(steps, columns=["trial", "step", "seconds", "error", "train_loss", "train_part"])
    data = look("learning_curves", make(histories=histories))
    canvas = drawn(BY_NAME["learning_curves"], data)
    assert canvas.axes[1].get_title() == "trial 0; 2 values of zero are not on a logarithmic axis"
    with pytest.raises(NothingToShowError, match="does not know when its trials reported"):
        look("learning_curves", make(histories=histories.assign(seconds=np.nan)), x="seconds")
