import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.grid import grid_points, grid_size
from search_spaces.space import is_active, order, resolve
from search_spaces.spec import Spec

FIXED = {"name": "t", "trainable": "t", "objective": {"metric": "m"}, "sampler": {"name": "grid"}}


def spec_of(space, base=None):
    return Spec.model_validate({**FIXED, "space": space, "base": base or {}})


@st.composite
def spaces(draw):
    """Spaces of choices, named choices and ranges, with conditions on one another, in any order in the file."""
    space = {}
    for index in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["choice", "named", "range"]))
        size = draw(st.integers(1, 3))
        if kind == "choice":
            entry = {"choices": draw(st.permutations([0, 1.5, "x", None]))[:size]}
        elif kind == "named":
            entry = {"choices": {f"n{number}": [number, number] for number in range(size)}}
        else:
            entry = {"low": 1, "high": size, "type": "int"}
        for parent in draw(st.lists(st.sampled_from(sorted(space)), max_size=2, unique=True)) if space else []:
            wanted = draw(st.lists(st.sampled_from(values_of(space[parent])), min_size=1, max_size=2, unique=True))
            entry.setdefault("when", {})[parent] = wanted
        space[f"p{index}"] = entry
    return {name: space[name] for name in draw(st.permutations(sorted(space)))}


def values_of(entry):
    return list(entry["choices"]) if "choices" in entry else list(range(entry["low"], entry["high"] + 1))


def active_part(space, point):
    """Return a full assignment without its inactive parameters; the slow and obvious way."""
    kept = dict(point)
    while True:
        off = [
            name
            for name in kept
            if any(
                parent not in kept or kept[parent] not in wanted
                for parent, wanted in space[name].get("when", {}).items()
            )
        ]
        if not off:
            return kept
        for name in off:
            del kept[name]


@settings(max_examples=200, deadline=None)
@given(spaces())
def test_a_grid_is_every_assignment_less_its_inactive_parameters_each_once(space):
    spec = spec_of(space)
    everything = [
        dict(zip(space, values, strict=True)) for values in itertools.product(*map(values_of, space.values()))
    ]
    expected = {tuple(sorted(active_part(space, point).items())) for point in everything}
    points = grid_points(spec)
    found = [tuple(sorted(point.items())) for point in points]
    assert len(set(found)) == len(found)
    assert set(found) == expected
    assert grid_size(spec) == len(found)


@settings(max_examples=200, deadline=None)
@given(spaces())
def test_parameters_are_suggested_after_those_their_conditions_ask_for(space):
    names = [name for name, _ in order(spec_of(space).space)]
    assert sorted(names) == sorted(space)
    for place, name in enumerate(names):
        assert set(space[name].get("when", {})) <= set(names[:place])


@settings(max_examples=100, deadline=None)
@given(spaces())
def test_resolving_a_point_gives_base_and_its_values_and_nothing_else(space):
    spec = spec_of(space, base={"fixed": 7})
    for point in grid_points(spec):
        values = resolve(spec, point)
        assert set(values) == {"fixed", *point}
        for name, label in point.items():
            expected = space[name]["choices"][label] if isinstance(space[name].get("choices"), dict) else label
            assert values[name] == expected
            assert type(values[name]) is type(expected)


def test_the_last_parameter_changes_fastest():
    assert grid_points(spec_of({"a": [1, 2], "b": ["x", "y"]})) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip


def test_a_list_of_one_is_a_value_that_overrides_the_default():
    spec = spec_of({"depth": [4], "width": [16, 32]}, base={"rate": 0.1})
    assert [resolve(spec, point) for point in grid_points(spec)] == [
        {"rate": 0.1, "depth": 4, "width": 16}, {"rate": 0.1, "depth": 4, "width": 32},
    ]  # fmt: skip


def test_values_keep_their_types():
    values = [1, 2.0, False, None, "1", "true"]
    spec = spec_of({"a": values})
    found = [resolve(spec, point)["a"] for point in grid_points(spec)]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_an_inactive_parameter_is_left_to_the_default_even_if_a_value_is_given():
    spec = spec_of({"solver": ["fixed", "adaptive"], "rtol": {"choices": [1e-6], "when": {"solver": "adaptive"}}})
    assert resolve(spec, {"solver": "fixed", "rtol": 1e-6}) == {"solver": "fixed"}
    assert resolve(spec, {"solver": "adaptive", "rtol": 1e-6}) == {"solver": "adaptive", "rtol": 1e-6}


def test_conditions_may_ask_for_fixed_values_names_and_several_keys():
    space = {
        "plan": {"choices": {"short": [1], "long": [1, 2]}},
        "rate": {"choices": [0.1], "when": {"plan": "long", "mode": "on"}},
    }
    rate = spec_of(space, base={"mode": "on"}).space["rate"]
    assert is_active(rate, {"plan": "long", "mode": "on"})
    assert not is_active(rate, {"plan": "long", "mode": "off"})
    assert not is_active(rate, {"plan": "short", "mode": "on"})
    assert not is_active(rate, {"plan": "long"})


def test_true_is_not_one():
    rate = spec_of({"flag": [True, False], "rate": {"choices": [1], "when": {"flag": True}}}).space["rate"]
    assert is_active(rate, {"flag": True})
    assert not is_active(rate, {"flag": 1})


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"low": 2, "high": 4, "type": "int"}, [2, 3, 4]),
        ({"low": 2, "high": 8, "type": "int", "step": 3}, [2, 5, 8]),
        ({"low": 0, "high": 1, "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"low": 0, "high": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"low": 3, "high": 3}, [3.0]),
    ],
)
def test_a_countable_range_is_a_grid_of_its_values(entry, expected):
    found = [point["a"] for point in grid_points(spec_of({"a": entry}))]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_large_grid_is_counted_without_being_expanded():
    space = {f"p{number}": list(range(100)) for number in range(10)}
    space["q"] = {"choices": [1, 2], "when": {"p0": 5}}
    assert grid_size(spec_of(space)) == 100**9 * (99 + 2)
