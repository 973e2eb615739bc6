"""One trial again: what the search has recorded of it is held against a real worker's training."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from cluster.commands.rerun import (
    RerunError,
    create_rerun,
    find_trial,
    rerun_command,
    rerun_name,
    rerun_spec,
)
from cluster.commands.rerun_comparison import Run, describe, first_difference
from cluster.commands.rerun_worker import Rerun
from cluster.machine.files import read_json
from cluster.state.outcomes import Outcome, outcome_of
from cluster.state.paths import SearchPaths
from cluster.state.records import load_history, load_spec, load_trials
from cluster.study.study import SearchStudy
from cluster.worker.environment import training_environment
from search_spaces.spec import load_spec as read_spec
from tests.methods.ripple import Config, method
from tests.searching import make_spec
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training

ROOT = Path(__file__).parents[3]
TRACEBACK = "Traceback (most recent call last):"
WATCHED = """\
import sys
from pathlib import Path
from rich.console import Console
from cluster.state.paths import SearchPaths
from cluster.commands.rerun import rerun_command
sys.exit(rerun_command(SearchPaths(Path(sys.argv[1])), int(sys.argv[2]), here="--here" in sys.argv, console=Console()))
"""
OWN = """\
import {imports}
from tests.methods.ripple import Config, Ripple


class Own(Ripple):
    def data(self, config, store):
        {line}
        return super().data(config, store)


method = Own()
"""


def train(config, most=10**6):
    """Train ripple as an actor does, at most so many reports; return the outcome, the reports and the result."""
    reports = []
    try:
        training = Training(Program(method, config), config, method.data(config, DatasetStore()))
        while len(reports) < most:
            report = training.advance()
            reports.append((report.step, report.metrics))
            if report.ending == "completed":
                measured = training.test()["plain"].metrics
                metrics = {**measured, **training.best.metrics, "best_step": training.best.step}
                return Outcome.COMPLETED, reports, {"metrics": metrics, "step": report.step}
            if report.ending:
                break
    except RuntimeError as error:
        import traceback

        # A wave writes the last report of a crashed trial too, which has no metrics.
        return outcome_of(error), [*reports, (0, {})], {"metrics": {}, "step": 0, "error": traceback.format_exc()}
    outcome = Outcome(report.ending) if report.ending else Outcome.PRUNED
    return outcome, reports, {"metrics": report.metrics, "step": report.step}


@pytest.fixture
def recorded(make_search):
    """Return a function that makes a search whose one trial has been trained and recorded."""

    def make(most=10**6, outcome=None, tell=True, spec=(), **config):
        values = {"shift": 0.7, "learning_rate": 0.1, "trouble": "none"} | config
        first, *others = values
        base = {name: values[name] for name in others}
        search = make_search(
            **({"base": base, "space": {first: [values[first]]}, "budget": {"trials": 1}} | dict(spec))
        )
        study = search.open()
        number = study.ask().number
        if config.get("trouble") == "kill":
            ended, reports, found = Outcome.WORKER_LOST, [], {"metrics": {}, "step": 0}
        else:
            ended, reports, found = train(Config(**values), most)
        write_history(search.paths, [(number, step, metrics) for step, metrics in reports])
        if tell:
            study.tell(number, outcome or ended, {"seconds": 1.0, **found})
        return search.paths

    return make


def write_history(paths, reports):
    lines = [{"trial": trial, "step": step, "seconds": 1.0, "metrics": metrics} for trial, step, metrics in reports]
    paths.history(1).write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_history(paths, change):
    """Change every report of a search."""
    entries = list(load_history(paths))
    for entry in entries:
        change(entry)
    write_history(paths, [(entry["trial"], entry["step"], entry["metrics"]) for entry in entries])


def content(folder):
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}


def printed(code, captured):
    return SimpleNamespace(code=code, lines=captured.out.splitlines(), out=captured.out, err=captured.err)


def in_this_process(request, environment):
    """Run the worker as its process does, without the seconds of the imports."""
    try:
        return Rerun(json.loads(json.dumps(request))).run()
    except Exception:
        sys.excepthook(*sys.exc_info())
        return 1


@pytest.fixture
def rerun(capfd):
    """Return a function that reruns a trial here, in a process of its own, and returns what it printed."""

    def run(paths):
        code = rerun_command(paths, 0, here=True, console=Console(width=80))
        return printed(code, capfd.readouterr())

    return run


@pytest.fixture
def quick_rerun(monkeypatch, rerun):
    """Return a function that does so in this process."""
    monkeypatch.setattr("cluster.commands.rerun._run_worker", in_this_process)
    return rerun


@pytest.fixture
def own_method(tmp_path):
    """Return a function that writes a user's method, in a folder of its own, with a line that its data runs."""

    def write(line, imports="os", package="lab_ours"):
        folder = tmp_path / "lab"
        own = folder / package / "own"
        own.mkdir(parents=True)
        (own / "method.py").write_text(OWN.format(line=line, imports=imports))
        (own / "config.py").write_text("from tests.methods.ripple import Config\n")
        return folder

    return write


