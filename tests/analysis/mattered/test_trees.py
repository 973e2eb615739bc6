"""Our trees beside scikit-learn's, and fANOVA beside Optuna's on the same trees."""

import numpy as np
import pytest
from optuna.importance._fanova._tree import _FanovaTree
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from analysis.mattered.fanova import shares_of_variance
from analysis.mattered.level_pairs import apart
from analysis.mattered.trees import Samples, Trees, bagged, grow


def data(num, num_inputs, seed):
    """Return inputs without ties, and targets that depend on the first two."""
    rng = np.random.default_rng(seed)
    inputs = rng.random((num, num_inputs)).astype(np.float32).astype(float)
    return inputs, np.sin(5 * inputs[:, 0]) + inputs[:, 1] ** 2 + 0.1 * rng.normal(size=num)


def whole(num, num_trees=1):
    """Return samples of trees that all see each row once."""
    rows = np.tile(np.arange(num), num_trees)
    return Samples(np.repeat(np.arange(num_trees), num), rows, np.ones(len(rows)), num_trees)


# all inputs split a node of two rows alike: whole trees are compared of a single input
@pytest.mark.parametrize(("num_inputs", "depth", "leaf"), [(1, 64, 1), (3, 2, 1), (3, 64, 4), (3, 1, 7)])
def test_a_tree_is_scikit_learns(num_inputs, depth, leaf):
    inputs, targets = data(60, 3, 1)
    new, _ = data(500, 3, 2)
    inputs, new = inputs[:, :num_inputs], new[:, :num_inputs]
    own = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=leaf, random_state=0).fit(inputs, targets)
    # two trees, of which the other sees other rows
    other = Samples(np.ones(30, dtype=int), np.arange(30), np.ones(30), 2)
    both = whole(60)
    samples = Samples(
        *(np.concatenate([getattr(both, one), getattr(other, one)]) for one in ("tree", "row", "weight")), 2
    )
    trees = grow(inputs, targets, samples, np.random.default_rng(0), depth=depth, leaf=leaf)
    assert trees.predict(np.zeros(500, dtype=int), new) == pytest.approx(own.predict(new))
    own = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=leaf, random_state=0).fit(inputs[:30], targets[:30])
    assert trees.predict(np.ones(500, dtype=int), new) == pytest.approx(own.predict(new))


def test_values_may_be_tiny_or_huge():
    inputs, targets = data(40, 2, 8)
    expected = grow(inputs, targets, whole(40), np.random.default_rng(0), leaf=3).value
    for scale in (1e-12, 1e200):
        found = grow(scale * inputs, 1e-9 * targets, whole(40), np.random.default_rng(0), leaf=3).value
        assert found == pytest.approx(1e-9 * expected, rel=1e-6, abs=0)


def test_what_was_not_searched_lies_apart():
    features = np.array([[0.5, np.nan, np.nan], [np.nan, 3.0, np.nan], [-2.0, 4.0, np.nan]])
    found = apart(features)
    assert found.tolist() == [[0.5, 2.0, -1.0], [-3.0, 3.0, -1.0], [-2.0, 4.0, -1.0]]


def test_a_row_that_is_there_twice_counts_twice():
    inputs, targets = data(30, 2, 3)
    weight = np.random.default_rng(4).integers(1, 4, size=30)
    own = DecisionTreeRegressor(max_depth=4, random_state=0).fit(inputs, targets, weight)
    samples = Samples(np.zeros(30, dtype=int), np.arange(30), weight.astype(float), 1)
    trees = grow(inputs, targets, samples, np.random.default_rng(0), depth=4)
    assert trees.predict(np.zeros(30, dtype=int), inputs) == pytest.approx(own.predict(inputs))


def test_every_tree_of_a_forest_has_a_sample_of_its_own():
    samples = bagged(np.array([[3, 4, 5], [7, 8, 9]]), 500, 3, np.random.default_rng(0))
    assert samples.num_trees == 1000
    assert set(samples.row[samples.tree < 500]) == {3, 4, 5}
    assert set(samples.row[samples.tree >= 500]) == {7, 8, 9}
    assert (np.bincount(samples.tree, samples.weight) == 3).all()
    assert np.bincount(samples.tree).mean() == pytest.approx(3 * (1 - (2 / 3) ** 3), abs=0.06)


def test_a_forest_errs_as_scikit_learns_does():
    inputs, targets = data(80, 4, 5)
    new, truth = data(2000, 4, 6)
    errors = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        trees = grow(inputs, targets, bagged(np.arange(80)[None], 50, 80, rng), rng, leaf=3, share=0.8)
        told = trees.predict(np.repeat(np.arange(50), 2000), np.tile(new, (50, 1))).reshape(50, 2000).mean(axis=0)
        own = RandomForestRegressor(50, min_samples_leaf=3, max_features=0.8, random_state=seed).fit(inputs, targets)
        errors.append([((told - truth) ** 2).mean(), ((own.predict(new) - truth) ** 2).mean()])
    ours, theirs = np.mean(errors, axis=0)
    assert ours == pytest.approx(theirs, rel=0.1)


