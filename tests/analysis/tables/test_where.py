import numpy as np
import pandas as pd
import pytest

from analysis.tables.errors import ExpressionError
from analysis.tables.where import rows_where

FRAME = pd.DataFrame(
    {
        "rank": pd.array([1, 2, None, None], dtype="Int64"),
        "depth": [2, 2, 3, None],
        "head": ["signed", "mlp", "mlp", None],
        "val error": [0.1, 0.2, np.nan, np.inf],
        "metric.x": [1, 2, 3, 4],
        "feasible": [True, False, None, True],
        "val-error": [1.0, 2.0, 3.0, 4.0],
        "µ": [1, 2, 3, 4],
        "lambda": [1, 2, 3, 4],
        "mixed": [True, 1, "x", None],
        "empty": [None] * 4,
    }
)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("depth == 2 and head != 'mlp'", [0]),
        ("depth == 2 or head == 'mlp'", [0, 1, 2]),
        ("not (depth == 2 and head == 'mlp')", [0, 2, 3]),
        ("1 < metric.x <= 3", [1, 2]),
        ("1 < metric.x <= 3 != rank", [1]),  # a chain, and the third has no rank
        ("head in ('mlp', \"signed\") and depth not in [3, 4]", [0, 1]),
        ("'ml' in head", [1, 2]),
        ("depth * 2 - 1 == 3 and (depth + 1) / 3 == 1 and depth ** 2 % 3 == 1", [0, 1]),
        ("-depth < -2", [2]),
        ("abs(metric.x - 3) < 1.5 and sqrt(metric.x) > 1.5", [2, 3]),
        ("log10(`val error`) < -0.9", [0]),
        ("log(depth) > 1", [2]),
        ("`val error` < 0.15 or `val-error` == 4", [0, 3]),
        ("`metric.x` == 4", [3]),
        ("`lambda` == 2 or µ == 3", [1, 2]),
        ("feasible", [0, 3]),
        ("feasible == true", [0, 3]),
        ("head == `head`", [0, 1, 2]),
        ("  depth\n ==\t2  ", [0, 1]),
        ("mixed == True", [0]),  # true and 1 are not the same
        ("mixed == 1", [1]),
        ("mixed >= 0", [1]),
        ("mixed in (1, 'x')", [1, 2]),
        ("'a#b&c`' != head", [0, 1, 2]),
        ("`val error` > 1e300", [3]),
        ("True", [0, 1, 2, 3]),
    ],
)
def test_a_condition_chooses_the_rows_for_which_it_holds(condition, holds):
    assert list(np.flatnonzero(rows_where(FRAME, condition).rows)) == holds


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("depth == 2", [0, 1]),
        ("depth != 2", [2]),
        ("not depth == 2", [2, 3]),
        ("depth < 9", [0, 1, 2]),
        ("depth not in (2, 9)", [2]),
        ("depth + 1 > 0", [0, 1, 2]),
        ("abs(depth) > 0", [0, 1, 2]),
        ("not feasible", [1, 2]),
        ("empty == 3 or empty < 'x'", []),
        ("head is None", [3]),
        ("head is not None", [0, 1, 2]),
        ("head == None", [3]),
        ("head != null", [0, 1, 2]),
        ("head in ('signed', None)", [0, 3]),
        ("head not in ('signed', None)", [1, 2]),
        ("`val error` is None", [2]),
        ("depth + 1 is None", [3]),
    ],
)
def test_a_comparison_with_a_missing_value_does_not_hold(condition, holds):
    assert list(np.flatnonzero(rows_where(FRAME, condition).rows)) == holds


@pytest.mark.parametrize("condition", ["depth / 0 > -1", "depth % 0 == 0", "log(-depth) < 9", "(-depth) ** 0.5 < 9",
                                       "9.0 ** 9 ** 9 ** 9 > 1", "1e308 * 10 - 1e308 * 10 == 0"])  # fmt: skip
def test_what_cannot_be_calculated_is_missing(condition):
    assert not rows_where(FRAME, condition).rows.any()
    assert rows_where(FRAME, f"not ({condition})").rows.all()


