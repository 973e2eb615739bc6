"""Reads a study's journal without Optuna, which takes a second to import and to replay 6000 trials ten times as long.

It understands what Optuna's `JournalStorage` writes of a study with one search, and follows its rules: what comes after
a trial's end changes nothing. Reports at rungs are skipped unread, since tables do not show them. Whoever looks again
and again keeps a `StudyReader`, which reads only what was appended since.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from cluster.state.journal_lines import JournalLines

CREATE_STUDY, STUDY_NOTE, CREATE_TRIAL, PARAMETER, STATE, NOTE = 0, 2, 4, 5, 6, 8
"""Optuna's codes of the entries that matter here."""
REPORT = b'{"op_code":7,'
"""How the line of a report begins."""


class State(IntEnum):
    """Optuna's states of a trial."""

    RUNNING = 0
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3
    WAITING = 4

    def is_finished(self) -> bool:
        """Return whether the trial has ended."""
        return self not in (State.RUNNING, State.WAITING)


@dataclass
class ReadTrial:
    """What a journal says of a trial, as far as its record needs it."""

    number: int
    state: State = State.RUNNING
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    datetime_start: datetime | None = None
    datetime_complete: datetime | None = None


@dataclass
class ReadStudy:
    """What a journal says of its study."""

    trials: list[ReadTrial] = field(default_factory=list)
    user_attrs: dict[str, Any] = field(default_factory=dict)


class StudyReader:
    """Reads one journal again and again: what was appended since, or all of it if something else has changed."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._begin()

    def _begin(self) -> None:
        self._lines = JournalLines(self._journal, REPORT)
        self._study: ReadStudy | None = None
        self._decoders: dict[str, Callable[[Any], Any]] = {}
        self._ended: set[int] = set()
        """The trials that had ended when the journal was last read to its end."""

    def read(self) -> ReadStudy | None:
        """Return the study in the journal, perhaps while it is written; None if it holds none yet.

        The next call changes what this one has returned. Raises StorageError, which names the line, if the journal is
        damaged.
        """
        try:
            if not (self._lines.is_continued() and self._go_on()):
                self._begin()
                self._go_on()
        except BaseException:
            self._begin()  # what could not be applied is not passed over the next time
            raise
        return self._study

    def _go_on(self) -> bool:
        """Apply the entries since the last time; return False if all must be read again.

        That is so if something is said of a trial that had ended: its end may have been taken back, in its own place.
        """
        ended: set[int] = set()
        for entry in self._lines.read():
            code = entry["op_code"]
            if code == CREATE_STUDY and self._study is None:
                self._study = ReadStudy()
            elif self._study is None or entry.get("study_id", 0) != 0:
                continue  # a journal of ours has one study
            elif code == STUDY_NOTE:
                self._study.user_attrs |= entry["user_attr"]
            elif code == CREATE_TRIAL:
                self._study.trials.append(_created(len(self._study.trials), entry, self._decoders))
            elif code in (PARAMETER, STATE, NOTE):
                number, trials = entry["trial_id"], self._study.trials
                if number in self._ended:
                    return False
                if number < len(trials) and not trials[number].state.is_finished():
                    _apply(trials[number], code, entry, self._decoders)
                    if trials[number].state.is_finished():
                        ended.add(number)
        self._ended |= ended
        return True


def read_study(journal: Path) -> ReadStudy | None:
    """Return the study in a journal, perhaps while it is written; None if it holds none yet.

    Raises StorageError, which names the line, if the journal is damaged.
    """
    return StudyReader(journal).read()


def _created(number: int, entry: dict[str, Any], decoders: dict[str, Callable[[Any], Any]]) -> ReadTrial:
    trial = ReadTrial(number, State(entry.get("state", State.RUNNING)), user_attrs=dict(entry.get("user_attrs", {})))
    trial.datetime_start, trial.datetime_complete = (
        _moment(entry, "datetime_start"),
        _moment(entry, "datetime_complete"),
    )
    for name, value in entry.get("params", {}).items():
        trial.params[name] = _decoder(entry["distributions"][name], decoders)(value)
    return trial


def _apply(trial: ReadTrial, code: int, entry: dict[str, Any], decoders: dict[str, Callable[[Any], Any]]) -> None:
    if code == PARAMETER:
        decode = _decoder(entry["distribution"], decoders)
        trial.params[entry["param_name"]] = decode(entry["param_value_internal"])
    elif code == STATE:
        state = State(entry["state"])
        if state == State.RUNNING == trial.state:
            return  # what is left of an end that was taken back
        if state == State.RUNNING:
            trial.datetime_start = _moment(entry, "datetime_start")
        if state.is_finished():
            trial.datetime_complete = _moment(entry, "datetime_complete")
        trial.state = state
    else:
        trial.user_attrs |= entry["user_attr"]


def _moment(entry: dict[str, Any], name: str) -> datetime | None:
    text = entry.get(name)
    return datetime.fromisoformat(text) if text else None


def _decoder(distribution: str, known: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return what makes a parameter's value of the number that the journal has for it."""
    if distribution not in known:
        said = json.loads(distribution)
        choices = said["attributes"].get("choices")
        if choices is not None:
            known[distribution] = lambda place: choices[int(place)]
        else:
            known[distribution] = int if said["name"] == "IntDistribution" else float
    return known[distribution]
