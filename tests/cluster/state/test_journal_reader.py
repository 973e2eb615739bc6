"""The reader of journals says what Optuna's own storage says of them."""

import json

import pytest

from cluster.state import journal_lines
from cluster.state.journal_reader import ReadStudy, StudyReader, read_study
from cluster.state.outcomes import Outcome
from cluster.state.records import (
    StudyRecords,
    load_spec,
    load_trials,
    load_trials_and_waves,
    load_waves,
    open_study,
    record_of,
    waves_in,
)
from cluster.state.storage_errors import StorageError
from cluster.study.second_try import reopen_failed
from tests.analysis.odd_searches import ODD, make_odd


def by_optuna(paths):
    """Return the trials and the waves as Optuna reads them."""
    with open_study(paths) as study:
        if study is None:
            return [], []
        storage, number = study
        trials = storage.get_all_trials(number, deepcopy=False)
        return [record_of(trial) for trial in trials], waves_in(storage.get_study_user_attrs(number))


@pytest.mark.parametrize("name", sorted(ODD))
def test_it_reads_what_optuna_reads(name, tmp_path, searches):
    paths = make_odd(name, tmp_path)
    # Not-a-number is not equal to itself, and its text is.
    assert repr((load_trials(paths), load_waves(paths))) == repr(by_optuna(paths))


def test_it_reads_trials_that_were_reopened(tmp_path, searches):
    paths = make_odd("all_kinds_of_failures", tmp_path)
    assert len(reopen_failed(paths, load_spec(paths), [Outcome.CRASHED, Outcome.DIVERGED])) == 2
    trials = load_trials(paths)
    assert repr(trials) == repr(by_optuna(paths)[0])
    assert sum(trial.is_open for trial in trials) == 2


def test_what_comes_after_a_trials_end_changes_nothing(tmp_path, searches):
    paths = make_odd("one_trial", tmp_path)
    before = load_trials(paths)
    late = {"op_code": 8, "worker_id": "other", "trial_id": 0, "user_attr": {"result": {"outcome": "crashed"}}}
    end = {"op_code": 6, "worker_id": "other", "trial_id": 0, "state": 3, "values": None, "datetime_complete": None}
    nowhere = {**late, "trial_id": 7}
    with paths.journal.open("a") as journal:
        journal.writelines(json.dumps(entry, separators=(",", ":")) + "\n" for entry in (late, end, nowhere))
    assert load_trials(paths) == before == by_optuna(paths)[0]


def test_a_line_that_is_being_written_is_left_for_later(tmp_path, searches):
    paths = make_odd("one_trial", tmp_path)
    before = load_trials(paths)
    with paths.journal.open("a") as journal:
        journal.write('{"op_code":7,"trial_id":0')
    assert load_trials(paths) == before


def test_a_damaged_line_is_named(tmp_path, searches):
    paths = make_odd("one_trial", tmp_path)
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    paths.journal.write_bytes(b"".join([*lines[:2], b'{"op_code":7,"tri\n', *lines[2:]]))
    with pytest.raises(StorageError, match=r"line 3 of .*study\.journal is damaged"):
        load_trials(paths)


def test_an_empty_journal_has_no_study(tmp_path):
    journal = tmp_path / "study.journal"
    journal.touch()
    assert read_study(journal) is None
    journal.write_text('{"op_code":0,"worker_id":"a","study_name":"one","directions":[1]}\n')
    assert read_study(journal) == ReadStudy()


@pytest.mark.parametrize("name", ["all_kinds_of_failures", "repeated"])
def test_what_is_read_as_it_grows_is_what_is_read_at_once(name, tmp_path, searches, monkeypatch):
    paths = make_odd(name, tmp_path)
    whole, parsed = paths.journal.read_bytes(), []
    parse = journal_lines.parse
    monkeypatch.setattr(journal_lines, "parse", lambda line: parsed.append(line) or parse(line))
    paths.journal.write_bytes(b"")
    records, grown = StudyRecords(paths), []
    for end in (*range(0, len(whole), 977), len(whole)):  # ends in the midst of lines, and of trials
        paths.journal.write_bytes(whole[:end])
        grown.append(records.read())
    assert len(parsed) == len(set(parsed)) > 20  # no line twice
    assert repr(grown[-1]) == repr(load_trials_and_waves(paths))
    paths.journal.write_bytes(whole[: 977 * 3])
    assert repr(grown[3]) == repr(load_trials_and_waves(paths))


def test_a_reader_sees_ends_that_are_taken_back_in_their_places(tmp_path, searches):
    paths = make_odd("all_kinds_of_failures", tmp_path)
    records = StudyRecords(paths)
    assert not any(trial.is_open and trial.outcome is Outcome.STOPPED for trial in records.read()[0])
    reopened = reopen_failed(paths, load_spec(paths), [Outcome.CRASHED, Outcome.DIVERGED])
    trials, _ = records.read()
    assert {trial.number for trial in trials if trial.is_open and trial.outcome is Outcome.STOPPED} == set(reopened)
    assert repr(trials) == repr(load_trials(paths))


def test_a_reader_begins_anew_if_the_journal_is_shorter_or_another(tmp_path, searches):
    paths = make_odd("repeated", tmp_path)
    reader, lines = StudyReader(paths.journal), paths.journal.read_bytes().splitlines(keepends=True)
    reader.read()
    for content in (lines[: len(lines) // 2], [lines[0].replace(b'"worker_id":"', b'"worker_id":"x'), *lines[1:]]):
        paths.journal.write_bytes(b"".join(content))
        assert reader.read() == read_study(paths.journal)


def test_what_a_reader_cannot_apply_it_does_not_pass_over_the_next_time(tmp_path, searches):
    paths = make_odd("repeated", tmp_path)
    reader, before = StudyReader(paths.journal), paths.journal.read_bytes()
    number = len(reader.read().trials)
    strange = {"op_code": 4, "worker_id": "a", "study_id": 0, "state": 0, "params": {"x": 1.0}, "distributions": {}}
    with paths.journal.open("a") as journal:
        journal.write(json.dumps(strange, separators=(",", ":")) + "\n")
    for _ in range(2):
        with pytest.raises(KeyError, match="x"):
            reader.read()
    paths.journal.write_bytes(before)
    assert len(reader.read().trials) == number
