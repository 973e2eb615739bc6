"""What is the user's to mend, said so that it can be: `swell` prints such an error as it stands, with exit status 2.

UserError                   any of them; all others are faults of ours and keep their traceback
 ├ SpecError                a search's YAML file cannot be run: one line per Problem, ready for the terminal
 ├ DamagedFileError         a file of a search is damaged, or a later version has written it
 ├ SearchNotFoundError      no search has that name or path
 ├ SearchNameError          a name is not fit for a search's directory
 ├ ScratchError             a scratch or cache folder cannot be used
 ├ FileSizeError            processes here cannot write files as large as a search needs
 ├ CodeChangedError         a search's code has changed, and nobody has said which one to go on with
 ├ OversubscribedError      a trial needs more CPUs or memory than this machine has for it
 ├ TooFewGpusError          a trial needs more GPUs than this machine has
 ├ SearchBusyError          another supervisor works on the search
 ├ StorageError             a study's storage cannot be used
 │  └ StorageAwayError      it cannot be reached now
 ├ ArtifactError            a data set or code could not be fetched from W&B
 ├ SyncError                runs cannot be uploaded to W&B
 ├ RequestError             a site cannot give what is asked of it
 ├ QueueError               a cluster's queue does not answer, or refuses
 │  └ NoQueueHereError      this machine has none of its commands
 ├ SubmissionError          a queue did not take a job
 ├ LaunchError              a search could not be started; nothing of the attempt is left
 │  └ StillQueuedError      but a job of it may be in the queue
 ├ BusyError                a search to be resumed is queued or running
 ├ RefusedError             going on with it would lose trials that have begun
 ├ NothingLeftError         its budget would end it at once
 ├ NotRunningError          a search to be stopped is not running
 ├ NoLogError               there is no such log
 ├ RerunError               a trial cannot be run again
 ├ NotThereError            a search does not have what was asked of it
 ├ ModelError               a trial's model cannot be loaded
 ├ NothingToShowError       a search has nothing that a figure could show
 ├ FigureError              there is no such figure, or it has no such option
 ├ SourceError              a table or a study cannot be read as a search
 ├ EvaluationError          a model cannot be applied to a test set
 ├ DashboardError           the dashboard cannot be served
 ├ DiffError                such things cannot be compared
 ├ TableError               such a table cannot be made
 │  └ ExpressionError       a condition cannot be read, or does not fit the table
 ├ ReportError              a report cannot be written there
 └ ExportError              a folder cannot take an export
    └ NoBestTrialError      there is no such trial to export

BrokenRule (ValueError) is raised inside pydantic validators: a rule between fields, with the key that breaks it.
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]
"""Where a value stands in the file: mapping keys and list indices."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""The value of a key that is not there; null is a value."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ -]*")
_LONGEST_VALUE = 90
_PASSWORD = re.compile(r"(://[^\s:/@]*):[^\s/]*@")


def hide_passwords(text: str) -> str:
    """Return a text with `***` for the password of every URL in it."""
    return _PASSWORD.sub(r"\1:***@", text)


def show_value(value: object, longest: int = _LONGEST_VALUE) -> str:
    """Return a value as YAML would show it, on one line, shortened if it is long; hides passwords in URLs."""
    text = hide_passwords(_flow(value))
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _flow(value: object) -> str:
    if isinstance(value, str):
        return repr(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return repr(value)


def show_path(path: KeyPath) -> str:
    """Return a key path as text: `base.curriculum[1].window`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(value: object, choices: Iterable[object]) -> str | None:
    """Return the choice whose spelling is closest to the value; None if none is close."""
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    found = difflib.get_close_matches(str(value).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what was given, the rule that it breaks, and what to do."""

    path: KeyPath
    """Where it stands in the file; empty for the file as a whole."""
    message: str
    """The rule that is broken, without the value and without a full stop."""
    value: object = MISSING
    """What was given."""
    choices: tuple[str, ...] = ()
    """All valid spellings, if they can be listed."""
    allowed: str | None = None
    """What is allowed, in words, if it cannot be listed."""
    near: str | None = None
    """What the author probably meant; found among the choices when not given."""
    wants_int: bool = False
    """Whether a whole number is wanted there, and was not given."""
    file: str | None = None
    line: int | None = None

    @property
    def key(self) -> str:
        """The key path as the spec's author would write it."""
        return show_path(self.path)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        given = "" if self.value is MISSING else f" = {show_value(self.value)}"
        subject = f"{self.key}{given}: " if self.path else ""
        allowed = self.allowed or ", ".join(self.choices)
        near = self.near or (nearest(self._spelling(), self.choices) if self.choices else None)
        ways_out = [f"Allowed: {allowed}"] if allowed else []
        ways_out += [f"did you mean {near!r}?"] if near else []
        hint = "; ".join(ways_out)
        return f"{place}{subject}{self.message}" + (f". {hint[0].upper()}{hint[1:]}" if hint else "")

    def _spelling(self) -> object:
        """Return what was misspelt: the value if it is a text, else the key."""
        return self.value if isinstance(self.value, str) and self.value not in self.path[-1:] else self.path[-1]


class UserError(Exception):
    """An error that the user can mend; its text is ready for the terminal and says what is wrong and what to do."""


class SpecError(UserError):
    """A search's file cannot be run; the text has one line per problem, ready for the terminal."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems, "an error needs a problem"
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class BrokenRule(ValueError):  # noqa: N818 - names a rule of the spec; never leaves a validator
    """A rule between fields is broken; pydantic carries this, with its problems, out of a validator."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problem.message for problem in problems))


@dataclass(frozen=True)
class Source:
    """The file that values came from; knows the line of every key path."""

    file: Path
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int | None:
        """Return the line of a key path; if it is not in the file, that of the nearest key above it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    def locate(self, problem: Problem) -> Problem:
        """Return the problem with its file and line filled in."""
        return replace(problem, file=str(self.file), line=problem.line or self.line(problem.path))

    def error(self, problems: Sequence[Problem]) -> SpecError:
        """Return a SpecError for these problems with their lines, in the order of the file."""
        located = [self.locate(problem) for problem in problems]
        return SpecError(sorted(located, key=lambda problem: problem.line or 0))


def as_text_choices(values: Iterable[Any]) -> tuple[str, ...]:
    """Return values as texts, to be listed in a message as the choices there are."""
    return tuple(value if isinstance(value, str) else show_value(value) for value in values)
