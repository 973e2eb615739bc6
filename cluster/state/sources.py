"""Finds the modules that a method consists of: its own, and those that they import from its tree; runs none of them."""

import ast
import importlib.util
import pkgutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path

from trainables._shared.frozen import OUR_NAMES, belongs, own_folder

TRAINING = "trainables._shared.training"
"""What trains every method: its code makes the numbers too."""
LARGEST_TREE = 5000
"""Modules of a method that are looked at."""
IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Sources:
    """The modules of a method by name, and the folders that hold its user's own modules."""

    files: dict[str, Path]
    roots: list[Path] = field(default_factory=list)
    later: dict[str, Path] = field(default_factory=dict)
    """Modules that are known only because trials have imported them."""


def repository_of(folder: Path) -> Path | None:
    """Return the top folder of the git repository that a folder is in; None if it is in none."""
    said = git(folder, "rev-parse", "--show-toplevel")
    return Path(said).resolve() if said else None


def git(folder: Path, *command: str, timeout_s: float = 5.0) -> str | None:
    """Return what a git command prints in a folder; None if it fails or git is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def sources_of(trainable: str, launched_from: Path, imported: Mapping[str, Path] | None = None) -> Sources:
    """Return the modules of a method that can be imported here; found by reading its files.

    `imported` names the modules that trials have imported beside those, and where each was then.
    """
    name = trainable if "." in trainable else f"trainables.{trainable}"
    scan = _Scan()
    start = scan.find(name)
    if start is None:
        return Sources({})
    scan.roots = _roots(name, scan, launched_from.resolve())
    for module in (name, f"{name}.config", f"{name}.method", TRAINING):
        scan.add(module)
    scan.follow()
    files = dict(scan.files)
    later = {}
    for module, before in (imported or {}).items():
        scan.add(module)
        file = scan.files.get(module, before)  # a method may have put a folder on the path that is not on it here
        if module not in files and file.is_file():
            later[module] = file
    return Sources(files, scan.roots, later)


def _roots(name: str, scan: "_Scan", launched_from: Path) -> list[Path]:
    """Return the folders that may hold a method's own modules: its repository or its package's; and the launch's."""
    top = name.split(".")[0]
    if top in OUR_NAMES:
        return [launched_from]
    places = [place.resolve() for place in _places(scan.find(top))]
    folders: list[Path] = []
    for place in places:
        installed = any(part.endswith("-packages") for part in place.parts)
        # If it is installed, only its own package is the method's.
        folders.append(place if installed else repository_of(place.parent) or place.parent)
    return list(dict.fromkeys([*folders, launched_from]))


def _places(spec: ModuleSpec | None) -> list[Path]:
    if spec is None:
        return []
    locations = spec.submodule_search_locations
    return [Path(place) for place in locations] if locations is not None else [Path(str(spec.origin))]


class _Scan:
    """The modules that were found so far, and those that are still to be read."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.roots: list[Path] = []
        self._found: dict[str, ModuleSpec | None] = {}
        self._unread: list[tuple[str, ModuleSpec]] = []

    def find(self, name: str) -> ModuleSpec | None:
        """Return the spec with which Python would find a module, without importing its parents."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> ModuleSpec | None:
        parent, _, _ = name.rpartition(".")
        try:
            if not parent:
                return importlib.util.find_spec(name)
            above = self.find(parent)
            locations = above.submodule_search_locations if above is not None else None
            return _below(name, list(locations)) if locations is not None else None
        except (ValueError, ImportError):
            return None

    def add(self, name: str) -> None:
        """Add a module and the packages that it is in, if they are the method's own, or ours."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            one = ".".join(parts[:length])
            spec = self.find(one)
            if spec is None or one in self.files or not spec.has_location or not spec.origin:
                continue
            file = Path(spec.origin).resolve()
            if len(self.files) < LARGEST_TREE and (is_ours(one, file) or belongs(file, self.roots)):
                self.files[one] = file
                self._unread.append((one, spec))

    def follow(self) -> None:
        """Read every module that was found, and add the modules that it imports."""
        while self._unread:
            name, spec = self._unread.pop()
            if not str(spec.origin).endswith(".py"):
                continue
            try:
                tree = ast.parse(self.files[name].read_bytes())
            except (OSError, SyntaxError, ValueError):
                continue  # Python could not import it either
            package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            for imported in _imports(tree, package):
                self.add(imported)


def _below(name: str, locations: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of a module in these folders of a package; PathFinder would need the package to be imported."""
    portions: list[str] = []
    for place in locations:
        finder = pkgutil.get_importer(place)
        spec = finder.find_spec(name) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec.submodule_search_locations or []) if spec is not None else []
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def is_ours(name: str, file: Path) -> bool:
    """Return whether a module is one of ours, by its name and by its place beside our packages."""
    return name.split(".")[0] in OUR_NAMES and file.is_relative_to(own_folder())


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the names that a module may import, anywhere in its code; some of them may be no modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Call) and _called(node.func) in IMPORTERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.strip("."):
                level = len(first.value) - len(first.value.lstrip("."))
                yield _absolute(first.value[level:], level, package)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    above: Sequence[str] = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*above, name] if name else above)
