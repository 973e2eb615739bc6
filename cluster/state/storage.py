"""Opens a study's storage: a journal with one writer, a journal that several jobs share, or a PostgreSQL server."""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.machine.files import DamagedFileError, read_object, repair_last_line
from cluster.state.paths import SearchPaths
from cluster.state.shared_journal import SharedJournal
from cluster.state.shared_lock import PATIENCE_S, LockLostError, SharedLock
from cluster.state.storage_errors import StorageAwayError, StorageError, one_line, reaching, whole
from search_spaces.errors import hide_passwords
from search_spaces.sections import DATABASE, JOURNAL

log = logging.getLogger(__name__)

CONNECT_PATIENCE_S = 10


@dataclass(frozen=True)
class Storage:
    """An Optuna storage, and the lock that several writers of it need."""

    optuna: Any
    study_name: str
    exclusive: "SharedJournal | _DatabaseLock | None"
    """The lock that a driver holds to claim trials; its holder may enter it again at no cost. None if there
    is no other."""
    repaired_bytes: int = 0
    """How many bytes of a torn last line were cut off the journal."""
    close: Callable[[], None] = lambda: None
    """Ends the storage's connections, if it has any."""


def open_storage(
    paths: SearchPaths, address: str = JOURNAL, *, to_write: bool = False, lock_patience_s: float = PATIENCE_S
) -> Storage | None:
    """Return a search's storage; None if it is opened to read and nobody has written it yet.

    If `paths` are those of one job of several, others may write at the same time. Raises StorageError if a server
    cannot be used, and StorageAwayError if the server, or the journal's file system, cannot be reached now.
    """
    with reaching(address):
        return _open(paths, address, to_write, lock_patience_s)


def _open(paths: SearchPaths, address: str, to_write: bool, lock_patience_s: float) -> Storage | None:
    import optuna

    optuna.logging.set_verbosity(logging.WARNING)
    if address != JOURNAL:
        name = _study_name(paths, make=to_write)
        return None if name is None else _open_database(address, name, to_write)
    if not to_write and not paths.journal.exists():
        return None
    if to_write and paths.job is None:
        repaired = repair_last_line(paths.journal)
        return _in_journal(_journal(paths.journal), paths, None, repaired)
    lock = SharedLock(paths.journal_lock, lock_patience_s)
    journal, repaired = SharedJournal(paths.journal, lock), 0
    if to_write:
        with journal:
            paths.journal.touch()
            repaired = repair_last_line(paths.journal)
    return _in_journal(journal, paths, journal, repaired)


# -- journals ---------------------------------------------------------------------------------------------------------


def _in_journal(backend: Any, paths: SearchPaths, exclusive: SharedJournal | None, repaired: int) -> Storage:
    """Return the storage of a journal, which holds one study.

    It is called as the search was when it was made: earlier versions called all studies "swell", and a search's
    directory may have been renamed since.
    """
    from cluster.state.journal_storage import GrowingJournal  # it imports Optuna

    storage = GrowingJournal(backend)
    studies = storage.get_all_studies()
    return Storage(storage, studies[0].study_name if studies else paths.name, exclusive, repaired)


def _journal(path: Path) -> Any:
    """Return the backend of a journal with one writer, the wave driver of the one supervisor.

    It takes no lock file: the lock of a writer that was killed would only hold up the next one.
    """
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    class OneWriter(JournalFileOpenLock):
        def acquire(self) -> bool:
            return True

        def release(self) -> None:
            pass

    class WholeLines(JournalFileBackend):
        """Takes back the part of a line that was written before the disk was full: nothing after it could be read."""

        @reaching(JOURNAL)
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            size = path.stat().st_size
            try:
                super().append_logs(logs)
            except OSError:
                os.truncate(path, size)
                raise

        def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
            with reaching(JOURNAL), whole(path):
                yield from super().read_logs(log_number_from)

    return WholeLines(str(path), lock_obj=OneWriter(str(path)))


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


