"""Reads a condition such as `depth == 2 and head != 'signed'` into a syntax tree, of which nothing is ever run."""

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from analysis.tables.errors import ExpressionError

LONGEST = 10_000
"""The most characters that a condition may have."""
MOST_PARTS = 4000
DEEPEST = 60
"""How deeply the parts of a condition may be nested."""
_SHOWN = 100
"""The most characters of a condition that a message shows around the place that it points at."""

_TOKEN = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"|`(?P<name>[^`]+)`"
    r"|(?P<wrong>&&?|\|\|?|!(?!=)|~|\^|<>|(?<![=!<>])=(?!=)|`|\#)"
)
_INSTEAD = {
    "&": "and",
    "&&": "and",
    "|": "or",
    "||": "or",
    "!": "not",
    "~": "not",
    "^": "**",
    "<>": "!=",
    "=": "==",
}


@dataclass(frozen=True)
class Expression:
    """A condition as it was written, with its syntax tree."""

    text: str
    _source: str = field(repr=False)
    """What Python's parser read: the text with an identifier in place of each name in backticks."""
    _origins: tuple[int, ...] = field(repr=False)
    """Where each character of the source stands in the text."""
    _names: Mapping[str, str] = field(repr=False)
    """The names in backticks, by their identifiers."""
    tree: ast.expr = field(repr=False)

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Return where a part begins and ends in the text."""
        line = self._source.encode()
        first, last = (len(line[:at].decode()) for at in (node.col_offset, node.end_col_offset or len(line)))
        return self._origins[first], self._origins[last - 1] + 1

    def written(self, node: ast.expr) -> str:
        """Return a part as it was written."""
        first, last = self.span(node)
        return self.text[first:last]

    def name(self, node: ast.expr) -> str | None:
        """Return the name that a part is, dots included; None if it is none."""
        after = ""
        while isinstance(node, ast.Attribute):
            node, after = node.value, f".{node.attr}{after}"
        if not isinstance(node, ast.Name):
            return None
        line = self._source.encode()  # and not node.id, in which Python has replaced letters such as µ
        return (self._names.get(node.id) or line[node.col_offset : node.end_col_offset].decode()) + after

    def refuse(self, message: str, node: ast.expr, to: ast.expr | None = None) -> NoReturn:
        """Raise ExpressionError with a message that points at a part, or at all from it to another."""
        first, last = self.span(node)[0], self.span(to or node)[1]
        raise _error(message, self.text, first, last)


def read_expression(text: str) -> Expression:
    """Return a condition with its syntax tree; names in backticks may have any signs.

    Raises ExpressionError, which points at the place, if it cannot be read or is too long.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"a condition has at most {LONGEST} characters; this one has {len(text)}")
    text = re.sub(r"\s", " ", text)
    if not text.strip():
        raise ExpressionError("the condition is empty; for instance: depth == 2 and head != 'signed'")
    source, origins, names = _without_backticks(text)
    tree = _parse(text, source, origins)
    found = Expression(text, source, origins, names, tree)
    num_parts = sum(1 for _ in ast.walk(tree))
    if num_parts > MOST_PARTS:
        raise ExpressionError(f"a condition has at most {MOST_PARTS} parts; this one has {num_parts}")
    return found


def _without_backticks(text: str) -> tuple[str, tuple[int, ...], dict[str, str]]:
    """Return a condition with an identifier for each name in backticks, where each character came from, and the names.

    Signs of other languages are refused on the way, with the word to write instead.
    """
    prefix = "quoted"
    while prefix in text:
        prefix += "_"
    start = len(text) - len(text.lstrip())  # Python's parser would take spaces for an indent
    source, origins, names, place = "", [], {}, start
    for token in _TOKEN.finditer(text, start):
        if token["wrong"]:
            raise _error(_why_wrong(token["wrong"]), text, token.start(), token.end())
        if not token["name"]:
            continue
        identifier = f"{prefix}{len(names)}"
        names[identifier] = token["name"]
        source += text[place : token.start()] + identifier
        origins += range(place, token.start())
        origins += [token.start()] * (len(identifier) - 1) + [token.end() - 1]
        place = token.end()
    source += text[place:]
    return source, (*origins, *range(place, len(text) + 1)), names


def _why_wrong(sign: str) -> str:
    if sign == "`":
        return "a backtick is alone here; a name with other signs stands between two: `val error`"
    return "nothing can follow a #" if sign == "#" else f"write {_INSTEAD[sign]} instead of {sign}"


def _parse(text: str, source: str, origins: tuple[int, ...]) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python thinks of "\d" or of `3 is 3`
            return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        place = (error.offset or 0) - 1
        if place < 0 or place >= len(source.rstrip()):
            end = len(text.rstrip())
            raise _error("the condition is not complete: something is missing here", text, end, end + 1) from None
        at = origins[place]
        word = re.compile(r"\w+|.").match(text, at)
        missing = ": this is never closed" if "never closed" in error.msg or "unterminated" in error.msg else ""
        raise _error(f"the condition cannot be read here{missing}", text, at, word.end() if word else at + 1) from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("the condition cannot be read: it is nested too deeply, or has odd signs") from None


def _error(message: str, text: str, first: int, last: int) -> ExpressionError:
    """Return an error that shows the condition, or what is around the place, with a line of carets below it."""
    start = max(0, first - _SHOWN // 2) if len(text) > _SHOWN else 0
    shown = text[start : start + _SHOWN]
    carets = "^" * max(1, min(last, start + _SHOWN) - first)
    cut = "..." if start else ""
    return ExpressionError(
        f"{message}\n  {cut}{shown}{'...' if start + _SHOWN < len(text) else ''}\n  "
        f"{' ' * (len(cut) + first - start)}{carets}"
    )