@pytest.fixture
def watched():
    """Return a function that starts a rerun in a process group of its own, as a shell does."""

    def watch(paths):
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", WATCHED, str(paths.root), "0", "--here"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    started = []
    yield watch
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def table(done):
    """Return the printed metrics: name to the words behind it."""
    start = next(index for index, line in enumerate(done.lines) if line.startswith("metrics "))
    return {line.split()[0]: line.split()[1:] for line in done.lines[start:]}


# -- here: the numbers


def test_a_completed_trial_reports_the_same_numbers_again(recorded, quick_rerun):
    paths = recorded()
    done = quick_rerun(paths)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "trial 0 of try (completed at step 30), from step 0, in this terminal"
    steps = [line for line in done.lines if line.startswith("step ")]
    assert [line.split(" 0.")[0] for line in steps] == [f"step {step} of 30  val_error" for step in (10, 20, 30)]
    assert "ended as before: completed at step 30" in done.lines
    assert "reports: 3 of 3 are the same" in done.lines
    (trial,) = load_trials(paths)
    shown = table(done)
    assert shown["val_error"] == [f"{trial.metrics['val_error']:.6g}"] * 2
    assert shown.keys() - {"metrics"} == trial.metrics.keys()
    assert list(shown)[1] == "val_error"
    assert "differs" not in done.out
    assert "not as recorded" not in done.out


def test_a_number_that_differs_in_its_last_bit_is_named(recorded, quick_rerun):
    import math

    paths = recorded()
    values = {entry["step"]: entry["metrics"]["train_loss"] for entry in load_history(paths)}
    other = math.nextafter(values[20], math.inf)

    def change(entry):
        if entry["step"] >= 20:
            entry["metrics"]["train_loss"] = other

    change_history(paths, change)
    done = quick_rerun(paths)
    assert done.code == 0
    assert f"reports: the first difference is at step 20, train_loss was {other!r} and is {values[20]!r}" in done.lines
    said = [line for line in done.lines if line.startswith("  not as recorded: ")]
    assert [line.split(",")[0] for line in said] == ["  not as recorded: step 20", "  not as recorded: step 30"]
    assert done.lines.index(said[0]) == done.lines.index(said[1]) - 2  # each behind its own report
    assert "differs" not in done.out  # the result was not changed


def test_a_result_that_differs_is_marked_with_both_numbers_whole(recorded, quick_rerun):
    paths = recorded()
    (trial,) = load_trials(paths)
    text = paths.journal.read_text()
    value = trial.metrics["test_error"]
    assert text.count(repr(value)) == 1
    paths.journal.write_text(text.replace(repr(value), repr(value + 1e-12)))
    shown = table(quick_rerun(paths))
    assert shown["test_error"] == [repr(value + 1e-12), repr(value), "differs"]
    assert len(shown["val_error"]) == 2


def test_another_seed_gives_other_numbers(recorded, quick_rerun):
    paths, other = recorded(seed=1), recorded(seed=2)
    shutil.copy(other.history(1), paths.history(1))
    assert "reports: the first difference is at step 10, train_" in quick_rerun(paths).out


# -- here: how trials end


@pytest.mark.parametrize(("trouble", "outcome"), [("nan", "diverged"), ("solver", "solver_failed")])
def test_a_failure_without_an_exception_is_told(recorded, quick_rerun, trouble, outcome):
    paths = recorded(trouble=trouble)
    (trial,) = load_trials(paths)
    done = quick_rerun(paths)
    assert (done.code, done.err) == (1, "")
    assert f"ended as before: {outcome} at step {trial.step}" in done.lines
    assert "reports: 1 of 1 are the same" in done.lines  # not a number is the same as itself
    assert "differs" not in done.out


