"""A study's name and its metrics' names, which other tools show; studies of earlier versions still open."""

import io
import json
import warnings

import pytest

from cluster.machine.files import read_object
from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials
from tests.searching import result

OBJECTIVES = [{"metric": "val_error"}, {"metric": "first", "mode": "max"}]


def in_dashboard(journal, place):
    """Return what optuna-dashboard's server answers for a journal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
        from optuna_dashboard import wsgi

        app = wsgi(JournalStorage(JournalFileBackend(str(journal))))
        asked = {"REQUEST_METHOD": "GET", "PATH_INFO": place, "QUERY_STRING": "", "SERVER_NAME": "here"}
        asked |= {
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
        }
        status = []
        body = b"".join(app(asked, lambda line, headers, error=None: status.append(line)))
    assert status == ["200 OK"]
    return json.loads(body)


@pytest.mark.parametrize("objective", [OBJECTIVES[:1], OBJECTIVES], ids=["one", "two"])
def test_a_journal_opens_in_optuna_dashboard_under_the_searchs_name_with_its_metrics(make_search, objective):
    sampler = {"name": "random"}
    search = make_search(name="waves", objective=objective, sampler=sampler, budget={"trials": 2})
    search.run(lambda config: {"val_error": config["shift"], "first": 1.0})
    [summary] = in_dashboard(search.paths.journal, "/api/studies")["study_summaries"]
    assert summary["study_name"] == "waves"
    assert summary["directions"] == ["minimize", "maximize"][: len(objective)]
    shown = in_dashboard(search.paths.journal, f"/api/studies/{summary['study_id']}")
    assert shown["objective_names"] == [one["metric"] for one in objective]
    assert [trial["state"] for trial in shown["trials"]] == ["Complete", "Complete"]


@pytest.mark.parametrize("job", [None, 2])
def test_a_study_keeps_its_name_and_goes_on_when_its_directory_is_renamed(make_search, job):
    search = make_search(name="before", budget={"trials": 3})
    study = search.open(job)
    study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=1.0))
    study.close()
    moved = search.paths.root.rename(search.paths.root.with_name("after"))
    search.paths = type(search.paths)(moved)
    study = search.open(job)
    study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=2.0))
    study.close()
    assert [record.metrics["val_error"] for record in load_trials(search.paths)] == [1.0, 2.0]
    first = json.loads(search.paths.journal.read_text().splitlines()[0])
    assert first["study_name"] == "before"


def test_a_study_of_an_earlier_version_is_found_and_goes_on(make_search):
    search = make_search(budget={"trials": 3})
    study = search.open()
    asked = study.ask()
    study.tell(asked.number, Outcome.COMPLETED, result(val_error=1.0))
    study.close()
    lines = [json.loads(line) for line in search.paths.journal.read_text().splitlines()]
    lines[0]["study_name"] = "swell"
    earlier = [line for line in lines if "study:metric_names" not in line.get("system_attr", {})]
    assert len(earlier) == len(lines) - 1
    search.paths.journal.write_text("".join(json.dumps(line) + "\n" for line in earlier))
    assert [record.config for record in load_trials(search.paths)] == [asked.config]
    configs = search.run(lambda config: {"val_error": 1.0})
    assert sorted(configs) == [1, 2]
    assert len(load_trials(search.paths)) == 3


def test_a_study_in_a_database_has_its_metrics_names(make_search, postgres_url):
    import optuna

    search = make_search(name="shared", storage=postgres_url, budget={"trials": 1})
    search.open().close()
    name = read_object(search.paths.study_name)["study"]
    assert name.startswith("shared-")
    storage = optuna.storages.RDBStorage("postgresql+psycopg://" + postgres_url.removeprefix("postgresql://"))
    assert optuna.load_study(study_name=name, storage=storage).metric_names == ["val_error"]
    storage.engine.dispose()
