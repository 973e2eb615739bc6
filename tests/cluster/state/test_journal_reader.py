"""The reader of journals says what Optuna's own storage says of them."""

import json

import pytest

from cluster.state.journal_reader import ReadStudy, read_study
from cluster.state.outcomes import Outcome
from cluster.state.records import load_spec, load_trials, load_waves, open_study, record_of, waves_in
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
