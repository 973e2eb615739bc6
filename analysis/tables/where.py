"""Chooses the rows of a table for which a condition holds; a comparison with a missing value does not hold."""

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from analysis.tables.cells import Cell, Kind, cells, kind_of
from analysis.tables.columns import no_column
from analysis.tables.expression import DEEPEST, Expression, read_expression
from search_spaces.errors import nearest


@dataclass(frozen=True)
class Part:
    """A part of a condition: its values by row."""

    kind: Kind
    at: Callable[[int], Cell]
    node: ast.expr
    column: str | None = None
    """The column's name if the part is one."""


@dataclass(frozen=True)
class Chosen:
    """The rows for which a condition holds."""

    rows: np.ndarray
    """Whether it holds, by row."""
    remarks: tuple[str, ...]
    """Texts of the condition that no row has, with the nearest ones."""


_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.Pow: math.pow,  # of floats: 9 ** 9 ** 9 overflows at once
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[Any], float]] = {
    "abs": abs, "log": math.log, "log10": math.log10, "sqrt": math.sqrt,
}  # fmt: skip
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
"""Constants as YAML writes them; Python's are True, False and None."""
ALLOWED = (
    "comparisons, and, or, not, in, is None, + - * / % **, abs, log, log10, sqrt, parentheses, texts in quotes, "
    "numbers, True, False, None, and the names of columns"
)


def rows_where(frame: pd.DataFrame, condition: str) -> Chosen:
    """Return the rows of a table for which a condition holds.

    Raises ExpressionError, which points at the place, if it cannot be read or does not fit the columns.
    """
    expression = read_expression(condition)
    compiler = _Compiler(frame, expression)
    whole = compiler.part(expression.tree)
    compiler.must_hold(whole)
    holds = np.array([whole.at(row) is True for row in range(len(frame))], dtype=bool)
    return Chosen(holds, tuple(compiler.remarks))


def _equal(left: Cell, right: Cell) -> bool:
    return kind_of(left) is kind_of(right) and left == right


