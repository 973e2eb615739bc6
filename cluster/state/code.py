"""The code behind a search's numbers: its method's modules as they were at a launch, copied or hashed."""

import shutil
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.machine.files import DamagedFileError, read_json, write_json, write_text
from cluster.state.paths import SearchPaths
from cluster.state.sources import Sources, git, is_ours, repository_of
from search_spaces.errors import UserError
from trainables._shared.frozen import (
    FILES,
    LARGEST_FILE,
    MANIFEST,
    DamagedManifestError,
    Manifest,
    code_id,
    copied_later,
    hash_of,
    own_folder,
)

LARGEST_COPY = 64 * 2**20
"""Bytes of all copies; of what would go beyond, only the hash is kept."""
LONGEST_DIFF = 200_000
"""Characters of a repository's changes that are written down."""


class CodeChangedError(UserError):
    """A search's code has changed since its launch, and the user has not said which version to go on with."""


@dataclass(frozen=True)
class Change:
    """A module that differs from the search's record of it."""

    module: str
    file: Path
    is_copied: bool
    """Whether the search goes on with its copy, until it is told otherwise."""


def keep_code(paths: SearchPaths, sources: Sources) -> str:
    """Copy a method's modules into its search, which uses the copies from now on; return the code's id.

    For modules of ours, compiled ones, the largest ones and those that are in the search anyway, only a hash is kept.
    So are modules that trials have imported: copies that were made before are used again only if none is outdated.
    """
    folder = _folder_of(paths, sources)
    if folder is None:
        modules, copies = _modules_of(paths, {**sources.files, **sources.later}, later=sources.later)
        folder = paths.code_folder(code_id({name: entry["sha256"] for name, entry in modules.items()}))
        for target, source in copies.items():
            copy = folder / FILES / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source)
        folder.mkdir(parents=True, exist_ok=True)
        roots = [str(root) for root in sources.roots]
        write_json(folder / MANIFEST, {"id": folder.name, "roots": roots, "modules": modules})
    _use(paths, folder.name)
    return folder.name


def _modules_of(
    paths: SearchPaths, files: Mapping[str, Path], later: Container[str] = ()
) -> tuple[dict[str, dict[str, Any]], dict[Path, bytes]]:
    """Return what is noted of each module, and the sources that are copied by where their copies lie."""
    modules: dict[str, dict[str, Any]] = {}
    copies: dict[Path, bytes] = {}
    total = 0
    for name, file in sorted(files.items()):
        entry, source = _entry(paths, name, file), file.read_bytes()
        if entry["is_copied"] and len(source) <= LARGEST_FILE and (total := total + len(source)) <= LARGEST_COPY:
            target = Path(*name.split("."))
            copies[target / "__init__.py" if file.name == "__init__.py" else target.with_suffix(".py")] = source
        else:
            entry["is_copied"] = False
        modules[name] = entry | ({"is_later": True} if name in later else {})
    return modules, copies


def imported_later(paths: SearchPaths) -> dict[str, Path]:
    """Return the modules that trials of a search have imported beside those found at a launch, and where they lay."""
    found: dict[str, Path] = {}
    for folder in _folders(paths):
        with suppress(DamagedManifestError):
            manifest = Manifest(folder)
            found |= {name: manifest.file(name) for name in manifest.modules if _is_later(manifest, name)}
        found |= {name: file for name, (_, file) in copied_later(folder).items()}
    return found


def _folders(paths: SearchPaths) -> list[Path]:
    """Return the folders of all code that a search has copied, also for a resume that was refused then."""
    return sorted(folder for folder in paths.code.iterdir() if folder.is_dir()) if paths.code.is_dir() else []


def _is_later(manifest: Manifest, name: str) -> bool:
    return bool(manifest.modules[name].get("is_later"))


def _folder_of(paths: SearchPaths, sources: Sources) -> Path | None:
    """Return the folder, that of the code in use before others, with the modules as they are now; None if none has."""
    now = {name: hash_of(file) for name, file in sources.files.items()}
    in_use = code_in_use(paths)
    for folder in sorted(_folders(paths), key=lambda one: one != in_use):
        with suppress(DamagedManifestError):
            manifest = Manifest(folder)
            kept = {name: one["sha256"] for name, one in manifest.modules.items() if not _is_later(manifest, name)}
            if kept == now and not _is_outdated(folder, sources.later):
                return folder
    return None


def _is_outdated(folder: Path, later: Mapping[str, Path]) -> bool:
    """Return whether code has a module that a trial imported, and that is another by now."""
    hashes = {name: hash_of(copy) for name, (copy, _) in copied_later(folder).items()}
    with suppress(DamagedManifestError):
        manifest = Manifest(folder)
        hashes |= {name: one["sha256"] for name, one in manifest.modules.items() if _is_later(manifest, name)}
    return any(name in later and hash_of(later[name]) != known for name, known in hashes.items())


