"""Watches the data files that configurations name: whether they can be read, and whether they are still the same."""

import errno
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.machine.files import read_object, write_json
from cluster.state.paths import SearchPaths

if TYPE_CHECKING:  # `swell status` has no time to load it
    from search_spaces.spec import Spec

log = logging.getLogger(__name__)

MACHINES_ERRORS = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH,
        errno.ENETDOWN, errno.ENETUNREACH, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO, errno.EMFILE, errno.ENFILE,
        errno.EAGAIN, errno.EINTR, errno.ENOLINK, errno.ECOMM, errno.EPROTO, errno.ENOMEM,
    }
)  # fmt: skip
"""Errors that no configuration causes: of a disk, a network file system, or too many open files."""
LONGEST_NAME = 4096
LARGEST_HASHED = 64 * 2**20
"""The most bytes of a file whose content is compared; a larger one is another if its size or its time is another."""
AS_AT_FIRST = "first"
"""Instead of an id: the files that a configuration names are as the search first saw them."""


class Inputs:
    """The files that configurations name, with the size and time of change that each had when a check passed."""

    def __init__(self, first: Mapping[str, Mapping[str, Any]], paths: SearchPaths | None = None) -> None:
        self._paths = paths
        self._first = dict(first)
        """As the search first saw them."""
        self._noted = {name: (one["size"], one["mtime_ns"]) for name, one in first.items()}
        self._other: dict[tuple[str, tuple[int, int]], str] = {}
        """What was found out of each state of a file that was not its first."""

    @classmethod
    def at_launch(cls, paths: SearchPaths) -> "Inputs":
        """Return the files that a search's spec named at launch; none if an earlier version launched it."""
        return cls(_first_seen(paths), paths)

    def version(self, config: Any) -> str:
        """Return an id of the files that a configuration names as they are now, `first` if none has changed.

        It is empty if the configuration names no file. What the launch did not see, such as a file that only a
        method's defaults name, is noted as it is now; one process of a search may do so at a time.
        """
        names = [name for name in dict.fromkeys(_names(config)) if Path(name).is_file()]
        if self._paths is not None and (new := [name for name in names if name not in self._first]):
            known = _first_seen(self._paths)
            self._first = {name: found for name in new if (found := _described(Path(name)))} | self._first | known
            write_json(self._paths.inputs, self._first)
        changed = {name: other for name in names if name in self._first and (other := self._what_else(name))}
        if changed:
            return hashlib.sha256(json.dumps(sorted(changed.items())).encode()).hexdigest()[:8]
        return AS_AT_FIRST if names else ""

    def _what_else(self, name: str) -> str:
        """Return what tells a file from what it was at first; empty if it is the same."""
        state = _state(name)
        if state is None:
            return ""
        if (name, state) not in self._other:
            self._other[name, state] = told_from(self._first[name], Path(name))
            if self._other[name, state]:
                log.warning("%s; trials that start from now on read the new one", _how(name, self._first[name], state))
        return self._other[name, state]

    def passed(self, config: Any) -> None:
        """Note how the files that a configuration names are now; to be called when a check of them has just passed."""
        self._noted |= found_in(config)

    def away(self, config: Any) -> str:
        """Return which file of a configuration existed before and cannot be read now, and why; empty if none."""
        for name in _names(config):
            if name in self._noted and (why := _unreadable(name)):
                return f"{name}, which could be read before, cannot be now: {why}"
        return ""

    def trouble(self, config: Any, error: BaseException) -> str:
        """Return why the check of a configuration failed if the machine is to blame, else "".

        The machine is to blame if a file that the configuration names has changed since a check passed (it may be being
        written anew), or if the system could not read it.
        """
        if why := self.away(config):
            return why
        for name in _names(config):
            if name in self._noted and _state(name) != self._noted[name]:
                return f"{name} has changed since a check of it passed, and does not pass now: {error}"
        for cause in _causes(error):
            if isinstance(cause, OSError) and cause.errno in MACHINES_ERRORS:
                return f"the system fails to read data: {cause}"
        return ""


def note_inputs(paths: SearchPaths, spec: "Spec") -> None:
    """Write to the search directory which files its checked spec names, with their sizes, times and hashes."""
    values = spec.model_dump(mode="json", include={"base", "space"})
    noted = {name: _described(_place(paths, name)) for name in _names(values)}
    write_json(paths.inputs, {name: one for name, one in noted.items() if one is not None})


def changed_inputs(paths: SearchPaths) -> list[str]:
    """Return a sentence for each file that a search reads and that is another than when the search first saw it."""
    found = []
    for name, first in _first_seen(paths).items():
        file = _place(paths, name)
        if (state := _state(file)) is not None and file.is_file() and told_from(first, file):
            found.append(_how(name, first, state))
    return found


def told_from(first: Mapping[str, Any], file: Path) -> str:
    """Return what tells a file from what it was at first, in any process the same; empty if its content is the same."""
    now = _described(file)
    if now is None or (now["size"], now["mtime_ns"]) == (first["size"], first["mtime_ns"]):
        return ""
    content = now.get("sha256", "")
    if content and content == first.get("sha256"):
        return ""
    return content or f"{now['size']} {now['mtime_ns']}"


def _how(name: str, first: Mapping[str, Any], now: tuple[int, int]) -> str:
    was = _shown(first["size"], first["mtime_ns"])
    return f"{name} has changed since the search first saw it: {was} then, {_shown(*now)} now"


def _shown(size: int, changed_ns: int) -> str:
    return f"{size:,} bytes of {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(changed_ns / 1e9))}"


def _first_seen(paths: SearchPaths) -> dict[str, dict[str, Any]]:
    noted = read_object(paths.inputs) or {}
    return {name: one for name, one in noted.items() if isinstance(one, dict) and {"size", "mtime_ns"} <= set(one)}


def _place(paths: SearchPaths, name: str) -> Path:
    """Return where a file lies that a search names: its trials work in the folder that it was launched from."""
    return Path((read_object(paths.provenance) or {}).get("working_directory") or ".", name)


def _described(file: Path) -> dict[str, Any] | None:
    """Return the size and the time of a file or a folder, of a file that is not too large also its content's hash."""
    state = _state(file)
    if state is None:
        return None
    described: dict[str, Any] = {"size": state[0], "mtime_ns": state[1]}
    with suppress(OSError):
        if file.is_file() and state[0] <= LARGEST_HASHED:
            with file.open("rb") as content:
                described["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    return described


def found_in(values: Any) -> dict[str, tuple[int, int]]:
    """Return the size and the time of change of every file that nested values name and that is there."""
    states = {name: _state(name) for name in _names(values)}
    return {name: state for name, state in states.items() if state is not None}


def _names(values: Any) -> Iterator[str]:
    """Yield every text that may be a file's name: a word alone is more likely a choice of the method's."""
    if isinstance(values, str):
        if 0 < len(values) <= LONGEST_NAME and ("/" in values or "." in values) and "\0" not in values:
            yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _names(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _names(value)


def _state(name: str | Path) -> tuple[int, int] | None:
    with suppress(OSError, ValueError):
        status = Path(name).stat()
        return status.st_size, status.st_mtime_ns
    return None


def _unreadable(name: str) -> str:
    """Return why a file, or a folder, cannot be read; empty if it can."""
    path = Path(name)
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            with path.open("rb") as file:
                file.read(1)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__  # also of one that was raised `from None`
