"""Searches with planted effects, as tables."""

import itertools

import numpy as np
import pandas as pd

from analysis.search import Factor, Objective, Search

HEADS, DATA = ("a", "b", "c"), ("x", "y")
FACTORS = (
    Factor("head", HEADS),
    Factor("data", DATA),
    Factor("rate", is_log=True, low=1e-4, high=1e-1),
    Factor("depth", is_whole=True, low=1, high=4),
)


def table(trials, factors=FACTORS, **parts):
    """Return a search of a table of trials; what every table has is filled in."""
    num = len(trials)
    filled = {"trial": range(num), "configuration": range(num), "outcome": "completed"}
    trials = trials.assign(**{name: value for name, value in filled.items() if name not in trials.columns})
    return Search("planted", trials, factors, **({"objectives": (Objective("error"),)} | parts))


def drawn(seed, num=90, *, effect=0.0, crossing=0.0, noise=0.3, grid=False):
    """Return a search of which head b is better by `effect`, and a better by `crossing` with x and worse with y.

    The rate has its best in the middle, by `effect` too; depth does nothing.
    """
    rng = np.random.default_rng(seed)
    if grid:
        rows = list(itertools.product(HEADS, DATA, (1e-4, 1e-3, 1e-2), (1, 2, 3, 4)))
        trials = pd.DataFrame(rows, columns=["head", "data", "rate", "depth"])
    else:
        trials = pd.DataFrame(
            {
                "head": rng.choice(HEADS, num),
                "data": rng.choice(DATA, num),
                "rate": 10 ** rng.uniform(-4, -1, num),
                "depth": rng.integers(1, 5, num),
            }
        )
    error = 5 + noise * rng.normal(size=len(trials)) - effect * (trials["head"] == "b")
    error += effect * np.abs(np.log10(trials["rate"]) + 2.5)
    error += crossing * (trials["head"] == "a") * np.where(trials["data"] == "x", -1, 1)
    return table(trials.assign(error=error))
