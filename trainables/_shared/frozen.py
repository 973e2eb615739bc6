"""Imports a user's modules from the copies in the search directory, as they were when the search was launched.

Python runs the source of the copy and treats the module otherwise as the original: `__file__`, tracebacks and a
debugger's breakpoints name the original file, and a method finds the data that lie beside it.
"""

import hashlib
import json
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

CODE = "SWELL_CODE"
"""The variable with the folder of copies that a process imports its method from."""
METHOD_FOLDERS = "SWELL_METHOD_FOLDERS"
"""The variable with the folders in which a process looks for a user's own method, separated as in PATH."""
MANIFEST = "manifest.json"
FILES = "files"
ORIGIN = ".origin"
"""Ending of the file beside a copy made at a first import; it has the path of the original."""
LARGEST_FILE = 2 * 2**20
"""The most bytes of a source file that is copied. Larger ones are generated; the search keeps only their hashes."""
INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def belongs(file: Path, roots: Sequence[Path]) -> bool:
    """Return whether a file is the user's own: it lies below a root, is not installed there, and is not Python's."""
    for root in roots:
        if file.is_relative_to(root) and not any(part in INSTALLED for part in file.relative_to(root).parts):
            return any(part in INSTALLED for part in file.parts) or not any(map(file.is_relative_to, _STANDARD))
    return False


def hash_of(file: Path) -> str:
    """Return the hash of a file's content; empty if the file cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def code_id(hashes: Mapping[str, str]) -> str:
    """Return a short id of some code, made from the names and hashes of its modules."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:8]


class DamagedManifestError(Exception):
    """The record of the modules that a search keeps cannot be read; the text names its file and says why."""


class Manifest:
    """The record of a method's modules that a search made at its launch: their hashes, and which it copied.

    Raises DamagedManifestError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / MANIFEST
        try:
            values = json.loads(file.read_text())
            self.modules: dict[str, dict[str, Any]] = {name: dict(entry) for name, entry in values["modules"].items()}
            self.roots = [Path(root) for root in values["roots"]]
            self.id = str(values["id"])
        except OSError as error:
            raise DamagedManifestError(f"{file} cannot be read ({error.strerror or error})") from None
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise DamagedManifestError(f"{file} is damaged ({type(error).__name__}: {error})") from None

    def copy(self, module: str) -> Path | None:
        """Return the file with the copy of a module's source; None if the search has no copy."""
        base = self.folder.joinpath(FILES, *module.split("."))
        for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if file.is_file():
                return file
        return None

    def file(self, module: str) -> Path:
        """Return a module's original file: where it lay at the launch, or where it lies now if it is ours."""
        entry = self.modules[module]
        base = {"ours": own_folder(), "search": self.folder.parents[1]}.get(entry.get("below", ""))
        return base / entry["file"] if base else Path(entry["file"])

    def later(self) -> dict[Path, Path]:
        """Return the copies that workers made when they first imported a module, with the original file of each."""
        return dict(copied_later(self.folder).values())

    def id_now(self) -> str:
        """Return the id of the code that a process imports now; modules without a copy count as their files are now."""
        now = {
            name: entry["sha256"] if entry["is_copied"] else hash_of(self.file(name)) or entry["sha256"]
            for name, entry in self.modules.items()
        }
        return code_id(now)


