"""The tracker with the real W&B client, offline: what its runs say; each trial gets one, whatever is killed."""

import json
import time
from pathlib import Path

import pytest

from cluster.machine.files import read_json, write_json
from cluster.tracking.spool import Spool
from tests.tracking import content, end, files, run_trials, say, start_tracker, track
from tests.waiting import wait_for

OFFLINE = {"wandb": "offline", "project": "orbits", "entity": "lab", "tags": ["first", "second"]}

pytestmark = pytest.mark.slow  # starts W&B's real client, again and again


@pytest.fixture
def search(make_search):
    found = make_search(tracking=OFFLINE, budget={"trials": 50})
    write_json(found.paths.provenance, {**read_json(found.paths.provenance), "git_commit": "c0ffee"})
    return found


def test_a_run_says_what_the_trials_record_says(search, tmp_path):
    run_trials(search, 1)
    track(search, tmp_path)
    said = content(files(search)[0])
    run = said["run"]
    assert (run.project, run.entity, run.run_group, run.job_type) == ("orbits", "lab", search.paths.name, "trial")
    assert (run.display_name, list(run.tags), run.host) == ("trial 0", ["first", "second"], "node7")
    assert run.git.commit == "c0ffee"
    config = said["config"]
    assert config["steps"] == 30
    assert config["trouble"] == "none"
    assert config["learning_rate"] == config["swell"]["params"]["learning_rate"]
    assert (config["swell"]["trial"], config["swell"]["search"]) == (0, search.paths.name)
    assert config["swell"]["metrics"] == {"val_error": "Distance to the minimum.", "train_loss": "Loss."}
    assert config["swell"]["git_commit"] == "c0ffee"
    assert config["swell"]["versions"]["optuna"]
    assert said["history"] == {
        10: {"val_error": 0.5, "train_loss": 2.0, "trial seconds": 1.0},
        20: {"val_error": 0.25, "train_loss": 1.0, "trial seconds": 2.0},
        30: {"val_error": 0.75, "train_loss": 0.5, "trial seconds": 3.0},
    }
    summary = said["summary"]
    assert summary["val_error"] == 0.25  # the best model's, not the last step's
    assert summary["test_error"] == 0.125
    assert (summary["outcome"], summary["attempts"], summary["host"]) == ("completed", 1, "node7")
    assert (summary["cpu_seconds"], summary["seconds"], summary["step"]) == (3.5, 3.0, 30)
    assert "train_loss" not in summary
    assert said["exit_code"] == 0


def test_what_a_final_metric_is_goes_with_the_run_that_is_judged_by_it(make_search, tmp_path):
    search = make_search(tracking={"wandb": "offline"}, objective={"metric": "test_error"})
    run_trials(search, 1)
    track(search, tmp_path)
    said = content(files(search)[0])
    assert said["config"]["swell"]["metrics"]["test_error"] == "Distance to the minimum on the test set."
    assert said["run"].project == "tests.methods.ripple"


def test_a_failed_trial_is_a_failed_run_with_its_errors_last_line(search, tmp_path):
    study = search.open()
    wave = search.wave(study)
    trial = wave.next()["number"]
    say(wave, trial, 10, 1.0, val_error=0.5)
    end(wave, trial, 10, 1.5, "crashed", error="Traceback:\n  line\nRuntimeError: the bug\n")
    wave.close()
    track(search, tmp_path)
    said = content(files(search)[trial])
    assert said["exit_code"] == 1
    assert said["summary"]["outcome"] == "crashed"
    assert said["summary"]["error"] == "RuntimeError: the bug"
    assert list(said["history"]) == [10]


def test_a_trial_taken_up_again_is_one_run_with_all_its_seconds(search, tmp_path):
    study = search.open()
    first = search.wave(study, 1)
    trial = first.next()["number"]
    say(first, trial, 10, 1.0, val_error=0.5)
    say(first, trial, 20, 2.0, val_error=0.4)
    first.close()  # its driver was killed: it goes on from step 10, and says step 20 again
    again = search.open()
    second = search.wave(again, 2)
    assert second.next()["number"] == trial
    say(second, trial, 20, 1.5, val_error=0.4)
    say(second, trial, 30, 2.5, val_error=0.3)
    end(second, trial, 40, 3.5, metrics={"val_error": 0.3}, last={"val_error": 0.35})
    second.close()
    track(search, tmp_path)
    said = content(files(search)[trial])
    assert [(step, one["val_error"]) for step, one in said["history"].items()] == [
        (10, 0.5), (20, 0.4), (30, 0.3), (40, 0.35),
    ]  # fmt: skip
    seconds = [one["trial seconds"] for one in said["history"].values()]
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(5.5)
    assert said["summary"]["attempts"] == 2


