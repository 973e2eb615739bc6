import pandas as pd
import pytest

from analysis.sources.trial_table import load_table, make_table, mixed_origins
from cluster.state.outcomes import Outcome
from cluster.state.records import TrialRecord
from tests.searching import make_spec, result

CURRICULA = {"choices": {"plain": [], "warm": [{"steps": 3}]}}


def record(number, value=None, outcome=Outcome.COMPLETED, **fields):
    metrics = {} if value is None else {"val_error": value}
    values = {
        "configuration": number,
        "params": {"shift": 0.5},
        "config": {"shift": 0.5, "steps": 30},
        "metrics": metrics | fields.pop("metrics", {}),
        "seconds": 2.0,
    }
    return TrialRecord(number=number, outcome=outcome, **values | fields)


SPEC = make_spec(space={"shift": {"low": 0.0, "high": 1.0}})


def test_one_row_per_trial_the_best_first_and_the_rest_by_number():
    outcomes = [Outcome.PRUNED, Outcome.COMPLETED, None, Outcome.COMPLETED, Outcome.CRASHED, Outcome.COMPLETED]
    values = [0.1, 3.0, None, 1.0, None, 2.0]
    records = [record(n, value, outcome) for n, (value, outcome) in enumerate(zip(values, outcomes, strict=True))]
    frame = make_table(SPEC, records).frame
    assert list(frame["trial"]) == [3, 5, 1, 0, 2, 4]
    assert list(frame["rank"].dropna()) == [1, 2, 3]
    assert list(frame["outcome"]) == ["completed"] * 3 + ["pruned", "running", "crashed"]


def test_the_columns_are_config_metrics_and_use_with_units_in_their_names():
    fields = {"step": 30, "cpu_seconds": 1.5, "compile_seconds": 0.5, "peak_memory_mb": 300.0, "wave": 2, "attempts": 3}
    frame = make_table(SPEC, [record(0, 1.0, metrics={"test_error": 2.0}, **fields, xla_threads=1, host="a")]).frame
    assert list(frame.columns) == [
        "rank", "trial", "configuration", "outcome", "shift", "steps", "val_error", "test_error",
        "steps_trained", "wall_time_s", "cpu_time_s", "compile_time_s", "peak_memory_mb", "wave", "attempts",
        "xla_threads", "host", "code", "settings", "inputs", "error",
    ]  # fmt: skip
    row = frame.iloc[0]
    assert (row["steps_trained"], row["wall_time_s"], row["cpu_time_s"], row["compile_time_s"]) == (30, 2.0, 1.5, 0.5)
    assert (row["peak_memory_mb"], row["wave"], row["attempts"], row["steps"]) == (300.0, 2, 3, 30)


def test_what_only_some_trials_measured_comes_before_what_they_used():
    columns = list(make_table(SPEC, [record(0, 1.0), record(1, 2.0, metrics={"late": 1.0})]).frame.columns)
    assert columns.index("late") < columns.index("steps_trained")


def test_a_structured_choice_shows_its_name():
    spec = make_spec(space={"curriculum": CURRICULA, "shift": [0.5]})
    config = {"curriculum": [{"steps": 3}], "shift": 0.5, "phases": [1, 2]}
    frame = make_table(spec, [record(0, 1.0, params={"curriculum": "warm", "shift": 0.5}, config=config)]).frame
    assert frame["curriculum"][0] == "warm"
    assert frame["phases"][0] == "[1, 2]"


def test_a_metric_named_like_a_field_has_a_column_of_its_own():
    frame = make_table(SPEC, [record(0, 1.0, metrics={"shift": 7.0})]).frame
    assert (frame["shift"][0], frame["metric.shift"][0]) == (0.5, 7.0)


def test_the_feasible_rank_first():
    spec = make_spec(space={"shift": [0.5]}, constraints=[{"metric": "loop", "max": 1.0}])
    records = [record(n, value, metrics={"loop": loop}) for n, (value, loop) in enumerate([(0.1, 5), (0.2, 2), (3, 1)])]
    table = make_table(spec, records)
    assert list(table.frame["trial"]) == [2, 1, 0]
    assert list(table.judged) == ["val_error", "loop"]


