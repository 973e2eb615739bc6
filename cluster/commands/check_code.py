"""Fetches a method in a W&B artifact, as a spec's `code` names it, and checks it against the spec."""

import importlib.util
from pathlib import Path

from cluster.machine.scratch import ScratchError
from cluster.tracking.artifacts import ArtifactError
from cluster.tracking.code import fetched_code, modules_in
from search_spaces.errors import Problem, nearest
from search_spaces.spec import SpecFile
from trainables._shared.discovery import add_folders

NUM_MODULES = 20
"""Modules of an artifact that a message names."""


def with_code(file: SpecFile) -> tuple[SpecFile, Path | None]:
    """Return a spec with the exact version of its code, and the folder on this node that now has the method.

    The folder is None if the spec names no code. Raises SpecError if the code cannot be fetched, or lacks the method.
    """
    spec, source = file.spec, file.source
    if spec.code is None:
        return file, None
    try:
        name, folder = fetched_code(spec.code)
    except (ArtifactError, ScratchError) as error:
        said = str(error).removeprefix(spec.code).strip()
        raise source.error([Problem(("code",), said, spec.code)]) from None
    modules = modules_in(folder)
    if not any(f"{module}.".startswith(f"{spec.trainable}.") for module in modules):
        listed = ", ".join(modules[:NUM_MODULES]) + (", ..." if len(modules) > NUM_MODULES else "")
        allowed = f"one of its modules: {listed}" if modules else "an artifact with Python modules; it has none"
        near = nearest(spec.trainable, modules)
        raise source.error([Problem(("trainable",), f"is not in {name}", spec.trainable, allowed=allowed, near=near)])
    add_folders(folder)
    if elsewhere := _shadowed(spec.trainable, folder):
        rule = f"its package has the name of another, which Python finds first: {elsewhere}"
        raise source.error([Problem(("trainable",), rule, spec.trainable, allowed="a package with a name of its own")])
    return SpecFile(spec.model_copy(update={"code": name}), source), folder


def _shadowed(trainable: str, folder: Path) -> str:
    """Return where a package of the same name is that hides the method's in the folder; empty if none does.

    Python looks in our own packages, then in the folder, then in all others; but a package that is imported already
    stays.
    """
    found = importlib.util.find_spec(trainable.split(".")[0])
    if found is None:
        return ""
    places = [*(found.submodule_search_locations or ()), found.origin or "", found.name]
    return "" if Path(places[0]).is_relative_to(folder) else places[0]
