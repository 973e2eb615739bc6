"""Reads the lines of a journal as they grow, on a file system that other machines may write."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.machine.files import parse
from cluster.state.storage_errors import StorageError, damaged, reaching
from search_spaces.sections import JOURNAL

NUM_READS = 5
"""How often a line that makes no sense is read again: NFS may show a part of another machine's write."""


class JournalLines:
    """A journal's entries, read on from the last place; entries whose lines begin with `left_out` are not parsed."""

    def __init__(self, path: Path, left_out: bytes | None = None) -> None:
        self.num_read = 0
        """How many entries were read, with those left out."""
        self._path, self._left_out, self._offset = path, left_out, 0
        self._last = b""
        """The line before the offset."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the entries since the last one.

        Raises StorageError, which names the line, if one stays damaged.
        """
        for attempt in range(NUM_READS):
            with reaching(JOURNAL), self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    entry = None
                    if not (self._left_out and line.startswith(self._left_out) and line.endswith(b"}\n")):
                        if not line.endswith(b"\n"):
                            return  # being written, or torn by a kill
                        try:
                            entry = parse(line)
                        except ValueError:
                            if attempt == NUM_READS - 1:
                                raise StorageError(JOURNAL, damaged(self._path)) from None
                            break
                    self.num_read += 1
                    self._offset += len(line)
                    self._last = line
                    if entry is not None:
                        yield entry
                else:
                    return
            time.sleep(0.1 * 2**attempt)

    @reaching(JOURNAL)
    def is_continued(self) -> bool:
        """Return whether the file still has the line that was read last where it was read; at first it has."""
        with self._path.open("rb") as file:
            file.seek(self._offset - len(self._last))
            return file.read(len(self._last)) == self._last
