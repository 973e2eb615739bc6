"""Searches in odd states, read as a library: sensible results or a message, never a traceback."""

import pytest

import analysis
from analysis.search import NotThereError

WHOLE = {"trial", "configuration", "outcome", "rank", "shift", "learning_rate"}


def test_every_odd_search_has_its_trials_histories_and_configs(odd_search):
    search = analysis.load(str(odd_search.root))
    assert {*search.trials.columns} >= WHOLE
    assert {one.column for one in search.objectives} <= {*search.trials.columns}
    assert [*search.histories.columns][:3] == ["trial", "step", "seconds"]
    assert {*search.histories["trial"]} <= {*search.trials["trial"]}
    ranks = search.completed["rank"].tolist()
    assert ranks == list(range(1, len(ranks) + 1))
    for trial in search.trials["trial"]:
        assert isinstance(search.config(trial), dict)
        with pytest.raises(NotThereError, match="has not kept the checkpoint of trial"):
            search.model(trial)


def test_a_copy_without_its_study_says_so(made_odd):
    search = analysis.load(str(made_odd("without_study").root))
    assert search.trials.empty
    assert search.remarks == ("its study is missing: histories/ has reports of trials, of which nothing else is known",)


def test_a_copy_that_was_cut_off_shows_what_has_arrived(made_odd):
    whole, torn = (analysis.load(str(made_odd(name).root)) for name in ("running", "torn_files"))
    assert 0 < len(torn.trials) < len(whole.trials)
    assert 0 < len(torn.histories) < len(whole.histories)


def test_jobs_share_one_table_and_their_histories(made_odd):
    search = analysis.load(str(made_odd("several_jobs").root))
    assert len(search.completed) == 4
    assert search.histories.groupby("trial").size().tolist() == [3, 3, 3, 3]


def test_metrics_called_like_our_columns_get_a_prefix(made_odd):
    search = analysis.load(str(made_odd("clashing_names").root))
    assert search.trials["metric.rank"].tolist() == [3.0, 3.0]
    assert search.trials["rank"].tolist() == [1, 2]
    assert search.trials["metric.shift"].tolist() == [0.25, 0.25]
