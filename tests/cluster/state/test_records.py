import errno
import math
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.commands.search import create_search
from cluster.machine.files import write_json
from cluster.state.figures import figures_of
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import (
    launched_from,
    load_history,
    load_spec,
    load_trials,
    load_waves,
    method_folders,
    open_study,
    ranked,
    violations,
)
from cluster.state.snapshot import load_status
from tests.searching import make_spec, result

BOUND = [{"metric": "loop", "max": 1.5}, {"metric": "gain", "min": 0.0, "max": 2.0}]


def test_a_search_that_has_not_begun_has_no_trials(make_search):
    paths = make_search().paths
    assert load_trials(paths) == []
    assert load_waves(paths) == []
    assert load_status(paths) == {}
    assert list(load_history(paths)) == []


def test_an_empty_journal_has_no_trials(make_search):
    paths = make_search().paths
    paths.journal.touch()
    assert load_trials(paths) == []
    assert load_waves(paths) == []


def test_the_resolved_spec_is_read_as_it_was(make_search):
    space = {
        "shift": {"choices": [1.0, 2.0]},
        "learning_rate": {"low": 1e-4, "high": 1.0, "log": True, "when": {"shift": [2.0]}},
        "size": {"low": 1, "high": 3, "type": "int"},
        "curriculum": {"choices": {"plain": [], "warm": [{"steps": 3}]}},
    }
    search = make_search(space=space, constraints=BOUND, repeats={"seeds": [1, 2]})
    assert load_spec(search.paths) == search.spec


def test_where_a_search_was_launched_is_known(make_search, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    paths = make_search().paths
    assert launched_from(paths) == tmp_path
    assert method_folders(paths) == [tmp_path]


def test_the_source_of_a_search_is_kept_as_it_was(searches, tmp_path):
    source = tmp_path / "s.yaml"
    source.write_text("# a comment\nname: try\n")
    paths = create_search(make_spec(), source, "named")
    assert paths.name == "named"
    assert paths.spec_source.read_text() == source.read_text()


def test_reading_changes_nothing_and_sees_a_running_search(make_search):
    search = make_search()
    study = search.open()
    study.ask()
    before = search.paths.journal.read_bytes()
    (record,) = load_trials(search.paths)
    assert (record.outcome, record.metrics) == (None, {})
    assert record.config["steps"] == 30
    study.tell(0, Outcome.COMPLETED, result(val_error=1.0))
    assert load_trials(search.paths)[0].metrics == {"val_error": 1.0}
    assert search.paths.journal.read_bytes().startswith(before)


def test_a_record_of_another_version_is_read_without_what_only_that_one_knows(make_search):
    search = make_search()
    study = search.open()
    study.ask()
    study.tell(0, Outcome.COMPLETED, {**result(val_error=1.0), "peak_gpu_memory_mb": 5.0, "frames": [1]})
    (record,) = load_trials(search.paths)
    assert (record.seconds, record.metrics, record.host) == (1.0, {"val_error": 1.0}, "")


def test_the_figures_of_all_attempts_are_added_up_if_they_say_so(make_search):
    search = make_search()
    study = search.open()
    every = {one.name: 2 for one in figures_of() if one.is_measured}
    for outcome in (Outcome.STOPPED, Outcome.COMPLETED):
        study.ask()
        study.tell(0, outcome, {"metrics": {"val_error": 1.0}, **every})
        study = search.open()
    (record,) = load_trials(search.paths)
    assert {one.name: getattr(record, one.name) for one in figures_of() if one.is_measured} == {
        one.name: 4 if one.is_added_up else 2 for one in figures_of() if one.is_measured
    }
    assert [one.name for one in figures_of() if one.is_added_up] == ["seconds", "cpu_seconds", "compile_seconds"]


def test_a_status_is_read_whole(make_search):
    paths = make_search().paths
    write_json(paths.status, {"finished": "why"})
    assert load_status(paths) == {"finished": "why"}


# -- constraints and ranking


@pytest.mark.parametrize(
    ("metrics", "amounts"),
    [
        ({"loop": 1.0, "gain": 1.0}, [-0.5, -1.0, -1.0]),
        ({"loop": 2.0, "gain": -0.5}, [0.5, -2.5, 0.5]),
        ({"loop": math.nan, "gain": 1.0}, [math.inf, -1.0, -1.0]),
        ({}, [math.inf, math.inf, math.inf]),
    ],
)
def test_a_violation_is_how_far_a_metric_is_beyond_its_bound(metrics, amounts):
    assert violations(make_spec(constraints=BOUND), metrics) == amounts


@pytest.mark.parametrize(("mode", "order"), [("min", [2, 0, 4, 1, 3]), ("max", [1, 0, 4, 2, 3])])
def test_the_best_come_first_and_what_was_not_measured_last(mode, order):
    metrics = [{"val_error": 2.0}, {"val_error": 3.0}, {"val_error": 1.0}, {}, {"val_error": 2.0}]
    assert ranked(make_spec(objective={"metric": "val_error", "mode": mode}), metrics) == order


def test_the_feasible_come_before_the_infeasible_and_those_by_their_violation():
    spec = make_spec(constraints=BOUND[:1])
    rows = [(0.1, 3.0), (0.9, 1.5), (0.2, 2.0), (0.5, 0.0), (0.0, math.nan)]
    assert ranked(spec, [{"val_error": error, "loop": loop} for error, loop in rows]) == [3, 1, 2, 0, 4]


def test_with_several_objectives_the_less_dominated_come_first():
    spec = make_spec(objective=[{"metric": "a"}, {"metric": "b", "mode": "max"}])
    rows = [(1.0, 1.0), (2.0, 3.0), (2.0, 2.0), (3.0, 1.0), (0.5, math.nan)]
    assert ranked(spec, [{"a": a, "b": b} for a, b in rows]) == [4, 0, 1, 2, 3]


FULL = """
import resource, signal, sys
from pathlib import Path
from cluster.state.paths import SearchPaths
from cluster.state.storage import open_storage
import optuna

paths = SearchPaths(Path(sys.argv[1]))
storage = open_storage(paths, to_write=True)
study = optuna.create_study(storage=storage.optuna, study_name=storage.study_name)
study.set_user_attr("before", 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (paths.journal.stat().st_size + 100, hard))  # room for half a line
try:
    study.set_user_attr("large", "x" * 1000)
except OSError as error:
    print("refused", error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
study.set_user_attr("after", 2)
"""


def test_half_a_line_that_a_full_disk_let_through_is_taken_back(tmp_path):
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert (done.returncode, done.stdout) == (0, f"refused {errno.EFBIG}\n"), done.stderr
    with open_study(SearchPaths(tmp_path)) as (storage, study_id):
        assert storage.get_study_user_attrs(study_id) == {"before": 1, "after": 2}
