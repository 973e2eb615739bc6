import io
import math

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.differences.show import measured_apart
from analysis.differences.sides import read_side
from analysis.search import Bound, Factor, Objective
from analysis.sources.directory import load_search, load_searches
from analysis.sources.trial_table import load_table
from analysis.tables.columns import short_columns
from analysis.tables.errors import ExpressionError, TableError
from analysis.tables.make import Request, make
from analysis.tables.show import show_table
from cluster.state.outcomes import Outcome
from tests.methods.ripple.config import Config
from tests.planted import crossed_search, planted_search
from tests.searching import result


@pytest.fixture
def search(make_search):
    search = make_search(budget={"trials": 4})
    search.run(lambda config: {"val_error": abs(config["shift"]), "test_error": 2.0})
    return search


def shown(capsys, search, form="terminal", output=None, **request):
    show_table([load_search(search.paths)], Request(**request), form, output)
    return capsys.readouterr().out.splitlines()


def test_the_terminals_table_has_the_best_first(search, capsys):
    rows = [line.split() for line in shown(capsys, search)]
    searched = ["learning_rate", "shift"]
    assert rows[0] == ["rank", "trial", "outcome", "val_error", *searched, "steps_trained", "wall_time_s"]
    values = [float(row[3]) for row in rows[1:]]
    assert values == sorted(values)
    assert len(rows) == 5


def test_columns_and_rows_can_be_chosen(search, capsys):
    rows = [line.split() for line in shown(capsys, search, columns="trial, test_error", top=2)]
    assert rows[0] == ["trial", "test_error"]
    assert [row[1] for row in rows[1:]] == ["2", "2"]


def test_all_columns_are_there_on_request(search, capsys):
    (header, *_) = shown(capsys, search, columns="all")
    assert header.split() == [*load_table(search.paths).frame.columns, "began_at", "ended_at"]


def test_an_unknown_column_suggests_the_nearest(search, capsys):
    said = r"no column 'val_eror'\. Did you mean 'val_error'\? Columns: rank, trial"
    for request in ({"columns": "trial,val_eror"}, {"sort": "trial,-val_eror"}, {"by": "val_eror"}):
        with pytest.raises(TableError, match=said):
            shown(capsys, search, **request)


def test_a_search_without_trials_says_so(make_search, capsys):
    with pytest.raises(TableError, match="try has no trials yet"):
        shown(capsys, make_search())


def test_an_output_needs_a_format(search, capsys, tmp_path):
    with pytest.raises(TableError, match="--output needs a --format"):
        shown(capsys, search, output=tmp_path / "table.csv")


def test_a_text_in_a_cell_is_printed_as_it_is(make_search, capsys):
    search = make_search(budget={"trials": 1})
    study = search.open()
    study.ask()
    study.tell(0, Outcome.CRASHED, {**result(), "error": "value[bold] of [/]x"})
    assert "value[bold] of [/]x" in shown(capsys, search, columns="trial,error")[1]


def test_the_short_table_has_what_was_searched_and_judged(make_search):
    search = make_search(space={"shift": [0.5], "size": [2]}, repeats={"seeds": [1, 2]})
    search.run(lambda config: {"val_error": 1.0, "other": 2.0})
    columns = ["rank", "trial", "outcome", "val_error", "shift", "size", "seed", "steps_trained", "wall_time_s"]
    assert short_columns(load_search(search.paths)) == columns


def test_trials_of_several_codes_have_columns_and_a_warning(make_search, capsys):
    search = make_search(budget={"trials": 2})
    study = search.open()
    for code in ("aaaa1111", "bbbb2222"):
        study.tell(study.ask().number, Outcome.COMPLETED, {**result(val_error=1.0), "code": code})
    study.close()
    header, *rows, said = shown(capsys, search)
    assert header.split()[-1] == "code"
    assert rows[0].split()[-1] == "aaaa1111"
    assert said == "warning: these trials come from 2 versions of the code (column code): compare them with care"


# -- sorted, chosen


ROWS = [
    {"trial": 0, "head": "b", "size": 2, "error": 3.0, "val error": 1.0, "note": None},
    {"trial": 1, "head": "a", "size": 3, "error": 1.0, "val error": math.nan, "note": 7},
    {"trial": 2, "head": "a", "size": 2, "error": 2.0, "val error": 5.0, "note": "x"},
    {"trial": 3, "head": "b", "size": 2, "error": 4.0, "val error": 0.0, "note": True},
]
FACTORS = [Factor("head", levels=("a", "b")), Factor("size", levels=(2, 3))]


