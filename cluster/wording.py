"""Phrases for people: counts, durations, and texts made safe for a terminal."""

import re
from collections.abc import Sequence

_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and ends of lines; what reverses a line's direction; halves of characters."""


def count(number: int, noun: str) -> str:
    """Return a number with its noun: 1 CPU, 2 CPUs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float | None) -> str:
    """Return a duration in the usual notation: 45 s, 12:03, 3:07:41."""
    if seconds is None:
        return "?"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def whose_best(trials: Sequence[int]) -> str:
    """Return whose the best value is: one trial's, or with repeats the mean over the trials of a configuration."""
    if len(trials) == 1:
        return f"trial {trials[0]}"
    named = ", ".join(map(str, trials[:5]))
    return f"the mean of trials {named}" + (f" and {len(trials) - 5} more" if len(trials) > 5 else "")


def visible(text: str) -> str:
    r"""Return a text with `\x1b` for an escape character and the like: what terminals obey is shown to people."""
    return _ORDERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str) -> str:
    r"""Return a text as `visible` does, with `\n` for the ends of its lines too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
