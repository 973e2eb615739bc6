"""What users have written is printed as it is: nothing of it is markup, an emoji code, or an order to the terminal."""

import io
import json

import pytest
from typer.testing import CliRunner

import swell
from cluster.commands.clean import SCRATCH, Leftover
from cluster.commands.clean_output import describe as describe_leftover
from cluster.commands.doctor import draw
from cluster.commands.rerun_comparison import Run
from cluster.commands.rerun_comparison import describe as describe_rerun
from cluster.console import Console
from cluster.jobs.launched import Launch
from cluster.machine.findings import Finding, Verdict
from cluster.state.outcomes import Outcome
from cluster.supervision.foreground import conclude
from cluster.supervision.supervisor import Ending
from cluster.wording import on_one_line, visible
from tests.searching import result

NASTY = "[/day] [red] \\[ :smile: \x1b[31m\x1b]0;owned \x9b2J \u202e"
SHOWN = "[/day] [red] \\[ :smile: \\x1b[31m\\x1b]0;owned \\x9b2J \\u202e"


def printed(*renderables):
    console = Console(file=io.StringIO(), width=300, force_terminal=True, no_color=True)
    for renderable in renderables:
        console.print(renderable)
    text = console.file.getvalue()
    assert "\x1b]" not in text
    assert "\x1b[31m" not in text
    return text


@pytest.fixture
def search(make_search):
    """A search whose every text would move a terminal, or break markup."""
    search = make_search(
        objective={"metric": f"decay {NASTY}"},
        space={"shift": {"choices": {f"left {NASTY}": -1.0, f"right {NASTY}": 1.0}}},
        budget={"trials": 3},
    )
    study = search.open()
    for _ in range(3):
        study.ask()
    study.tell(0, Outcome.COMPLETED, result(**{f"decay {NASTY}": 1.0, f"beside {NASTY}\n2": 2.0}))
    error = f'Traceback (most recent call last):\n  File "/x/{NASTY}.py", line 1, in f\nValueError: {NASTY}\n{NASTY}\n'
    study.tell(1, Outcome.CRASHED, result() | {"error": error, "host": f"host {NASTY}"})
    search.paths.status.write_text(
        json.dumps(
            {
                "outcomes": {"completed": 1, "crashed": 1},
                "failed": f"why {NASTY}",
                "best": {"value": 1.0, "trial": 0},
                "running": [{"trial": 2, "step": 1, "objective": 0.5}],
            }
        )
    )
    return search


@pytest.fixture
def call():
    def run(*arguments):
        done = CliRunner().invoke(swell.app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert not set("\x1b\x07\x9b\u202e") & set(done.stdout + done.stderr)
        return done

    return run


def flat(text):
    return " ".join(text.split())


def test_the_table_has_names_and_values_as_they_are(call, search):
    done = call("table", "try", "--columns", f"trial,shift,decay {NASTY},beside {NASTY}\n2")
    assert done.exit_code == 0
    assert f"left {SHOWN}" in done.stdout or f"right {SHOWN}" in done.stdout
    assert f"decay {SHOWN}" in done.stdout
    assert f"beside {SHOWN}\\n2" in done.stdout
    for form in ("markdown", "latex"):
        assert call("table", "try", "--format", form).exit_code == 0


def test_a_column_that_is_not_there_is_told_as_it_was_given(call, search):
    done = call("table", "try", "--columns", NASTY.strip())
    assert done.exit_code == 2
    assert "[/day] [red]" in done.stderr


@pytest.mark.parametrize("command", [["crashed", "try"], ["status", "try"], ["status"], ["best", "try"]])
def test_every_other_command_shows_it_too(call, search, command):
    done = call(*command)
    assert done.exit_code == 0, done.stderr
    if command == ["crashed", "try"]:
        assert f"ValueError: {SHOWN}"[:100] in flat(done.stdout)
    if command == ["status", "try"]:
        assert f"why {SHOWN}" in done.stdout
        assert f"best 1 decay {SHOWN}" in done.stdout


def test_a_search_in_a_folder_with_such_a_name_is_shown_and_found(call, search, searches):
    search.paths.root.rename(searches / f"x{NASTY.replace('/', '-')}\n2")
    done = call("status")
    assert done.stdout.split()[6:11] == ["x[-day]", "[red]", "\\[", ":smile:", "failed"]
    assert "\\u202e\\n2" in done.stdout
    assert call("table", f"x{NASTY.replace('/', '-')}\n2").exit_code == 0
    missing = call("table", NASTY)
    assert missing.exit_code == 2


def test_launches_from_such_machines_are_listed(call, search):
    Launch("local", host=f"host {NASTY}", launched_at=1.0).write(search.paths)
    assert call("status").exit_code == 0
    assert call("status", "try").exit_code == 0


def test_findings_leftovers_reruns_and_endings_are_shown_as_they_are(search, tmp_path):
    finding = Finding("CPUs", f"name {NASTY}", f"found {NASTY}", Verdict.PROBLEM, f"advice {NASTY}")
    leftover = Leftover(tmp_path / NASTY.replace("/", "-"), SCRATCH, 1, 0.0, f"kept {NASTY}")
    again = Run("crashed", 3, error=NASTY)
    text = printed(*draw([finding], 250), describe_leftover(leftover, "kept"), *describe_rerun(again, again, [NASTY]))
    for what in ("name", "found", "-> advice", "kept"):
        assert f"{what} {SHOWN}" in text
    console = Console(file=io.StringIO(), width=300)
    assert conclude(search.paths, Ending("failed", f"since {NASTY}"), console) == 1
    assert f"The search failed: since {SHOWN}" in console.file.getvalue()


def test_control_characters_are_shown_and_letters_of_all_scripts_are_left_alone():
    assert visible("a\tb\nc ü Ω 漢 \r\x00\x1b\udcff") == "a\tb\nc ü Ω 漢 \\r\\x00\\x1b\\udcff"
    assert on_one_line("a\tb\nc") == "a\\tb\\nc"
