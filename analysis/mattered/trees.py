"""Regression trees, of which all that are asked for are grown at once, level by level (Breiman et al., 1984).

Trees of bagged samples are a random forest (Breiman, 2001). scikit-learn's are the same, but one grown after the other:
its import and its thousand small trees took longer than all else of a report's statistics.
"""

from dataclasses import dataclass, field

import numpy as np

TIED = 1e-9
"""Splits whose gains differ by less than this share are equally good; one of them is drawn."""
PURE = 1e-12
"""Of the variance of all targets: a node with less is not split."""


@dataclass(frozen=True)
class Samples:
    """What each of some trees is grown from: rows, of which each may be there several times."""

    tree: np.ndarray
    """The tree, ascending."""
    row: np.ndarray
    weight: np.ndarray
    """How many times the row is there."""
    num_trees: int


def bagged(drawn: np.ndarray, num_trees: int, size: int, rng: np.random.Generator) -> Samples:
    """Return samples for the trees of some forests: `size` of a forest's rows, drawn with replacement for each tree.

    `drawn` has the axes forest, row. The trees of a forest follow each other.
    """
    num_forests, num_rows = drawn.shape
    num = num_forests * num_trees
    picked = rng.integers(num_rows, size=(num, size)) + num_rows * np.arange(num)[:, None]
    counts = np.bincount(picked.ravel(), minlength=num * num_rows)
    there = np.flatnonzero(counts)
    tree, place = np.divmod(there, num_rows)
    return Samples(tree, drawn[tree // num_trees, place], counts[there].astype(float), num)


@dataclass(frozen=True)
class Trees:
    """Trees by their nodes, level by level: the first ones are the roots, each of a tree."""

    num: int
    feature: np.ndarray
    """By which input a node is split; -1 if it is a leaf."""
    threshold: np.ndarray
    """What is at most this goes left."""
    left: np.ndarray
    """The left child; the right one is the next node."""
    value: np.ndarray
    """The mean of the targets."""
    tree: np.ndarray
    """Whose node it is."""
    levels: list[tuple[int, int]] = field(default_factory=list)
    """The first node of each level, and the first of the next."""

    def predict(self, tree: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return what trees say of inputs; `tree` names the one for each row."""
        node = np.asarray(tree).copy()
        going = np.flatnonzero(self.feature[node] >= 0)
        while len(going):
            at = node[going]
            is_right = inputs[going, self.feature[at]] > self.threshold[at]
            node[going] = self.left[at] + is_right
            going = going[self.feature[node[going]] >= 0]
        return self.value[node]


def grow(
    inputs: np.ndarray,
    targets: np.ndarray,
    samples: Samples,
    rng: np.random.Generator,
    *,
    depth: int = 64,
    leaf: int = 1,
    share: float = 1.0,
) -> Trees:
    """Return trees that are split where the squared error falls most.

    `inputs` has the axes row, input, and no NaN. A tree has at most `depth` levels of splits, a leaf at least so many
    different members of its sample; of the inputs, a `share` is looked at for each split.
    """
    found = [np.unique(column, return_inverse=True) for column in inputs.T]
    codes = np.stack([code.reshape(-1) for _, code in found])[:, samples.row]
    known = max(len(values) for values, _ in found)
    values = np.stack([np.pad(one, (0, known - len(one)), mode="edge") for one, _ in found])
    middle, scale = targets.mean(), targets.std() or 1.0
    y = ((targets - middle) / scale)[samples.row]
    weight = samples.weight
    order = np.argsort(samples.tree * known + codes, axis=1, kind="stable")
    owner = samples.tree.copy()  # of each member of a sample: its node, counted within the level
    place = samples.tree  # of each place of the order: likewise
    tree_of, nodes, levels, first = np.arange(samples.num_trees), [], [], 0
    for level in range(depth + 1):
        num, members = len(tree_of), order[0]
        total = np.bincount(place, weight[members], num)
        mean = np.bincount(place, (weight * y)[members], num) / total
        chosen, below, above, is_split = _best_splits(
            codes, order, place, y - mean[owner], weight, total, rng, leaf, share if level < depth else 0.0
        )
        children = first + num + 2 * (np.cumsum(is_split) - is_split)
        levels.append((first, first + num))
        nodes.append(
            (
                np.where(is_split, chosen, -1),
                np.where(is_split, values[chosen, below] / 2 + values[chosen, above] / 2, np.nan),
                np.where(is_split, children, -1),
                mean * scale + middle,
                tree_of,
            )
        )
        if not is_split.any():
            break
        first += num
        new = np.cumsum(is_split) - 1
        goes_right = codes[chosen[owner], np.arange(len(y))] > below[owner]
        kept = is_split[place]
        order, place = order[:, kept], place[kept]
        owner = np.where(is_split[owner], 2 * new[owner] + goes_right, 0)
        order, place = _partitioned(order, place, goes_right, owner)
        tree_of = np.repeat(tree_of[is_split], 2)
    return Trees(samples.num_trees, *(np.concatenate(one) for one in zip(*nodes, strict=True)), levels=levels)


def _partitioned(
    order: np.ndarray, place: np.ndarray, goes_right: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each input's order with every node's left members before its right ones, else as it was; and the nodes."""
    starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    node = np.cumsum(np.r_[True, place[1:] != place[:-1]]) - 1
    left = ~goes_right[order]
    so_far = np.cumsum(left, axis=1)
    before = so_far[:, starts] - left[:, starts]
    ends = np.r_[starts[1:], order.shape[1]] - 1
    num_left = so_far[0, ends] - before[0]
    within = so_far - before[:, node]
    along = np.arange(order.shape[1])
    to = np.where(left, starts[node] + within - 1, along + num_left[node] - within)
    moved = np.empty_like(order)
    np.put_along_axis(moved, to, order, axis=1)
    return moved, owner[moved[0]]


def _best_splits(
    codes: np.ndarray,
    order: np.ndarray,
    place: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    total: np.ndarray,
    rng: np.random.Generator,
    leaf: int,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return for each node by which input it is split, the codes below and above the split, and whether it is at all.

    `y` has the mean zero in each node. With a `share` of zero no node is split.
    """
    num, num_inputs = len(total), len(codes)
    squares = np.bincount(place, (weight * y**2)[order[0]], num)
    is_split, below, above = squares > PURE * total, np.zeros(num, dtype=int), np.zeros(num, dtype=int)
    if share == 0 or not is_split.any():
        return below, below, above, np.zeros(num, dtype=bool)
    starts, along = np.flatnonzero(np.r_[True, place[1:] != place[:-1]]), np.arange(len(place))
    left, sums = (_summed(one[order], starts, place) for one in (weight, weight * y))
    right = total[place] - left
    there = np.take_along_axis(codes, order, axis=1)
    can = np.zeros(order.shape, dtype=bool)
    can[:, :-1] = (there[:, 1:] != there[:, :-1]) & (place[1:] == place[:-1])
    varies = np.logical_or.reduceat(can, starts, axis=1)
    if leaf > 1:
        ends = np.r_[starts[1:], len(place)]
        can &= (along - starts[place] + 1 >= leaf) & (ends[place] - along - 1 >= leaf)
    gain = np.full(order.shape, -1.0)
    gain[can] = sums[can] ** 2 * (1 / left[can] + 1 / right[can])
    best, lot = np.maximum.reduceat(gain, starts, axis=1), rng.random((num_inputs, num))
    if share < 1:  # further inputs are looked at as long as all members are the same in all so far
        rank = lot.argsort(axis=0).argsort(axis=0)
        enough = np.maximum(max(1, int(share * num_inputs)), 1 + np.where(varies, rank, num_inputs).min(axis=0))
        best = np.where(rank < enough, best, -1.0)
    most = best.max(axis=0)
    is_split &= most >= 0
    chosen = np.where(best >= most - TIED * np.abs(most), lot, -1.0).argmax(axis=0)
    # of equal splits by an input the lowest
    good = np.flatnonzero((gain[chosen[place], along] >= ((1 - TIED) * most)[place]) & is_split[place])
    good = good[np.r_[True, place[good][1:] != place[good][:-1]][: len(good)]]
    node = place[good]
    below[node], above[node] = there[chosen[node], good], there[chosen[node], good + 1]
    return chosen, below, above, is_split


def _summed(values: np.ndarray, starts: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the sums of values up to each place, within its node."""
    sums = np.cumsum(values, axis=1)
    return sums - (sums[:, starts] - values[:, starts])[:, place]
