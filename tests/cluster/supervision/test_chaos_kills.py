"""Equivalence: searches killed at random moments and resumed end with the tables of undisturbed ones."""

from collections import Counter

import pytest

from benchmarks.faults.inject import KILLS
from tests.chaotic import chaos, survived


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A grid and a seeded random search, killed once in each way together."""
    options = ["--faults", len(KILLS), "--per-search", 3, "--kinds", ",".join(KILLS), "--seed", 2]
    return chaos(tmp_path_factory.mktemp("killed"), *options)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_killed_and_resumed_again_and_again_a_search_ends_with_the_table_of_an_undisturbed_one(sampler, killed):
    report, done = killed
    tables = [search["rows"] for search in report["searches"] if search["sampler"] == sampler]
    struck = sum(one["injected"] for s in report["searches"] if s["sampler"] == sampler for one in s["injections"])
    assert len(tables) >= 2, done.stdout
    assert struck >= 1, done.stdout
    assert all(table == tables[0] for table in tables), done.stdout
    assert Counter(row[1] for row in tables[0].values()) == {"completed": 18}
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KILLS)
def test_a_search_survives(kind, killed):
    survived(kind, *killed)
