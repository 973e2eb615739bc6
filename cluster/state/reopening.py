"""Takes back that a trial has ended, for which Optuna has no call: overwrites the end in the study's storage.

In a journal, the line with the end is replaced by one of the same length that says nothing, so that readers that
remember their place in the file keep it.
"""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cluster.state.storage import Storage

STATE, REPORT = 6, 7
"""Optuna's codes of the journal entries that set a trial's state, and that add a report."""
RUNNING = 0
"""The state of a trial that has not ended; an entry that sets it again changes nothing."""


def reopen_in_journal(journal: Path, trial_ids: Collection[int], worst: Collection[int]) -> None:
    """Overwrite the ends of trials in a journal; of those in `worst`, also the last report, which their end made.

    Nobody else may write the journal meanwhile. If this is killed midway, some of the trials are reopened.
    """
    reports: dict[int, tuple[int, bytes, dict[str, Any]]] = {}
    with journal.open("r+b") as file:
        offset = 0
        for line in file.readlines():
            entry = json.loads(line)
            trial = entry.get("trial_id")
            if trial in trial_ids and entry["op_code"] == REPORT:
                reports[trial] = (offset, line, entry)
            elif trial in trial_ids and entry["op_code"] == STATE and entry["state"] != RUNNING:
                # The report first: if this is killed in between, a reopened trial must not keep it.
                if trial in worst and trial in reports:
                    _overwrite(file.fileno(), *reports[trial])
                _overwrite(file.fileno(), offset, line, entry)
            offset += len(line)
        os.fsync(file.fileno())


def _overwrite(file: int, offset: int, line: bytes, entry: dict[str, Any]) -> None:
    nothing = {name: entry[name] for name in ("worker_id", "trial_id")}
    nothing = {"op_code": STATE, **nothing, "state": RUNNING, "values": None}
    text = json.dumps(nothing, separators=(",", ":")).encode()
    assert len(text) < len(line), (text, line)
    os.pwrite(file, text.ljust(len(line) - 1) + b"\n", offset)


def reopen_in_database(storage: Storage, trial_ids: Collection[int], worst: Collection[int]) -> None:
    """Take back the ends of trials, and the last report of those in `worst`, in one transaction."""
    from optuna.storages._rdb.models import TrialIntermediateValueModel as Report
    from optuna.storages._rdb.models import TrialModel
    from optuna.trial import TrialState
    from sqlalchemy import delete, func, select, update

    with storage.optuna._backend.engine.begin() as connection:
        last = select(func.max(Report.trial_intermediate_value_id)).where(Report.trial_id.in_(worst))
        connection.execute(
            delete(Report)
            .where(Report.trial_intermediate_value_id.in_(last.group_by(Report.trial_id)))
            .execution_options(synchronize_session=False)
        )
        connection.execute(
            update(TrialModel)
            .where(TrialModel.trial_id.in_(trial_ids))
            .values({"state": TrialState.RUNNING, TrialModel._datetime_complete_utc: None})
            .execution_options(synchronize_session=False)
        )