def copied_later(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the modules that workers copied when they first imported them: by name, the copy and its original."""
    found = {}
    for note in sorted((folder / FILES).rglob(f"*{ORIGIN}")):
        copy = note.with_name(note.name.removesuffix(ORIGIN))
        if copy.is_file():  # else its process died before it had written it
            module = copy.parent if copy.name == "__init__.py" else copy.with_suffix("")
            found[".".join(module.relative_to(folder / FILES).parts)] = copy, Path(note.read_text())
    return found


def own_folder() -> Path:
    """Return the folder that our packages lie in."""
    return Path(__file__).resolve().parents[2]


class _Loader(SourceFileLoader):
    """Loads a module at its own path from the copy of its source."""

    def __init__(self, name: str, path: str, copy: Path) -> None:
        super().__init__(name, path)
        self._copy = copy

    def get_data(self, path: str) -> bytes:
        return self._copy.read_bytes() if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError  # the bytecode that Python keeps beside the module may be of another source

    def exec_module(self, module: Any) -> None:
        with suppress(SyntaxError, UnicodeDecodeError):  # tracebacks show these lines, whatever the file has become
            source = self.get_source(module.__name__) or ""
            linecache.cache[self.path] = (len(source), None, source.splitlines(keepends=True), self.path)
        super().exec_module(module)


class FrozenImporter(MetaPathFinder):
    """Finds a user's modules in the copies of a search, and copies a module that nobody has imported before."""

    def __init__(self, folder: Path) -> None:
        self.manifest = Manifest(folder)
        self.code = self.manifest.id_now()
        """The id of the code that this process imports; modules without a copy count as their files are now."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a user's module; None if the module is not the user's, so that Python looks for it."""
        entry = self.manifest.modules.get(fullname)
        if entry is not None and not entry["is_copied"]:
            return None
        copy = self.manifest.copy(fullname)
        if entry is not None and copy is not None:
            return _spec(fullname, Path(entry["file"]), copy)
        found = self._in_own_tree(fullname, path) or copy
        if found is None:
            return self._namespace(fullname, path)
        copy = copy or self._keep(fullname, found)
        return _spec(fullname, found, copy) if copy else None

    def _in_own_tree(self, name: str, path: Sequence[str] | None) -> Path | None:
        """Return the source file of a user's module that the launch did not find; None if it is not the user's."""
        roots = self.manifest.roots
        if path is None:
            is_there = any((root / name).is_dir() or (root / f"{name}.py").is_file() for root in roots)
        else:
            is_there = any(Path(entry).is_relative_to(root) for entry in path for root in roots)
        found = PathFinder.find_spec(name, path) if is_there else None
        if found is None or not found.has_location or not (found.origin or "").endswith(".py"):
            return None
        file = Path(str(found.origin)).resolve()
        is_ours = file.is_relative_to(own_folder()) and name.split(".")[0] in OUR_NAMES
        return file if belongs(file, roots) and not is_ours else None

    def _keep(self, name: str, file: Path) -> Path | None:
        try:
            source = file.read_bytes()
            if len(source) > LARGEST_FILE:
                return None
            copy = self.manifest.folder.joinpath(FILES, *name.split("."))
            copy = copy / "__init__.py" if file.name == "__init__.py" else copy.with_name(f"{copy.name}.py")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.with_name(f"{copy.name}{ORIGIN}").write_text(str(file))
            unfinished = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
            unfinished.write_bytes(source)
            unfinished.replace(copy)
        except OSError:  # a full disk, for instance: then Python imports the original
            return None
        return copy

    def _namespace(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Return the spec of a package without `__init__.py` that only the copies have; None for any other name."""
        folder = self.manifest.folder.joinpath(FILES, *name.split("."))
        if not folder.is_dir() or PathFinder.find_spec(name, path) is not None:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


OUR_NAMES = ("analysis", "cluster", "search_spaces", "swell", "trainables")
"""Our top-level packages and modules: a user's package cannot have one of these names."""


def _spec(name: str, file: Path, copy: Path) -> ModuleSpec | None:
    locations = [str(file.parent)] if copy.name == "__init__.py" else None
    return spec_from_file_location(
        name, file, loader=_Loader(name, str(file), copy), submodule_search_locations=locations
    )


def import_copies(folder: Path) -> None:
    """Make this process import the modules of a search's method from the copies in `folder`, until it ends."""
    if not any(isinstance(finder, FrozenImporter) for finder in sys.meta_path):
        sys.meta_path.insert(0, FrozenImporter(folder))


@contextmanager
def copies_imported(folder: Path | None) -> Iterator[None]:
    """Make imports in a `with` block use the copies in `folder`; if it is None, the modules as they are."""
    if folder is None:
        yield
        return
    importer = FrozenImporter(folder)
    sys.meta_path.insert(0, importer)
    try:
        yield
    finally:
        sys.meta_path.remove(importer)


def code_of_this_process() -> str:
    """Return the id of the code that this process imports; empty if its search keeps no copies."""
    for finder in sys.meta_path:
        if isinstance(finder, FrozenImporter):
            return finder.code
    return ""
