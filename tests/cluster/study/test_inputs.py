import errno
import os
import time
from pathlib import Path

import pytest
from pydantic import Field

from cluster.commands import rerun
from cluster.commands.resume import Changes, resume_elsewhere
from cluster.commands.status_one import show_one
from cluster.console import Console
from cluster.driver.board import Board
from cluster.jobs.request import Options
from cluster.machine.files import read_json, write_json
from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials
from cluster.study import inputs
from cluster.study.inputs import Inputs, changed_inputs, found_in
from tests.methods.ripple.config import Config
from tests.searching import result
from trainables._shared.config import ConfigError


class Reading(Config):
    """A configuration that names its data, as users write it."""

    file: str = ""
    others: list[dict[str, str]] = Field(default_factory=list)

    def check_data(self):
        text = Path(self.file).read_text()
        if "9" not in text:
            raise ConfigError("file", self.file, f"holds {text!r}")


class Careless(Reading):
    """One that does not look into it."""

    def check_data(self):
        pass


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("1,2,9")
    return path


@pytest.fixture
def reading(make_search, file):
    def make(config_type=Reading, **parts):
        search = make_search(**({"base": {"file": str(file)}} | parts))
        search.config_type = config_type
        return search

    return make


def touched(path, text):
    path.write_text(text)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


@pytest.mark.parametrize("config_type", [Reading, Careless])
@pytest.mark.parametrize("job", [None, 0])
def test_a_file_that_was_there_at_launch_is_waited_for(reading, file, config_type, job):
    search = reading(config_type)
    study, away = search.open(job), file.with_name("away")
    first = study.ask()
    file.rename(away)
    for _ in range(3):
        assert study.ask() is None
        assert study.waits_for == f"{file}, which could be read before, cannot be now: No such file or directory"
    assert [trial.outcome for trial in load_trials(search.paths)] == [None, None]
    away.rename(file)
    second = study.ask()
    assert (first.number, second.number, study.waits_for) == (0, 1, "")
    assert load_trials(search.paths)[1].attempts == 1
    study.close()


def test_a_trial_that_waits_goes_on_under_its_number_with_the_next_driver(reading, file):
    search, away = reading(), file.with_name("away")
    file.rename(away)
    for _ in range(7):  # more often than drivers may die over a trial
        assert search.open().ask() is None
    away.rename(file)
    assert search.open().ask().number == 0
    assert load_trials(search.paths)[0].attempts == 1


def test_a_begun_trial_waits_too_and_no_driver_is_said_to_have_died_over_it(reading, file):
    search, away = reading(), file.with_name("away")
    study = search.open()
    study.tell(study.ask().number, Outcome.STOPPED, result())
    file.rename(away)
    for _ in range(7):
        assert search.open().ask() is None
    away.rename(file)
    assert search.open().ask().number == 0
    assert load_trials(search.paths)[0].attempts == 1


def test_a_file_that_is_being_written_anew_is_waited_for(reading, file):
    study = reading().open()
    touched(file, "1,")
    assert study.ask() is None
    assert "has changed since a check of it passed, and does not pass now" in study.waits_for
    touched(file, "1,2,3,9")
    assert study.ask().number == 0


def test_a_file_that_may_not_be_read_any_more_is_waited_for(reading, file, monkeypatch):
    study, opened = reading(Careless).open(), Path.open

    def denied(self, *arguments):
        if self == file:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(self, *arguments)

    monkeypatch.setattr(Path, "open", denied)
    assert study.ask() is None
    assert study.waits_for.endswith("cannot be now: Permission denied")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("wrapped", [True, False])
def test_what_the_system_fails_to_read_is_no_configurations_fault(reading, monkeypatch, number, wrapped):
    def check_data(self):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            if wrapped:
                raise ConfigError("file", self.file, f"cannot be read: {error}") from None
            raise

    monkeypatch.setattr(Reading, "check_data", check_data)
    study = reading().open()
    assert study.ask() is None
    assert os.strerror(number) in study.waits_for


def test_what_was_never_there_rules_a_configuration_out(reading, file):
    search = reading(base={"file": str(file.with_name("other.csv"))}, budget={"trials": 3})
    study = search.open()
    assert study.ask() is None
    assert study.waits_for == ""
    assert [trial.outcome for trial in load_trials(search.paths)] == [Outcome.INVALID_CONFIG] * 3
    assert load_trials(search.paths)[0].error.startswith("check_data: FileNotFoundError: ")


