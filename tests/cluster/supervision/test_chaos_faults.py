"""Faults of every kind at random moments of real searches, which survive them; kills have their own tests."""

import pytest

from benchmarks.faults.inject import FAULTS, KILLS
from tests.chaotic import chaos, survived

OTHERS = [kind for kind in FAULTS if kind not in KILLS]


@pytest.fixture(scope="module")
def struck(tmp_path_factory):
    """Every kind of fault once, several in one search."""
    options = ["--kinds", ",".join(OTHERS), "--per-search", 8, "--samplers", "grid", "--seed", 1]
    return chaos(tmp_path_factory.mktemp("struck"), "--faults", len(OTHERS), *options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OTHERS)
def test_a_search_survives(kind, struck):
    survived(kind, *struck)


@pytest.mark.slow
def test_no_invariant_is_violated_by_any_fault(struck):
    report, done = struck
    assert [search["violations"] for search in report["searches"]] == [[] for _ in report["searches"]], done.stdout
    assert done.returncode == 0, done.stdout
