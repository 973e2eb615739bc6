"""The tracker online, with the real W&B client against a server of the tests: live, and offline where that fails."""

import pytest

from cluster.tracking.source import run_id, search_id
from cluster.tracking.spool import Spool
from tests.tracking import end, files, run_trials, say, start_tracker
from tests.waiting import wait_for
from tests.wandb_server import KEY, wandb_server

pytestmark = pytest.mark.slow


@pytest.fixture
def server():
    with wandb_server() as running:
        yield running


@pytest.fixture
def search(make_search, server, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    return make_search(tracking={"wandb": "online", "project": "orbits"}, budget={"trials": 50})


def online(search, server, tmp_path, **more):
    return start_tracker(search, tmp_path, more={"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, **more})


def test_reports_arrive_while_the_trial_runs_and_its_end_is_noted_as_synced(search, server, tmp_path):
    study = search.open()
    wave = search.wave(study)
    trial = wave.next()["number"]
    say(wave, trial, 10, 1.0, val_error=0.5)
    run = run_id(search_id(search.paths), trial)
    tracker = online(search, server, tmp_path)
    wait_for(lambda: 10 in server.history[run])
    assert run not in server.exit_codes
    say(wave, trial, 20, 2.0, val_error=0.25)
    end(wave, trial, 30, 3.0, metrics={"val_error": 0.25}, last={"val_error": 0.3})
    spool = Spool(search.paths)
    wait_for(lambda: spool.trials_written())
    tracker.communicate(timeout=600)
    wave.close()
    assert {step: row["val_error"] for step, row in server.history[run].items()} == {10: 0.5, 20: 0.25, 30: 0.3}
    assert server.exit_codes[run] == 0
    assert server.summary[run]["val_error"] == 0.25
    assert spool.folders_synced() == {spool.trials_written()[trial]}


def test_a_trial_that_is_stopped_is_no_crashed_run_and_goes_on_in_the_next_tracker(search, server, tmp_path):
    study = search.open()
    wave = search.wave(study)
    trial = wave.next()["number"]
    say(wave, trial, 10, 1.0, val_error=0.5)
    run = run_id(search_id(search.paths), trial)
    tracker = online(search, server, tmp_path)
    wait_for(lambda: 10 in server.history[run])
    tracker.communicate(timeout=600)
    assert server.summary[run]["outcome"] == "stopped"
    assert Spool(search.paths).trials_written() == {}
    end(wave, trial, 20, 2.0, metrics={"val_error": 0.25})
    wave.close()
    again = online(search, server, tmp_path)
    again.communicate(timeout=600)
    assert set(Spool(search.paths).trials_written()) == {trial}
    assert server.summary[run]["outcome"] == "completed"
    assert 20 in server.history[run]


def test_where_nothing_is_reached_runs_are_written_offline(search, server, tmp_path):
    run_trials(search, 2)
    quick = {"WANDB_BASE_URL": "http://127.0.0.1:1", "WANDB__GRAPHQL_RETRY_MAX": "0"}
    tracker = online(search, server, tmp_path, **quick)
    said, _ = tracker.communicate(timeout=600)
    assert tracker.returncode == 0, said.decode()
    spool = Spool(search.paths)
    assert sorted(files(search)) == [0, 1]
    assert all(folder.startswith("offline-run-") for folder in spool.trials_written().values())
    assert spool.folders_synced() == set()
    assert said.decode().count("could not be uploaded") == 1
