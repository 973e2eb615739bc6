import pytest
from hypothesis import given, settings

from search_spaces.grid import Grid, grid_size
from search_spaces.space import is_active, labels, order
from tests.search_spaces.test_space import spaces, spec_of

PAIRS = {
    name: entry
    for number in range(22)
    for name, entry in (
        (f"use_{number}", {"choices": [True, False]}),
        (f"mag_{number}", {"low": 1, "high": 10, "type": "int", "when": {f"use_{number}": True}}),
    )
}


def expanded(spec):
    """Yield what a grid must be, one label after the other."""
    ordered = order(spec.space)

    def expand(chosen):
        done = len(chosen)
        if done == len(ordered):
            yield {name: chosen[name] for name in spec.space if chosen[name] is not ...}
            return
        name, parameter = ordered[done]
        known = {key: value for key, value in chosen.items() if value is not ...}
        for label in labels(parameter) if is_active(parameter, {**spec.base, **known}) else [...]:
            yield from expand({**chosen, name: label})

    return expand({})


@settings(max_examples=200, deadline=None)
@given(spaces())
def test_points_come_in_the_order_in_which_nested_loops_make_them(space):
    spec = spec_of(space)
    grid = Grid(spec)
    expected = list(expanded(spec))
    assert list(grid) == [grid[index] for index in range(grid.size)] == expected
    assert [list(point) for point in grid] == [list(point) for point in expected]
    for outside in (-1, grid.size):
        with pytest.raises(IndexError):
            grid[outside]


@pytest.mark.parametrize("turned", [False, True])
def test_conditional_pairs_multiply_and_are_not_expanded(turned):
    space = dict(sorted(PAIRS.items(), reverse=turned))  # all mag before all use, or the other way round
    grid = Grid(spec_of(space))
    assert grid.size == 11**22
    assert grid[0] == {name: entry["choices"][0] if "choices" in entry else 1 for name, entry in space.items()}
    assert grid[grid.size - 1] == {f"use_{number}": False for number in range(22)}


def test_nested_conditions_count_as_deep_as_they_go():
    depth = 150
    space = {"p0": ["a", "b", "c"]}
    for number in range(1, depth):
        space[f"p{number}"] = {"choices": ["a", "b", "c"], "when": {f"p{number - 1}": ["a", "b"]}}
    expected = 3
    for _ in range(1, depth):
        expected = 2 * expected + 1
    grid = Grid(spec_of(space))
    assert grid.size == expected
    assert grid[grid.size - 1] == {"p0": "c"}
    deep = {"p0": ["a", "b"], **{f"p{n}": {"choices": ["a", "b"], "when": {f"p{n - 1}": "a"}} for n in range(1, 1500)}}
    assert [name for name, _ in order(spec_of(dict(reversed(deep.items()))).space)] == list(deep)


def test_many_conditions_on_one_parameter_and_one_on_many_are_counted():
    several = {f"use_{number}": [True, False] for number in range(30)}
    one = {"choices": [1, 2, 3], "when": dict.fromkeys(several, True)}
    assert grid_size(spec_of({"one": one, **several})) == 2**30 + 2
    all_pairs = {
        f"z_{a}_{b}": {"choices": [1, 2], "when": {f"use_{a}": True, f"use_{b}": True}}
        for a in range(12) for b in range(a)
    }  # fmt: skip
    expected = sum(2 ** (bin(mask).count("1") * (bin(mask).count("1") - 1) // 2) for mask in range(2**12))
    assert grid_size(spec_of({**{f"use_{a}": [True, False] for a in range(12)}, **all_pairs})) == expected


def test_conditions_that_cannot_be_counted_are_given_up():
    entangled = {
        f"z_{a}_{b}": {"low": 1, "high": 30 * a + b, "type": "int", "when": {f"use_{a}": True, f"use_{b}": True}}
        for a in range(22) for b in range(1, a)
    }  # fmt: skip
    assert grid_size(spec_of({**{f"use_{a}": [True, False] for a in range(22)}, **entangled})) is None


def test_a_grid_of_a_trillion_trillion_points_has_each_of_them():
    grid = Grid(spec_of({f"p{number}": {"low": 0, "high": 999, "type": "int"} for number in range(8)}))
    assert grid.size == 10**24
    digits = 123_456_789_012_345_678_901_234
    assert list(grid[digits].values()) == [123, 456, 789, 12, 345, 678, 901, 234]