def test_of_equal_splits_one_is_drawn_and_of_the_inputs_some_are_looked_at():
    column = np.arange(20.0)
    inputs, targets = np.stack([column, column, np.zeros(20), column], axis=1), np.repeat([0.0, 1.0], 10)
    trees = grow(inputs, targets, whole(20, 400), np.random.default_rng(0), depth=1)
    counts = np.bincount(trees.feature[:400], minlength=4)
    assert counts[2] == 0
    assert (counts[[0, 1, 3]] > 90).all()
    # one input of four, but a constant one is passed over
    trees = grow(inputs[:, [2, 2, 2, 0]], targets, whole(20, 50), np.random.default_rng(0), depth=1, share=0.25)
    assert (trees.feature[:50] == 3).all()
    # the best input is looked at, and taken, in one tree of four
    noisy = np.random.default_rng(1).random((20, 3))
    inputs = np.column_stack([noisy, column])
    for share, low, high in ((0.25, 70, 130), (1.0, 400, 400)):
        trees = grow(inputs, targets, whole(20, 400), np.random.default_rng(0), depth=1, share=share)
        assert low <= (trees.feature[:400] == 3).sum() <= high


def test_what_cannot_be_split_is_a_leaf():
    trees = grow(np.zeros((5, 2)), np.arange(5.0), whole(5), np.random.default_rng(0))
    assert (trees.feature.tolist(), trees.value.tolist()) == ([-1], [2.0])
    trees = grow(np.arange(5.0)[:, None], np.full(5, 1e9), whole(5), np.random.default_rng(0))
    assert (trees.feature.tolist(), trees.value.tolist()) == ([-1], [1e9])


def level_by_level(own):
    """Return scikit-learn's trees as ours."""
    parts, owner = [one.tree_ for one in own], []
    nodes, levels, todo = [], [], [(place, 0) for place in range(len(parts))]
    while todo:
        levels.append((len(nodes), len(nodes) + len(todo)))
        after = []
        for place, node in todo:
            is_leaf = parts[place].feature[node] < 0
            left = -1 if is_leaf else levels[-1][1] + len(after)
            nodes.append(
                (
                    max(parts[place].feature[node], -1),
                    parts[place].threshold[node],
                    left,
                    parts[place].value[node].item(),
                )
            )
            owner.append(place)
            after += (
                []
                if is_leaf
                else [(place, one[node]) for one in (parts[place].children_left, parts[place].children_right)]
            )
        todo = after
    return Trees(len(parts), *map(np.array, zip(*nodes, strict=True)), np.array(owner), levels)


def test_shares_of_variance_are_optunas_of_the_same_trees():
    rng = np.random.default_rng(7)
    choice = np.eye(3)[rng.integers(0, 3, 70)]
    inputs = np.column_stack([choice, rng.random(70) * 4 + 1, rng.integers(1, 6, 70)])
    targets = 2 * choice[:, 0] + inputs[:, 3] + 0.5 * inputs[:, 4] * choice[:, 1] + 0.1 * rng.normal(size=70)
    own = RandomForestRegressor(7, max_depth=8, random_state=1).fit(inputs, targets).estimators_
    bounds, groups = np.array([[0, 1], [0, 1], [0, 1], [1, 5], [1, 6.0]]), [[0, 1, 2], [3], [4]]
    found = shares_of_variance(level_by_level(own), bounds, groups)
    for row, one in zip(found, own, strict=True):
        tree = _FanovaTree(one.tree_, bounds)
        expected = [tree.get_marginal_variance(np.array(group)) / tree.variance for group in groups]
        assert row == pytest.approx(expected)


def test_what_lies_beside_the_searched_range_has_no_part_in_the_shares():
    inputs = np.array([[one, other] for one in range(4) for other in range(2)], dtype=float)
    targets = inputs[:, 1] + 5.0 * (inputs[:, 0] == 3)
    trees = grow(inputs, targets, whole(8), np.random.default_rng(0))
    ((wide, _),) = shares_of_variance(trees, np.array([[0, 3.0], [0, 1]]), [[0], [1]])
    assert wide > 0.5
    assert shares_of_variance(trees, np.array([[0, 2.0], [0, 1]]), [[0], [1]])[0] == pytest.approx([0.0, 1.0])


def test_a_tree_without_variance_has_no_shares():
    trees = grow(np.arange(4.0)[:, None], np.ones(4), whole(4), np.random.default_rng(0))
    assert np.isnan(shares_of_variance(trees, np.array([[0.0, 3.0]]), [[0]])).all()
