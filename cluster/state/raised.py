"""An exception and where it came from, as data: taken in the process that raised it, and kept in the trial's record.

All of it is bounded, since a user's exception may say anything at any length.
"""

import re
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MOST_EXCEPTIONS = 6
"""How many exceptions of a chain are kept: the last ones."""
FIRST_FRAMES, LAST_FRAMES = 5, 60
LONGEST_MESSAGE = 1000
LONGEST_LINE = 2000
LONGEST_TEXT = 20_000
"""How many characters of a traceback are kept as text: some of its beginning, most of its end."""
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_FRAME = re.compile(r'[ |]*File "(?P<file>.+)", line (?P<line>\d+)(?:,? in (?P<function>.+))?$')
_FATAL = re.compile(r"(?:F\d{4} [\d:.]+ .*?\] |(?=Fatal Python error: )|terminate called after )(?P<said>.+)")
"""A fatal line in the log of XLA, Python's fault handler, or C++."""


@dataclass(frozen=True)
class Frame:
    """A line of a traceback; `function` is empty if it is the place of a syntax error."""

    file: str
    line: int
    function: str = ""


@dataclass(frozen=True)
class Raised:
    """An exception and the frames that it passed through, outermost first."""

    frames: tuple[Frame, ...]
    message: str
    """The exception's type and the first line of what it says; empty if that is not known."""


def chain_of(error: BaseException) -> list[Raised]:
    """Return an exception and its causes, the one that was raised last at the end.

    If it is a group of exceptions, the chain of the first one in it comes before the group.
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
    except BaseException:  # a user's own class may raise anything
        return f"{name}: <its message cannot be shown>"
    lines = [line.strip() for line in said[: 10 * LONGEST_MESSAGE].splitlines() if line.strip()]
    if not lines:
        return name
    return f"{name}: {' '.join(lines[:2]) if lines[0].endswith(':') else lines[0]}"


def text_of(error: BaseException) -> str:
    """Return an exception's traceback as text of bounded length, without characters that break terminals or files."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:
        text = f"{_message(error)}\n(its traceback cannot be shown)"
    return bounded(text)


def bounded(text: str) -> str:
    """Return a text cut to about LONGEST_TEXT characters: its long lines are cut, and its middle is left out."""
    lines = [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} [...]" for line in text.splitlines()]
    text = clean("\n".join(lines) + ("\n" if text.endswith("\n") else ""))
    if len(text) <= LONGEST_TEXT:
        return text
    head, tail = LONGEST_TEXT // 5, LONGEST_TEXT - LONGEST_TEXT // 5
    return f"{text[:head]}\n[... {len(text) - LONGEST_TEXT:,} characters left out ...]\n{text[-tail:]}"


def clean(text: str) -> str:
    """Return a text with control characters and invalid ones replaced by escapes."""
    return text.encode(errors="backslashreplace").decode().translate(_UNPRINTABLE)


def to_json(chain: Iterable[Raised]) -> list[dict[str, Any]]:
    """Return exceptions in the form that a record keeps."""
    return [
        {
            "message": raised.message,
            "frames": [[clean(frame.file), frame.line, clean(frame.function)] for frame in raised.frames],
        }
        for raised in chain
    ]


def from_json(noted: Iterable[dict[str, Any]]) -> list[Raised]:
    """Return the exceptions that a record keeps, as `to_json` made them."""
    return [Raised(tuple(Frame(*frame) for frame in one["frames"]), one["message"]) for one in noted]


def from_text(text: str) -> list[Raised]:
    """Return the exception in a text that is all there is: a dead process's last words, or an old record's traceback.

    The list is empty if the text is no traceback.
    """
    lines = text.splitlines()
    found = [(index, match) for index, match in enumerate(map(_FRAME.match, lines)) if match]
    if not found or "(most recent call " not in text:
        return []
    frames = [Frame(match["file"], int(match["line"]), match["function"] or "") for _, match in found]
    if "(most recent call first)" in text:  # a dead process's traceback has the innermost frame first
        return [Raised(tuple(reversed(frames)), telling_line(lines))]
    after = (line for line in lines[found[-1][0] + 1 :] if line.strip() and line[:1] != " ")
    return [Raised(tuple(frames), next(after, "").strip())]


def is_fatal(line: str) -> bool:
    """Return whether a line of a dead process's last words says what ended it."""
    return _FATAL.match(line.strip()) is not None


def telling_line(lines: Sequence[str]) -> str:
    """Return the most telling of a dead process's last lines: what ended it, else the last one; empty if none."""
    said = [line.strip() for line in lines if line.strip() and not _FRAME.match(line)]
    ended = [match["said"] for match in map(_FATAL.match, said) if match]
    return clean(ended[0] if ended else said[-1] if said else "")[:LONGEST_MESSAGE]