def test_an_exception_goes_through_with_its_whole_traceback(recorded, quick_rerun):
    done = quick_rerun(recorded(trouble="exception"))
    assert done.code == 1
    assert "ended as before: crashed at step 0" in done.lines
    assert "its error is the same" in done.lines
    assert "reports: the search has none of this trial" in done.lines
    lines = done.err.splitlines()
    assert lines[0] == TRACEBACK
    assert lines[-1] == "RuntimeError: the method's own bug"
    assert '    raise RuntimeError("the method\'s own bug")' in lines


def test_another_exception_than_the_recorded_one_is_told(recorded, quick_rerun):
    paths = recorded(trouble="exception")
    paths.journal.write_text(paths.journal.read_text().replace("RuntimeError: the method's own", "KeyError: another"))
    done = quick_rerun(paths)
    assert "ended as before: crashed at step 0" in done.lines
    assert "its error is another" in done.lines


def test_a_trial_that_now_completes_has_ended_differently(recorded, quick_rerun):
    paths = recorded(outcome=Outcome.CRASHED)
    done = quick_rerun(paths)
    assert done.code == 0
    assert "ended differently: was crashed at step 30, is completed at step 30" in done.lines


@pytest.mark.slow
def test_a_process_that_dies_is_told_by_its_signal(recorded, rerun):
    done = rerun(recorded(trouble="kill", spec={"retries": 0}.items()))
    assert done.code == 1
    assert "its process was ended by signal 9 (SIGKILL); 9 is often the lack of memory" in done.lines
    assert done.lines[-1].startswith("recorded: ")


def test_a_pruned_trial_is_trained_to_the_end_and_compared_as_far_as_it_got(recorded, quick_rerun):
    done = quick_rerun(recorded(most=1))
    assert done.code == 0
    assert len([line for line in done.lines if line.startswith("step ")]) == 3
    assert "trained on: was pruned at step 10, is completed at step 30" in done.lines
    assert "reports: 1 of 1 are the same" in done.lines
    assert "recorded (step 10)  now (step 30)" in done.out
    assert "differs" not in done.out  # there is nothing to compare


def test_an_open_trial_is_compared_with_what_it_has_reported(recorded, quick_rerun):
    done = quick_rerun(recorded(most=2, tell=False))
    assert "trained on: was open, at step 20, is completed at step 30" in done.lines
    assert "reports: 2 of 2 are the same" in done.lines


@pytest.mark.parametrize("field", [{"size": 9}, {"optional": -1.0}])
def test_a_configuration_that_is_ruled_out_is_ruled_out_again(make_search, quick_rerun, field):
    search = make_search(space={name: [value] for name, value in field.items()}, budget={"trials": 1})
    assert search.open().ask() is None
    done = quick_rerun(search.paths)
    assert done.code == 1
    assert "ended as before: invalid_config at step 0" in done.lines
    assert "its error is the same" in done.lines
    assert done.err.startswith("Traceback")


def test_an_objective_that_is_no_number_has_diverged_as_the_study_says(recorded, quick_rerun):
    paths = recorded(spec={"objective": {"metric": "nowhere"}}.items())
    assert load_trials(paths)[0].outcome is Outcome.DIVERGED
    done = quick_rerun(paths)
    assert done.code == 1
    assert "ended as before: diverged at step 30" in done.lines


# -- here: the process


@pytest.mark.slow
def test_a_process_of_its_own_trains_to_the_same_numbers(recorded, rerun):
    done = rerun(recorded())
    assert (done.code, done.err) == (0, "")
    assert "ended as before: completed at step 30" in done.lines
    assert "reports: 3 of 3 are the same" in done.lines
    assert "differs" not in done.out


@pytest.mark.slow
def test_a_process_of_its_own_ends_with_the_traceback(recorded, rerun):
    done = rerun(recorded(trouble="exception"))
    assert done.code == 1
    assert "ended as before: crashed at step 0" in done.lines
    assert (done.err.splitlines()[0], done.err.splitlines()[-1]) == (TRACEBACK, "RuntimeError: the method's own bug")


