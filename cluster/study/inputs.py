"""Watches the data files that configurations name: whether they are as they were when a check of them passed."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.machine.files import read_json, write_json
from cluster.state.paths import SearchPaths
from search_spaces.spec import Spec

MACHINES_ERRORS = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH,
        errno.ENETDOWN, errno.ENETUNREACH, errno.EREMOTEIO, errno.ENODEV, errno.ENXIO, errno.EMFILE, errno.ENFILE,
        errno.EAGAIN, errno.EINTR, errno.ENOLINK, errno.ECOMM, errno.EPROTO, errno.ENOMEM,
    }
)  # fmt: skip
"""Errors that no configuration causes: of a disk, a network file system, or too many open files."""
LONGEST_NAME = 4096


class Inputs:
    """The files that configurations name, with the size and time of change that each had when a check passed."""

    def __init__(self, noted: Mapping[str, tuple[int, int]]) -> None:
        self._noted = dict(noted)

    @classmethod
    def at_launch(cls, paths: SearchPaths) -> "Inputs":
        """Return the files that a search's spec named at launch; none if an earlier version launched it."""
        noted = read_json(paths.inputs) or {}
        return cls({name: (one["size"], one["mtime_ns"]) for name, one in noted.items()})

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


def note_inputs(paths: SearchPaths, spec: Spec) -> None:
    """Write to the search directory which files its checked spec names, with their sizes and times of change."""
    values = spec.model_dump(mode="json", include={"base", "space"})
    noted = {name: {"size": size, "mtime_ns": changed} for name, (size, changed) in found_in(values).items()}
    write_json(paths.inputs, noted)


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


def _state(name: str) -> tuple[int, int] | None:
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
