"""What stands in for `scipy.stats` says what it says."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from analysis.mattered.ranks import f_tail, false_discovery, kendall, ranked, spearman, t_tail

RANDOM = np.random.default_rng(3)
TIED = RANDOM.integers(0, 6, size=(5, 40)).astype(float)


@pytest.mark.parametrize("values", [TIED[0], RANDOM.normal(size=17), np.ones(4), np.array([2.0]), np.zeros(0)])
def test_ranks(values):
    assert ranked(values).tolist() == stats.rankdata(values).tolist()


def test_ranks_of_rows():
    assert ranked(TIED).tolist() == stats.rankdata(TIED, axis=1).tolist()


@pytest.mark.parametrize(
    ("one", "other"), [(TIED[0], TIED[1]), (TIED[2], TIED[2]), (RANDOM.normal(size=9), np.arange(9.0))]
)
def test_rank_correlations(one, other):
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)
    assert kendall(one, other) == pytest.approx(stats.kendalltau(one, other).statistic, abs=1e-12)


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03, 0.5, 0.03], [0.2], [0.9, 0.95, 1.0]])
def test_corrected_p_values(p):
    assert false_discovery(p).tolist() == pytest.approx(stats.false_discovery_control(p).tolist(), abs=1e-15)


def test_no_p_values_need_no_correction():
    assert false_discovery([]).tolist() == []


def test_tails():
    assert f_tail(2.5, 3, 17) == stats.f.sf(2.5, 3, 17)
    assert t_tail(1.7, 4.5) == stats.t.sf(1.7, 4.5)
    assert t_tail(np.inf, 3) == 0.0


def test_a_comparison_does_not_import_all_of_scipy_stats():
    code = "import sys, analysis.mattered.compare, analysis.report.write; assert 'scipy.stats' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
