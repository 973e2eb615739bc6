import json
import os
import shutil
import sys

import pytest
from filelock import FileLock

from analysis.sources.directory import load_search
from analysis.tables.make import Request
from analysis.tables.show import show_table
from cluster.commands import resume as resume_module
from cluster.commands.resume import BusyError, Changes, RefusedError, resume_elsewhere
from cluster.commands.status_one import show_one
from cluster.console import Console
from cluster.jobs.request import Options, RequestError
from cluster.machine.files import read_json, write_json
from cluster.state.outcomes import Outcome
from cluster.state.paths import find_search
from cluster.state.records import load_spec, load_trials
from cluster.state.snapshot import load_status
from cluster.study.budget_change import NothingLeftError, load_budget_changes
from search_spaces.errors import SpecError, UserError
from tests.searching import result

NONE = Changes({})


@pytest.fixture
def resume(capsys):
    """Return a function that does all of a resume but the work itself, and returns what was printed."""

    def call(search, failed=None, code=None, **budget):
        changes = Changes.of(budget, failed is not None, failed or [])
        assert resume_elsewhere(search.paths, None, None, Options(), changes, Console(), code) is False
        search.spec = load_spec(search.paths)
        return capsys.readouterr().out

    return call


def finish(search, outcomes=None):
    """End every trial there is to run, and say that the search is finished, as its driver does."""
    study = search.open()
    while assignment := study.ask():
        outcome = (outcomes or {}).get(assignment.number, Outcome.COMPLETED)
        study.tell(assignment.number, outcome, result(val_error=1.0 + assignment.number), retry=False)
    study.save_active()
    write_json(search.paths.status, {"finished": study.finished() or "all"})
    study.close()


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_finished_search_goes_on_with_more_trials_as_if_it_had_had_them_at_once(make_search, resume, sampler):
    space = {"shift": {"low": -1.0, "high": 1.0, "step": 0.25}, "size": [2, 3]}
    whole = make_search(space=space, sampler={"name": sampler}, budget={"trials": 14})
    finish(whole)
    search = make_search(space=space, sampler={"name": sampler}, budget={"trials": 3})
    finish(search)
    assert resume(search, trials=14) == "budget.trials: 3 -> 14\n"
    assert load_spec(search.paths).budget.trials == 14
    assert not load_status(search.paths)["finished"]
    finish(search)
    assert [trial.config for trial in load_trials(search.paths)] == [trial.config for trial in load_trials(whole.paths)]
    (change,) = load_budget_changes(search.paths)
    assert (change["from"], change["to"], change["at"][:2]) == ({"trials": 3}, {"trials": 14}, "20")


def test_every_bound_of_the_budget_can_change(make_search, resume):
    search = make_search(budget={"trials": 3, "hours": 0.5})
    finish(search)
    said = resume(search, trials=4, hours=4.0, core_hours=8.0, target=1.0, patience_trials=7)
    assert "budget.core_hours: none -> 8\n" in said
    budget = {"trials": 4, "hours": 4.0, "core_hours": 8.0, "target": 1.0, "patience_trials": 7}
    assert load_spec(search.paths).budget.model_dump() == budget
    resume(search, hours=5.0)
    assert [change["to"]["hours"] for change in load_budget_changes(search.paths)] == [4.0, 5.0]
    assert load_spec(search.paths).budget.trials == 4


@pytest.mark.parametrize(
    ("budget", "error", "said"),
    [
        ({"trials": 2}, SpecError, "budget.trials = 2: the search has used 3. Allowed: at least 3"),
        ({"trials": 0}, SpecError, "budget.trials = 0: must be"),
        ({"hours": -1.0}, SpecError, "budget.hours = -1.0: must be"),
        ({"core_hours": 1e-9}, SpecError, "budget.core_hours = 1e-09: the search has used 0.000833333"),
        (
            {"hours": 4.0},
            NothingLeftError,
            "all 3 trials have ended. Its budget is trials 3, hours 4; to go on",
        ),
        ({"trials": 3}, NothingLeftError, "swell resume try --trials ..."),
    ],
)
def test_a_budget_that_cannot_be_is_refused_and_nothing_is_changed(make_search, resume, budget, error, said):
    search = make_search(budget={"trials": 3})
    finish(search)
    before = search.paths.spec.read_bytes()
    with pytest.raises(error) as raised:
        resume(search, **budget)
    assert said in str(raised.value)
    assert search.paths.spec.read_bytes() == before
    assert load_budget_changes(search.paths) == []
    assert load_status(search.paths)["finished"]


def test_the_end_of_a_grid_is_said_to_be_that(make_search, resume):
    search = make_search(space={"size": [2, 3]}, sampler={"name": "grid"}, budget={})
    finish(search)
    assert resume(search).startswith("try is finished. Every point of its grid has been tried: more values are a new s")
    with pytest.raises(NothingLeftError, match="all 2 trials of its grid have ended"):
        resume(search, trials=20)


def test_a_finished_search_says_how_it_goes_on_without_looking_at_its_trials(make_search, resume, monkeypatch):
    search = make_search(budget={"trials": 2})
    finish(search)
    monkeypatch.setattr(resume_module, "has_begun", None)
    assert resume(search) == (
        "try is finished. Its budget is trials 2; to go on with more: swell resume try --trials ...\n"
    )


