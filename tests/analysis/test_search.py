"""A search directory as the analysis library shows it."""

import subprocess
import sys

import pytest

import analysis
from analysis.search import NotThereError
from cluster.state.outcomes import Outcome
from tests.conftest import ROOT
from tests.searching import result


@pytest.fixture
def ended(make_search):
    search = make_search(name="ended", repeats={"seeds": [3, 4]})
    study = search.open()
    for value in (2.0, 1.0):
        assigned = study.ask()
        study.tell(assigned.number, Outcome.COMPLETED, result(val_error=value))
    lines = ['{"trial": 1, "step": 20, "seconds": 2.5, "metrics": {"val_error": 1.0, "loss": NaN}}']
    lines += ['{"trial": 0, "step": 10, "seconds": 1.0, "metrics": {"val_error": 2.0}}', '{"trial": 0, "tests": {}}']
    search.paths.history(1).write_text("\n".join(lines) + "\n")
    return search


def test_a_search_has_its_trials_factors_and_histories(ended):
    search = analysis.load("ended")
    assert search.name == "ended"
    assert list(search.trials["trial"]) == [1, 0]
    assert [(factor.column, factor.is_number, factor.is_log) for factor in search.factors] == [
        ("learning_rate", True, True),
        ("shift", True, False),
    ]
    assert (search.objective.column, search.objective.mode) == ("val_error", "min")
    assert (search.seed, search.seeds) == ("seed", (3, 4))
    assert search.histories[["trial", "step", "val_error"]].values.tolist() == [[0, 10, 2.0], [1, 20, 1.0]]
    assert search.config(1)["seed"] == 4
    assert search.spec is not None
    assert search.spec.name == "ended"


def test_what_is_not_there_is_said(ended):
    search = analysis.load(str(ended.paths.root))
    with pytest.raises(NotThereError, match="has no trial 7: its trials are 0 to 1"):
        search.config(7)
    with pytest.raises(NotThereError, match=r"has searched no 'shfit'\. Did you mean 'shift'"):
        search.factor("shfit")
    with pytest.raises(NotThereError, match="has not kept the checkpoint of trial 0"):
        search.model(0)


def test_a_search_without_trials_has_the_columns_that_every_search_has(make_search):
    make_search(name="new")
    search = analysis.load("new")
    assert len(search.completed) == len(search.histories) == 0
    assert {"trial", "outcome", "rank", "configuration", "shift", "learning_rate", "val_error"} <= {*search.trials}


def test_importing_the_library_is_cheap():
    code = "import sys, analysis; print([name for name in ('pandas', 'ray', 'jax', 'optuna') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
