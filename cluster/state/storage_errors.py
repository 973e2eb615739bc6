"""What can be wrong with a study's storage: either it cannot be used at all, or it only cannot be reached now."""

import errno
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster.machine.files import write_json
from search_spaces.errors import UserError, hide_passwords

AWAY = (errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT)
"""The errors of a network file system whose server is away, or has dropped this machine."""


class StorageError(UserError):
    """The storage cannot be used; the message is for the user, and names no password."""

    def __init__(self, address: str, reason: str) -> None:
        self.reason = hide_passwords(reason)
        super().__init__(f"storage = {hide_passwords(address)}: {self.reason}")


class StorageAwayError(StorageError):
    """The storage cannot be reached now: its server restarts, or its file system has lost its server."""


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Raise StorageAwayError if the code in this context, or the decorated function, cannot reach the storage."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        is_files = isinstance(error, OSError) and error.errno in AWAY
        if reason := one_line(error) if is_files else why_away(error):
            raise StorageAwayError(address, reason) from error
        raise


@contextmanager
def whole(journal: Path) -> Iterator[None]:
    """Raise StorageError if the code in this context finds the journal damaged."""
    try:
        yield
    except ValueError:
        raise StorageError("journal", damaged(journal)) from None


def damaged(journal: Path) -> str:
    """Return the message for a journal with a line that is not Optuna's, naming the line."""
    with journal.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                json.loads(line)
            except ValueError:
                return (
                    f"line {number} of {journal} is damaged: put back a copy of the file, or keep one and delete that "
                    "line, which loses what it says of one trial"
                )
    return f"{journal} is damaged"


def why_away(error: BaseException) -> str:
    """Return why the storage cannot be reached, if an exception or one of its causes says so; else "".

    Optuna and Ray Tune wrap what the database's driver raises. A stale file means that a network file system's server
    is away. Of other errors with files, only those count that `reaching` saw at the journal.
    """
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    away: tuple[type[Exception], ...] = (InterfaceError, OperationalError)
    if "psycopg" in sys.modules:
        import psycopg

        away += (psycopg.InterfaceError, psycopg.OperationalError)
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StorageAwayError):
            return seen.reason
        if isinstance(seen, DBAPIError) and (isinstance(seen, away) or seen.connection_invalidated):
            return one_line(seen.orig or seen)
        if isinstance(seen, away) or (isinstance(seen, OSError) and seen.errno == errno.ESTALE):
            return one_line(seen)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return ""


def note_away(file: Path, error: BaseException) -> bool:
    """Return whether an exception says that the storage is away; if so, note why in `file`, if it can be written."""
    reason = why_away(error)
    if reason:
        with suppress(OSError):
            write_json(file, {"reason": reason})
    return bool(reason)


def one_line(error: BaseException) -> str:
    """Return what an exception says, on one line, without passwords."""
    return hide_passwords("; ".join(line.strip() for line in str(error).splitlines() if line.strip())) or repr(error)
