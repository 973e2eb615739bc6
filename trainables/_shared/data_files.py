"""Data files of the user's: what they hold is found out, and said in one message if it is of no use; no pickles."""

import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from trainables._shared.config import ConfigError
from trainables._shared.npy import read_header

LARGEST_ARRAY = 2**31 - 1
"""Numbers in one array: compiled programs count them in 32 bits."""
_KINDS = {
    b"\x93NUMPY": "a single array of np.save",
    b"\x1f\x8b": "compressed by gzip",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB": "a MATLAB file",
    b"CDF": "a netCDF file",
    b"PAR1": "a Parquet file",
    b"\x80": "a pickle",
}
"""What files that are no .npz files begin with."""
_DAMAGED = (OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, zlib.error)
"""What NumPy and zipfile raise of a damaged archive, RuntimeError of an encrypted one."""


class Source:
    """A file, or a data set from elsewhere, as messages name it, and what was noticed in it that is no error."""

    def __init__(self, name: str, field: str = "file", path: Path | None = None) -> None:
        self.name = name
        self.field = field
        """The config's field that names it."""
        self.path = Path(name) if path is None else path
        self.warnings: list[str] = []
        self.held = ""
        """What an .npz file holds, in words, with what is not read; empty before it is read."""

    def error(self, message: str, allowed: str | None = None) -> ConfigError:
        """Return the error that says what is wrong with it, to be raised."""
        return ConfigError(self.field, self.name, message, allowed)

    def holds(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Return what there is, in words: all that the file holds if it has been read, else these arrays."""
        return self.held or _listed([f"{name} {array.shape}" for name, array in sorted(arrays.items())]) or "nothing"

    def warn(self, message: str) -> None:
        """Note what a user must know of it, though it can be used."""
        self.warnings.append(f"{self.name}: {message}")


def read_npz(source: Source, wanted: str, names: Collection[str] | None) -> dict[str, np.ndarray]:
    """Return those arrays of an .npz file that have one of the names, without names all.

    Others are noted as a warning, and not read.

    Raises ConfigError with `wanted`, which says what the file must hold, if it cannot be read.
    """
    allowed = f"an .npz file of {wanted}"
    path = regular_file(source, allowed)
    try:
        # Opened here: of a damaged archive, NumPy leaves the file open.
        with path.open("rb") as content:
            _require_archive(source, content, allowed)
            with zipfile.ZipFile(content) as archive:
                return _read(source, archive, names, wanted)
    except ConfigError:
        raise
    except zipfile.BadZipFile as error:
        raise source.error(f"cannot be read: it is damaged or cut off ({error})", allowed) from None
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror or error}", allowed) from None
    except (*_DAMAGED, NotImplementedError) as error:
        raise source.error(f"cannot be read: {error or type(error).__name__}", allowed) from None
    except MemoryError:
        raise source.error("cannot be read: it does not fit into the memory", "a smaller file") from None


def file_state(source: Source) -> tuple[int, int]:
    """Return what changes if a source's file is written anew: its time of change, in nanoseconds, and its size.

    Raises ConfigError if there is no such file.
    """
    try:
        status = source.path.stat()
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror}", "a file that exists") from None
    return status.st_mtime_ns, status.st_size


def regular_file(source: Source, allowed: str) -> Path:
    """Return the path of a source's file; raises ConfigError if it is a folder, or a pipe, which may never end."""
    path = source.path
    if path.exists() and not path.is_file():
        raise source.error("is a folder" if path.is_dir() else "is no regular file", allowed)
    return path


def _require_archive(source: Source, content: IO[bytes], allowed: str) -> None:
    start = content.read(8)
    content.seek(0)
    if not start:
        raise source.error("cannot be read: it is empty", allowed)
    if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        kind = next((kind for mark, kind in _KINDS.items() if start.startswith(mark)), "of another kind")
        raise source.error(f"cannot be read: it is no .npz file, but {kind}", allowed)


def _read(
    source: Source, archive: zipfile.ZipFile, names: Collection[str] | None, wanted: str
) -> dict[str, np.ndarray]:
    """Return the arrays of these names; the shapes and kinds are looked at before any number is read."""
    members = {name.removesuffix(".npy"): name for name in archive.namelist()}
    names = members if names is None else names
    if others := sorted(members.keys() - set(names)):
        source.warn(f"its {_listed(others)} {'is' if len(others) == 1 else 'are'} not read, only {wanted}")
    source.held = _listed([f"{name}{_shape(archive, members[name])}" for name in sorted(members)]) or "nothing"
    found = {}
    for name in sorted(members.keys() & set(names)):
        with archive.open(members[name]) as member:
            _require_numbers(source, name, member, archive.getinfo(members[name]).file_size)
        with archive.open(members[name]) as member:
            found[name] = np.lib.format.read_array(member, allow_pickle=False)
    return found


def _require_numbers(source: Source, name: str, member: IO[bytes], size: int) -> None:
    """Raise ConfigError if an array has pickled objects, too few bytes, or more numbers than a program can count."""
    shape, dtype = read_header(member)
    if dtype.hasobject:
        why = f"cannot be read: its {name} has Python objects, which would be pickles"
        raise source.error(why, "arrays of numbers; series of different lengths padded")
    num = 1
    for length in shape:
        num *= int(length)
    if num > LARGEST_ARRAY:
        raise source.error(f"its {name} {shape} has {num:,} numbers", f"at most {LARGEST_ARRAY:,}")
    if num * dtype.itemsize > size:
        why = f"cannot be read: its {name} {shape} is cut off after {size:,} bytes"
        raise source.error(why, f"{num * dtype.itemsize:,} bytes")


def _shape(archive: zipfile.ZipFile, name: str) -> str:
    """Return a member's shape, after a space; empty if it is no array."""
    try:
        with archive.open(name) as member:
            return f" {read_header(member)[0]}"
    except ValueError:
        return ""


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:5])
    return f"{shown} and {len(names) - 5} others" if len(names) > 5 else shown