def read_manifest(folder: Path) -> Manifest:
    """Return the record of some code that a search keeps; raises DamagedFileError with what to do if it is damaged."""
    try:
        return Manifest(folder)
    except DamagedManifestError as error:
        raise DamagedFileError(
            f"{error}: it says which modules trials were made by. Bring it back from a copy of the search, or let "
            "`--code current` take the modules as they are now"
        ) from None


def _entry(paths: SearchPaths, name: str, file: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": str(file), "sha256": hash_of(file), "is_copied": False}
    if is_ours(name, file):  # it may be installed elsewhere later
        return entry | {"file": str(file.relative_to(own_folder())), "below": "ours"}
    root = paths.root.resolve()
    if file.is_relative_to(root):  # a W&B artifact's code moves along with the search
        return entry | {"file": str(file.relative_to(root)), "below": "search"}
    return entry | {"is_copied": file.suffix == ".py"}


def _use(paths: SearchPaths, found: str) -> None:
    history = [*code_history(paths), {"id": found, "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}]
    write_json(paths.code_history, history)


@contextmanager
def put_back_if_refused(paths: SearchPaths) -> Iterator[None]:
    """Have a search use the same code as before if what is done meanwhile raises: a refused resume changes nothing."""
    records = (paths.code_history, paths.provenance)
    before = {file: file.read_text() for file in records if file.exists()}
    try:
        yield
    except BaseException:
        for file in filter(Path.exists, records):
            if file not in before:
                file.unlink()
            elif file.read_text() != before[file]:
                write_text(file, before[file])
        raise


def code_history(paths: SearchPaths) -> list[dict[str, str]]:
    """Return the codes that a search has used and since when, the current one last; empty for an earlier version's."""
    return read_json(paths.code_history) or []


def code_in_use(paths: SearchPaths) -> Path | None:
    """Return the folder of the code that a search uses now; None if it keeps none."""
    history = code_history(paths)
    return paths.code_folder(history[-1]["id"]) if history else None


def code_of_trial(paths: SearchPaths, code: str) -> Path | None:
    """Return the folder of the code that a trial's record names; if that is not kept, of the code in use."""
    folder = paths.code_folder(code.rpartition("+")[2]) if code else None
    return folder if folder is not None and (folder / MANIFEST).exists() else code_in_use(paths)


def take_code(paths: SearchPaths, folder: Path) -> None:
    """Make this search use another search's code, that of a rerun's origin."""
    target = paths.code_folder(folder.name)
    if not target.exists():
        shutil.copytree(folder, target)
    _use(paths, folder.name)


def changes(folder: Path) -> list[Change]:
    """Return the modules whose files have changed; one that is not on this machine does not count as changed.

    Raises DamagedFileError if nobody can tell.
    """
    manifest = read_manifest(folder)
    found = []
    for name, entry in manifest.modules.items():
        now = hash_of(manifest.file(name))
        if now and now != entry["sha256"]:
            found.append(Change(name, manifest.file(name), entry["is_copied"]))
    for copy, file in manifest.later().items():
        if (now := hash_of(file)) and now != hash_of(copy):
            found.append(Change(file.stem, file, is_copied=True))
    return found


def explain_changes(paths: SearchPaths) -> str:
    """Return a sentence, for displays, on what has changed since the code was kept; empty if nothing has."""
    folder = code_in_use(paths)
    try:
        found = changes(folder) if folder is not None else []
    except DamagedFileError as error:
        return str(error)
    copied = [change for change in found if change.is_copied]
    if copied:
        return (
            f"{named(copied)} changed since the launch: trials are made by the search's copy, until "
            f"`swell resume {paths.name} --code current` takes the new code"
        )
    return f"{named(found)} changed since the launch: new trials are made by the new code" if found else ""


def listed(found: Sequence[Change], most: int = 5) -> str:
    """Return the names of the first `most` changed files, and how many more there are."""
    files = ", ".join(str(change.file) for change in found[:most])
    return files + (f" and {len(found) - most} more" if len(found) > most else "")


def named(found: Sequence[Change]) -> str:
    """Return the changed files as the beginning of a sentence."""
    return f"{listed(found)} {'have' if len(found) > 1 else 'has'}"


def repository_facts(sources: Sources) -> Mapping[str, Any]:
    """Return the git repository of a method's own modules, its commit and its uncommitted changes; empty if none."""
    own = [file for name, file in sources.files.items() if not is_ours(name, file)]
    repository = repository_of(own[-1].parent) if own else None
    if repository is None:
        return {}
    status = git(repository, "status", "--porcelain") or ""
    diff = git(repository, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv") or ""
    return {
        "repository": str(repository),
        "git_commit": git(repository, "rev-parse", "HEAD"),
        "git_dirty": bool(status),
        "git_status": status[:LONGEST_DIFF],
        "git_diff": diff[:LONGEST_DIFF],
        "git_diff_is_cut": len(diff) > LONGEST_DIFF,
    }