@pytest.mark.parametrize(
    ("condition", "message", "place"),
    [
        ("dept == 2", "no column 'dept'. Did you mean 'depth'? Columns: rank, depth, head", "dept"),
        ("depth == 2 and heat == 'mlp'", "no column 'heat'. Did you mean 'head'?", "heat"),
        ("head == 'ü' and dpth == 1", "no column 'dpth'. Did you mean 'depth'?", "dpth"),
        ("`val eror` < 1", "no column 'val eror'. Did you mean 'val error'?", "`val eror`"),
        ("metric.y < 1", "no column 'metric.y'. Did you mean 'metric.x'?", "metric.y"),
        ("val-error < 1", "no column 'val'. Did you mean `val-error`, in backticks?", "val"),
        ("head == signed", "no column 'signed'. A text stands in quotes: 'signed'.", "signed"),
        ("depth == 2 and head == 3", "head is text, 3 is a number: they cannot be compared", "head == 3"),
        ("head < 3", "head is text, 3 is a number", "head < 3"),
        ("depth in (2, 'x')", "depth is a number, 'x' is text", "depth in (2, 'x'"),
        ("feasible == 1", "feasible is true or false, 1 is a number", "feasible == 1"),
        ("feasible < True", "feasible is true or false: it has no order", "feasible"),
        ("depth < None", "depth is a number, None is None: they cannot be compared", "depth < None"),
        ("depth and feasible", "depth is a number, no condition: compare it, as in depth == ...", "depth"),
        ("not head", "head is text, no condition", "head"),
        ("'x'", "'x' is text, no condition", "'x'"),
        ("head + 1 > 2", "head is text, and no number to calculate with", "head"),
        ("-head == 1", "head is text, and no number to calculate with", "head"),
        ("abs(head) > 2", "head is text, and no number to calculate with", "head"),
        ("head in 3", "in needs a list, as in depth in (2, 3)", "head in 3"),
        ("depth is 2", "is and is not are for None alone: write == or !=", "2"),
        ("depth = 2", "write == instead of =", "="),
        ("depth == 2 & feasible", "write and instead of &", "&"),
        ("depth == 2 || feasible", "write or instead of ||", "||"),
        ("!feasible", "write not instead of !", "!"),
        ("depth == 2 # and", "nothing can follow a #", "#"),
        ("`val error < 3", "a backtick is alone here", "`"),
        ("logg(depth) > 1", "there is no such function. Did you mean 'log'? Functions: abs, log, log10, sqrt", "logg"),
        ("log(depth, 2) > 1", "log takes one number", "log(depth, 2)"),
        ("__import__('os').system('x')", "there is no such function", "__import__('os').system"),
        ("head.upper() == 'A'", "there is no such function", "head.upper"),
        ("().__class__ is None", "this is not allowed in a condition. Allowed: comparisons, and, or", "().__class__"),
        ("[x for x in (1,)]", "this is not allowed", "[x for x in (1,)]"),
        ("depth[0] == 1", "this is not allowed", "depth[0]"),
        ("(lambda: 3) == 3", "this is not allowed", "lambda: 3"),
        ("f'{depth}' == '2'", "this is not allowed", "f'{depth}'"),
        ("depth // 2 == 1", "this is not allowed", "depth // 2"),
        ("b'x' == head", "this is not allowed", "b'x'"),
        ("depth == 1j", "this is not allowed", "1j"),
        ("feasible if depth else head", "this is not allowed", "feasible if depth else head"),
        ("(depth == 2", "the condition cannot be read here: this is never closed", "("),
        ("head == 'x", "the condition cannot be read here: this is never closed", "'"),
        ("depth 2", "the condition cannot be read here", "2"),
        ("lambda == 2", "the condition cannot be read here", "="),
    ],
)  # fmt: skip
def test_a_condition_that_does_not_fit_is_refused_at_its_place(condition, message, place):
    with pytest.raises(ExpressionError) as caught:
        rows_where(FRAME, condition)
    said, shown, carets = str(caught.value).split("\n")
    assert said.startswith(message)
    assert shown == f"  {condition}"
    first = len(carets) - len(carets.lstrip())
    assert shown[first : len(carets)] == place


def test_an_incomplete_condition_is_refused_at_its_end():
    with pytest.raises(ExpressionError, match=r"is not complete.*\n  depth == \n          \^$"):
        rows_where(FRAME, "depth == ")
    with pytest.raises(ExpressionError, match="the condition is empty; for instance: depth == 2"):
        rows_where(FRAME, "  ")


@pytest.mark.parametrize(
    "bomb",
    [
        "(" * 1500 + "1" + ")" * 1500 + " == 1",
        "-" * 3000 + "1 == 1",
        "not " * 900 + "feasible",
        "x." * 3000 + "y == 1",
        "+".join(["1"] * 1900) + " > 3",
        "depth == 2 and " * 3000 + "True",
        "abs(" * 100 + "depth" + ")" * 100 + " > 1",
        "depth == 9" + "9" * 5000,
        "\0 == 1",
    ],
)
def test_what_is_too_long_or_nested_too_deeply_is_refused(bomb):
    with pytest.raises(ExpressionError):
        rows_where(FRAME, bomb)


def test_powers_of_any_size_end_at_once_and_long_lists_are_looked_up():
    large = pd.concat([FRAME] * 1500, ignore_index=True)
    assert not rows_where(large, "9 ** 9 ** 9 ** 9 ** depth > 3").rows.any()
    many = ", ".join(map(str, range(100, 900)))
    assert rows_where(large, f"metric.x not in ({many})").rows.all()


def test_the_place_in_a_long_condition_is_shown_with_what_is_around_it():
    condition = " and ".join(["depth == 2"] * 40) + " and dept == 2 and " + " and ".join(["depth == 2"] * 40)
    with pytest.raises(ExpressionError) as caught:
        rows_where(FRAME, condition)
    _, shown, carets = str(caught.value).split("\n")
    assert len(shown) < 120
    first = len(carets) - len(carets.lstrip())
    assert shown[first : len(carets)] == "dept"


def test_a_text_that_no_row_has_is_said_with_the_nearest():
    assert rows_where(FRAME, "head == 'sigend' or head in ('mlp', 'zzz')").remarks == (
        "no row has 'sigend' in head; did you mean 'signed'?",
        "no row has 'zzz' in head",
    )
    assert rows_where(FRAME, "head != 'signed'").remarks == ()
