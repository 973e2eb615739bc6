import io
import re
import sys
from pathlib import Path

import pytest

from analysis.crashed import MOST_CHARACTERS, describe, find_crashes, ranges, show_crashed
from cluster.console import Console
from cluster.state.failures import worth_naming
from cluster.state.outcomes import Outcome
from cluster.state.raised import Frame, Raised, chain_of, from_json, from_text, text_of, to_json

ROOT = Path(__file__).parents[2]
HERE = "tests.analysis.test_crashed"
JAX_NOTE = """\
--------------------
For simplicity, JAX has removed its internal frames from the traceback of the following exception. Set \
JAX_TRACEBACK_FILTERING=off to include these.
"""


def result(error="", **parts):
    return {"metrics": {}, "seconds": 1.0, "step": 10, "error": error, **parts}


def tell(search, *ends):
    """End trials, each with an outcome, an error and whatever else is recorded of it."""
    study = search.open()
    for outcome, error, parts in ends:
        study.tell(study.ask().number, outcome, result(error, **parts))
    return search.paths


def crashed(*errors):
    """Return the ends of trials that raised these, as a worker tells them; of texts, as earlier versions did."""
    return [
        (Outcome.CRASHED, *((error, {}) if isinstance(error, str) else (text_of(error), {"raised": noted(error)})))
        for error in errors
    ]


def noted(error):
    return to_json(chain_of(error))


def caught(function):
    """Return the exception that a function raises."""
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def came_through(*frames, message="ValueError: no"):
    return Raised(tuple(Frame(*frame) for frame in frames), message)


def frames_text(*frames, message="ValueError: no"):
    lines = [f'  File "{file}", line {line}, in {function}\n    code()' for file, line, function in frames]
    return "\n".join(["Traceback (most recent call last):", *lines, message, ""])


def chain(what):
    """Return what a record has of an exception, or a chain as it is."""
    if isinstance(what, BaseException):
        return from_json(noted(what))
    return [what] if isinstance(what, Raised) else what


def named(what, launched=ROOT, trainable="two_body"):
    return worth_naming(chain(what), [launched], trainable)


def message_of(what):
    return chain(what)[-1].message


def shown(paths, terminal=False, width=200):
    out = io.StringIO()
    assert show_crashed(paths, Console(file=out, width=width, force_terminal=terminal, no_color=True)) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


KINDS = (KeyError, ValueError, OSError, TypeError, EOFError)


def raising(message="the method's own bug", kind=RuntimeError):
    raise kind(message)


def line_of(function, offset=1):
    return function.__code__.co_firstlineno + offset


# -- tracebacks


def test_a_frame_of_a_library_is_passed_over_for_the_users_that_called_it():
    error = came_through(
        ("/opt/swell/cluster/worker/actor.py", 100, "_open"),
        ("/opt/swell/trainables/_shared/training.py", 60, "advance"),
        ("/home/u/lab/my_lab/fit.py", 31, "data"),
        ("/home/u/lab/.venv/lib/python3.11/site-packages/numpy/lib/io.py", 400, "load"),
        ("/usr/lib/python3.11/json/decoder.py", 355, "raw_decode"),
        ("<frozen importlib._bootstrap>", 1, "_call"),
    )
    assert named(error, Path("/home/u/lab")) == "my_lab.fit:31 in data"


def test_a_frame_of_a_method_of_this_package_is_worth_naming_wherever_it_is_installed():
    root = "/opt/venv/lib/python3.11/site-packages"
    error = came_through(
        (f"{root}/cluster/worker/actor.py", 100, "_open"),
        (f"{root}/trainables/two_body/heads.py", 12, "build"),
        (f"{root}/trainables/_shared/config.py", 5, "numeric"),
        (f"{root}/jax/_src/lax.py", 7, "dot"),
    )
    assert named(error) == "trainables.two_body.heads:12 in build"


def test_a_users_method_that_is_installed_as_a_package_is_no_library():
    root = "/opt/venv/lib/python3.11/site-packages"
    error = came_through((f"{root}/my_lab/fit.py", 3, "loss"), (f"{root}/jax/_src/lax.py", 7, "dot"))
    assert named(error, trainable="my_lab.fit") == "my_lab.fit:3 in loss"
    assert named(error, trainable="other_lab.fit") == "jax._src.lax:7 in dot"


def test_without_a_frame_of_a_user_ours_is_named_before_a_librarys():
    library = ("/opt/venv/lib/python3.11/site-packages/jax/__init__.py", 7, "dot")
    ours = ("/opt/swell/trainables/_shared/program.py", 90, "run")
    error = came_through(("/opt/swell/cluster/worker/actor.py", 1, "step"), ours, library)
    assert named(error) == "trainables._shared.program:90 in run"
    assert named(came_through(library)) == "jax:7 in dot"


