"""An Optuna journal that several jobs write, on a file system that the jobs share."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.machine.files import repair_last_line
from cluster.state.journal_lines import JournalLines
from cluster.state.shared_lock import SharedLock
from cluster.state.storage_errors import reaching
from search_spaces.sections import JOURNAL

log = logging.getLogger(__name__)


class SharedJournal:
    """Optuna's journal backend, which writes each line with the lock held; readers need no lock.

    A process can hold the lock to claim trials; what it writes meanwhile reaches the disk when it leaves, with one
    fsync.
    """

    def __init__(self, path: Path, lock: SharedLock) -> None:
        self._path = path
        self._lock = lock
        self._lines = JournalLines(path)
        self._is_dirty = False

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock."""
        return self._lock.depth > 0

    @reaching(JOURNAL)
    def __enter__(self) -> "SharedJournal":
        self._lock.__enter__()
        return self

    def check(self) -> None:
        """Raise LockLostError if others have broken the lock that this process holds."""
        self._lock.check()

    @reaching(JOURNAL)
    def __exit__(self, *exception: object) -> None:
        try:
            if self._is_dirty and self._lock.depth == 1:
                self._is_dirty = False
                with self._path.open("rb") as file:
                    os.fsync(file.fileno())
        finally:
            self._lock.__exit__(*exception)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the entries from number `log_number_from` on."""
        assert log_number_from == self._lines.num_read, "one storage reads a journal from its beginning to its end"
        yield from self._lines.read()

    @reaching(JOURNAL)
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries, each of them whole or not at all.

        Raises LockLostError if the lock was broken while this process held it to claim trials.
        """
        text = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in logs)
        with self:
            self._lock.check()
            if cut := repair_last_line(self._path):
                log.warning("cut a torn last line of %d bytes off the journal: its writer has died", cut)
            with self._path.open("ab") as file:
                size = file.tell()
                try:
                    file.write(text.encode())
                    file.flush()
                except OSError:
                    os.truncate(self._path, size)
                    raise
            self._is_dirty = True