def planted(rows=ROWS, factors=FACTORS, **parts):
    rows = [{"configuration": row["trial"], "outcome": "completed", **row} for row in rows]
    return planted_search(rows, factors, **parts)


@pytest.mark.parametrize(
    ("sort", "trials"),
    [
        ("trial", [0, 1, 2, 3]),
        ("-trial", [3, 2, 1, 0]),
        ("head,-error", [2, 1, 3, 0]),
        ("-head, trial", [0, 3, 1, 2]),
        ("size", [2, 0, 3, 1]),  # equal ones stay, best first
        ("-size", [1, 2, 0, 3]),
        ("`val error`", [3, 0, 2, 1]),  # missing ones last, ...
        ("-`val error`", [2, 0, 3, 1]),  # ... whichever way
        ("note", [1, 2, 3, 0]),  # numbers, texts, true
    ],
)
def test_rows_are_sorted_by_columns_equal_ones_by_the_next(sort, trials):
    assert list(analysis.table(planted(), sort=sort)["trial"]) == trials


def test_a_column_that_begins_with_a_dash_or_has_a_comma_can_be_named():
    search = planted([{**row, "-b": 10 - row["trial"], "x,y": row["trial"]} for row in ROWS])
    frame = analysis.table(search, sort="-b", columns="trial,`x,y`,-b")
    assert list(frame.columns) == ["trial", "x,y", "-b"]
    assert list(frame["trial"]) == [3, 2, 1, 0]


@pytest.mark.parametrize("option", ["sort", "columns", "by"])
def test_a_list_without_names_is_refused(option):
    with pytest.raises(TableError, match=f"--{option} ' ,': give names of columns"):
        analysis.table(planted(), **{option: " ,"})


def test_where_sort_columns_and_top_go_together():
    frame = analysis.table(planted(), where="size == 2", sort="-error", columns="trial,error", top=2)
    assert frame.to_dict("list") == {"trial": [3, 0], "error": [4.0, 3.0]}


def test_a_condition_that_holds_for_no_row_leaves_the_header_and_says_so(capsys):
    made = make([planted()], Request(where="head == 'c'"))
    assert made.frame.empty
    assert made.notes == ("no row has 'c' in head", "the condition holds for no row: head == 'c'")
    show_table([planted()], Request(where="head == 'c'", columns="trial,head"), "csv", None)
    printed = capsys.readouterr()
    assert printed.out == "trial,head\n"
    assert "note: the condition holds for no row" in printed.err


def test_a_condition_may_be_on_configurations():
    search = crossed_search(np.array([[[1.0, 3.0]], [[2.0, 2.5]], [[9.0, 9.5]]]))
    frame = analysis.table(search, by_configuration=True, where="error_mean < 9 and seeds_completed == 2")
    assert list(frame["error_mean"]) == [2.0, 2.25]


# -- groups


def test_groups_have_counts_and_statistics_of_completed_trials():
    rows = [
        {"trial": 0, "head": "a", "error": 1.0},
        {"trial": 1, "head": "a", "error": 4.0},
        {"trial": 2, "head": "a", "error": 2.5},
        {"trial": 3, "head": "a", "error": 0.1, "outcome": "pruned"},
        {"trial": 4, "head": "a", "error": math.nan, "outcome": "crashed"},
        {"trial": 5, "head": "b", "error": 0.5},
        {"trial": 6, "head": "b", "error": math.nan, "outcome": "running"},
        {"trial": 7, "head": "b", "error": 0.2, "outcome": "stopped"},
        {"trial": 8, "head": None, "error": math.nan, "outcome": "diverged"},
    ]
    made = make([planted(rows)], Request(by="head"))
    frame = made.frame
    assert list(frame.columns) == [
        "head", "trials", "completed", "pruned", "failed", "unfinished",
        "error_mean", "error_median", "error_std", "error_best",
    ]  # fmt: skip
    assert frame.iloc[:, 1:6].to_numpy().tolist() == [[3, 1, 0, 0, 2], [5, 3, 1, 1, 0], [1, 0, 0, 1, 0]]
    assert frame["head"].tolist()[:2] == ["b", "a"]
    assert pd.isna(frame["head"][2])
    assert frame.iloc[1, 6:].tolist() == pytest.approx([2.5, 2.5, 1.5, 1.0])
    assert frame.iloc[0, 6:].tolist() == pytest.approx([0.5, 0.5, math.nan, 0.5], nan_ok=True)
    assert frame.iloc[2, 6:].isna().all()
    said = "mean, median, std and best are of 4 completed trials; trials also counts pruned, failed and unfinished ones"
    assert made.notes == (said,)