@pytest.mark.parametrize("link", ["cause", "context"])
def test_of_chained_exceptions_the_last_is_named(link):
    def chained():
        try:
            raising("first")
        except RuntimeError as error:
            if link == "cause":
                raise KeyError("second") from error
            raise KeyError("second")  # noqa: B904

    error = caught(chained)
    assert [raised.message for raised in chain(error)] == ["RuntimeError: first", "KeyError: 'second'"]
    offset = 5 if link == "cause" else 6
    assert named(error) == f"{HERE}:{line_of(chained, offset)} in chained"


def test_an_exception_raised_by_a_library_is_placed_where_the_user_raised_its_cause():
    error = [
        came_through(("/home/u/fit.py", 4, "loss"), message="KeyError: 'a'"),
        came_through(("/usr/lib/python3.11/functools.py", 9, "wrap"), message="TypeError: b"),
    ]
    assert (named(error, Path("/home/u")), message_of(error)) == ("fit:4 in loss", "TypeError: b")


def test_a_message_of_many_lines_is_its_first_whatever_it_quotes():
    quoted = frames_text(("/remote/fit.py", 99, "far"), message="OSError: far away")
    link = "During handling of the above exception, another exception occurred:"
    error = caught(lambda: raising(f'row 3 of 17\n  File "x.py", line 1, in y\n{link}\n{quoted}'))
    assert message_of(error) == "RuntimeError: row 3 of 17"
    assert named(error) == f"{HERE}:{line_of(raising)} in raising"


def test_a_message_that_begins_on_the_next_line_is_read_from_there():
    assert message_of(caught(lambda: raising("\n\n  shapes differ\nby 3"))) == "RuntimeError: shapes differ"


def test_an_exception_without_a_message_is_its_type():
    def fail():
        raise AssertionError

    assert message_of(caught(fail)) == "AssertionError"