def test_a_file_that_does_not_pass_and_has_not_changed_rules_a_configuration_out(reading, file):
    file.write_text("1,2")
    search = reading(budget={"trials": 2})
    assert search.open().ask() is None
    assert load_trials(search.paths)[1].outcome is Outcome.INVALID_CONFIG


def test_a_search_of_an_earlier_version_learns_its_files_from_the_trials_that_pass(reading, file):
    search = reading()
    search.paths.inputs.unlink()
    study = search.open()
    assert study.ask().number == 0
    file.unlink()
    assert study.ask() is None
    assert study.waits_for


def test_files_are_found_wherever_a_spec_names_them(reading, file, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    base = {"others": [{"name": str(folder), "kind": "points"}], "file": "nothing/there"}
    space = {"file": {"choices": {"a": str(file), "b": 3}}}
    search = reading(base={"others": base["others"]}, space=space)
    assert set(read_json(search.paths.inputs)) == {str(file), str(folder)}
    assert found_in(base).keys() == {str(folder)}
    assert Inputs({}).away(base) == ""


# -- other data under the same name


def versions(search):
    return [trial.inputs for trial in load_trials(search.paths)]


def test_trials_are_told_apart_by_the_data_that_they_read(reading, file, caplog):
    search = reading()
    for text, trials in (("1,2,9", 1), ("1,2,9", 1), ("9,9,9", 2), ("1,2,9", 1)):
        touched(file, text)  # with another time, also where it was copied anew
        study = search.open()
        for _ in range(trials):
            study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=1.0))
        study.close()
    other = versions(search)[2]
    assert versions(search) == ["first", "first", other, other, "first"]
    assert len(other) == 8
    assert caplog.text.count(f"{file} has changed since the search first saw it: 5 bytes of ") == 1
    assert caplog.text.count(" now; trials that start from now on read the new one") == 1


def test_a_trial_that_begins_again_with_other_data_has_those_alone(reading, file):
    search = reading()
    search.open().ask()
    touched(file, "9,9,9")
    search.open().ask()
    assert len(versions(search)) == 1
    assert versions(search) != ["first"]
    assert "+" not in versions(search)[0]


def test_a_trial_that_goes_on_with_other_data_than_it_began_with_has_both(reading, file):
    search = reading()
    for text, expected in (("1,2,9", "first"), ("8,9", "first+"), ("8,9", "first+"), ("1,2,9", "+first")):
        file.write_text(text)
        study = search.open()
        search.paths.checkpoint(study.ask().number).write_text("")
        study.save_active()
        study.close()
        assert expected in versions(search)[0]
    assert versions(search)[0].count("+") == 2


def test_a_file_that_only_the_methods_defaults_name_is_noted_when_a_trial_first_reads_it(reading, file):
    search = reading(
        base={}, config_type=type("Defaulting", (Reading,), {"__annotations__": {"file": str}, "file": str(file)})
    )
    search.open().ask()
    assert set(read_json(search.paths.inputs)) == {str(file)}
    file.write_text("9")
    search.open().ask()
    assert versions(search) != ["first"]
    assert len(changed_inputs(search.paths)) == 1


def test_files_that_are_too_large_to_compare_and_folders(reading, file, monkeypatch, tmp_path):
    monkeypatch.setattr(inputs, "LARGEST_HASHED", 1)
    search = reading(base={"file": str(file), "others": [{"folder": str(tmp_path)}]})
    (tmp_path / "written meanwhile").write_text("")
    assert changed_inputs(search.paths) == []
    touched(file, "1,2,9")
    assert len(changed_inputs(search.paths)) == 1
    file.unlink()
    assert changed_inputs(search.paths) == []  # that is waited for


