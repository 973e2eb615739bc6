"""fANOVA: the share of a forest's variance over the searched space that each factor explains by itself.

Hutter, Hoos and Leyton-Brown (2014), "An efficient approach for assessing hyperparameter importance". As Optuna's
evaluator has it: a choice is a cube with an axis for each of its levels, a number is itself, not its logarithm.
"""

from collections.abc import Sequence

import numpy as np

from analysis.mattered.trees import Trees

MOST_PAIRS = 100_000
"""Pairs of leaves that are looked at together: more would not stay in a processor's cache."""


def shares_of_variance(trees: Trees, bounds: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Return each group of inputs' share of each tree's variance; axes tree, group; NaN if a tree has no variance.

    `bounds` has the least and the largest value of each input.

    A leaf is a box. The mean of a tree over all inputs but a group's is a sum over boxes, and the mean of its square a
    sum over pairs of boxes: of the product of both boxes' sizes outside of the group and their overlap within it.
    """
    low, high = _boxes(trees, bounds)
    leaves = np.flatnonzero(trees.feature < 0)
    leaves = leaves[np.argsort(trees.tree[leaves], kind="stable")]
    owner = trees.tree[leaves]
    counts = np.bincount(owner, minlength=trees.num)
    starts = np.cumsum(counts) - counts
    found = np.full((trees.num, len(groups)), np.nan)
    by_size = np.argsort(counts, kind="stable")  # trees with about as many leaves are looked at together
    begin = 0
    while begin < trees.num:
        end = begin + 1
        while end < trees.num and (end + 1 - begin) * counts[by_size[end]] ** 2 <= MOST_PAIRS:
            end += 1
        some = by_size[begin:end]
        most = int(counts[some[-1]])
        inside = np.arange(most) < counts[some][:, None]
        at = leaves[np.minimum(starts[some][:, None] + np.arange(most), len(leaves) - 1)]
        below, above = (np.where(inside[..., None], box[at], 0.0) for box in (low, high))
        found[some] = _shares(trees.value[at], np.moveaxis(below, -1, 0), np.moveaxis(above, -1, 0), groups)
        begin = end
    return found


def _boxes(trees: Trees, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper ends of each node's box, as shares of the searched ranges."""
    num = len(trees.feature)
    low, high = np.zeros((num, len(bounds))), np.ones((num, len(bounds)))
    for first, end in trees.levels:
        node = first + np.flatnonzero(trees.feature[first:end] >= 0)
        by, left = trees.feature[node], trees.left[node]
        for ends in (low, high):
            ends[left] = ends[left + 1] = ends[node]
        at = (trees.threshold[node] - bounds[by, 0]) / (bounds[by, 1] - bounds[by, 0])
        high[left, by] = low[left + 1, by] = np.clip(at, 0.0, 1.0)  # a value may lie beside the steps of its range
    return low, high


def _shares(value: np.ndarray, low: np.ndarray, high: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the shares of trees with the axes tree, leaf; boxes have the axes input, tree, leaf."""
    size = high - low
    volume = size.prod(axis=0)
    off = value - (value * volume).sum(axis=1, keepdims=True) / volume.sum(axis=1, keepdims=True)
    variance = (off**2 * volume).sum(axis=1)
    shares = np.full((len(value), len(groups)), np.nan)
    for place, group in enumerate(groups):
        outside = [one for one in range(len(size)) if one not in group]
        weighted = off * size[outside].prod(axis=0)
        overlap = np.ones((*value.shape, value.shape[1]))
        for one in group:
            upper = np.minimum(high[one][:, :, None], high[one][:, None, :])
            upper -= np.maximum(low[one][:, :, None], low[one][:, None, :])
            overlap *= np.maximum(upper, 0.0, out=upper)
        explained = np.einsum("ti,tij,tj->t", weighted, overlap, weighted, optimize=True)
        np.divide(np.maximum(explained, 0.0), variance, out=shares[:, place], where=variance > 0)
    return shares