def test_the_original_search_is_not_written_to(recorded, quick_rerun):
    paths = recorded()
    before = content(paths.root)
    assert quick_rerun(paths).code == 0
    create_rerun(paths, load_spec(paths), load_trials(paths)[0])
    assert content(paths.root) == before
    assert not list(paths.checkpoints.iterdir())


def launched(make_search, folder, monkeypatch, **parts):
    """Make a search of a user's method, launched from its folder, with one trial; return to where we were."""
    before = Path.cwd()
    monkeypatch.chdir(folder)
    search = make_search(trainable="lab_ours.own", budget={"trials": 1}, **parts)
    monkeypatch.chdir(before)
    search.open().ask()
    return search.paths


@pytest.mark.slow
def test_a_users_method_is_found_from_where_the_search_was_launched(make_search, own_method, monkeypatch, rerun):
    line = "print('threads', os.environ['PJRT_NPROC'], os.environ['OMP_NUM_THREADS'])"
    resources = {"cpus_per_trial": 2}
    paths = launched(make_search, own_method(line), monkeypatch, resources=resources)
    done = rerun(paths)
    assert (done.code, done.err) == (0, "")
    assert "threads 2 2" in done.lines
    assert not [entry for entry in sys.path if "lab" in Path(entry).parts]


@pytest.mark.slow
def test_a_method_that_exits_has_crashed(make_search, own_method, monkeypatch, rerun):
    done = rerun(launched(make_search, own_method("sys.exit(0)", "sys"), monkeypatch))
    assert done.code == 1
    assert done.err.splitlines()[-1] == "SystemExit: 0"
    assert "trained on: was open, at step 0, is crashed at step 0" not in done.lines
    assert "ended differently: was open, at step 0, is crashed at step 0" in done.lines


@pytest.mark.slow
def test_a_breakpoint_in_a_method_works(make_search, own_method, monkeypatch, watched):
    paths = launched(make_search, own_method("breakpoint()"), monkeypatch)
    out, err = watched(paths).communicate("p config.steps * 1000\nc\n", timeout=360)
    assert "(Pdb) 30000\n" in out, err
    assert "is completed at step 30" in out


def read_until(process, start):
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_ctrl_c_ends_it_without_a_traceback(recorded, watched):
    paths = recorded(most=1, steps=10**8, report_every=1000)
    process = watched(paths)
    read_until(process, "step 1000 of ")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "interrupted at step " in out
    assert err == ""
    assert nothing_is_left_of(process)