def test_what_has_changed_is_said_wherever_one_stands(make_search, file, monkeypatch, tmp_path_factory, capsys):
    monkeypatch.chdir(file.parent)
    file.write_text("1,2,9")
    os.utime(file, ns=(0, 10**18))
    search = make_search(base={"kind": f"./{file.name}"})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    resume_elsewhere(search.paths, None, None, Options(), Changes({}), Console())
    assert "has changed" not in capsys.readouterr().out
    (sentence,) = touched(file, "1,2,3,9") or changed_inputs(search.paths)
    then = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(10**9))
    assert sentence.startswith(
        f"./{file.name} has changed since the search first saw it: 5 bytes of {then} then, 7 bytes"
    )
    resume_elsewhere(search.paths, None, None, Options(), Changes({}), Console())
    assert f"warning: {sentence}; trials that start from now on read the new one" in capsys.readouterr().out
    show_one(search.paths)
    assert f"{sentence}: trials that start now read the new one" in capsys.readouterr().out
    search.open().ask()
    monkeypatch.setattr(rerun, "_run_here", lambda *_: 0)
    rerun.rerun_command(search.paths, 0, here=True, console=Console())
    assert f"{sentence}: it runs with the new one" in capsys.readouterr().out
    write_json(search.paths.inputs, [])
    show_one(search.paths)
    assert "has changed" not in capsys.readouterr().out


# -- in a wave


def test_a_wave_waits_for_data_and_hears_a_stop(reading, file):
    now = [0.0]
    search = reading()
    study, away = search.open(), file.with_name("away")
    wave = search.wave(study, clock=lambda: now[0])
    board = Board(study, search.paths, 1)
    board.wave = wave
    file.rename(away)
    assert wave.next() == "later"
    board.write()
    assert read_json(search.paths.status)["doing"] == f"waiting for data: {wave.waits_for}"
    away.rename(file)
    assert wave.next() == "later"  # it does not look all the time
    now[0] += 1.1
    assert wave.next()["number"] == 0
    assert not wave.waits_for
    file.rename(away)
    assert wave.next() == "later"
    wave.drain("stopped on request")
    wave.end(0, {"step": 5, "seconds": 1.0, "saved_step": 5, "metrics": {}, "outcome": "completed"})
    assert wave.next() is None
    wave.close()


def test_a_trial_whose_worker_did_not_find_the_data_is_started_again(reading, file):
    search = reading(retries=0)
    study, away = search.open(), file.with_name("away")
    wave = search.wave(study)
    crash = {"step": 0, "seconds": 1.0, "saved_step": -1, "metrics": {}, "outcome": "crashed", "error": "it is gone"}
    number = wave.next()["number"]
    file.rename(away)
    wave.end(number, crash)
    (trial,) = load_trials(search.paths)
    assert (trial.is_open, trial.failures, study.brake.reason) == (True, [], "")
    assert wave.next() == "later"
    away.rename(file)
    study.waits_for = wave.waits_for = ""
    assert wave.next()["number"] == number
    wave.end(number, crash)  # the data is there, and it crashes all the same
    assert load_trials(search.paths)[0].outcome is Outcome.CRASHED
    wave.close()


def test_a_begun_trial_that_the_method_takes_no_more_stays_open_and_the_search_pauses(reading):
    search = reading()
    study = search.open()
    study.tell(study.ask().number, Outcome.STOPPED, result())

    class Renamed(Config):
        pass

    search.config_type = Renamed
    study = search.open()
    assert study.ask() is None
    assert study.brake.reason.startswith("trial 0 has begun, and its method does not take its configuration any more: ")
    search.config_type = Reading
    assert search.open().ask().number == 0


def test_the_model_that_trainings_start_from_is_waited_for_but_not_by_a_trial_that_goes_on(make_search, tmp_path):
    file = tmp_path / "model.npz"
    file.write_bytes(b"model")
    search = make_search(base={"init_from": str(file)})
    assert set(read_json(search.paths.inputs)) == {str(file)}
    study = search.open()
    assert [study.ask().number for _ in range(2)] == [0, 1]
    study.close()
    assert load_trials(search.paths)[0].inputs == "first"
    file.unlink()
    search.paths.checkpoint(0).write_bytes(b"checkpoint")
    study = search.open()
    assert study.ask().number == 0
    assert study.lacks_data(0) == ""
    assert study.ask() is None
    assert study.waits_for.startswith(f"{file}, which could be read before, cannot be now")
    study.close()
    file.write_bytes(b"model")
    study = search.open()
    assert [study.ask().number for _ in range(2)] == [0, 1]
    study.close()