def test_trials_are_written_as_they_end_and_running_ones_are_not(search, tmp_path):
    study = search.open()
    wave = search.wave(study)
    running, ended = wave.next()["number"], wave.next()["number"]
    say(wave, running, 10, 1.0, val_error=0.5)
    end(wave, ended, 10, 1.0, metrics={"val_error": 0.1})
    tracker = start_tracker(search, tmp_path)
    spool = Spool(search.paths)
    wait_for(lambda: ended in spool.trials_written())
    end(wave, running, 20, 2.0, metrics={"val_error": 0.2})
    wait_for(lambda: running in spool.trials_written())
    third = wave.next()["number"]
    say(wave, third, 10, 1.0, val_error=0.5)
    tracker.communicate(timeout=600)
    wave.close()
    assert set(files(search)) == {running, ended}
    assert list(content(files(search)[running])["history"]) == [10, 20]


def test_a_killed_tracker_leaves_each_trial_written_exactly_once(search, tmp_path):
    numbers = run_trials(search, 30)
    spool = Spool(search.paths)
    for least in (3, 12):
        tracker = start_tracker(search, tmp_path, stdout=None)
        wait_for(lambda least=least: len(spool.trials_written()) >= least)
        tracker.kill()
        tracker.communicate(timeout=600)
    kept = spool.trials_written()
    assert 12 <= len(kept) < 30
    track(search, tmp_path)
    written = spool.trials_written()
    assert list(files(search)) == numbers
    assert len(list(spool.runs.glob("*run-*"))) == 30
    assert all(content(file)["exit_code"] == 0 for file in files(search).values())
    assert {trial: written[trial] for trial in kept} == kept
    whole = [json.loads(line)["trial"] for line in spool.written.read_text().splitlines() if "folder" in line]
    assert sorted(whole) == numbers


def test_half_a_run_is_removed_and_no_other_folder(search, tmp_path):
    run_trials(search, 2)
    spool = Spool(search.paths)
    spool.make()
    track(search, tmp_path)
    whole = spool.trials_written()
    half = spool.runs / "offline-run-20260101_000000-other-000007"
    foreign = spool.runs / "offline-run-20260101_000000-abcdefgh"
    for folder in (half, foreign):
        folder.mkdir()
        (folder / "run.wandb").write_bytes(b":W&B")
    spool.begin(7, "other-000007")
    with spool.written.open("a") as lines:
        lines.write('{"trial": 8, "ru')
    assert spool.remove_unfinished() == [7]
    assert not half.exists()
    assert foreign.exists()
    assert spool.trials_written() == whole
    assert spool.written.read_text().endswith("\n")


def test_nothing_is_left_in_the_home_or_the_working_directory_and_little_in_the_spool(search, tmp_path):
    run_trials(search, 2)
    track(search, tmp_path)
    assert list((tmp_path / "home").rglob("*")) == []
    assert list((tmp_path / "cwd").rglob("*")) == []
    left = [path for path in Spool(search.paths).runs.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in left) == [".wandb", ".wandb"]


def test_a_second_tracker_of_a_search_waits_and_ends_with_its_supervisor(search, tmp_path):
    run_trials(search, 1)
    first = start_tracker(search, tmp_path)
    spool = Spool(search.paths)
    wait_for(lambda: spool.trials_written())
    second = start_tracker(search, tmp_path)
    time.sleep(0.5)
    second.communicate(timeout=600)
    assert second.returncode == 0
    assert len(files(search)) == 1
    first.communicate(timeout=600)


def test_a_search_that_has_not_begun_has_nothing_to_write(search, tmp_path):
    track(search, tmp_path)
    assert not Path(Spool(search.paths).written).exists()
