"""Ranks, rank correlations and tails, without `scipy.stats`: importing that takes longer than comparing a search."""

from collections.abc import Sequence

import numpy as np
from scipy import special


def ranked(values: np.ndarray) -> np.ndarray:
    """Return the ranks along the last axis, from 1; equal values share the mean of theirs."""
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    places = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    edge = np.ones((*values.shape[:-1], 1), dtype=bool)
    differs = ordered[..., 1:] != ordered[..., :-1]
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=-1), places, 0), axis=-1)
    ends = np.where(np.concatenate([differs, edge], axis=-1), places, values.shape[-1])
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    found = np.empty(values.shape)
    np.put_along_axis(found, order, (first + last) / 2 + 1, axis=-1)
    return found


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's correlation; neither may have equal values alone."""
    return float(np.corrcoef(ranked(one), ranked(other))[0, 1])


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Return Kendall's tau b; neither may have equal values alone."""
    agree = untied = untied_other = 0
    for place in range(len(one) - 1):
        first, second = np.sign(one[place + 1 :] - one[place]), np.sign(other[place + 1 :] - other[place])
        agree += int(first @ second)
        untied += int(np.count_nonzero(first))
        untied_other += int(np.count_nonzero(second))
    return float(np.clip(agree / np.sqrt(untied) / np.sqrt(untied_other), -1.0, 1.0))


def false_discovery(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p-values corrected for being several: of the differences found, at most 5 % are expected to be none.

    By Benjamini and Hochberg (1995), "Controlling the false discovery rate". It holds though comparisons share levels,
    since that makes them depend positively on each other (Benjamini and Yekutieli 2001).
    """
    given = np.asarray(p, dtype=float)
    order = np.argsort(given)
    raised = given[order] * (len(given) / np.arange(1, len(given) + 1))
    found = np.empty(len(given))
    found[order] = np.minimum.accumulate(raised[::-1])[::-1]
    return np.clip(found, 0.0, 1.0)


def f_tail(value: float, more: float, left: float) -> float:
    """Return how likely an F of these degrees of freedom is to be larger."""
    return float(special.fdtrc(more, left, value))


def t_tail(value: float, freedom: float) -> float:
    """Return how likely Student's t is to be larger."""
    return float(special.stdtr(freedom, -value))
