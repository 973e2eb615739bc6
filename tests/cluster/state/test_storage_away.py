"""A storage that cannot be reached for a while: how that is known, whatever says so, and that no trial is blamed."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from cluster.machine.files import read_json, write_json
from cluster.machine.scratch import Scratch
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_trials
from cluster.state.shared_lock import LockLostError
from cluster.state.storage_errors import StorageAwayError, StorageError, note_away, reaching, why_away
from cluster.study.study import MOST_DEAD_DRIVERS
from cluster.wire.orders import DriverExit
from cluster.worker.environment import driver_environment
from tests.databases import running_postgres
from tests.searching import result

NOWHERE = "postgresql://me:secret@127.0.0.1:1/none"


def raised(act):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        act()
    return caught.value


def no_server():
    sqlalchemy.create_engine(NOWHERE.replace("postgresql:", "postgresql+psycopg:")).connect()


def wrapped():
    try:
        no_server()
    except sqlalchemy.exc.SQLAlchemyError as error:
        try:
            raise optuna.exceptions.StorageInternalError("during the commit") from error
        except optuna.exceptions.StorageInternalError:
            raise RuntimeError("Tune's own error, of the text alone")  # noqa: B904 - as Tune does


@pytest.mark.parametrize("act", [no_server, wrapped])
def test_a_server_that_is_not_there_is_known_through_what_wraps_it(act, tmp_path):
    error = raised(act)
    assert "Connection refused" in why_away(error)
    assert note_away(tmp_path / "away.json", error)
    reason = read_json(tmp_path / "away.json")["reason"]
    assert "\n" not in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (sqlalchemy.exc.DataError("insert", {}, Exception("too long")), False),
        (StorageError("journal", "of another version"), False),
        (ValueError("a bug"), False),
    ],
)
def test_what_a_journals_file_system_says_is_told_apart(error, is_away, tmp_path):
    def act():
        with reaching("journal"):
            raise error

    found = raised(act)
    assert isinstance(found, StorageAwayError) == is_away
    assert note_away(tmp_path / "away.json", found) == is_away == (tmp_path / "away.json").exists()


@pytest.mark.parametrize("job", [None, 1])
def test_a_journal_whose_file_system_is_away_says_so(make_search, job, monkeypatch):
    search = make_search()
    study = search.open(job)
    opened = Path.open

    def stale(path, *args, **options):
        if path == search.paths.journal:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", stale)
        patched.setattr("builtins.open", lambda path, *args, **options: stale(Path(path), *args, **options))
        with pytest.raises(StorageAwayError, match="Stale file handle"):
            study.ask()
    assert study.ask().number == 0
    study.close()


def test_a_driver_without_its_storage_ends_with_a_status_of_its_own(make_search, tmp_path, monkeypatch):
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    scratch = Scratch.create({})
    search = make_search(storage=NOWHERE)
    write_json(search.paths.provenance, {"working_directory": str(tmp_path)})
    command = [
        sys.executable,
        "-P",
        "-m",
        "cluster.driver.main",
        search.paths.root,
        "-",
        "1",
        scratch.path,
        str(os.getpid()),
    ]
    done = subprocess.run(
        command,
        env=driver_environment(search.spec, search.paths, scratch, "token", 2),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == DriverExit.STORAGE_AWAY, done.stderr
    assert "Connection refused" in read_json(search.paths.storage_away)["reason"]
    assert "secret" not in done.stderr + done.stdout


@pytest.mark.parametrize("job", [None, 1])
def test_a_trial_whose_drivers_lost_the_storage_is_not_blamed(make_search, job):
    search = make_search()
    paths = SearchPaths(search.paths.root, job)
    for attempt in range(2 * MOST_DEAD_DRIVERS):
        study = search.open(job)
        assert study.ask().number == 0
        write_json(paths.storage_away, {"reason": "away"})
        assert load_trials(search.paths)[0].attempts == attempt + 1
    assert "orphaned" not in study._running[0].user_attrs


def test_a_trial_whose_driver_lost_the_storage_is_not_blamed_by_another_job(make_search):
    search = make_search()
    search.open(1).ask()
    write_json(SearchPaths(search.paths.root, 1).storage_away, {"reason": "away"})
    again, other = search.open(1), search.open(2)
    assert other.ask().number == 0
    assert "orphaned" not in other._running[0].user_attrs
    again.close()
    other.close()


def test_what_was_told_when_the_lock_was_lost_is_added_up_once(make_search, monkeypatch):
    search = make_search(retries=3)
    study = search.open(1)
    study.ask()
    lost = [LockLostError("others have broken the lock")] * 2
    leave = study._roster.leave

    def leaves(trial):
        if lost:
            raise lost.pop()
        leave(trial)

    monkeypatch.setattr(study._roster, "leave", leaves)
    record = study.tell(0, Outcome.WORKER_LOST, {**result(seconds=2.0), "error": "gone"})
    assert (record.seconds, record.attempts, len(record.failures)) == (2.0, 2, 1)
    assert json.dumps(record.failures).count("gone") == 1
    study.close()


@pytest.mark.slow
def test_a_study_goes_on_after_its_server_was_away(make_search):
    with running_postgres() as server:
        search = make_search(storage=server.url(), retries=3)
        study = search.open(1)
        first = study.ask()
        server.stop()
        for act in (study.ask, lambda: study.tell(0, Outcome.COMPLETED, result(val_error=1.0)), study.close):
            assert "Connection refused" in why_away(raised(act))
        assert isinstance(raised(lambda: search.open(1)), StorageAwayError)
        assert isinstance(raised(lambda: load_trials(search.paths)), StorageAwayError)
        server._boot()
        write_json(SearchPaths(search.paths.root, 1).storage_away, {"reason": "away"})
        again = search.open(1)
        assert again.ask() == first
        again.tell(0, Outcome.COMPLETED, result(val_error=1.0))
        assert load_trials(search.paths)[0].attempts == 2
        again.close()


def test_a_claim_is_not_made_when_the_server_has_given_the_lock_to_others(make_search, postgres, postgres_url):
    search = make_search(storage=postgres_url)
    study = search.open(1)
    roster = study._roster
    times = []

    def act():
        if not times:
            roster._exclusive._connection.close()  # as the server does with a holder that says nothing for long
        times.append(1)
        return roster.take_new()

    assert roster.exclusively(act).number == 0
    assert len(times) == 2
    study.close()
