"""The tracker where W&B fails: it waits, tries again, writes offline instead, and loses no run. W&B is a stand-in."""

import sys
from types import SimpleNamespace

import pytest

from cluster.state.storage_errors import StorageAwayError
from cluster.tracking.run import Runs
from cluster.tracking.spool import Spool
from cluster.tracking.tracker import OFFLINE_FOR_S, PAUSE_S, Tracker
from tests.tracking import end, run_trials, say


class StandIn:
    """Makes folders in the place of runs; `broken` names what raises."""

    def __init__(self, search):
        self.place = Spool(search.paths).runs
        self.broken = set()
        self.said = []
        self.services_ended = 0

    def id_of(self, trial):
        return f"r{trial}"

    def _do(self, what, *said):
        if what in self.broken:
            raise RuntimeError(f"{what} is broken")
        self.said.append((what, *said))

    def begin(self, record, *, online):
        folder = self.place / f"run-1-r{record.number}"
        folder.mkdir(parents=True, exist_ok=True)
        self._do("begin", record.number)
        return SimpleNamespace(number=record.number, settings=SimpleNamespace(sync_file=str(folder / "run.wandb")))

    def report(self, run, reports):
        self._do("report", run.number, [one.step for one in reports])

    def end(self, run, record):
        self._do("end", run.number)

    def stop(self, run):
        self._do("stop", run.number)

    def write(self, record, reports):
        folder = self.place / f"offline-run-1-r{record.number}"
        folder.mkdir(parents=True)
        self._do("write", record.number)
        return folder

    def forget_service(self):
        self.services_ended += 1


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def tracked(make_search):
    def make(wandb="offline"):
        search = make_search(tracking={"wandb": wandb}, budget={"trials": 50})
        Spool(search.paths).make()
        runs, clock = StandIn(search), Clock()
        return search, runs, clock, Tracker(search.spec, search.paths, runs, clock)

    return make


def folders(runs):
    return sorted(folder.name for folder in runs.place.iterdir())


def test_a_run_that_cannot_be_written_is_tried_again_after_longer_and_longer_pauses(tracked):
    search, runs, clock, tracker = tracked()
    run_trials(search, 2)
    runs.broken = {"write"}
    assert not tracker.look()
    assert folders(runs) == []  # half a run is removed
    assert not tracker.look()
    assert runs.services_ended == 1  # it waits
    clock.now = PAUSE_S + 1
    assert not tracker.look()
    assert runs.services_ended == 2
    runs.broken = set()
    clock.now += PAUSE_S + 1  # twice as long by now
    assert not tracker.look()
    clock.now += PAUSE_S
    assert tracker.look()
    assert folders(runs) == ["offline-run-1-r0", "offline-run-1-r1"]
    assert set(Spool(search.paths).trials_written()) == {0, 1}


def test_the_last_look_does_not_wait_out_a_pause(tracked):
    search, runs, _, tracker = tracked()
    run_trials(search, 1)
    runs.broken = {"write"}
    assert not tracker.look()
    assert not tracker.look(is_last=True)
    runs.broken = set()
    assert tracker.look(is_last=True)
    assert folders(runs) == ["offline-run-1-r0"]


def test_online_each_report_is_given_once(tracked):
    search, runs, _, tracker = tracked("online")
    wave = search.wave(search.open())
    trial = wave.next()["number"]
    tracker.look()
    assert runs.said == []  # nothing reported yet
    say(wave, trial, 10, 1.0, val_error=0.5)
    tracker.look()
    say(wave, trial, 20, 2.0, val_error=0.4)
    tracker.look()
    end(wave, trial, 30, 3.0, metrics={"val_error": 0.3})
    tracker.look()
    tracker.look()
    wave.close()
    assert runs.said == [
        ("begin", 0), ("report", 0, [10]), ("report", 0, [20]), ("report", 0, [30]), ("end", 0),
    ]  # fmt: skip
    assert Spool(search.paths).folders_synced() == {"run-1-r0"}


@pytest.mark.parametrize("broken", ["begin", "report", "end"])
def test_a_run_that_cannot_be_uploaded_is_written_offline_and_later_ones_are_uploaded_again(tracked, broken):
    search, runs, clock, tracker = tracked("online")
    study = search.open()
    run_trials(search, 1, 1, study)
    runs.broken = {broken}
    assert tracker.look()
    assert folders(runs) == ["offline-run-1-r0"]
    assert runs.services_ended == 1
    runs.broken, runs.said = set(), []
    run_trials(search, 1, 2, study)
    tracker.look()
    assert runs.said == [("write", 1)]
    clock.now = OFFLINE_FOR_S + 1
    run_trials(search, 1, 3, study)
    tracker.look()
    assert runs.said[-1] == ("end", 2)
    assert Spool(search.paths).folders_synced() == {"run-1-r2"}


def test_a_stopped_trial_ends_its_run_for_now(tracked):
    search, runs, _, tracker = tracked("online")
    wave = search.wave(search.open())
    trial = wave.next()["number"]
    say(wave, trial, 10, 1.0, val_error=0.5)
    tracker.look()
    wave.close()
    tracker.close()
    assert runs.said[-1] == ("stop", trial)
    assert Spool(search.paths).trials_written() == {}
    again = Tracker(search.spec, search.paths, runs)
    assert folders(runs) == []  # the next tracker begins it anew, under the same id
    again.look()
    assert runs.said[-2:] == [("begin", trial), ("report", trial, [10])]


def test_a_tracker_waits_for_a_storage_that_is_away(tracked, monkeypatch):
    search, runs, clock, tracker = tracked()
    run_trials(search, 1)

    def away():
        raise StorageAwayError("postgresql://a:b@c/d", "the server is starting")

    with monkeypatch.context() as patched:
        patched.setattr(tracker._source, "look", away)
        assert not tracker.look()
    clock.now = PAUSE_S + 1
    assert tracker.look()
    assert folders(runs) == ["offline-run-1-r0"]


def test_the_status_of_a_service_that_was_killed_does_not_end_the_tracker(tracked, monkeypatch):
    search, *_ = tracked("online")

    def teardown():
        sys.exit(-9)  # what W&B does where its service was gone before it was told to end

    monkeypatch.setattr("wandb.teardown", teardown)
    Runs(search.spec, search.paths).forget_service()
