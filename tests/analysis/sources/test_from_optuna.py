"""Optuna's studies as searches: parameters, states, reports, directions, constraints, and what cannot be opened."""

import math
import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

import analysis
from analysis.mattered.comparable import comparable
from analysis.sources.errors import SourceError

SPACE = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "optimizer": CategoricalDistribution(["adam", "sgd"]),
    "depth": IntDistribution(1, 9, step=2),
}
MOMENTUM = {"momentum": FloatDistribution(0.0, 1.0)}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/studies.db"


def make(storage, name="one", metrics=("val_acc",), **more):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name=name, **more)
    if metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(metrics))
    return study


def trial(value=None, optimizer="adam", lr=1e-3, depth=3, state=TrialState.COMPLETE, **more):
    """Return a trial; those with sgd have a momentum too."""
    params, space = {"lr": lr, "optimizer": optimizer, "depth": depth}, dict(SPACE)
    if optimizer == "sgd":
        params, space = params | {"momentum": 0.5}, space | MOMENTUM
    values = value if isinstance(value, tuple) else None if value is None else (value,)
    return create_trial(params=params, distributions=space, values=values, state=state, **more)


def filled(storage):
    study = make(storage, direction="maximize")
    study.add_trial(trial(0.5, intermediate_values={1: 0.1, 4: 0.5}, user_attrs={"note": "a", "lr": "x", "deep": {}}))
    study.add_trial(trial(0.7, "sgd", intermediate_values={1: 0.3, 4: 0.7}, constraints={"memory": 2.0}))
    study.add_trial(
        trial(0.2, "sgd", state=TrialState.PRUNED, intermediate_values={1: 0.2}, constraints={"memory": -1.0})
    )
    study.add_trial(trial(state=TrialState.FAIL))
    study.add_trial(trial(state=TrialState.RUNNING))
    study.add_trial(trial(0.6, depth=5, constraints={"memory": 0.0}))
    study.enqueue_trial({"lr": 1e-2})
    return study


@pytest.mark.parametrize("kind", ["sqlite", "path of sqlite", "journal"])
def test_a_study_becomes_a_search(kind, url, tmp_path):
    path = tmp_path / ("study.log" if kind == "journal" else "studies.db")
    filled(JournalStorage(JournalFileBackend(str(path))) if kind == "journal" else url)
    search = analysis.from_optuna(url if kind == "sqlite" else path)
    assert search.name == "one"
    assert [(one.column, one.mode) for one in search.objectives] == [("val_acc", "max")]
    said = {one.column: (one.levels, one.low, one.high, one.step, one.is_log, one.is_whole) for one in search.factors}
    assert said == {
        "lr": (None, 1e-5, 1e-1, None, True, False),
        "optimizer": (("adam", "sgd"), None, None, None, False, False),
        "depth": (None, 1, 9, 2, False, True),
        "momentum": (None, 0.0, 1.0, None, False, False),
    }  # fmt: skip
    assert search.factor("momentum").conditions == {"optimizer": ("sgd",)}
    trials = search.trials.set_index("trial")
    assert trials.index.tolist() == [5, 1, 0, 2, 3, 4]  # 1 breaks its constraint; of 0 none is known
    assert trials["outcome"].tolist() == ["completed"] * 3 + ["pruned", "crashed", "running"]
    assert trials["feasible"].tolist() == [True, False, None, True, None, None]
    assert trials["steps_trained"].loc[1] == 4
    assert trials["note"].loc[0] == "a"
    assert trials["user_attrs.lr"].loc[0] == "x"
    assert "deep" not in trials.columns
    assert [(one.column, one.max) for one in search.constraints] == [("constraint.memory", 0.0)]
    assert search.histories[["trial", "step", "val_acc"]].values.tolist() == [
        [0, 1, 0.1], [0, 4, 0.5], [1, 1, 0.3], [1, 4, 0.7], [2, 1, 0.2],
    ]  # fmt: skip
    assert search.config(1) == {"lr": 1e-3, "optimizer": "sgd", "depth": 3, "momentum": 0.5}
    assert search.remarks == ("1 trial enqueued and not begun: left out",)


