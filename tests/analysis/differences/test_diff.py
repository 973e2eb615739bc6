import math

import pytest

import analysis
from analysis.differences.show import legible, show_differences
from analysis.differences.sides import DiffError
from analysis.differences.values import by_path, is_same
from analysis.search import NotThereError
from cluster.machine.files import read_json, write_json
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchNotFoundError
from search_spaces.errors import SpecError
from tests.planted import crossed_search
from tests.searching import result

SPEC = """\
name: short
trainable: tests.methods.ripple
objective: {metric: val_error}
space: {shift: {low: 0.0, high: 1.0}}
sampler: {name: random}
budget: {trials: 3}
"""
CURRICULA = {"choices": {"plain": [], "warm": [{"steps": 3, "window": 4}, {"steps": 5, "window": 4}],
                         "long": [{"steps": 3, "window": 4}, {"steps": 9, "window": 4}]}}  # fmt: skip


@pytest.fixture
def tried(make_search):
    """A search of three trials, the last of which crashed."""
    search = make_search(budget={"trials": 3})
    study = search.open()
    for number in range(3):
        study.ask()
        if number < 2:
            values = {"val_error": 1.0 + number, "same": 0.1 + 0.2 if number else 0.3}
            study.tell(number, Outcome.COMPLETED, {**result(1.0 + number, **values), "code": f"c{number}"})
        else:
            study.tell(number, Outcome.CRASHED, {**result(), "error": "Traceback\nValueError: [b]no[/b]"})
    study.close()
    write_json(search.paths.provenance, {"versions": {"jax": "1.0"}, "host": "a", "created_at": "today"})
    return search


def test_nested_values_have_paths_and_plain_lists_are_one_value():
    values = {"a": {"b": 1, "c": {}}, "phases": [{"steps": 1}, {"steps": [1, 2]}], "sizes": [3, 4], "none": []}
    assert by_path(values) == {"a.b": 1, "phases[0].steps": 1, "phases[1].steps": [1, 2], "sizes": [3, 4], "none": []}


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (0.1 + 0.2, 0.3, True),
        (0.3, 0.3001, False),
        (1e-300, 2e-300, False),
        (3, 3.0, True),
        (10**18, 10**18 + 1, False),
        (True, 1, False),
        (math.nan, math.nan, True),
        (math.inf, math.inf, True),
        (math.inf, 1.0, False),
        (None, 0, False),
        ("1", 1, False),
        ([1, 0.1 + 0.2], (1, 0.3), True),
        ([1, 2], [1], False),
        ({"a": 0.3}, {"a": 0.1 + 0.2}, True),
    ],
)
def test_floats_are_the_same_up_to_rounding_and_kinds_apart(left, right, same):
    assert is_same(left, right) is same
    assert is_same(right, left) is same


def test_trials_differ_in_what_they_were_given_how_they_ended_and_what_they_measured(tried):
    frame = analysis.diff("try/0", "try/1")
    assert list(frame.columns) == ["part", "name", "try/0", "try/1", "difference"]
    assert frame[["part", "name"]].to_numpy().tolist() == [
        ["configuration", "learning_rate"], ["configuration", "shift"], ["outcome", "rank"],
        ["metrics", "val_error"], ["versions", "code"],
    ]  # fmt: skip
    row = frame.set_index("name").loc["val_error"]
    assert (row["try/0"], row["try/1"], row["difference"]) == (1.0, 2.0, 1.0)
    ended = analysis.diff("try/0", "try/2").set_index("name")
    assert ended.loc["outcome"].tolist()[1:3] == ["completed", "crashed"]
    assert ended.loc["error", "try/2"] == "ValueError: [b]no[/b]"


def test_all_shows_what_is_the_same_and_what_was_used(tried):
    frame = analysis.diff("try/0", "try/1", all_=True)
    assert {"same", "wall_time_s", "jax"} <= set(frame["name"])
    assert set(frame["part"]) == {"configuration", "outcome", "metrics", "versions", "usage"}


def test_phases_are_compared_by_path_and_choices_by_name(make_search):
    search = make_search(space={"curriculum": CURRICULA}, sampler={"name": "grid"}, budget={})
    search.run(lambda config: {"val_error": 1.0})
    loaded = analysis.load("try")
    of = {name: loaded.trials.set_index("curriculum").loc[name, "trial"] for name in ("warm", "long")}
    frame = analysis.diff((loaded, of["warm"]), (loaded, of["long"]))
    shown = {row[1]: row[2:4] for row in frame.to_numpy().tolist() if row[0] == "configuration"}
    assert shown == {"curriculum": ["warm", "long"], "curriculum[1].steps": [5, 9]}


