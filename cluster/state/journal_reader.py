"""Reads a study's journal without Optuna, which takes a second to import and to replay 6000 trials ten times as long.

It understands what Optuna's `JournalStorage` writes of a study with one search, and follows its rules: what comes after
a trial's end changes nothing. Reports at rungs are skipped unread, since tables do not show them.
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


def read_study(journal: Path) -> ReadStudy | None:
    """Return the study in a journal, perhaps while it is written; None if it holds none yet.

    Raises StorageError, which names the line, if the journal is damaged.
    """
    study: ReadStudy | None = None
    decoders: dict[str, Callable[[Any], Any]] = {}
    for entry in JournalLines(journal, REPORT).read():
        code = entry["op_code"]
        if code == CREATE_STUDY and study is None:
            study = ReadStudy()
        elif study is None or entry.get("study_id", 0) != 0:
            continue  # a journal of ours has one study
        elif code == STUDY_NOTE:
            study.user_attrs |= entry["user_attr"]
        elif code == CREATE_TRIAL:
            study.trials.append(_created(len(study.trials), entry, decoders))
        elif code in (PARAMETER, STATE, NOTE):
            trial = study.trials[entry["trial_id"]] if entry["trial_id"] < len(study.trials) else None
            if trial is not None and not trial.state.is_finished():
                _apply(trial, code, entry, decoders)
    return study


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
