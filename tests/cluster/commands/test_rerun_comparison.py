"""What is said of a rerun's numbers and its end beside the recorded ones."""

from cluster.commands.rerun_comparison import Run, describe, first_difference


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