def nothing_is_left_of(group):
    """Whether a process's group is empty, once who has inherited the dead has reaped them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_ctrl_c_twice_ends_what_does_not_hear_it(make_search, own_method, monkeypatch, watched):
    line = "signal.signal(2, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    process = watched(launched(make_search, own_method(line, "signal, time"), monkeypatch))
    read_until(process, "deaf")
    os.killpg(process.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 130
    assert nothing_is_left_of(process)


def test_a_worker_is_capped_and_on_the_cpu_unless_it_has_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    environment = training_environment(make_spec(resources={"cpus_per_trial": 3}).resources, [tmp_path])
    assert {environment[name] for name in ("PJRT_NPROC", "OMP_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert str(tmp_path) in environment["PYTHONPATH"].split(os.pathsep)
    assert (
        training_environment(make_spec(resources={"gpus_per_trial": 1}).resources, [tmp_path])["JAX_PLATFORMS"]
        == "cuda"
    )


# -- what cannot be run again


def refused(paths, trial):
    with pytest.raises(RerunError) as error:
        rerun_command(paths, trial, here=True, console=Console())
    return str(error.value)


def test_an_unknown_trial_is_told_with_those_there_are(make_search):
    search = make_search()
    assert refused(search.paths, 0) == "no trial 0 in try; there are none yet"
    study = search.open()
    for _ in range(3):
        study.ask()
    assert refused(search.paths, 7) == "no trial 7 in try; there are 0 to 2"


def test_a_trial_without_a_configuration_is_told(make_search):
    search = make_search()
    search.open()._study.ask()
    assert refused(search.paths, 0) == "trial 0 of try has no configuration yet: it was only just asked for"


@pytest.mark.parametrize("harm", ["gone", "broken"])
def test_a_method_that_can_no_longer_be_imported_is_told(make_search, own_method, monkeypatch, harm):
    folder = own_method("pass", package=f"lab_{harm}")
    monkeypatch.chdir(folder)
    search = make_search(trainable=f"lab_{harm}.own", budget={"trials": 1})
    search.open().ask()
    if harm == "gone":
        shutil.rmtree(folder / "lab_gone")
    else:
        (folder / "lab_broken" / "own" / "config.py").write_text("raise ValueError('half-written')")
    said = refused(search.paths, 0)
    assert said.startswith(f"lab_{harm}.own can no longer be imported, from {folder} or from here: ")
    assert said.endswith("ValueError: half-written" if harm == "broken" else "(my_package.my_module)")


# -- as a search


def test_a_rerun_asks_exactly_the_recorded_configuration_once(make_search):
    space = {"size": {"low": 2, "high": 5, "type": "int"}, "learning_rate": {"low": 0.001, "high": 1.0, "log": True}}
    search = make_search(
        base={"steps": 20, "optional": 0.1},
        space=space,
        repeats={"seeds": [3, 5]},
        early_stopping={"name": "asha", "grace_steps": 10},
        budget={"hours": 1, "trials": 4},
        resources={"cpus_per_trial": 2},
        retries=1,
        constraints=[{"metric": "train_loss", "max": 1.0}],
    )
    study = search.open()
    configs = [study.ask().config for _ in range(4)]
    record = find_trial(search.paths, 3)
    again = create_rerun(search.paths, search.spec, record)
    assert again.name == "try-rerun-3"
    spec = load_spec(again)
    assert (spec.name, spec.retries, spec.repeats) == ("try-rerun-3", 1, None)
    assert (spec.resources, spec.objective, spec.constraints) == (
        search.spec.resources,
        search.spec.objective,
        search.spec.constraints,
    )
    assert (spec.early_stopping.name, spec.budget.hours) == ("none", None)
    assert read_spec(again.spec_source).spec == spec
    asked = SearchStudy(again, spec, Config)
    assert asked.ask().config == configs[3]
    assert configs[3]["seed"] == 5
    assert asked.ask() is None


def test_a_second_rerun_has_a_directory_of_its_own(recorded):
    paths = recorded()
    names = [create_rerun(paths, load_spec(paths), load_trials(paths)[0]).name for _ in range(2)]
    assert names == ["try-rerun-0", "try-rerun-0-2"]


def test_a_rerun_knows_where_it_comes_from(recorded, tmp_path, monkeypatch):
    paths = recorded()
    launched_from = str(Path.cwd())
    monkeypatch.chdir(tmp_path)
    known = read_json(create_rerun(paths, load_spec(paths), load_trials(paths)[0]).provenance)
    assert known["rerun_of"] == {"search": str(paths.root), "trial": 0}
    assert known["working_directory"] == launched_from
    assert known["versions"]


@pytest.mark.parametrize("value", [[{"steps": 3}], {"a": 1}, None])
def test_a_configuration_of_structures_alone_can_be_searched_too(make_search, value):
    search = make_search()
    record = SimpleNamespace(number=0, config={"optional": value})
    spec = rerun_spec(search.spec, record, "again")
    assert (list(spec.space), spec.base) == (["optional"], {})
    assert spec.space["optional"].choices == {"recorded": value}


def test_text_that_looks_like_another_value_stays_text(make_search):
    search = make_search()
    record = SimpleNamespace(number=0, config={"a": "1e-4", "b": "yes", "c": "null", "d": "ü: [red]"})
    # The method has no such fields: only the spec is looked at.
    assert read_spec(create_rerun(search.paths, search.spec, record).spec_source).spec.base == {
        "b": "yes",
        "c": "null",
        "d": "ü: [red]",
    }


@pytest.mark.parametrize(
    ("search", "name"),
    [("heads", "heads-rerun-12"), ("a" * 80, f"{'a' * 55}-rerun-12"), (".my search", "my-search-rerun-12")],
)
def test_the_name_of_a_rerun_is_fit_for_a_spec_and_a_directory(search, name):
    assert rerun_name(search, 12) == name
    assert make_spec(name=name).name == name


def test_a_scratch_that_cannot_be_used_leaves_no_directory(recorded, monkeypatch, searches):
    paths = recorded()
    monkeypatch.setenv("SWELL_SCRATCH", "/" + "x" * 100)
    with pytest.raises(RerunError, match="SWELL_SCRATCH"):
        rerun_command(paths, 0, here=False, console=Console())
    assert [path.name for path in searches.iterdir()] == ["try"]


# -- the comparison


def run(outcome="completed", step=30, reports=((10, {"a": 1.0}), (20, {"a": 2.0})), **parts):
    return Run(outcome, step, reports=list(reports), **parts)


def test_a_report_that_is_missing_or_has_another_metric_is_a_difference():
    assert first_difference(run(), run()) is None
    found = first_difference(run(), run(reports=[(10, {"a": 1.0})]))
    assert str(found) == "step 20, a was 2.0 and is not reported"
    found = first_difference(run(), run(reports=[(10, {"a": 1.0, "b": 5.0}), (20, {"a": 7.0})]))
    assert str(found) == "step 10, b was not reported and is 5.0"


def test_reports_that_were_not_reached_are_counted_apart():
    lines = describe(run(), run("crashed", 10, [(10, {"a": 1.0})]), ["a"])
    assert lines[:2] == [
        "ended differently: was completed at step 30, is crashed at step 10",
        "reports: 1 of 2 are the same, the other 1 not reached",
    ]


def test_a_pruned_trial_that_now_fails_before_it_was_pruned_has_ended_differently():
    assert describe(run("pruned", 20), run("diverged", 10), [])[0].startswith(
        "ended differently: was pruned at step 20"
    )
    assert describe(run("pruned", 20), run("diverged", 30), [])[0].startswith("trained on: was pruned at step 20")


def test_errors_are_the_same_where_they_say_the_same_wherever_they_were_caught():
    text = 'Traceback (most recent call last):\n  File "{}", line 1, in f\n    g()\n    ^^^\nValueError: {}\nrow 2\n'
    one = run("crashed", 0, [], error=text.format("actor.py", "[red] no"))
    same_said = run("crashed", 0, [], error=text.format("worker.py", "[red] no"))
    other = run("crashed", 0, [], error=text.format("actor.py", "[red] yes"))
    assert describe(one, same_said, [])[1] == "its error is the same"
    assert describe(one, other, [])[1] == "its error is another"


# -- a whole search


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A real search of mixed troubles."""
    folder = tmp_path_factory.mktemp("rerun")
    scratch = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))  # Ray's socket paths must be short
    spec = folder / "mixed.yaml"
    spec.write_text(
        "name: mixed\ntrainable: tests.methods.ripple\nobjective: {metric: val_error}\nresources: {cpus: 2}\n"
        "space:\n  trouble: [none, nan, exception]\n  learning_rate: [0.03, 0.1]\nsampler: {name: grid}\n"
    )
    own = {"SWELL_ROOT": str(folder / "searches"), "SWELL_SCRATCH": str(scratch), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **own}

    def python(*arguments):
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
        )
        return SimpleNamespace(code=done.returncode, lines=done.stdout.splitlines(), out=done.stdout, err=done.stderr)

    done = python("-m", "swell", "run", str(spec))
    assert done.code == 0, done.err
    paths = SearchPaths(folder / "searches" / "mixed")
    trials = {record.config["trouble"]: record for record in load_trials(paths)}
    yield SimpleNamespace(paths=paths, trials=trials, rerun=lambda *rest: python("-P", "-c", WATCHED, *rest))
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--here"]])
def test_a_trial_of_a_real_search_trains_to_the_same_numbers(searched, how):
    record = searched.trials["none"]
    done = searched.rerun(str(searched.paths.root), str(record.number), *how)
    assert done.code == 0, done.err
    assert "ended as before: completed at step 30" in done.lines
    assert "reports: 3 of 3 are the same" in done.lines
    assert "differs" not in done.out
    assert table(done)["val_error"] == [f"{record.metrics['val_error']:.6g}"] * 2
    if not how:
        (again,) = load_trials(SearchPaths(searched.paths.root.with_name(f"mixed-rerun-{record.number}")))
        assert (again.config, again.metrics) == (record.config, record.metrics)


@pytest.mark.slow
def test_a_crash_of_a_real_search_crashes_again(searched):
    record = searched.trials["exception"]
    before = content(searched.paths.root)
    done = searched.rerun(str(searched.paths.root), str(record.number))
    assert done.code == 1
    assert f"ended as before: crashed at step {record.step}" in done.lines
    assert "RuntimeError: the method's own bug" in done.lines
    assert "its error is the same" in done.lines
    assert content(searched.paths.root) == before
