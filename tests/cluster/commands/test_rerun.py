"""One trial again: what the search has recorded of it is held against a real worker's training."""

import shutil

import pytest

from cluster.commands import rerun_worker
from cluster.commands.rerun import RerunError, create_rerun
from cluster.machine.files import read_json, write_json
from cluster.state.outcomes import Outcome
from cluster.state.records import load_history, load_spec, load_trials
from tests.methods.ripple.config import Config
from tests.rerunning import TRACEBACK, change_history, content, table
from trainables._shared.program import Program


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


@pytest.mark.parametrize("field", ["shift", ""])
def test_a_package_that_is_missing_here_is_told_before_the_trial_is_run(recorded, quick_rerun, monkeypatch, field):
    paths = recorded()
    monkeypatch.setattr(Config, "needs", lambda self: {"no_such_cosmology": field})
    said = r"^trial 0 cannot be run again here: .*no_such_cosmology.* is not installed: pip install no_such_cosmology$"
    with pytest.raises(RerunError, match=said):
        quick_rerun(paths)


def test_an_objective_that_is_not_measured_is_the_methods_failure_whatever_was_recorded_before(recorded, quick_rerun):
    paths = recorded(spec={"objective": {"metric": "nowhere"}}.items())
    assert load_trials(paths)[0].outcome is Outcome.DIVERGED
    done = quick_rerun(paths)
    assert done.code == 1
    assert "ended differently: was diverged at step 30, is crashed at step 30" in done.lines
    assert "ReturnedError: nowhere, the objective, was not measured; measured were test_error, " in done.err


def test_the_original_search_is_not_written_to(recorded, quick_rerun):
    paths = recorded()
    before = content(paths.root)
    assert quick_rerun(paths).code == 0
    create_rerun(paths, load_spec(paths), load_trials(paths)[0])
    assert content(paths.root) == before
    assert not list(paths.checkpoints.iterdir())


def test_a_trial_is_trained_again_in_company_of_the_values_that_shared_its_program(recorded, quick_rerun, monkeypatch):
    made = []

    def noted(*args):
        made.append(Program(*args))
        return made[-1]

    monkeypatch.setattr(rerun_worker, "Program", noted)
    paths = recorded()
    assert quick_rerun(paths).code == 0
    write_json(paths.branches, {"curve": ["square", "hyperbola"]})
    assert quick_rerun(paths).code == 0
    assert [program.branches for program in made] == [{}, {"curve": ("hyperbola", "square")}]


@pytest.mark.parametrize("searched", [None, {"curve": ["square", "hyperbola"]}])
def test_a_rerun_that_is_a_search_has_the_company_of_its_origin(recorded, searched):
    paths = recorded()
    if searched:
        write_json(paths.branches, searched)
    again = create_rerun(paths, load_spec(paths), load_trials(paths)[0])
    assert read_json(again.branches) == searched
