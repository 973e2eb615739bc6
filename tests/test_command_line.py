import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner

import cluster.commands
import swell
from cluster.machine.processes import identity
from cluster.machine.user import home_folder, missing_variables, user_name
from cluster.state.outcomes import Outcome
from cluster.state.storage_errors import StorageError
from search_spaces import errors
from tests.searching import result
from trainables._shared.node_cache import default_cache

ROOT = Path(__file__).parents[1]
SPEC = """\
name: short
trainable: tests.methods.ripple
objective: {metric: val_error}
space:
  learning_rate: {low: 1e-3, high: 1.0, log: true}
sampler: {name: random}
budget: {trials: 3}
"""


@pytest.fixture
def call(searches):
    """Run a command in this process; its texts must never hold a traceback."""

    def run(*arguments):
        done = CliRunner().invoke(swell.app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def searched(make_search):
    """A search of two completed trials."""
    search = make_search(budget={"trials": 2})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    return search


def swell_says(*arguments):
    """Run a command as the shell would; return its status and what it said of an error."""
    command = [sys.executable, "-P", "-m", "swell", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["table", "best", "crashed"])
def test_a_database_that_is_away_is_said_in_one_line_without_its_password(make_search, command):
    paths = make_search(storage="postgresql://somebody:secret@127.0.0.1:1/none").paths
    paths.study_name.write_text('{"study": "try-1"}')
    status, said = swell_says(command, paths.root)
    assert status == 2
    assert said.startswith("storage = postgresql://somebody:***@127.0.0.1:1/none: the server cannot be used: ")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_database_without_the_tables_is_said_in_one_line(make_search, postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE bare")
    paths = make_search(storage=postgres_url.rpartition("/")[0] + "/bare").paths
    paths.study_name.write_text('{"study": "try-1"}')
    status, said = swell_says("table", paths.root)
    assert (status, said.count("\n")) == (2, 1)
    assert 'relation "version_info" does not exist' in said


def test_a_disk_that_cannot_be_used_is_said_in_one_line(searched):
    searched.paths.journal.unlink()
    searched.paths.journal.mkdir()
    status, said = swell_says("crashed", searched.paths.root)
    assert status == 2
    assert said.startswith("[Errno 21] Is a directory: ")
    assert said.count("\n") == 1


def test_a_search_ends_as_it_did_though_its_trials_cannot_be_shown(searched, call, monkeypatch):
    def away(_paths):
        raise StorageError("postgresql://a:secret@b/c", "the server is away")

    monkeypatch.setattr("cluster.supervision.foreground.run_search", lambda paths: 130)
    monkeypatch.setattr("analysis.show.show_ending", away)
    done = call("resume", "try", "--here")
    assert (done.exit_code, done.stderr) == (130, "storage = postgresql://a:***@b/c: the server is away\n")


def options(command):
    return {
        name
        for parameter in command.params
        if parameter.name != "help"
        for name in (parameter.opts if parameter.param_type_name == "option" else [parameter.name])
    }


def test_the_command_line_is_frozen():
    """Variants of a search are configurations, never flags: think twice before this test changes."""
    group = typer.main.get_command(swell.app)
    assert {name: options(command) for name, command in group.commands.items()} == {
        "check": {"spec", "--probe", "--max-programs"},
        "run": {"spec", "--name"},
        "launch": {
            *("spec", "--on", "--site", "--nodes", "--jobs", "--cpus", "--hours", "--name", "--dry-run"),
        },
        "resume": {
            *("search", "outcomes", "--here", "--on", "--site", "--nodes", "--jobs", "--cpus", "--job-hours"),
            *("--failed", "--trials", "--hours", "--core-hours", "--target", "--patience-trials", "--code"),
        },
        "status": {"search"},
        "table": {
            *("searches", "--format", "--output", "-o", "--where", "--sort", "--by", "--top", "--columns"),
            "--by-configuration",
        },
        "best": {"search", "--trial", "--step", "--output", "-o"},
        "compare": {"search", "--factor", "--format", "--output", "-o"},
        "plot": {"search", "names", "--format", "--trials", "--set", "--from", "--output", "-o", "--list"},
        "evaluate": {
            "search",
            "more",
            "--on",
            "--trials",
            "--step",
            "--columns",
            "--examples",
            "--format",
            "--output",
            "-o",
        },
        "diff": {"sides", "--format", "--output", "-o", "--all"},
        "export": {"search", "--to", "--output", "-o", "--trials"},
        "report": {"searches", "--output", "-o", "--open"},
        "dashboard": {"search", "--port", "--open", "--optuna"},
        "stop": {"search", "--now", "--wait"},
        "watch": {"search"},
        "logs": {"search", "--follow", "-f", "--lines", "-n", "--job", "--node", "--driver"},
        "crashed": {"search"},
        "rerun": {"search", "trial", "--here", "--code"},
        "sync": {"search", "--watch", "--dry-run", "--delete-synced"},
        "clean": {"--foreign", "--dry-run", "--older-than-h"},
        "doctor": {"spec", "--site", "--submit"},
    }


def test_a_command_is_found_by_its_file_and_ends_with_the_status_that_it_returns(tmp_path, monkeypatch):
    (tmp_path / "say_so_command.py").write_text(
        'PLACE = 4\n\n\ndef say_so(loud: bool = False) -> int:\n    """Say so."""\n    return 7 if loud else 0\n'
    )
    monkeypatch.setattr("cluster.commands.__path__", [*cluster.commands.__path__, str(tmp_path)])
    names = list(typer.main.get_command(swell.app).commands)
    assert names[names.index("resume") : names.index("stop")] == ["resume", "say-so"]
    assert CliRunner().invoke(swell.app, ["say-so", "--loud"]).exit_code == 7
    assert CliRunner().invoke(swell.app, ["say-so"]).exit_code == 0


def test_the_errors_that_are_the_users_are_drawn_as_they_are():
    sources = [
        file.read_text()
        for folder in ("search_spaces", "cluster", "analysis")
        for file in (ROOT / folder).rglob("*.py")
    ]
    bases = dict(
        found for source in sources for found in re.findall(r"^class (\w+Error)\((\w+)\):", source, re.MULTILINE)
    )

    def ancestry(name):
        return (*ancestry(bases[name]), name) if name in bases else (name,)

    drawn, above = set(), []
    for indent, name in re.findall(r"^([ │├└]*)(\w+Error) {2,}\S", errors.__doc__, re.MULTILINE):
        above = [*above[: (len(indent) + 1) // 3], name]
        drawn.add(("Exception", *above))
    assert drawn == {line for line in map(ancestry, bases) if line[1] == "UserError"}


def test_every_command_and_every_option_is_explained():
    group = typer.main.get_command(swell.app)
    for command in group.commands.values():
        assert command.help.endswith(".")
        assert all(parameter.help for parameter in command.params if parameter.param_type_name == "option")


# -- the user's mistakes: exit code 2 and one message


def test_an_option_given_twice_is_refused_and_not_half_heard(call, searched):
    done = call("table", "try", "--format", "csv", "--top", "1", "--format", "latex")
    assert done.exit_code == 2
    assert "--format is given 2 times, and takes one value." in done.stderr
    assert done.stdout == ""
    assert call("export", "try", "-o", "x", "--output", "y").exit_code == 2
    done = call("evaluate", "try", "--on", "a", "--on", "b")  # takes several: refused for what they name
    assert "times" not in done.stderr


@pytest.mark.parametrize("command", ["resume", "status", "watch", "logs", "table", "best", "stop", "sync", "crashed"])
def test_an_unknown_search_names_the_ones_there_are(call, searched, command):
    done = call(command, "none-such")
    assert done.exit_code == 2
    assert done.stderr.startswith("no search 'none-such' in ")
    assert done.stderr.endswith("there are: try\n")
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the file cannot be read: No such file or directory"),
        ("name: short\n", "trainable: is required but not given"),
        (SPEC.replace("learning_rate", "learning_rat"), "did you mean 'learning_rate'?"),
        (SPEC.replace("ripple", "no_such"), "has no module 'no_such'. Allowed: one of its modules: alone, ripple"),
    ],
)
def test_a_broken_spec_is_refused_with_its_file(call, searches, tmp_path, command, text, message):
    spec = tmp_path / "short.yaml"
    if text is not None:
        spec.write_text(text)
    done = call(command, spec)
    assert done.exit_code == 2
    assert message in done.stderr
    assert str(spec) in done.stderr.replace("\n", "")
    assert not searches.exists()


def test_a_name_unfit_for_a_directory_is_refused(call, searches, tmp_path):
    spec = tmp_path / "short.yaml"
    spec.write_text(SPEC)
    done = call("run", spec, "--name", "../up")
    assert done.exit_code == 2
    assert done.stderr.startswith("name = '../up': must be fit for a directory's name")
    assert not searches.exists()


def test_a_search_in_other_hands_is_refused(call, searched):
    from filelock import FileLock

    searched.paths.supervisor_record.write_text(json.dumps(identity()))
    with FileLock(searched.paths.lock):
        done = call("resume", "try")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"search try is being worked on by process {os.getpid()} on ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "tral"], "no column 'tral'. Did you mean 'trial'?"),
        (["--output", "x.csv"], "--output needs a --format"),
        (["--format", "csv", "--output", "no/such/folder/x.csv"], "No such file or directory"),
        (["--format", "xml"], "Invalid value for '--format'"),
        (["--top", "0"], "Invalid value for '--top'"),
    ],
)
def test_a_table_that_cannot_be_made_says_why(call, searched, arguments, message):
    done = call("table", "try", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_search_without_a_completed_trial_has_no_best(call, make_search):
    search = make_search()
    study = search.open()
    study.ask()
    study.tell(0, Outcome.CRASHED, result())
    assert call("best", "try").exit_code == 2
    assert call("best", "try", "--trial", "0").stderr == "trial 0 has not completed; completed trials: none\n"


def test_a_best_that_cannot_be_written_says_why(call, searched, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = call("best", "try", "--output", tmp_path / "file")
    assert done.exit_code == 2
    assert "File exists" in done.stderr


# -- what works: exit code 0


def test_a_table_is_printed_and_written(call, searched, tmp_path):
    done = call("table", "try", "--columns", "trial,val_error")
    assert done.exit_code == 0
    assert done.stdout.split()[:2] == ["trial", "val_error"]
    target = tmp_path / "table.csv"
    assert call("table", searched.paths.root, "--format", "csv", "--output", target).exit_code == 0
    assert len(target.read_text().splitlines()) == 3


def test_configurations_are_printed(call, searched):
    done = call("table", "try", "--by-configuration", "--format", "csv")
    assert done.stdout.startswith("rank,configuration,seeds_completed,learning_rate,shift,val_error_mean,")


def test_the_status_of_one_and_of_all(call, searched):
    assert "swell resume try" in call("status", "try").stdout
    assert "try" in call("status").stdout


def test_the_best_goes_to_the_search_directory(call, searched):
    done = call("best", "try")
    assert done.exit_code == 0
    assert (searched.paths.best / "config.yaml").exists()


def test_a_valid_spec_is_described(call, tmp_path):
    spec = tmp_path / "short.yaml"
    spec.write_text(SPEC)
    done = call("check", spec)
    assert done.exit_code == 0
    assert "short is a valid search of tests.methods.ripple" in done.stdout


# -- what must be quick imports nothing heavy


@pytest.mark.parametrize(
    ("arguments", "barred"),
    [
        (["--help"], ["pydantic", "yaml", "pandas", "numpy"]),
        (["table", "--help"], ["yaml", "pandas", "numpy"]),
        (["check", "search_spaces/two_body_heads.yaml"], ["pandas", "numpy"]),
        (["status"], ["pandas", "numpy", "yaml", "search_spaces.spec", "filelock"]),
    ],
)
def test_a_quick_command_imports_nothing_heavy(arguments, barred, searches):
    code = f"""
import sys
sys.argv = ["swell", *{arguments!r}]
import swell
try:
    swell.app()
except SystemExit as end:
    assert not end.code, end.code
heavy = {["jax", "jaxlib", "equinox", "ray", "optuna", "torch", "scipy", *barred]!r}
print(sorted(name for name in heavy if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == "[]\n"
    assert done.returncode == 0


def test_a_reader_that_closes_the_pipe_is_no_error(searched):
    command = f"{sys.executable} -m swell table try --format csv | head -c 10"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "rank,trial"
    assert done.returncode == 0


def test_an_interrupt_while_it_ends_does_not_change_the_exit_code():
    code = (
        "import atexit, os, signal, sys, swell\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "sys.argv = ['swell', 'status', 'none-such']\n"
        "swell.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr


@pytest.mark.parametrize("how", ["status", "table try", "crashed try", "status none-such"])
@pytest.mark.parametrize(("stream", "status"), [(">&-", 0), ("2>&-", 0), ("</dev/null", 0), (">/dev/full", 2)])
def test_a_stream_that_is_closed_or_full_is_no_traceback(searched, how, stream, status):
    command = f"{sys.executable} -m swell {how} {stream}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == (2 if how == "status none-such" else status)
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr


def test_a_user_without_name_and_home_gets_by_without(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME", "SWELL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_uid):
        raise KeyError("getpwuid(): uid not found: 4321")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert user_name() == str(os.getuid())
    assert home_folder() is None
    assert default_cache() == Path(f"/tmp/swell-{os.getuid()}-cache")


def test_a_user_without_name_and_home_gets_both_for_what_is_started(monkeypatch):
    def unknown(*_):
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME", "HOME", "SWELL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache = f"/tmp/swell-{os.getuid()}-cache"
    given = {"USER": str(os.getuid()), "HOME": cache, "SWELL_CACHE": cache}
    assert missing_variables() == given
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert missing_variables() == {}