def test_several_objectives_keep_their_directions_and_are_ranked_by_dominance(url):
    study = make(url, metrics=None, directions=["minimize", "maximize"])
    for values in ((1.0, 0.1), (2.0, 0.9), (3.0, 0.8), (math.inf, 0.0)):
        study.add_trial(trial(values))
    search = analysis.from_optuna(url)
    assert [(one.column, one.mode) for one in search.objectives] == [("value_0", "min"), ("value_1", "max")]
    assert search.trials["trial"].tolist() == [0, 1, 2, 3]
    assert search.remarks == ("the study does not name its objectives: they are called value here",)


def test_a_seed_among_the_parameters_ties_repetitions(url):
    study = make(url)
    space = {"depth": IntDistribution(1, 9), "seed": CategoricalDistribution([0, 1])}
    for depth, seed, value in ((1, 0, 3.0), (1, 1, 3.2), (2, 0, 1.0), (2, 1, 1.2)):
        study.add_trial(create_trial(params={"depth": depth, "seed": seed}, distributions=space, value=value))
    search = analysis.from_optuna(url)
    assert (search.seed, search.seeds, [one.column for one in search.factors]) == ("seed", (0, 1), ["depth"])
    assert search.trials["configuration"].tolist() == [1, 1, 0, 0]
    assert search.remarks == (
        "seed is taken as the seed: trials of otherwise equal parameters repeat one configuration",
    )


def test_names_that_are_ours_get_a_prefix(url):
    study = make(url, metrics=["depth"])
    space = {"trial": IntDistribution(1, 9), "depth": IntDistribution(1, 9)}
    study.add_trial(create_trial(params={"trial": 7, "depth": 3}, distributions=space, value=0.5))
    search = analysis.from_optuna(url)
    assert search.trials[["trial", "config.trial", "depth", "metric.depth"]].values.tolist() == [[0, 7, 3, 0.5]]


def test_a_study_without_trials_is_an_empty_search(url):
    make(url)
    search = analysis.from_optuna(url)
    assert len(search.trials) == len(search.histories) == 0
    assert {"trial", "rank", "outcome", "configuration", "val_acc"} <= {*search.trials.columns}


def test_the_journal_of_a_search_of_ours_opens_too(make_search):
    search = make_search(name="mine", budget={"trials": 3})
    search.run(lambda config: {"val_error": abs(config["shift"])})
    read, ours = analysis.from_optuna(search.paths.journal), analysis.load("mine")
    assert read.name == "mine"
    columns = ["rank", "trial", "outcome", "val_error", "shift"]
    assert read.trials[columns].values.tolist() == ours.trials[columns].values.tolist()
    assert read.factors == ours.factors


def test_one_of_several_studies_must_be_named(url):
    make(url, "first")
    make(url, "second")
    assert analysis.from_optuna(url, "second").name == "second"
    with pytest.raises(SourceError, match=r"has 2 studies: say which one\. There are: first, second"):
        analysis.from_optuna(url)
    with pytest.raises(SourceError, match=r"has no study 'secnd'\. Did you mean 'second'\?"):
        analysis.from_optuna(url, "secnd")


def test_what_cannot_be_opened_is_said_and_nothing_is_made(tmp_path):
    absent, text = tmp_path / "absent.db", tmp_path / "text.db"
    text.write_text("no database\nat all\n")
    for storage, said in (
        (f"sqlite:///{absent}", "there is no file"),
        (absent, "there is no file"),
        (text, "is no journal of Optuna's, or a damaged one"),
        (f"sqlite:///{text}", "cannot be read as Optuna's storage: .*file is not a database"),
        ("blah://x", "cannot be read as Optuna's storage"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", r"me:\*\*\*@.*onnection"),
    ):
        with pytest.raises(SourceError, match=said) as caught:
            analysis.from_optuna(storage)
        assert "secret" not in str(caught.value)
    assert not absent.exists()


def test_what_is_compared_is_the_same_of_a_study_and_of_its_table(url):
    study = make(url, direction="maximize")
    for place in range(12):
        optimizer = ("adam", "sgd")[place % 2]
        study.add_trial(trial(0.01 * place, optimizer, lr=10 ** (-5 + place / 3), depth=1 + 2 * (place % 3)))
    search = analysis.from_optuna(url)
    table = analysis.from_csv(search.trials, objective="val_acc")
    of_study, of_table = comparable(search).feasible, comparable(table).feasible
    assert of_study["trial"].tolist() == list(range(11, -1, -1))
    columns = ["trial", "value", "lr", "optimizer", "depth"]
    assert of_table[columns].values.tolist() == of_study[columns].values.tolist()