class _Compiler:
    """Makes parts of a condition's syntax tree; whatever it does not know is refused."""

    def __init__(self, frame: pd.DataFrame, expression: Expression) -> None:
        self._frame, self._expression = frame, expression
        self._refuse = expression.refuse
        self._columns: dict[str, Part] = {}
        self._depth = 0
        self.remarks: list[str] = []

    def part(self, node: ast.expr) -> Part:
        """Return a part; raises ExpressionError if it is not allowed, or its kinds do not fit."""
        makers: dict[type[ast.expr], Callable[[Any], Part]] = {
            ast.BoolOp: self._all_or_any, ast.UnaryOp: self._unary, ast.BinOp: self._computed,
            ast.Compare: self._compared, ast.Call: self._called, ast.Constant: self._constant,
            ast.Name: self._named, ast.Attribute: self._named,
        }  # fmt: skip
        if type(node) not in makers:
            self._not_allowed(node)
        if self._depth == DEEPEST:
            self._refuse(f"the condition is nested more than {DEEPEST} deep here", node)
        self._depth += 1
        made = makers[type(node)](node)
        self._depth -= 1
        return made

    def must_hold(self, part: Part) -> None:
        """Raise ExpressionError if a part is nothing that holds or does not hold."""
        if part.kind not in (Kind.TRUTH, Kind.ANY):
            name = self._expression.written(part.node)
            self._refuse(f"{name} is {part.kind.value}, no condition: compare it, as in {name} == ...", part.node)

    def _not_allowed(self, node: ast.expr) -> NoReturn:
        self._refuse(f"this is not allowed in a condition. Allowed: {ALLOWED}", node)

    def _constant(self, node: ast.Constant) -> Part:
        value = node.value
        if value is None or isinstance(value, bool | int | float | str):
            return Part(kind_of(value), lambda _row: value, node)
        return self._not_allowed(node)

    def _named(self, node: ast.Name | ast.Attribute) -> Part:
        name = self._expression.name(node)
        if name is None:
            self._not_allowed(node)
        if name not in self._frame.columns:
            if name.lower() in _CONSTANTS:
                return self._constant(ast.copy_location(ast.Constant(_CONSTANTS[name.lower()]), node))
            self._refuse(self._no_column(name), node)
        if name not in self._columns:
            values = cells(self._frame.loc[:, name])
            kinds = {kind_of(value) for value in values if value is not None}
            self._columns[name] = Part(kinds.pop() if len(kinds) == 1 else Kind.ANY, values.__getitem__, node, name)
        found = self._columns[name]
        return Part(found.kind, found.at, node, name)

    def _no_column(self, name: str) -> str:
        there = [str(column) for column in self._frame.columns]
        odd = [column for column in there if not column.replace(".", "").isidentifier()]
        meant = next((column for column in odd if column in self._expression.text and name in column), None)
        if meant is not None:
            hint = f"Did you mean `{meant}`, in backticks?"
        elif any(name == value for column in there for value in self._frame[column].tolist() if isinstance(value, str)):
            hint = f"A text stands in quotes: {name!r}."
        else:
            near = nearest(name, there)
            hint = f"Did you mean {near!r}?" if near else ""
        return no_column(name, there, hint)

    def _all_or_any(self, node: ast.BoolOp) -> Part:
        parts = [self.part(value) for value in node.values]
        for part in parts:
            self.must_hold(part)
        if isinstance(node.op, ast.And):
            return Part(Kind.TRUTH, lambda row: all(part.at(row) is True for part in parts), node)
        return Part(Kind.TRUTH, lambda row: any(part.at(row) is True for part in parts), node)

    def _unary(self, node: ast.UnaryOp) -> Part:
        part = self.part(node.operand)
        if isinstance(node.op, ast.Not):
            self.must_hold(part)
            return Part(Kind.TRUTH, lambda row: part.at(row) is not True, node)
        self._must_be_number(part)
        sign = -1 if isinstance(node.op, ast.USub) else 1
        return Part(Kind.NUMBER, lambda row: _calculate(operator.mul, sign, part.at(row)), node)

    def _computed(self, node: ast.BinOp) -> Part:
        compute = _COMPUTED.get(type(node.op))
        if compute is None:
            self._not_allowed(node)
        left, right = self.part(node.left), self.part(node.right)
        self._must_be_number(left)
        self._must_be_number(right)
        return Part(Kind.NUMBER, lambda row: _calculate(compute, left.at(row), right.at(row)), node)

    def _called(self, node: ast.Call) -> Part:
        name = self._expression.name(node.func)
        if name not in FUNCTIONS:
            near = nearest(name, FUNCTIONS) if name else None
            hint = f" Did you mean {near!r}?" if near else ""
            self._refuse(f"there is no such function.{hint} Functions: {', '.join(FUNCTIONS)}", node.func)
        if len(node.args) != 1 or node.keywords:
            self._refuse(f"{name} takes one number", node)
        part = self.part(node.args[0])
        self._must_be_number(part)
        function = FUNCTIONS[name]
        return Part(Kind.NUMBER, lambda row: _calculate(function, part.at(row)), node)

    def _must_be_number(self, part: Part) -> None:
        if part.kind not in (Kind.NUMBER, Kind.ANY):
            said = self._expression.written(part.node)
            self._refuse(f"{said} is {part.kind.value}, and no number to calculate with", part.node)

    def _compared(self, node: ast.Compare) -> Part:
        nodes = [node.left, *node.comparators]
        pairs = zip(nodes, node.ops, nodes[1:], strict=False)
        tests = [self._pair(left, sign, right) for left, sign, right in pairs]
        return Part(Kind.TRUTH, lambda row: all(holds(row) for holds in tests), node)

    def _pair(self, first: ast.expr, sign: ast.cmpop, second: ast.expr) -> Callable[[int], bool]:
        """Return whether two neighbours in a comparison compare so, by row."""
        left = self.part(first)
        if isinstance(sign, ast.In | ast.NotIn):
            return self._membership(left, isinstance(sign, ast.In), second)
        right = self.part(second)
        if isinstance(sign, ast.Is | ast.IsNot) and right.kind is not Kind.NONE:
            self._refuse("is and is not are for None alone: write == or !=", second)
        wants_same = isinstance(sign, ast.Is | ast.Eq)
        if isinstance(sign, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            if Kind.NONE in (left.kind, right.kind):
                known = left if right.kind is Kind.NONE else right
                return lambda row: (known.at(row) is None) is wants_same
            self._must_fit(left, right)
            self._note_unseen(left, right)
            self._note_unseen(right, left)
            return lambda row: _both(left.at(row), right.at(row)) and _equal(left.at(row), right.at(row)) is wants_same
        self._must_fit(left, right)
        for one in (left, right):
            if one.kind in (Kind.TRUTH, Kind.NONE):
                self._refuse(f"{self._expression.written(one.node)} is {one.kind.value}: it has no order", one.node)
        compare = _COMPARED[type(sign)]

        def holds(row: int) -> bool:
            one, other = left.at(row), right.at(row)
            return _both(one, other) and kind_of(one) is kind_of(other) and compare(one, other)

        return holds

    def _membership(self, left: Part, is_in: bool, second: ast.expr) -> Callable[[int], bool]:
        """Return whether a part is in a list, or in a longer text."""
        if not isinstance(second, ast.Tuple | ast.List):
            right = self.part(second)
            if right.kind not in (Kind.TEXT, Kind.ANY) or left.kind not in (Kind.TEXT, Kind.ANY):
                said = "in needs a list, as in depth in (2, 3), or a text within a text, as in 'mlp' in head"
                self._refuse(said, left.node, second)
            return lambda row: (
                isinstance(one := left.at(row), str)
                and isinstance(other := right.at(row), str)
                and (one in other) is is_in
            )
        items = [self.part(item) for item in second.elts]
        has_none = any(item.kind is Kind.NONE for item in items)
        for item in items:
            if item.kind is not Kind.NONE:
                self._must_fit(left, item)
                self._note_unseen(left, item)

        constants = {(item.kind, item.node.value) for item in items if isinstance(item.node, ast.Constant)}
        others = [item for item in items if not isinstance(item.node, ast.Constant)]

        def holds(row: int) -> bool:
            value = left.at(row)
            if value is None:
                return has_none and is_in
            found = (kind_of(value), value) in constants or any(_equal(value, item.at(row)) for item in others)
            return found is is_in

        return holds

    def _must_fit(self, left: Part, right: Part) -> None:
        """Raise ExpressionError if values of these kinds are never comparable."""
        if left.kind is not right.kind and Kind.ANY not in (left.kind, right.kind):
            one, other = (f"{self._expression.written(part.node)} is {part.kind.value}" for part in (left, right))
            first, last = sorted((left.node, right.node), key=self._expression.span)
            self._refuse(f"{one}, {other}: they cannot be compared", first, last)

    def _note_unseen(self, part: Part, constant: Part) -> None:
        """Note a text that a column is compared with and never has; it is mostly misspelt."""
        if part.column is None or not isinstance(constant.node, ast.Constant) or constant.kind is not Kind.TEXT:
            return
        values = {value for value in self._frame[part.column].tolist() if isinstance(value, str)}
        if constant.node.value not in values:
            near = nearest(constant.node.value, values)
            hint = f"; did you mean {near!r}?" if near else ""
            self.remarks.append(f"no row has {constant.node.value!r} in {part.column}{hint}")


def _both(left: Cell, right: Cell) -> bool:
    return left is not None and right is not None


def _calculate(compute: Callable[..., Any], *values: Cell) -> Cell:
    """Return a number, or None if a value is missing or no number, or if there is no finite result of finite ones."""
    if any(kind_of(value) is not Kind.NUMBER for value in values):
        return None
    try:
        found = compute(*values)
    except (ArithmeticError, ValueError):
        return None
    return None if isinstance(found, float) and math.isnan(found) else found
