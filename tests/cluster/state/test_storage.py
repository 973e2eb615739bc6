import os

import optuna
import psycopg
import pytest

from cluster.commands.check import check
from cluster.commands.search import create_search
from cluster.machine.files import read_json
from cluster.state import storage as storages
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_trials, load_waves
from cluster.state.storage import StorageError, open_storage, storage_problem
from search_spaces.errors import SpecError
from search_spaces.spec import load_spec
from tests.searching import make_spec, result

# -- what a spec may say


def test_a_journal_needs_nothing():
    assert storage_problem("journal") == ""


def test_without_psycopg_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(storages, "find_spec", lambda name: None)
    assert storage_problem("postgresql://a@b/c").endswith("not installed: pip install 'swell[postgres]'")


def test_a_server_that_is_not_there_is_a_reason_without_the_password():
    reason = storage_problem("postgresql://somebody:secret@127.0.0.1:1/none")
    assert "Connection refused" in reason
    assert "secret" not in reason


def test_a_server_that_refuses_is_a_reason_without_the_password(postgres_url):
    assert storage_problem(postgres_url) == ""
    reason = storage_problem(postgres_url.replace("@", "-wrong@"))
    assert 'password authentication failed for user "swell"' in reason
    assert "wrong" not in reason
    with pytest.raises(
        StorageError, match=r"storage = postgresql://swell:\*\*\*@127.0.0.1:\d+/nowhere: .*does not exist"
    ):
        storages._connect(postgres_url.rpartition("/")[0] + "/nowhere")


# -- a database


def test_one_driver_works_and_readers_read_through_a_database(make_search, postgres_url):
    search = make_search(storage=postgres_url)
    assert load_trials(search.paths) == load_waves(search.paths) == []
    straight = make_search().run(lambda config: {"val_error": 1.0})
    study = search.open()
    first = search.run(lambda config: {"val_error": 1.0}, study, most=5)
    study.ask()
    study.add_wave({"wave": 1})
    study.close()
    again = search.open()
    assert again.ask().number == 5
    again.tell(5, Outcome.COMPLETED, result(val_error=1.0))
    first |= search.run(lambda config: {"val_error": 1.0}, again)
    again.close()
    records = load_trials(search.paths)
    assert [record.number for record in records] == list(range(15))
    assert [record.attempts for record in records] == [1] * 5 + [2] + [1] * 9
    assert {number: config for number, config in straight.items() if number != 5} == first
    assert load_waves(search.paths) == [{"wave": 1}]
    assert not search.paths.journal.exists()


def test_two_searches_of_one_name_have_studies_of_their_own(searches, tmp_path, postgres_url):
    source = tmp_path / "s.yaml"
    source.write_text("")
    names = []
    for folder in ("a", "b"):
        os.environ["SWELL_ROOT"] = str(searches / folder)
        paths = create_search(make_spec(storage=postgres_url), source)
        opened = open_storage(paths, postgres_url, to_write=True)
        optuna.create_study(storage=opened.optuna, study_name=opened.study_name)
        opened.close()
        names.append(read_json(paths.study_name)["study"])
        assert paths.name == "try"
        assert load_trials(paths) == []
    assert names[0] != names[1]
    assert all(name.startswith("try-") for name in names)


def test_jobs_that_open_a_search_at_the_same_time_name_its_study_once(tmp_path):
    paths = SearchPaths(tmp_path)
    assert storages._study_name(paths, make=False) is None
    name = storages._study_name(paths, make=True)
    assert storages._study_name(SearchPaths(tmp_path, 3), make=True) == name
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def test_a_claim_in_the_database_ends_with_its_holders_connection(postgres_url):
    held, waiting = (storages._DatabaseLock(postgres_url, "one") for _ in range(2))
    held.__enter__()
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        assert row == (1,)
    held._connection.close()  # as when its process is killed
    with waiting:
        pass
    waiting.close()


def test_a_claim_survives_that_the_server_cuts_its_connection_between_two(postgres_url):
    lock = storages._DatabaseLock(postgres_url, "two")
    with lock:
        pass
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with lock:
        pass
    lock.close()


def test_a_spec_whose_server_refuses_is_an_error_before_anything_is_made(searches, tmp_path):
    spec = tmp_path / "s.yaml"
    lines = ["name: s", "trainable: tests.methods.ripple", "objective: {metric: val_error}", "budget: {trials: 1}"]
    lines += ["space: {shift: [1.0, 2.0]}", "storage: postgresql://me:secret@127.0.0.1:1/db"]
    spec.write_text("\n".join(lines))
    with pytest.raises(SpecError) as caught:
        check(load_spec(spec))
    assert str(caught.value).startswith(
        f"{spec}:6: storage = 'postgresql://me:***@127.0.0.1:1/db': the server cannot be used"
    )
    assert "secret" not in str(caught.value)
