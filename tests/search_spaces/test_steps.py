from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import SpecError
from search_spaces.loader import parse_yaml
from search_spaces.parameters import FloatRange, place_of
from search_spaces.spec import Spec, parse_spec
from search_spaces.steps import Steps
from tests.search_spaces.test_loader import FILE


def spec_text(space, sampler="grid", budget="{}"):
    head = f"name: s\ntrainable: two_body\nobjective: {{metric: e}}\nsampler: {{name: {sampler}}}\nbudget: {budget}\n"
    return f"{head}space:\n  a: {space}\n"


def refused(space, sampler="grid", budget="{}"):
    values, source = parse_yaml(spec_text(space, sampler, budget), FILE)
    with pytest.raises(SpecError) as caught:
        parse_spec(values, source)
    return str(caught.value)


def test_values_are_the_decimals_that_one_would_write_and_the_last_is_high():
    expected = [float(f"{place * 5 / 100:.2f}") for place in range(20)]
    assert list(Steps(0.0, 0.95, 0.05)) == expected
    assert expected[-1] == 0.95
    assert list(Steps(-0.3, 0.3, 0.1)) == [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]


@given(st.integers(-999, 999), st.integers(1, 99), st.integers(0, 200), st.integers(0, 6))
def test_every_decimal_range_is_counted_right_and_each_value_has_its_own_digits(low, step, count, digits):
    def number(units):
        return float(Decimal(units).scaleb(-digits))

    values = Steps(number(low), number(low + count * step), number(step))
    assert list(values) == [number(low + place * step) for place in range(count + 1)]
    assert [values[place] for place in range(len(values))] == list(values)
    assert values[-1] == values.high
    assert [values.place(number(low) + place * number(step)) for place in range(count + 1)] == list(range(count + 1))


def test_a_step_without_exact_digits_ends_at_high_too():
    assert list(Steps(0.0, 1.0, 1 / 3)) == [0.0, 1 / 3, pytest.approx(2 / 3), 1.0]
    assert not Steps(0.0, 1.0, 1 / 3).is_exact
    assert Steps(0.0, 0.9, 0.3).is_exact


def test_a_condition_may_ask_for_a_value_as_written_or_as_computed():
    values = FloatRange(low=0.0, high=0.95, step=0.05).values()
    assert [place_of(values, wanted) for wanted in (0.15, 3 * 0.05, 0.95, 19 * 0.05, 0)] == [3, 3, 19, 19, 0]
    assert [place_of(values, wanted) for wanted in (0.151, 1.0, -0.05, True, "0.15", None, float("nan"))] == [None] * 7
    whole = range(0, 10**12, 5)
    assert [place_of(whole, wanted) for wanted in (10, 10.0, 10**11, 11, 10.5, True)] == [2, 2, 2 * 10**10, *[None] * 3]


def test_a_condition_on_a_stepped_range_asks_for_its_values():
    space = "{low: 0, high: 0.95, step: 0.05}\n  b: {choices: [1, 2], when: {a: [0.15, 0.95]}}"
    values, source = parse_yaml(spec_text(space), FILE)
    assert isinstance(parse_spec(values, source), Spec)
    space = "{low: 0, high: 0.95, step: 0.05}\n  b: {choices: [1, 2], when: {a: 0.96}}"
    assert refused(space) == (
        "sweep.yaml:8: space.b.when.a = 0.96: a never takes this value, so the parameter would never be searched. "
        "Allowed: 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, "
        "0.9, 0.95"
    )
    space = "{low: 0, high: 1000000, type: int}\n  b: {choices: [1, 2], when: {a: 0.5}}"
    assert refused(space).endswith("Allowed: 0, 1, ..., 1000000")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{low: 0, high: 1, step: 0.3}",
         "a.step = 0.3: must lead from low to high in a whole number of steps. "
         "Allowed: high: 0.9 or high: 1.2, or another step"),
        ("{low: 1, high: 6, step: 2, type: int}",
         "a.step = 2: must lead from low to high in a whole number of steps. Allowed: high: 5 or high: 7, or anot"),
        ("{low: 0, high: 1e-9, step: 1}", "a.step = 1.0: must lead from low to high in a whole number of steps"),
        ("{low: 0, high: 1, step: 2}", "a.step = 2.0: must lead from low to high in a whole number of steps"),
        ("{low: 0, high: 10, step: 1e-6}", "a.step = 1e-06: makes more than 1,000,000 values; leave it out"),
        ("{low: 1e17, high: 100000000000000100, step: 1}", "a.step = 1.0: is too small to tell neighbouring values"),
        ("{low: 1, high: 1" + "0" * 400 + ", step: 7, type: int}", "a.high = 1"),
        ("{low: 1, high: 9007199254740993, type: int}",
         "a.high = 9007199254740993: must be between -9007199254740992 and 9007199254740992: samplers cannot tell"),
        ("{low: -1e308, high: 1e308}", "a.high = 1e+308: is too far from low: their difference is no finite number"),
        ("{low: 0, high: .inf}", "a.high = inf: must be a finite number"),
        ("{low: .nan, high: 1}", "a.low = nan: must be a finite number"),
        ("{low: 1, high: 1" + "0" * 400 + "}", "a.high = 1"),
    ],
)  # fmt: skip
def test_a_range_that_cannot_be_walked_says_why_and_what_could_be(entry, message):
    assert refused(entry, "random", "{trials: 3}").startswith(f"sweep.yaml:7: space.{message}")


def test_a_range_of_whole_numbers_with_a_step_is_as_long_as_it_likes():
    values, source = parse_yaml(
        spec_text("{low: 0, high: 1000000000, step: 5, type: int}", "random", "{trials: 3}"), FILE
    )
    assert len(parse_spec(values, source).space["a"].values()) == 200_000_001