def test_a_syntax_error_is_placed_in_the_file_that_has_it(tmp_path, monkeypatch):
    (tmp_path / "torn_method.py").write_text("x = 1\n\ndef f(:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = caught(lambda: __import__("torn_method"))
    assert named(error, tmp_path) == "torn_method:3"
    assert message_of(error) == "SyntaxError: invalid syntax"


def test_a_group_of_exceptions_is_named_with_its_first():
    def group():
        raise ExceptionGroup("both", [ExceptionGroup("inner", [ValueError("2\n3")]), TypeError("4")])

    error = caught(group)
    assert message_of(error) == (
        "ExceptionGroup: both (2 sub-exceptions), the first ExceptionGroup: inner (1 sub-exception), "
        "the first ValueError: 2"
    )
    assert named(error) == f"{HERE}:{line_of(group)} in group"


def test_a_group_raised_by_a_library_is_placed_where_its_first_exception_was():
    def group():
        try:
            raising()
        except RuntimeError as error:
            found = error
        raise ExceptionGroup("tasks", [found])

    first, last = chain(caught(group))
    last = Raised(tuple(Frame("/usr/lib/python3.11/asyncio/taskgroups.py", 3, "run") for _ in last.frames), "")
    assert named([first, last]) == f"{HERE}:{line_of(raising)} in raising"


def test_a_chain_that_ends_in_a_group_is_the_group():
    def chained():
        try:
            raising("first")
        except RuntimeError as error:
            raise ExceptionGroup("eg", [ValueError(1)]) from error

    messages = [raised.message for raised in chain(caught(chained))]
    assert messages == ["RuntimeError: first", "ValueError: 1", "ExceptionGroup: eg (1 sub-exception), the first "
                        "ValueError: 1"]  # fmt: skip


def test_an_exception_of_a_group_has_a_chain_of_its_own():
    def group():
        try:
            try:
                raising("deep")
            except RuntimeError as error:
                raise KeyError("outer") from error
        except KeyError as error:
            found = error
        raise ExceptionGroup("eg", [found, ValueError(2)])

    messages = [raised.message for raised in chain(caught(group))]
    assert messages[:2] == ["RuntimeError: deep", "KeyError: 'outer'"]
    assert messages[2:] == ["ExceptionGroup: eg (2 sub-exceptions), the first KeyError: 'outer'"]


def test_a_table_in_a_message_is_no_group():
    error = caught(lambda: raising("sizes\n+-+--+\n| Traceback"))
    assert [raised.message for raised in chain(error)] == ["RuntimeError: sizes"]


@pytest.mark.parametrize("filtering", ["quiet_remove_frames", "remove_frames", "off"])
def test_an_error_under_jax_is_placed_in_the_users_function_however_jax_filters(filtering):
    import jax
    import jax.numpy as jnp

    def product(x):
        return jnp.dot(x, jnp.ones(4))

    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", filtering)
    try:
        error = caught(lambda: jax.jit(product)(jnp.ones(3)))
    finally:
        jax.config.update("jax_traceback_filtering", before)
    assert named(error) == f"{HERE}:{line_of(product)} in product"
    assert message_of(error).startswith("TypeError: dot_general requires contracting dimensions")
    assert message_of(error).endswith("got (3,) and (4,).")


def test_a_recursion_without_end_is_one_place():
    def deeper(n):
        return deeper(n + 1)

    error = caught(lambda: deeper(0))
    assert len(chain(error)[0].frames) < 100  # of a thousand
    assert named(error) == f"{HERE}:{line_of(deeper)} in deeper"
    assert message_of(error).startswith("RecursionError: maximum recursion depth exceeded")


def test_what_an_exception_says_is_kept_within_bounds_and_without_what_a_terminal_chokes_on():
    error = caught(lambda: raising("\x1b[31m\ud800\x00" + "y" * 10**6))
    assert message_of(error).startswith(r"RuntimeError: \x1b[31m\ud800\x00yyy")
    assert len(message_of(error)) == 1000
    text = text_of(error)
    assert r"\x1b[31m\ud800\x00yyy" in text
    assert len(text) < 5000
    many = text_of(caught(lambda: raising("line\n" * 10**6)))
    assert len(many) < 21_000
    assert "in raising" in many


def test_an_exception_that_cannot_say_what_it_is_is_its_type():
    class MuteError(Exception):
        def __str__(self):
            raise KeyboardInterrupt

        __repr__ = __str__

    def fail():
        raise MuteError

    error = caught(fail)
    assert message_of(error).endswith("MuteError: <its message cannot be shown>")
    assert "MuteError" in text_of(error)
    assert named(error) == f"{HERE}:{line_of(fail)} in fail"


def test_exceptions_that_are_each_others_cause_come_once():
    first, second = ValueError(1), KeyError(2)
    first.__cause__, second.__cause__ = second, first
    assert [raised.message for raised in chain(first)] == ["KeyError: 2", "ValueError: 1"]


# -- of what there is only text


@pytest.mark.parametrize("text", ["", "learning_rate = -1: must be positive", 'File "x.py", line 3, in y', "\n \n"])
def test_other_text_is_no_traceback(text):
    assert from_text(text) == []


def test_a_traceback_that_breaks_off_still_has_its_place():
    text = frames_text(("/home/u/fit.py", 4, "loss"), message="")
    assert (named(from_text(text), Path("/home/u")), message_of(from_text(text))) == ("fit:4 in loss", "")


def test_a_record_of_an_earlier_version_is_placed_by_its_text(make_search):
    error = caught(raising)
    old, new = find_crashes(tell(make_search(), *crashed(text_of(error) + JAX_NOTE))), caught(raising)
    (group,) = old.groups
    assert (group.where, group.what) == (named(error), "RuntimeError: the method's own bug")
    (both,) = find_crashes(tell(make_search(), *crashed(text_of(error), new))).groups
    assert both.trials == (0, 1)


def test_a_process_that_died_is_shown_with_what_ended_it_and_where(make_search):
    segfault = """its worker process died
Fatal Python error: Segmentation fault

Current thread 0x00007f{n}aca75b80 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/u/lab/m.py", line 28 in data
  File "/opt/swell/cluster/worker/actor.py", line 130 in _open
"""
    flag = """its worker process died
F1129 01:24:56.538579   3134{n} parse_flags_from_env.cc:234] Unknown flag in XLA_FLAGS: --xla_gpu_nonsense_flag=1
Fatal Python error: Aborted
"""
    texts = [text.replace("{n}", str(n)) for text in (segfault, flag) for n in (1, 2)]
    ends = [(Outcome.WORKER_LOST, text, {}) for text in [*texts, "its worker process died"]]
    search = make_search(retries=0)
    groups = find_crashes(tell(search, *ends)).groups
    assert [(group.where, group.what, group.trials) for group in groups] == [
        ("/home/u/lab/m.py:28 in data", "its worker process died: Fatal Python error: Segmentation fault", (0, 1)),
        ("", "its worker process died: Unknown flag in XLA_FLAGS: --xla_gpu_nonsense_flag=1", (2, 3)),
        ("", "its worker process died", (4,)),
    ]
    assert [line.strip() for line in groups[0].example] == [line.strip() for line in segfault.splitlines()[4:7]]


# -- groups


def test_failures_are_together_by_outcome_place_and_exception_the_most_first(make_search):
    bug, other, numbered = (caught(lambda message=message: raising(message)) for message in ("a", "b", "a 7"))
    ends = [
        *crashed(other, bug, bug, numbered),
        (Outcome.COMPLETED, "", {"metrics": {"val_error": 1.0}}),
        *crashed(bug),
        (Outcome.DIVERGED, "", {}),
        (Outcome.DIVERGED, "", {}),
        (Outcome.INVALID_CONFIG, "size = 9: too large\nmore", {}),
        (Outcome.PRUNED, "", {"metrics": {"val_error": 2.0}}),
    ]
    crashes = find_crashes(tell(make_search(), *ends))
    place = f"{HERE}:{line_of(raising)} in raising"
    assert crashes.num_trials == 10
    assert [(group.outcome.value, group.where, group.what, group.trials) for group in crashes.groups] == [
        ("crashed", place, "RuntimeError: b (and 2 other messages)", (0, 1, 2, 3, 5)),
        ("diverged", "", Outcome.DIVERGED.sentence, (6, 7)),
        ("invalid_config", "", "size = 9: too large", (8,)),
    ]


def test_what_makes_a_search_pause_as_one_way_of_failing_is_one_way(make_search):
    """Each has a message of its own, as if it had another path in it."""
    search = make_search(budget={"trials": 100})
    ends = crashed(*(caught(lambda n=n: raising(f"cannot mount {chr(97 + n) * 400}", OSError)) for n in range(5)))
    study = search.open()
    for outcome, error, parts in ends:
        study.tell(study.ask().number, outcome, result(error, **parts))
    assert "5 configurations failed in the same way" in study.brake.reason
    (group,) = find_crashes(search.paths).groups
    assert group.messages[2] == f"OSError: cannot mount {'c' * 400}"
    assert group.what.endswith("aaa [...] (and 4 other messages)")
    assert len(group.what) == MOST_CHARACTERS
    assert "5 of 5 trials of try failed, in one way" in shown(search.paths)


def test_the_same_search_is_always_shown_the_same(make_search):
    errors = [caught(lambda n=n: raising(f"{n}", KINDS[n % 5])) for n in range(15)]
    paths = tell(make_search(keep_going=True), *crashed(*errors))
    assert [group.trials for group in find_crashes(paths).groups] == [(n, n + 5, n + 10) for n in range(5)]
    assert shown(paths) == shown(paths)


def test_a_group_tells_attempts_and_the_largest_peak_of_those_out_of_memory(make_search):
    search = make_search()
    ends = [(Outcome.OUT_OF_MEMORY, "MemoryError", {"peak_memory_mb": peak}) for peak in (100.0, 2000.4, 5.0)]
    study = search.open()
    for index, (outcome, error, parts) in enumerate(ends):
        number = study.ask().number
        study._running[number].set_user_attr("attempts", 1 + index)
        study._running[number].set_user_attr("failures", [{}] * search.spec.retries)  # the last it may have
        study.tell(number, outcome, result(error, **parts))
    (group,) = find_crashes(search.paths).groups
    assert (group.attempts, group.peak_memory_mb) == ((1, 3), 2000.4)
    assert find_crashes(search.paths).retried == ()  # they have ended
    assert "3 out_of_memory  trials 0-2; 1 to 3 attempts; up to 2000 MB\n  MemoryError\n" in shown(search.paths)


def test_memory_is_told_only_of_those_that_ran_out_of_it(make_search):
    assert "MB" not in shown(tell(make_search(), (Outcome.CRASHED, "", {"peak_memory_mb": 99.0})))


def test_an_open_trial_with_failed_attempts_is_a_note_and_no_failure(make_search):
    search = make_search()
    study = search.open()
    for attempts in (1, 3, 2):
        number = study.ask().number
        study._running[number].set_user_attr("attempts", attempts)
    study._running[1].set_user_attr("failures", [{"outcome": "timed_out"}, {"outcome": "out_of_memory"}])
    study.tell(2, Outcome.STOPPED, result())
    assert find_crashes(search.paths).groups == ()
    assert shown(search.paths).splitlines() == [
        "no trial of try has failed, of 3",
        "",
        "note: still open after failed attempts: trial 1 (2, last out_of_memory), trial 2 (1, last its driver died)",
    ]


# -- print


def test_a_search_without_failures_says_so(make_search):
    ends = [(Outcome.COMPLETED, "", {"metrics": {"val_error": 1.0}})] * 2
    assert shown(tell(make_search(), *ends)) == "no trial of try has failed, of 2\n"


def test_a_search_without_trials_says_so(make_search):
    assert shown(make_search().paths) == "try has no trials yet\n"


def test_few_groups_are_shown_with_the_end_of_a_traceback(make_search):
    error = caught(raising)
    assert shown(tell(make_search(), *crashed(error, error))).splitlines() == [
        "2 of 2 trials of try failed, in one way",
        "",
        "2 crashed  trials 0-1; 1 attempt each",
        f"  {HERE}:{line_of(raising)} in raising",
        "  RuntimeError: the method's own bug",
        "  the end of trial 0's traceback:",
        *(f"    {line}" for line in text_of(error).rstrip().splitlines()[-6:]),
        "",
        "look at one, here and now: swell rerun try 0 --here",
    ]


def test_many_groups_are_shown_without_tracebacks(make_search):
    errors = [caught(lambda n=n: raising(f"bug {n}", KINDS[n])) for n in range(4)]
    assert shown(tell(make_search(), *crashed(*errors[:3]))).count("the end of trial") == 3
    lines = shown(tell(make_search(), *crashed(*errors))).splitlines()
    assert "4 of 4 trials of try-2 failed, in 4 ways" in lines
    assert not [line for line in lines if "the end of trial" in line or "Error(message)" in line]
    assert lines.count(f"  {HERE}:{line_of(raising)} in raising") == 4


def test_jaxs_note_about_its_frames_is_not_the_end_of_a_traceback(make_search):
    error = text_of(caught(raising))
    (group,) = find_crashes(tell(make_search(), *crashed(error + JAX_NOTE))).groups
    assert list(group.example) == error.rstrip().splitlines()[-6:]


def test_nothing_that_a_method_says_is_markup(make_search):
    out = shown(tell(make_search(), *crashed(caught(lambda: raising("[red]no[/] [/nothing] shape [3, 4]")))))
    assert "  RuntimeError: [red]no[/] [/nothing] shape [3, 4]" in out.splitlines()


def test_a_long_message_is_cut_and_stays_one_line(make_search):
    out = shown(tell(make_search(), *crashed(caught(lambda: raising("x" * 10**6 + "\ny")))), width=40)
    (line,) = [line for line in out.splitlines() if line.startswith("  RuntimeError: ")]
    assert (len(line), line[-6:]) == (2 + 300 + 6, " [...]")
    assert len(out) < 3000


def test_a_long_traceback_is_shown_by_its_end(make_search):
    text = frames_text(*(("/home/u/fit.py", n, "deep") for n in range(50_000)))
    out = shown(tell(make_search(), *crashed(text)))
    assert "fit.py:49999 in deep" in out or "/home/u/fit:49999 in deep" in out
    assert 'File "/home/u/fit.py", line 49996' not in out
    assert len(out.splitlines()) < 20


@pytest.mark.parametrize(
    ("numbers", "most", "text"),
    [
        ([4], None, "4"),
        ([3, 4, 5, 6, 7, 12], None, "3-7, 12"),
        ([0, 1, 3, 5, 6], 2, "0-1, 3 and 2 more"),
        ([0, 1, 3, 5, 6], 3, "0-1, 3, 5-6"),
    ],
)
def test_trial_numbers_are_ranges(numbers, most, text):
    assert ranges(numbers, most) == text


def test_a_terminal_is_spared_long_lists_of_trials_and_a_file_is_not(make_search):
    ends = [
        (Outcome.SOLVER_FAILED if n % 2 else Outcome.COMPLETED, "", {"metrics": {"val_error": 1.0}}) for n in range(48)
    ]
    paths = tell(make_search(budget={"trials": 48}), *ends)
    assert "trials 1, 3, 5, 7, 9, 11, 13, 15 and 16 more; 1 attempt each" in shown(paths, terminal=True)
    assert f"trials {', '.join(str(n) for n in range(1, 48, 2))}; 1 attempt each" in shown(paths)


def test_the_hint_names_a_trial_of_the_largest_group(make_search):
    errors = [caught(lambda n=n: raising("bug", n)) for n in (KeyError, OSError, OSError)]
    crashes = find_crashes(tell(make_search(), *crashed(*errors)))
    assert describe(crashes, "try")[-1].plain == "look at one, here and now: swell rerun try 1 --here"


def test_it_needs_neither_pandas_nor_jax():
    import subprocess

    code = (
        "import sys, analysis.crashed; sys.exit(' '.join({'pandas', 'jax', 'optuna', 'ray'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