def test_the_best_of_a_group_is_by_the_objectives_mode():
    frame = analysis.table(planted(mode="max"), by="head,size")
    assert frame[["head", "size", "error_best"]].to_numpy().tolist() == [["b", 2, 4.0], ["a", 2, 2.0], ["a", 3, 1.0]]


def test_groups_can_be_chosen_from_and_sorted():
    frame = analysis.table(planted(), by="head", where="size == 2", sort="-trials,head", columns="head,trials")
    assert frame.to_dict("list") == {"head": ["b", "a"], "trials": [2, 1]}


def test_a_group_by_a_column_called_like_a_count_has_both():
    frame = analysis.table(planted([{**row, "failed": row["trial"] % 2} for row in ROWS]), by="failed")
    assert frame["failed"].tolist() == [1, 0]
    assert frame["num_failed"].tolist() == [0, 0]


def test_what_breaks_a_constraint_is_in_no_groups_best():
    rows = [{**row, "loop": row["error"], "feasible": row["error"] > 1.0} for row in ROWS]
    search = planted(rows, constraints=(Bound("loop", min=1.5),))
    made = make([search], Request(by="head"))
    assert made.frame.set_index("head")[["completed", "error_best", "loop_best"]].to_dict("index") == {
        "a": {"completed": 2, "error_best": 2.0, "loop_best": 2.0},
        "b": {"completed": 2, "error_best": 3.0, "loop_best": 4.0},
    }
    assert "of 3 completed trials that keep all constraints" in made.notes[0]
    assert made.notes[1] == "1 completed trial more break a constraint and are in no mean or best"


def test_two_kinds_of_groups_are_refused():
    with pytest.raises(TableError, match="--by and --by-configuration are two kinds"):
        analysis.table(planted(), by="head", by_configuration=True)


# -- several searches


def other(rows=None, **parts):
    rows = rows or [{"trial": 0, "depth": 4, "error": 2.5}, {"trial": 1, "depth": 5, "error": 0.5}]
    return planted(rows, [Factor("depth", levels=(4, 5))], name="other", **parts)


def test_several_searches_have_all_columns_and_one_ranking():
    frame = analysis.table([planted(), other()])
    assert frame.columns[0] == "search"
    assert set(frame.columns) == {"search", "depth", *planted().trials.columns}
    assert frame["search"].tolist() == ["other", "planted", "planted", "other", "planted", "planted"]
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame["trial"].tolist() == [1, 1, 2, 0, 0, 3]
    assert frame["depth"].dtype == "Int64"
    assert frame["depth"].isna().tolist() == [False, True, True, False, True, True]
    assert frame["size"].dropna().tolist() == [3, 2, 2, 2]


def test_searches_with_different_objectives_keep_their_ranks_and_it_is_said():
    made = make([planted(), other(mode="max")], Request())
    assert made.frame["search"].tolist() == ["planted"] * 4 + ["other"] * 2
    assert made.frame["rank"].tolist() == [1, 2, 3, 4, 1, 2]
    said = "planted makes error small, other makes error large: rank is each search's own"
    assert made.notes == (said,)
    grouped = make([planted(), other(mode="max")], Request(by="search")).frame
    assert "error_best" not in grouped.columns  # of which mode would it be?
    assert grouped["search"].tolist() == ["other", "planted"]


def test_several_searches_can_be_grouped_and_chosen_from():
    frame = analysis.table([planted(), other()], by="search", where="error < 4")
    assert frame[["search", "completed", "error_best"]].to_numpy().tolist() == [["other", 2, 0.5], ["planted", 3, 1.0]]


def test_searches_of_one_name_are_told_apart():
    assert sorted(set(analysis.table([planted(), planted()])["search"])) == ["planted", "planted (2)"]


def test_a_field_called_search_stays():
    rows = [{**row, "search": "wide"} for row in ROWS]
    frame = analysis.table([planted(rows, [Factor("search", levels=("wide",))]), other()])
    assert frame["config.search"].tolist().count("wide") == 4
    assert frame.columns[0] == "search"


