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

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the entries since the last one.

        Raises StorageError, which names the line, if one stays damaged.
        """
        for attempt in range(NUM_READS):
            for line in self._new_lines():
                entry = None
                if not self._is_left_out(line):
                    try:
                        entry = parse(line)
                    except ValueError:
                        if attempt == NUM_READS - 1:
                            raise StorageError(JOURNAL, damaged(self._path)) from None
                        break
                self.num_read += 1
                self._offset += len(line)
                if entry is not None:
                    yield entry
            else:
                return
            time.sleep(0.1 * 2**attempt)

    def _is_left_out(self, line: bytes) -> bool:
        return self._left_out is not None and line.startswith(self._left_out) and line.endswith(b"}\n")

    @reaching(JOURNAL)
    def _new_lines(self) -> list[bytes]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # being written, or torn by a kill
        return lines