def test_several_objectives_rank_by_domination():
    spec = make_spec(space={"shift": [0.5]}, objective=[{"metric": "a"}, {"metric": "b", "mode": "max"}])
    pairs = [(2, 1), (1, 1), (3, 5), (3, 4)]
    frame = make_table(spec, [record(n, metrics={"a": a, "b": b}) for n, (a, b) in enumerate(pairs)]).frame
    assert list(frame["trial"]) == [1, 2, 0, 3]


def test_an_empty_search_has_an_empty_table():
    assert make_table(SPEC, []).frame.empty


def test_a_running_searchs_table_can_be_read(make_search):
    search = make_search()
    search.open().ask()
    frame = load_table(search.paths).frame
    assert list(frame["outcome"]) == ["running"]
    assert frame["rank"].isna().all()
    assert isinstance(frame, pd.DataFrame)


def test_fields_and_metrics_named_like_our_columns_get_a_prefix_and_lose_nothing():
    config = {"rank": 8, "trial": "pilot", "host": "lab", "shift": 0.5}
    records = [
        record(n, value, config=config, metrics={"error": 7.0, "wave": 3.0}) for n, value in ((0, 2.0), (1, 1.0))
    ]
    table = make_table(make_spec(space={"rank": [8, 2], "shift": {"low": 0.0, "high": 1.0}}), records)
    assert list(table.frame["trial"]) == [1, 0]
    assert list(table.frame["rank"]) == [1, 2]
    first = table.frame.iloc[0]
    assert (first["config.rank"], first["config.trial"], first["config.host"]) == (8, "pilot", "lab")
    assert (first["metric.error"], first["metric.wave"]) == (7.0, 3.0)
    assert "config.rank" in table.searched


def test_infeasible_trials_are_marked():
    spec = make_spec(space={"shift": {"low": 0.0, "high": 1.0}}, constraints=[{"metric": "val_error", "max": 1.5}])
    frame = make_table(spec, [record(0, 1.0), record(1, 2.0)]).frame
    assert list(frame["feasible"]) == [True, False]


def test_what_earlier_versions_kept_of_a_metric_that_is_no_number_is_shown_as_none(make_search, tmp_path):
    from analysis.best import export_best

    search = make_search()
    study = search.open()
    odd = {"a": None, "b": "text", "c": 10**400, "d": [1.0], "e": {"mean": 1.0}, "f": 2}
    for number in range(2):
        study.ask()
        study.tell(number, Outcome.COMPLETED, result(**odd, val_error=1.0 + number))
    frame = load_table(search.paths).frame
    assert list(frame["trial"]) == [0, 1]
    assert frame[["a", "b", "c", "d", "e"]].isna().all(axis=None)
    assert list(frame["f"]) == [2, 2]
    assert export_best(search.paths, tmp_path / "best").record.number == 0
    search.open().close()  # whoever goes on counts them too


ONE, OTHER = {"code": "aaaa1111", "settings": "jax 1, cpu"}, {"code": "bbbb2222", "settings": "jax 2, cpu"}


@pytest.mark.parametrize(
    ("origins", "mixed", "said"),
    [
        ([ONE, ONE], [], ""),
        ([ONE, {}], [], ""),  # an earlier version's trials do not tell theirs
        ([ONE, ONE | {"code": "aaaa1111+bbbb2222"}], ["code"], "2 versions of the code (column code)"),
        ([ONE, OTHER | {"code": "aaaa1111"}], ["settings"], "2 settings of the libraries (column settings)"),
        (
            [ONE | {"inputs": "first"}, ONE | {"inputs": "first+cccc"}, ONE],
            ["inputs"],
            "2 versions of the data files (column inputs)",
        ),
        (
            [ONE, OTHER, OTHER | {"code": "cccc"}],
            ["code", "settings"],
            "3 versions of the code (column code) and 2 settings of the libraries (column settings)",
        ),
    ],
)
def test_trials_of_several_codes_or_settings_are_told_apart(origins, mixed, said):
    table = make_table(SPEC, [record(number, 1.0, **origin) for number, origin in enumerate(origins)])
    assert mixed_origins(table.frame) == mixed
    assert table.mixture == (f"these trials come from {said}: compare them with care" if said else "")
