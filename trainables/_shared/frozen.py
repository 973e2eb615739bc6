"""A user's modules as they were when their search was launched: imported from the copies in the search directory.

Only the source is the copy's. A module keeps its own `__file__`, so that data beside it are found, its own place in
tracebacks, and its own place for a debugger's breakpoints.
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
"""Variable that names the folder with the copies which a process imports its method from."""
METHOD_FOLDERS = "SWELL_METHOD_FOLDERS"
"""Variable that names the folders in which a process finds a user's own method, separated as in PATH."""
MANIFEST = "manifest.json"
FILES = "files"
ORIGIN = ".origin"
"""Ending of the file that says where a module lay that was copied when it was first imported."""
LARGEST_FILE = 2 * 2**20
"""Bytes of a source file that is copied: what is larger is generated, and only its hash is kept."""
INSTALLED = ("site-packages", "dist-packages")
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def belongs(file: Path, roots: Sequence[Path]) -> bool:
    """Return whether a file is of a user's own tree, below one of its roots: neither installed there, nor Python's."""
    for root in roots:
        if file.is_relative_to(root) and not any(part in INSTALLED for part in file.relative_to(root).parts):
            return any(part in INSTALLED for part in file.parts) or not any(map(file.is_relative_to, _STANDARD))
    return False


def hash_of(file: Path) -> str:
    """Return the hash of a file's content; empty for one that cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def code_id(hashes: Mapping[str, str]) -> str:
    """Return a short id of the code that these modules are, by their names and hashes."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:8]


class Manifest:
    """The modules of a method as its search found them at a launch: which are copied, and the hashes of all."""

    def __init__(self, folder: Path) -> None:
        values = json.loads((folder / MANIFEST).read_text())
        self.folder = folder
        self.modules: dict[str, dict[str, Any]] = values["modules"]
        self.roots = [Path(root) for root in values["roots"]]
        self.id: str = values["id"]

    def copy(self, module: str) -> Path | None:
        """Return the copy of a module's source; None for a module that has none."""
        base = self.folder.joinpath(FILES, *module.split("."))
        for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if file.is_file():
                return file
        return None

    def file(self, module: str) -> Path:
        """Return where a module lay at the launch, or lies now if it is one of ours."""
        entry = self.modules[module]
        base = {"ours": own_folder(), "search": self.folder.parents[1]}.get(entry.get("below", ""))
        return base / entry["file"] if base else Path(entry["file"])

    def later(self) -> dict[Path, Path]:
        """Return the copies that were made at a first import, and the files that they are of."""
        notes = sorted((self.folder / FILES).rglob(f"*{ORIGIN}"))
        return {note.with_name(note.name.removesuffix(ORIGIN)): Path(note.read_text()) for note in notes}

    def id_now(self) -> str:
        """Return the id of what is imported from here now: of what is not copied, the files as they are."""
        now = {
            name: entry["sha256"] if entry["is_copied"] else hash_of(self.file(name)) or entry["sha256"]
            for name, entry in self.modules.items()
        }
        return code_id(now)


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
    """Finds a user's modules in the copies of a search; what is imported for the first time is copied then."""

    def __init__(self, folder: Path) -> None:
        self.manifest = Manifest(folder)
        self.code = self.manifest.id_now()
        """The id of what this process imports: of what is not copied, the files as they are now."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return the spec of a user's module; None for all others, which Python finds as always."""
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
        """Return the source file of a module of the user's tree that no static import names."""
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
        except OSError:  # a full disk, for instance: as it is now is the best there is
            return None
        return copy

    def _namespace(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Return a package without an `__init__.py` that is not on this machine; None if it is, or is not one."""
        folder = self.manifest.folder.joinpath(FILES, *name.split("."))
        if not folder.is_dir() or PathFinder.find_spec(name, path) is not None:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


OUR_NAMES = ("analysis", "cluster", "search_spaces", "swell", "trainables")
"""Our top-level packages and modules: no user's package can have one of these names."""


def _spec(name: str, file: Path, copy: Path) -> ModuleSpec | None:
    locations = [str(file.parent)] if copy.name == "__init__.py" else None
    return spec_from_file_location(
        name, file, loader=_Loader(name, str(file), copy), submodule_search_locations=locations
    )


def import_copies(folder: Path) -> None:
    """Import the modules of a search's method from its copies, from now on."""
    if not any(isinstance(finder, FrozenImporter) for finder in sys.meta_path):
        sys.meta_path.insert(0, FrozenImporter(folder))


@contextmanager
def copies_imported(folder: Path | None) -> Iterator[None]:
    """Import the modules of a method from these copies for a while; from where they are if there are none."""
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
    """Return the id of the code that this process imports its method from; empty if its search keeps none."""
    for finder in sys.meta_path:
        if isinstance(finder, FrozenImporter):
            return finder.code
    return ""