def storage_problem(address: str) -> str:
    """Return why a search cannot be kept at an address; empty if it can."""
    if address == JOURNAL:
        return ""
    try:
        _connect(address).close()
    except StorageError as error:
        return error.reason
    return ""


def _connect(address: str) -> Any:
    if find_spec("psycopg") is None:
        raise StorageError(address, "this needs psycopg, which is not installed: pip install 'swell[postgres]'")
    import psycopg

    try:
        return psycopg.connect(address, connect_timeout=CONNECT_PATIENCE_S)
    except psycopg.OperationalError as error:
        # Only the server's message says whether it is starting or refuses the password.
        raise StorageAwayError(address, f"the server cannot be used: {one_line(error)}") from None
    except psycopg.Error as error:
        raise StorageError(address, f"the server cannot be used: {one_line(error)}") from None


def _open_database(address: str, study_name: str, to_write: bool) -> Storage:
    from optuna.storages import RDBStorage, get_storage

    lock = _DatabaseLock(address, study_name)
    # Optuna makes its tables if they are missing; two processes that do so at the same time fail.
    with closing(_DatabaseLock(address, "the tables")) as tables, tables:
        url = "postgresql+psycopg://" + address.removeprefix(DATABASE)
        # A restarted server, or a connection that a firewall cut while a trial trained, is no error: connect again.
        rdb = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "pool_size": 1}, skip_table_creation=not to_write)

    def close() -> None:
        lock.close()
        rdb.engine.dispose()

    return Storage(get_storage(rdb), study_name, lock, close=close)


class _DatabaseLock:
    """A lock in the database; the server passes it on when its holder's connection ends or stays silent."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._key = int.from_bytes(hashlib.sha256(f"swell/{name}".encode()).digest()[:8], "big", signed=True)
        self._connection: Any = None
        self.depth = 0

    def __enter__(self) -> "_DatabaseLock":
        if not self.depth:
            self._acquire()
        self.depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        import psycopg

        self.depth -= 1
        if self.depth:
            return
        try:
            self._connection.commit()
        except psycopg.Error as error:
            log.warning("the claim in the database has lasted too long: %s", hide_passwords(str(error)))
            self.close()

    def check(self) -> None:
        """Raise LockLostError if its connection has ended: the server may have given the lock to another process."""
        import psycopg

        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise LockLostError(f"the claim in the database was lost: {one_line(error)}") from None

    def _acquire(self) -> None:
        import psycopg

        for is_last in (False, True):
            if self._connection is None:
                self._connection = _connect(self._address)
            try:
                # A suspended holder keeps its connection open, and would hold up all others.
                patience = f"SET LOCAL idle_in_transaction_session_timeout = '{2 * PATIENCE_S:.0f}s'"
                self._connection.execute(patience)
                self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (self._key,))
                return
            except psycopg.Error:
                self.close()  # the server was restarted, or the connection cut
                if is_last:
                    raise

    def close(self) -> None:
        """Close the lock's connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _study_name(paths: SearchPaths, *, make: bool) -> str | None:
    """Return a study's name in the database: the search's with an id, so that two searches of one name never mix."""
    known = read_object(paths.study_name)
    if known is None and make:
        unfinished = paths.study_name.with_name(f".{paths.study_name.name}.{uuid.uuid4().hex}.tmp")
        unfinished.write_text(json.dumps({"study": f"{paths.name}-{uuid.uuid4().hex}"}) + "\n")
        with suppress(FileExistsError):  # another job was faster
            os.link(unfinished, paths.study_name)
        unfinished.unlink(missing_ok=True)
        known = read_object(paths.study_name)
    if known is None:
        return None
    if not isinstance(known.get("study"), str):
        raise DamagedFileError(f"{paths.study_name} is damaged: it should say what the study is called in the database")
    return known["study"]
