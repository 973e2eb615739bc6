"""Fetches W&B artifacts: data sets at launch into the search directory, and code into the node's cache.

    python -P -m cluster.tracking.artifacts [--code] FOLDER NAME ...

Only that process imports wandb for this; workers read the files without it (`DatasetStore.fetched`).
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cluster.state.paths import SearchPaths
from search_spaces.errors import UserError
from search_spaces.spec import Spec
from trainables._shared.artifact_names import PREFIX, folder_name, is_artifact, is_exact


class ArtifactError(UserError):
    """A data set or code could not be fetched; the message is for the user."""


def artifact_names(spec: Spec) -> list[str]:
    """Return the artifacts that a spec names, among its fixed values and its choices.

    Raises ArtifactError if a name is not that of an artifact.
    """
    values = spec.model_dump(mode="json", include={"base", "space"})
    try:
        return sorted({text for text in _texts(values) if is_artifact(text)})
    except ValueError as error:
        raise ArtifactError(str(error)) from None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def fetch_artifacts(paths: SearchPaths, spec: Spec, origin: SearchPaths | None = None) -> Spec:
    """Fetch a spec's data sets into its search directory; return the spec with the exact version of each.

    An alias like `latest` is resolved once, for all trials. Data sets that another search, `origin`, has are copied
    from there. Raises ArtifactError if one cannot be fetched.
    """
    names = artifact_names(spec)
    if names:
        paths.artifacts.mkdir(mode=0o700, exist_ok=True)
    if origin is not None:
        for name in names:
            if is_exact(name) and origin.artifact(name).is_dir():
                shutil.copytree(origin.artifact(name), paths.artifact(name), symlinks=True)
    missing = [name for name in names if not paths.artifact(name).is_dir()]
    if not missing:
        return spec
    return _with_versions(spec, fetch_into(paths.artifacts, missing, paths))


def fetch_into(folder: Path, names: list[str], paths: SearchPaths | None, *, code: bool = False) -> dict[str, str]:
    """Fetch artifacts, each into its own folder within `folder`; return their names with their exact versions.

    `paths` is None if there is no search yet. Artifacts of `code` must pass stricter checks. Raises ArtifactError.
    """
    from cluster.tracking.tracker_process import wandb_process  # imports NumPy: most launches do not need it

    options = ["--code"] if code else []
    with wandb_process(paths) as (environment, scratch):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cluster.tracking.artifacts", *options, str(folder), *names],
            env=environment,
            cwd=scratch.tmp,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ArtifactError(lines[-1] if lines else f"fetching {', '.join(names)} failed and said nothing")
    return json.loads(done.stdout.splitlines()[-1])


def _with_versions(spec: Spec, versions: Mapping[str, str]) -> Spec:
    values = spec.model_dump(mode="json")
    return type(spec).model_validate(
        {**values, "base": _replaced(values["base"], versions), "space": _replaced(values["space"], versions)}
    )


def _replaced(value: Any, versions: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return versions.get(value, value)
    if isinstance(value, dict):
        return {key: _replaced(part, versions) for key, part in value.items()}
    return [_replaced(part, versions) for part in value] if isinstance(value, list) else value


# -- in the process that imports W&B ----------------------------------------------------------------------------------


def fetch(folder: Path, name: str, api: Any) -> str:
    """Fetch one data set into a folder that appears whole or not at all; return its name with its version."""
    try:
        artifact, resolved = _find(name, api)
        wanted = folder / folder_name(resolved)
        if not wanted.is_dir():
            _download(artifact, wanted)
    except Exception as error:  # W&B may raise anything: no login, no network, no such artifact
        raise ArtifactError(f"{name} could not be fetched: {' '.join(str(error).split())}") from error
    return resolved


def fetch_code(folder: Path, name: str, api: Any) -> str:
    """Fetch one artifact of code; other searches may fetch into the same folder at the same time.

    All of it is private to the user, and made of plain files: a reference would point elsewhere, and might change.
    """
    from filelock import FileLock

    try:
        artifact, resolved = _find(name, api)
        wanted = folder / folder_name(resolved)
        with FileLock(f"{wanted}.lock"):
            if not wanted.is_dir():
                for path, entry in artifact.manifest.entries.items():
                    if entry.ref is not None:
                        raise ValueError(f"it refers to a file elsewhere ({path}), and code must be files of its own")
                    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                        raise ValueError(f"it has a file that leads out of it ({path})")
                _download(artifact, wanted, make_private)
    except Exception as error:
        raise ArtifactError(f"{name} could not be fetched: {' '.join(str(error).split())}") from error
    return resolved


def make_private(folder: Path) -> None:
    """Make a folder of code readable by its user alone.

    Raises ValueError if it holds anything but files and folders: a link, above all, might lead out of it.
    """
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        kind = path.lstat().st_mode
        if stat.S_ISDIR(kind):
            path.chmod(0o700)
        elif stat.S_ISREG(kind):
            path.chmod(0o600)
        else:
            what = "link" if stat.S_ISLNK(kind) else "special file"
            raise ValueError(f"{path.relative_to(folder)} is a {what}, and code must be plain files")


def _find(name: str, api: Any) -> tuple[Any, str]:
    artifact = api.artifact(name.removeprefix(PREFIX))
    return artifact, f"{name.rpartition(':')[0]}:{artifact.version}"


def _download(artifact: Any, wanted: Path, finish: Callable[[Path], None] = lambda folder: None) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".", dir=wanted.parent))
    try:
        artifact.download(root=str(unfinished))
        finish(unfinished)
        unfinished.replace(wanted)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def main(arguments: list[str]) -> int:
    """Fetch artifacts, and print their versions by name."""
    import wandb

    one = fetch_code if arguments[0] == "--code" else fetch
    folder, *names = arguments[one is fetch_code :]
    output = os.dup(1)  # W&B prints what it likes
    os.dup2(2, 1)
    try:
        api = wandb.Api()
        versions = {name: one(Path(folder), name, api) for name in names}
    except Exception as error:
        reason = str(error) if isinstance(error, ArtifactError) else f"{names[0]} could not be fetched: {error}"
        print(" ".join(reason.split()), file=sys.stderr)
        return 1
    os.write(output, json.dumps(versions).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
