"""Code in a W&B artifact: fetched once into the node's cache, then copied into each search that names it."""

import shutil
from pathlib import Path

from cluster.machine.scratch import node_cache, private_folder
from cluster.state.paths import SearchPaths
from cluster.tracking.artifacts import ArtifactError, fetch_into, make_private
from search_spaces.spec import Spec
from trainables._shared.artifact_names import folder_name, is_exact

NOT_COPIED = shutil.ignore_patterns("__pycache__")
"""Files that imports leave in the cache; another process may be writing them now."""


def fetched_code(name: str) -> tuple[str, Path]:
    """Return the name of an artifact of code with its exact version, and its folder in the node's cache.

    It is fetched only if the cache lacks it; a version in the cache needs no network. Raises ArtifactError, or
    ScratchError if the cache cannot be used.
    """
    cache = private_folder(node_cache() / "code", "node cache", "SWELL_CACHE")
    if not (is_exact(name) and (cache / folder_name(name)).is_dir()):
        name = fetch_into(cache, [name], None, code=True)[name]
    return name, cache / folder_name(name)


def place_code(paths: SearchPaths, spec: Spec, origin: SearchPaths | None = None) -> Spec:
    """Copy a spec's code into its search directory; return the spec with the exact version.

    It comes from another search, `origin`, if that has it, else from the node's cache. Raises ArtifactError, or
    ScratchError if the cache cannot be used.
    """
    if spec.code is None:
        return spec
    name = spec.code
    if origin is not None and is_exact(name) and origin.artifact(name).is_dir():
        source = origin.artifact(name)
    else:
        name, source = fetched_code(name)
    paths.artifacts.mkdir(mode=0o700, exist_ok=True)
    copy_code(name, source, paths.artifact(name))
    return spec.model_copy(update={"code": name})


def copy_code(name: str, source: Path, target: Path) -> None:
    """Copy a folder of code; raises ArtifactError if it holds a link, or cannot be made private."""
    shutil.copytree(source, target, symlinks=True, ignore=NOT_COPIED)
    try:
        make_private(target)
    except ValueError as error:
        raise ArtifactError(f"{name} cannot be used from {source}: {error}") from None


def modules_in(folder: Path) -> list[str]:
    """Return the import paths of the Python modules and packages in a folder."""
    found = set()
    for file in folder.rglob("*.py"):
        parts = file.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and all(part.isidentifier() for part in parts):
            found.add(".".join(parts))
    return sorted(found)
