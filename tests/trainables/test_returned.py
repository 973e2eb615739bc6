import math
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared import returned
from trainables._shared.contract import Loss, Phase, TestResult, TrialData
from trainables._shared.returned import ReturnedError, number, traced_metrics


class Unwilling:
    """What a library's own scalar may be like."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("it is on another device")

    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        (3, 3.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(2), 2.0),
        (np.array(1.5), 1.5),
        (jnp.asarray(0.5, jnp.bfloat16), 0.5),
        (np.longdouble("0.25"), 0.25),
        (Decimal("1.25"), 1.25),
        (Fraction(1, 4), 0.25),
        (-math.inf, -math.inf),
        (np.ma.array(1.5), 1.5),
    ],
)
def test_a_number_of_any_kind_is_a_float(value, expected):
    found = number("rmse", value)
    assert type(found) is float
    assert found == expected
    assert math.isnan(number("rmse", np.nan))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "rmse is None, not a number"),
        (np.array([1.0]), "rmse is an array of shape (1,) and type float64, not a number"),
        (jnp.ones((1, 1)), "rmse is an array of shape (1, 1) and type float32, not a number"),
        ("1.0", "rmse is the text '1.0', not a number"),
        (np.str_("1.0"), "rmse is the text '1.0', not a number"),
        (b"1.0", "rmse is b'1.0' (of type bytes), not a number"),
        (1 + 2j, "rmse is (1+2j) (of type complex), not a number"),
        (np.complex64(1), "rmse is of type complex64, not a number"),
        (np.timedelta64(1, "s"), "rmse is of type timedelta64[s], not a number"),
        ([1.0], "rmse is [1.0] (of type list), not a number"),
        ({"mean": 1.0}, "rmse is {'mean': 1.0} (of type dict), not a number"),
        pytest.param(
            10**400, "rmse is a whole number of about 401 digits, which is too large for a number", id="digits"
        ),
        pytest.param(-(10**100_000), "rmse is a whole number of about 100001 digits", id="huge"),
        (Decimal("1e999"), "rmse is Decimal('1E+999') (of type Decimal), which is too large for a number"),
        (Unwilling(), "rmse is <Unwilling instance> (of type Unwilling), not a number (RuntimeError)"),
        (jax.random.key(0), "rmse is of type key<fry>, not a number"),
        (np.ma.masked, "rmse is masked, not a number"),
        (np.ma.array([1.0, 2.0], mask=True).mean(), "rmse is masked, not a number"),
        (np.ma.array(3, mask=True), "rmse is masked, not a number"),
        (object(), "rmse is <object object> (of type object), not a number"),
        ([object()], "rmse is [<object object>] (of type list), not a number"),
        ("<object object at 0x7f0120a60950>", "rmse is the text '<object object>', not a number"),
    ],
)
def test_what_is_no_number_is_named_with_its_value(value, said):
    with pytest.raises(ReturnedError) as caught:
        number("rmse", value)
    assert str(caught.value).startswith(said)


def test_a_value_of_any_size_is_said_in_few_words():
    for value in ("x" * 10**7, ["y" * 10**6] * 1000, np.zeros(10**6)):
        with pytest.raises(ReturnedError) as caught:
            number("rmse", value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({1: 1.0}, "names a metric 1: its name must be a text"),
        ({"": 1.0}, "its name must be 1 to 200 printable characters"),
        ({"a\nb": 1.0}, "its name must be 1 to 200 printable characters"),
        ({"\ud800": 1.0}, "its name must be 1 to 200 printable characters"),
        ({"x" * 201: 1.0}, "its name must be 1 to 200 printable characters"),
        (dict.fromkeys(map(str, range(10_001)), 1.0), "returned 10,001 metrics; at most 10,000 can be kept"),
        ({"rmse": None}, "rmse is None, not a number"),
        ({"best_step": 1.0}, "score() of plain measures best_step, which every trial has already"),
        (None, "score() of plain has None as metrics, not numbers by name"),
    ],
)
def test_metrics_that_cannot_be_kept_are_refused(metrics, said):
    with pytest.raises(ReturnedError) as caught:
        returned.test_results({"plain": TestResult(metrics, {})})
    assert said in str(caught.value)


def test_what_users_call_their_metrics_is_theirs():
    metrics = {"decay [/day]": 1.0, "step": 2.0, "seconds": 3.0, "größe µm": 4.0}
    assert returned.test_results({"plain": TestResult(metrics, {})})["plain"].metrics == metrics


def test_two_test_sets_do_not_measure_the_same_name():
    both = {name: TestResult({"rmse": 1.0}, {}) for name in ("near", "far")}
    with pytest.raises(ReturnedError, match="measures rmse on near and on far: name them apart"):
        returned.test_results(both)


@pytest.mark.parametrize("value", [None, [1.0], {"plain": {"rmse": 1.0}}, {1: TestResult({}, {})}, 3.0])
def test_a_score_of_another_kind_is_refused(value):
    with pytest.raises(ReturnedError, match=r"^score\(\) returned .*TestResult"):
        returned.test_results(value)


def test_a_table_is_plain_lists_of_equal_length():
    table = {"a": np.arange(2.0), "b": jnp.asarray([1, 2]), "name": ["x", None], "c": [np.float32(1), 2]}
    (found,) = returned.test_results({"plain": TestResult({}, table)}).values()
    assert found.table == {"a": [0.0, 1.0], "b": [1, 2], "name": ["x", None], "c": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.ma.array([1.0, 2.0], mask=[True, False]), [None, 2.0]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.ma.array(["a", "b"], mask=[False, True]), ["a", None]),
        (np.ma.array([1, "b"], dtype=object, mask=[False, True]), [1.0, None]),
        ([np.ma.masked, 2.0], [None, 2.0]),
        ([np.ma.array(1.0), np.ma.array(2.0, mask=True)], [1.0, None]),
        ((one for one in (np.ma.masked, 2.0)), [None, 2.0]),
    ],
    ids=["floats", "integers", "texts", "objects", "a list", "scalars", "a generator"],
)
def test_a_masked_cell_of_a_table_is_missing(column, expected):
    (found,) = returned.test_results({"plain": TestResult({}, {"a": column})}).values()
    assert found.table == {"a": expected}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, "columns of unequal lengths: a 1, b 2"),
        ({"a": np.zeros((2, 3))}, "column a is an array of shape (2, 3)"),
        ({"a": 1.0}, "column a is 1.0 (of type float), not a list"),
        ({"a": "text"}, "column a is the text 'text', not a list"),
        ({"a": [1j]}, "column a is 1j (of type complex), not a number"),
        ({"a": ["x" * 10**8]}, "column a has a text of 100,000,000 characters; at most 1000"),
        ({"a": [10**400]}, "column a is a whole number of about 401 digits"),
        ([1.0], "has [1.0] (of type list) as its table, not columns by name"),
    ],
)
def test_a_table_that_is_none_is_refused(table, said):
    with pytest.raises(ReturnedError) as caught:
        returned.test_results({"plain": TestResult({}, table)})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "phases() returned None, not a list of Phase"),
        ([(10, 0.1)], "phases() returned [(10, 0.1)] (of type list), not a list of Phase"),
        ([], "phases() returned no steps to train"),
        ([Phase(0, 0.1)], "phases() returned no steps to train"),
        ([Phase(10.0, 0.1)], "phases()[0].steps is 10.0 (of type float), not a number of steps"),  # pyright: ignore
        ([Phase(-1, 0.1)], "phases()[0].steps is -1, not a number of steps"),
        ([Phase(10, None)], "phases()[0].learning_rate is None, not a number"),  # pyright: ignore
    ],
)
def test_phases_of_another_kind_are_refused(value, said):
    with pytest.raises(ReturnedError) as caught:
        returned.phases(value)
    assert str(caught.value) == said


@pytest.mark.parametrize("value", [None, "val_error", ("val_error", "least"), ("val_error",), (1, "min")])
def test_a_selection_of_another_kind_is_refused(value):
    with pytest.raises(ReturnedError, match=r"^selection\(\) returned .*, not a metric's name with 'min' or 'max'$"):
        returned.selection(value)


@pytest.mark.parametrize("value", [None, ([1], {}, {}), TrialData([], {}, {}), TrialData([1], {}, None)])  # pyright: ignore
def test_data_of_another_kind_are_refused(value):
    with pytest.raises(ReturnedError, match=r"^data\(\) returned "):
        returned.data(value, num_phases=1)


def test_a_loss_of_another_kind_is_refused():
    ok = jnp.asarray(True)
    for value, said in (
        (jnp.zeros(()), "not a Loss"),
        (Loss(jnp.zeros(1), {}, ok), "the loss is an array of shape (1,)"),
        (Loss(jnp.zeros(()), {"fit": jnp.zeros(2)}, ok), "fit is an array of shape (2,)"),
        (Loss(jnp.zeros(()), {"loss": jnp.zeros(())}, ok), "names a component loss"),
    ):
        with pytest.raises(ReturnedError) as caught:
            returned.loss(value)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "validate() returned None, not metrics by name"),
        ({"val_error": None}, "val_error is None, not a number"),
        ({"val_error": "1.0"}, "val_error is the text '1.0', not a number"),
        ({"val_error": {"mean": 1.0}}, "val_error is {'mean': 1.0} (of type dict), not a number"),
        ({"val_error": np.ma.masked}, "val_error is masked, not a number"),
        ({"val_error": float}, "val_error is <class 'float'> (of type type), not a number"),
        ({"val_error": np.float32}, "not a number"),
        ({"val_error": np.array(None)}, "not a number"),
        ({1: 1.0}, "validate() names a metric 1"),
    ],
)
@pytest.mark.filterwarnings("default")  # as in a worker, where JAX takes some of these for numbers
def test_a_report_of_another_kind_is_refused_while_it_is_traced(values, said):
    with pytest.raises(ReturnedError) as caught:
        jax.eval_shape(lambda: traced_metrics("validate()", values))
    assert said in str(caught.value)


def test_a_traced_array_is_no_number():
    with pytest.raises(ReturnedError, match=r"val_error is an array of shape \(1,\) and type float32"):
        jax.eval_shape(lambda x: traced_metrics("validate()", {"val_error": x}), jnp.zeros(1))


@pytest.mark.parametrize("name", ["train_loss", "skipped_steps", "best_step"])
def test_a_report_does_not_take_the_name_of_one_of_ours(name):
    with pytest.raises(ReturnedError, match=f"validate.* returned {name}, which every report has already"):
        returned.report({"train_loss": 1.0}, {name: 2.0})


def test_the_metric_that_selects_is_reported():
    with pytest.raises(
        ReturnedError, match=r"selection\(\) names val_rmse, which no report has; a report has train_loss"
    ):
        returned.selected("val_rmse", {"train_loss": 1.0})
