"""What an exception was and where it came from, as data: taken in the process that it was raised in, kept in a record.

All of it is bounded: an exception is the user's, and may say anything at any length.
"""

import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MOST_EXCEPTIONS = 6
"""Exceptions of a chain that are kept: the last ones."""
FIRST_FRAMES, LAST_FRAMES = 5, 60
LONGEST_MESSAGE = 1000
LONGEST_LINE = 2000
LONGEST_TEXT = 20_000
"""Characters of a traceback that are kept as text: its beginning and, for the most part, its end."""
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_FRAME = re.compile(r'[ |]*File "(?P<file>.+)", line (?P<line>\d+)(?:,? in (?P<function>.+))?$')
_FATAL = re.compile(r"(?:F\d{4} [\d:.]+ .*?\] |(?=Fatal Python error: )|terminate called after )(?P<said>.+)")
"""A fatal line of XLA's log, of Python's fault handler, of C++."""


@dataclass(frozen=True)
class Frame:
    """A line of a traceback; `function` is empty for the place of a syntax error."""

    file: str
    line: int
    function: str = ""


@dataclass(frozen=True)
class Raised:
    """An exception and the frames it came through, outermost first."""

    frames: tuple[Frame, ...]
    message: str
    """The exception's type and the first line of what it says; empty if that is not known."""


def chain_of(error: BaseException) -> list[Raised]:
    """Return an exception and those it came from, the one that was raised last at the end.

    Before a group of exceptions comes the chain of the first that it holds.
    """
    chain: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < MOST_EXCEPTIONS and not any(seen is one for one in chain):
        chain.append(seen)
        hidden = seen.__suppress_context__
        seen = seen.__cause__ if seen.__cause__ is not None else None if hidden else seen.__context__
    found: list[Raised] = []
    for one in reversed(chain):
        message = _message(one)
        if isinstance(one, BaseExceptionGroup):
            inner = chain_of(one.exceptions[0])
            message += f", the first {inner[-1].message}"
            found += inner
        found.append(Raised(_frames(one), clean(message)[:LONGEST_MESSAGE]))
    return found[-2 * MOST_EXCEPTIONS :]


def _frames(error: BaseException) -> tuple[Frame, ...]:
    frames = [
        Frame(frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        frames.append(Frame(error.filename, error.lineno or 0))
    if len(frames) > FIRST_FRAMES + LAST_FRAMES:
        frames = [*frames[:FIRST_FRAMES], *frames[-LAST_FRAMES:]]
    return tuple(frames)


def _message(error: BaseException) -> str:
    """Return an exception's type, and the first line of what it says."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        said = str(error.msg if isinstance(error, SyntaxError) else error)
    except BaseException:  # a user's own class
        return f"{name}: <its message cannot be shown>"
    lines = [line.strip() for line in said[: 10 * LONGEST_MESSAGE].splitlines() if line.strip()]
    if not lines:
        return name
    return f"{name}: {' '.join(lines[:2]) if lines[0].endswith(':') else lines[0]}"


def text_of(error: BaseException) -> str:
    """Return an exception's traceback as text, within bounds, and without what a terminal or a file chokes on."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:
        text = f"{_message(error)}\n(its traceback cannot be shown)"
    return bounded(text)


def bounded(text: str) -> str:
    """Return a text of at most LONGEST_TEXT characters or so, its long lines cut and its middle left out."""
    lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} [...]" for line in text.splitlines()]
    text = clean("\n".join(lines) + ("\n" if text.endswith("\n") else ""))
    if len(text) <= LONGEST_TEXT:
        return text
    head, tail = LONGEST_TEXT // 5, LONGEST_TEXT - LONGEST_TEXT // 5
    return f"{text[:head]}\n[... {len(text) - LONGEST_TEXT:,} characters left out ...]\n{text[-tail:]}"


def clean(text: str) -> str:
    """Return a text whose control characters, and characters that are none, are written as escapes."""
    return text.encode(errors="backslashreplace").decode().translate(_UNPRINTABLE)


def to_json(chain: Iterable[Raised]) -> list[dict[str, Any]]:
    """Return exceptions as a record keeps them."""
    return [
        {
            "message": raised.message,
            "frames": [[clean(frame.file), frame.line, clean(frame.function)] for frame in raised.frames],
        }
        for raised in chain
    ]


def from_json(noted: Iterable[dict[str, Any]]) -> list[Raised]:
    """Return the exceptions of a record."""
    return [Raised(tuple(Frame(*frame) for frame in one["frames"]), one["message"]) for one in noted]


def from_text(text: str) -> list[Raised]:
    """Return what there is only as text, a process's last words or an old record's traceback, as one exception.

    None if it is no traceback.
    """
    lines = text.splitlines()
    found = [(index, match) for index, match in enumerate(map(_FRAME.match, lines)) if match]
    if not found or "(most recent call " not in text:
        return []
    frames = [Frame(match["file"], int(match["line"]), match["function"] or "") for _, match in found]
    if "(most recent call first)" in text:  # of a process that died: its innermost comes first
        return [Raised(tuple(reversed(frames)), telling_line(lines))]
    after = (line for line in lines[found[-1][0] + 1 :] if line.strip() and line[:1] != " ")
    return [Raised(tuple(frames), next(after, "").strip())]


def is_fatal(line: str) -> bool:
    """Return whether a line of a dead process's last words says what ended it."""
    return _FATAL.match(line.strip()) is not None


def telling_line(lines: Sequence[str]) -> str:
    """Return the line of a dead process's last words that says most: what ended it, else the last; empty for none."""
    said = [line.strip() for line in lines if line.strip() and not _FRAME.match(line)]
    ended = [match["said"] for match in map(_FATAL.match, said) if match]
    return clean(ended[0] if ended else said[-1] if said else "")[:LONGEST_MESSAGE]