def test_searches_differ_in_spec_outcomes_best_and_versions(tried, make_search):
    other = make_search(name="other", budget={"trials": 2}, retries=5)
    other.run(lambda config: {"val_error": 0.5})
    provenance = read_json(tried.paths.provenance)
    write_json(other.paths.provenance, provenance | {"versions": {"jax": "2.0"}})
    frame = analysis.diff("try", "other").set_index(["part", "name"])
    assert frame.loc[("spec", "budget.trials"), ["try", "other"]].tolist() == [3, 2]
    assert frame.loc[("spec", "retries"), "difference"] == 5 - tried.spec.retries
    assert frame.loc[("outcomes", "crashed"), "try"] == 1
    assert frame.loc[("best", "val_error"), "other"] == 0.5
    assert frame.loc[("versions", "jax"), ["try", "other"]].tolist() == ["1.0", "2.0"]
    assert not {"sampler.name", "host", "created_at"} & {name for _, name in frame.index}


def test_specs_are_compared_with_their_defaults_also_with_that_of_a_search(tried, tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(SPEC)
    second.write_text(SPEC + f"retries: {tried.spec.retries}\nreport: false\n")
    frame = analysis.diff(first, second)
    assert frame.to_numpy().tolist() == [["spec", "report", "true", "false"]]
    names = set(analysis.diff(first, "try")["name"])
    assert {"name", "space.shift.low", "space.learning_rate.low"} <= names
    assert "budget.trials" not in names  # 3 in both


def test_what_cannot_be_compared_is_refused(tried, tmp_path):
    spec = tmp_path / "a.yaml"
    spec.write_text(SPEC)
    said = "try/0 is a trial, try is a search: compare trials with trials, searches with searches, specs with specs"
    with pytest.raises(DiffError, match=said):
        analysis.diff("try/0", "try")
    with pytest.raises(DiffError, match=r"try/0 is a trial, .*a.yaml is a spec"):
        analysis.diff("try/0", spec)
    with pytest.raises(DiffError, match="name at least two different trials"):
        analysis.diff("try/0", "try/0")
    with pytest.raises(NotThereError, match="try has no trial 7: its trials are 0 to 2"):
        analysis.diff("try/0", "try/7")
    with pytest.raises(SearchNotFoundError, match=r"no search 'nope' in .*; there are: try"):
        analysis.diff("try/0", "nope/1")
    with pytest.raises(SearchNotFoundError, match="of trials: SEARCH/NUMBER; of specs: their files"):
        analysis.diff("try", "tri")
    spec.write_text(SPEC + "retris: 3\n")
    with pytest.raises(SpecError, match="retries"):
        analysis.diff("try", spec)


def test_searches_from_elsewhere_are_compared_as_well():
    first = crossed_search([[[1.0, 2.0]], [[2.0, 3.0]]])
    second = crossed_search([[[0.5, 2.0]], [[2.0, 3.0]]], name="second")
    assert analysis.diff(first, second).to_numpy().tolist() == [["best", "error", 1.0, 0.5, -0.5]]
    assert analysis.diff((first, 0), (first, 2))["name"].tolist() == ["head", "rank", "error"]


def test_numbers_have_as_many_digits_as_tell_them_apart(tried, capsys, tmp_path):
    near = [crossed_search([[[value]], [[9.0]]], name=name) for name, value in (("a", 1.0), ("b", 1.00000125))]
    assert analysis.diff(*near)["a"].tolist() == [1.0]
    show_differences(["try/0", "try/1"], "markdown", None, all_=False)
    assert "| metrics       | val_error" in capsys.readouterr().out
    assert legible(analysis.diff(*near)).to_numpy().tolist() == [["best", "error", "1", "1.000001", "1.25e-06"]]
    target = tmp_path / "diff.csv"
    show_differences(["try/0", "try/1"], "csv", target, all_=False)
    assert target.read_text().startswith("part,name,try/0,try/1,difference\n")


def test_a_text_of_a_trial_is_printed_as_it_is(tried, capsys):
    show_differences(["try/0", "try/2"], "terminal", None, all_=False)
    assert "ValueError: [b]no[/b]" in capsys.readouterr().out
    show_differences(["try", str(tried.paths.root)], "terminal", None, all_=False)
    assert capsys.readouterr().out == "nothing differs (--all shows what is the same)\n"


def test_odd_searches_can_be_compared(odd_search):
    frame = analysis.diff(analysis.load(str(odd_search.root)), crossed_search([[[1.0]], [[2.0]]]))
    assert {"part", "name", "planted"} <= set(frame.columns)
