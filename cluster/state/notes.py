"""The notes that the study keeps of a trial beside what Optuna itself keeps: one line here for each note."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NotRequired, Protocol, TypedDict, TypeVar

T = TypeVar("T")


class Assigned(TypedDict):
    """The configuration that a trial began with."""

    configuration: int
    """The id that ties the repetitions of one configuration."""
    config: dict[str, Any]
    inputs: NotRequired[str]
    """Which versions of the files that it names it was trained on."""


class Failure(TypedDict):
    """One time that the machine failed a trial."""

    outcome: str
    step: int
    wave: int | None
    error: str


class Redone(TypedDict):
    """An end that was taken back because somebody asked for the trial to be taken up again."""

    outcome: str
    error: str
    failures: list[Failure]
    at: str


class Orphaned(TypedDict):
    """How many drivers in a row died while a trial ran, and what it had reached by then."""

    times: int
    reached: list[int | None]


class Owner(TypedDict):
    """The driver that has claimed a trial: its job, and an id of its own."""

    job: int | None
    run: str


class _Noted(Protocol):
    @property
    def user_attrs(self) -> dict[str, Any]: ...


class _Notable(Protocol):
    def set_user_attr(self, key: str, value: Any, /) -> None: ...


@dataclass(frozen=True)
class Note(Generic[T]):
    """One note: an Optuna trial's user attribute."""

    key: str
    absent: Callable[[], T]
    """Makes the value that a trial without the note has."""

    def of(self, trial: _Noted) -> T:
        """Return the note's value for a trial."""
        noted = trial.user_attrs
        return noted[self.key] if self.key in noted else self.absent()

    def write(self, trial: _Notable, value: T) -> None:
        """Write the note's value to a trial that has not ended."""
        trial.set_user_attr(self.key, value)


def _none() -> None:
    return None


ASSIGNED: Note[Assigned | None] = Note("assigned", _none)
RESULT: Note[dict[str, Any]] = Note("result", dict)
"""Of the last attempt: `outcome`, `metrics`, `error` and the trial's figures; without `outcome` while it runs again."""
ATTEMPTS: Note[int] = Note("attempts", lambda: 1)
"""How often the trial was started."""
FAILURES: Note[list[Failure]] = Note("failures", list)
REDONE: Note[list[Redone]] = Note("redone", list)
ORPHANED: Note[Orphaned | None] = Note("orphaned", _none)
OWNER: Note[Owner | None] = Note("owner", _none)
"""None also if its driver gave the trial up, so that any other may take it."""


def ending(result: Mapping[str, Any]) -> str | None:
    """Return the outcome in a result; None if the trial was taken up again since."""
    return result.get("outcome")


def without_ending(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result without its outcome: what a trial that is taken up again has used so far."""
    return {name: value for name, value in result.items() if name != "outcome"}