def test_seeds_of_complete_sets_stay_together_over_searches():
    first = crossed_search(np.array([[[1.0, 3.0]], [[2.0, 2.5]]]))
    second = crossed_search(np.array([[[2.1, 1.8]]]), name="second")
    frame = analysis.table([first, second])
    assert frame["error"].tolist() == [1.8, 2.1, 1.0, 3.0, 2.0, 2.5]
    once = planted_search([{"trial": 0, "configuration": 0, "outcome": "completed", "error": 0.1}], [], name="once")
    notes = make([first, once], Request()).notes
    assert notes == ("planted has 2 seeds of each configuration, once 1 seed of each configuration: "
                       "rank is each search's own",)  # fmt: skip


def test_configurations_are_of_one_search():
    with pytest.raises(TableError, match="--by-configuration is of one search; of several, group with --by"):
        analysis.table([planted(), other()], by_configuration=True)


def test_each_search_of_several_names_is_loaded_once(search, make_search, capsys):
    loaded = load_searches(["try", str(search.paths.root), "try"])
    assert [one.name for one in loaded] == ["try"]


def test_odd_searches_have_tables(odd_search):
    search = load_search(odd_search)
    if search.trials.empty:
        with pytest.raises(TableError, match=f"{odd_search.name} has no trials yet"):
            make([search], Request())
    else:
        made = make([search], Request(by="outcome", where="trial >= 0", sort="outcome"))
        assert made.frame["trials"].sum() == len(search.trials)
        assert len(make([search], Request(by_configuration=True)).frame) == search.trials["configuration"].nunique()
    both = make([search, planted()], Request()).frame
    assert len(both) == len(search.trials) + len(ROWS)


def test_an_error_in_a_condition_is_a_table_error():
    with pytest.raises(TableError) as caught:
        analysis.table(planted(), where="hed == 'a'")
    assert isinstance(caught.value, ExpressionError)


def test_a_csv_of_several_searches_comes_back(capsys):
    show_table([planted(), other()], Request(), "csv", None)
    back = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert back["search"].tolist() == ["other", "planted", "planted", "other", "planted", "planted"]
    assert Objective("error") == planted().objective


def test_searches_that_were_measured_by_different_yardsticks_are_ranked_apart_and_it_is_said(make_search, monkeypatch):
    monkeypatch.setattr(Config, "yardstick_fields", {"shift": ("val_*",)})
    found = []
    for name, shift in (("near", 0.0), ("far", 2.0), ("again", 0.0)):
        search = make_search(name=name, base={"shift": shift}, space={"learning_rate": [0.1, 0.2]})
        search.run(lambda config: {"val_error": config["learning_rate"]}, most=2)
        found.append(load_search(search.paths))
    near, far, again = found
    apart = make([near, far], Request())
    said = "near and far were measured by different yardsticks (other validation data, or weights)"
    assert apart.notes == (f"{said}: rank is each search's own",)
    assert sorted(apart.frame["rank"]) == [1, 1, 2, 2]
    assert make([near, again], Request()).notes == ()
    assert measured_apart([read_side(near), read_side(far)]).startswith(
        "near and far were measured by different yardsticks"
    )
    assert measured_apart([read_side((near, 0)), read_side((far, 1))]).startswith("near/0 and far/1 were measured by")
    assert measured_apart([read_side(near), read_side(again)]) == ""
    monkeypatch.setattr(Config, "yardstick_fields", {})
    assert make([near, far], Request()).notes == ()


def test_a_method_beside_its_search_tells_the_yardstick_wherever_the_table_is_asked_for(
    make_search, monkeypatch, tmp_path
):
    lab, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    (lab / "own_yard").mkdir(parents=True)
    elsewhere.mkdir()
    (lab / "own_yard" / "fit.py").write_text(
        "from tests.methods.ripple.method import Config as Base, Ripple\n"
        "class Config(Base):\n"
        "    yardstick_fields = {'shift': ('val_*',)}\n"
        "method = Ripple()\n"
    )
    found = []
    for name, shift in (("near", 0.0), ("far", 2.0)):
        monkeypatch.chdir(lab)
        parts = {"base": {"shift": shift}, "space": {"learning_rate": [0.1, 0.2]}}
        search = make_search(name=name, trainable="own_yard.fit", **parts)
        search.run(lambda config: {"val_error": config["learning_rate"]}, most=2)
        monkeypatch.chdir(elsewhere)
        found.append(load_search(search.paths))
    assert sorted(make(found, Request()).frame["rank"]) == [1, 1, 2, 2]
