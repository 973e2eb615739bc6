"""Searches with planted effects, made without any directory: their truth is known."""

from itertools import product

import numpy as np
import pandas as pd

from analysis.search import Factor, Objective, Search


def crossed_search(values, mode="min", seeds=None, failed=(), metric="error", name="planted", others="setting"):
    """Return a repeated grid search with these values, of shape (level, setting, seed), of a factor `head`.

    Its levels are a, b, c, ...; NaN stands for no trial. `failed` has the places of trials that diverged.
    """
    values = np.asarray(values, dtype=float)
    num_levels, num_settings, num_seeds = values.shape
    seeds = list(range(num_seeds)) if seeds is None else list(seeds)
    rows = []
    for place in product(range(num_levels), range(num_settings), range(num_seeds)):
        level, setting, seed = place
        has_failed = place in set(failed)
        if np.isnan(values[place]) and not has_failed:
            continue
        rows.append(
            {
                "trial": len(rows),
                "configuration": level * num_settings + setting,
                "outcome": "diverged" if has_failed else "completed",
                "head": chr(ord("a") + level),
                others: setting,
                "seed": seeds[seed],
                metric: np.nan if has_failed else values[place],
            }
        )
    heads = tuple(chr(ord("a") + level) for level in range(num_levels))
    factors = [Factor("head", levels=heads)]
    if num_settings > 1:
        factors.append(Factor(others, levels=tuple(range(num_settings))))
    return planted_search(rows, factors, mode, tuple(seeds), metric, name)


def planted_search(rows, factors, mode="min", seeds=(), metric="error", name="planted", **parts):
    """Return a search of these rows of trials."""
    trials = pd.DataFrame(rows)
    trials["rank"] = trials[metric].mul(1 if mode == "min" else -1).rank(method="first").astype("Int64")
    trials = trials.sort_values("rank", ignore_index=True)
    seed = "seed" if len(seeds) else None
    return Search(name, trials, tuple(factors), (Objective(metric, mode),), seed=seed, seeds=tuple(seeds), **parts)