def test_failed_trials_of_a_finished_search_are_taken_up_again(make_search, resume):
    search = make_search(budget={"trials": 4})
    finish(search, {1: Outcome.CRASHED, 3: Outcome.WORKER_LOST})
    assert resume(search, failed=["crashed"]) == "1 failed trial is taken up again: 1\n"
    assert resume(search, failed=[]) == "1 failed trial is taken up again: 3\n"
    assert [trial.number for trial in load_trials(search.paths) if trial.is_open] == [1, 3]
    with pytest.raises(RequestError, match="no trial of try ended as timed_out"):
        resume(search, failed=["timed_out"])
    with pytest.raises(RequestError, match="--failed pruned: no trial fails so"):
        resume(search, failed=["pruned"])
    with pytest.raises(RequestError, match=r"crashed: .* need --failed"):
        Changes.of({}, False, ["crashed"])


def test_nothing_is_changed_of_a_search_that_somebody_works_on(make_search, resume):
    search = make_search(budget={"trials": 2})
    finish(search)
    for lock in (search.paths.lock, search.paths.driver_lock):
        with FileLock(lock), pytest.raises(BusyError):
            resume(search, trials=9)
    assert load_spec(search.paths).budget.trials == 2


def test_going_on_is_refused_while_the_method_does_not_take_begun_trials(make_search, resume, tmp_path, monkeypatch):
    """A field is renamed, or a syntax error saved: what has begun stays open until that is mended."""
    source = "from tests.methods.ripple.method import Config as Base, method\nclass Config(Base): {}\n"
    module = tmp_path / "renaming_lab" / "m.py"
    module.parent.mkdir()
    module.write_text(source.format("pass"))
    monkeypatch.syspath_prepend(str(tmp_path))
    search = make_search(trainable="renaming_lab.m")
    study = search.open()
    study.tell(study.ask().number, Outcome.STOPPED, result())
    study.close()
    assert resume(search) == ""

    def saved(text):
        monkeypatch.delitem(sys.modules, "renaming_lab.m", raising=False)
        module.write_text(text)

    saved("from trainables._shared.config import MethodConfig as Config\nfrom tests.methods.alone import method\n")
    with pytest.raises(RefusedError, match=r"(?s)does not take the configurations.*trial 0: .*shift.*Nothing is lost"):
        resume(search, code="current")
    saved("class Config(:\n")
    with pytest.raises(RefusedError, match=r"renaming_lab.m cannot be imported, .*SyntaxError.*Nothing is lost"):
        resume(search, failed=[], code="current")
    saved(source.format("pass"))
    assert resume(search) == ""
    assert issubclass(RefusedError, UserError)
    assert json.loads(search.paths.spec.read_text())["budget"]["trials"] == 15


# -- moved and copied


@pytest.fixture(params=["copied", "renamed"])
def elsewhere(request, make_search, tmp_path, monkeypatch):
    """Return a stopped search that a cluster's job ran, killed on its node, as its directory opens on a laptop."""
    search = make_search(budget={"trials": 4})
    study = search.open()
    for value in (3.0, 1.0):
        study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=value))
    study.tell(study.ask().number, Outcome.STOPPED, result())
    paths = search.paths
    write_json(paths.launch, {"on": "slurm", "job_ids": ["17"], "host": "login1", "nodes": 2, "launched_at": 1.0})
    write_json(paths.supervisor_record, {"pid": 1, "start": "0", "host": "node7", "boot": "another"})
    paths.supervisor_heartbeat.touch()
    os.utime(paths.supervisor_heartbeat, (1.0, 1.0))
    write_json(paths.status, {"stopped": "stopped by SIGUSR2", "updated_at": 2.0, "outcomes": {"completed": 2}})
    write_json(paths.provenance, {**read_json(paths.provenance), "working_directory": "/home/somebody/else"})
    there = tmp_path / "laptop" / "another-name"
    there.parent.mkdir()
    if request.param == "copied":
        shutil.copytree(paths.root, there)
    else:
        paths.root.rename(there)
    monkeypatch.setenv("SWELL_ROOT", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "/nowhere")  # without the cluster's commands
    search.paths = find_search(str(there))
    return search


def test_a_search_opens_wherever_its_directory_was_moved_or_copied(elsewhere, capsys):
    paths = elsewhere.paths
    show_one(paths)
    said = capsys.readouterr().out
    assert "another-name  stopped (stopped by SIGUSR2)" in said
    show_table([load_search(paths)], Request(), "csv", None)
    assert capsys.readouterr().out.count("completed") == 2
    assert resume_elsewhere(paths, "here", None, Options(), Changes({"trials": 5}), Console()) is False
    study = elsewhere.open()
    elsewhere.spec = load_spec(paths)
    assert elsewhere.open().ask().number == 2  # the one that had begun
    assert study.tally.best == (1.0, (1,))
    assert len(elsewhere.run(lambda config: {"val_error": 2.0})) == 3


def test_a_search_that_a_cluster_ran_says_on_a_machine_without_one_how_it_goes_on(elsewhere):
    with pytest.raises(UserError, match="swell resume another-name --here"):
        resume_elsewhere(elsewhere.paths, None, None, Options(), NONE, Console())
