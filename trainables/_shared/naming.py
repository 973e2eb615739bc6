"""Finds out why a name does not lead to a method: the name is malformed, taken by something else, or leads nowhere."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables._shared.frozen import INSTALLED, OUR_NAMES

NUM_NAMED = 12
"""The most modules that a message lists."""


@dataclass(frozen=True)
class Fault:
    """The rule that a method's name breaks, and what the user can write instead."""

    rule: str
    allowed: str = ""
    """What the user can write instead; empty if only the names of this package's methods are."""


def fault_of(name: str) -> Fault | None:
    """Return what is wrong with a name itself; None if a module could have this name."""
    if "/" in name or "\\" in name or name.endswith(".py"):
        path = name.removesuffix(".py").replace("\\", "/").strip("./").replace("/", ".")
        return Fault("must be an import path, not a file's", _imported_as(path))
    if name.startswith("."):
        return Fault("must be a whole import path, from the folder that the search is launched from", name.strip("."))
    wrong = [part for part in name.split(".") if not part.isidentifier() or keyword.iskeyword(part)]
    if wrong:
        rule = f"has a part that cannot be imported: {wrong[0]!r} is not a name in Python"
        return Fault(rule, f"{_imported_as(name)}, with the file or folder renamed so")
    return None


def _imported_as(path: str) -> str:
    parts = [re.sub(r"\W", "_", part) or "my_method" for part in path.split(".")]
    parts = [f"my_{part}" if part[0].isdigit() or keyword.iskeyword(part) else part for part in parts]
    return ".".join(parts if len(parts) > 1 else ["my_folder", *parts])


def why_not_found(name: str, folders: Sequence[Path]) -> Fault:
    """Return why Python does not find a method of this well-formed name in the folders of its path."""
    top, _, rest = name.partition(".")
    own = [folder for folder in folders if not any(part in INSTALLED for part in folder.parts)]
    if not rest:
        there = [place for folder in own if (place := _module(folder, top)) is not None]
        if there:
            return Fault(
                f"is one file, {there[0]}: a method of one's own lies in a folder", f"my_folder.{top}, moved there"
            )
        return Fault("is not a method")
    theirs = [place for folder in own if (place := _module(folder, top)) is not None and not _is_found(top, place)]
    other = _other(top)
    if top == "trainables":  # whose modules are methods: taken only from a module of the user's that it hides
        theirs = [place for place in theirs if _module(place, rest.partition(".")[0]) is not None]
    if other and (theirs or (top != "trainables" and (top in OUR_NAMES or _is_known(top)))):
        hidden = f", before {theirs[-1]}" if theirs else ""
        rule = f"cannot be imported: the name {top!r} is taken by {other}, which Python finds first{hidden}"
        return Fault(rule, f"a folder with another name, such as my_{top}.{rest}")
    return _missing(name)


def _module(folder: Path, name: str) -> Path | None:
    """Return the file or folder in `folder` that Python would import as `name`; None if there is none."""
    for place in (folder / name, folder / f"{name}.py"):
        if place.is_dir() if place.suffix == "" else place.is_file():
            return place
    return None


def _found(top: str) -> list[Path]:
    """Return where Python finds a top-level name; empty if it does not find it."""
    try:
        spec = importlib.util.find_spec(top)
    except (ValueError, ImportError):
        return []
    if spec is None:
        return []
    locations = spec.submodule_search_locations
    return [Path(place) for place in locations] if locations is not None else [Path(spec.origin or top)]


def _is_found(top: str, place: Path) -> bool:
    return any(found.resolve() == place.resolve() for found in _found(top))


def _is_known(top: str) -> bool:
    return top in sys.stdlib_module_names


def _other(top: str) -> str:
    """Say what Python imports under a top-level name instead of the user's folder; empty if it imports nothing."""
    places = _found(top)
    if top in OUR_NAMES:
        return f"swell's own package {places[0]}" if places else ""
    if _is_known(top):
        return f"Python's own module {top}"
    return (
        f"the installed package {places[0]}"
        if places and any(p in INSTALLED for p in places[0].parts)
        else (f"{places[0]}" if places else "")
    )


def _missing(name: str) -> Fault:
    """Say which part of a name Python does not find, and which modules are there."""
    top, *rest = name.split(".")
    places = _found(top)
    if not places:
        return Fault(
            f"is not found: there is no folder {top!r} where the search is launched from ({Path.cwd()})",
            "the import path of your own module (my_folder.my_module), from the folder that has my_folder in it",
        )
    for index, part in enumerate(rest):
        inside = [found for place in places if (found := _module(place, part)) is not None]
        if not inside:
            found = {name for place in places if place.is_dir() for name in _modules(place)}
            names = sorted(name for name in found if not name.startswith("_"))
            listed = ", ".join(names[:NUM_NAMED]) + (", ..." if len(names) > NUM_NAMED else "")
            here = ".".join([top, *rest[:index]])
            ours = "swell's own package, " if here in OUR_NAMES else ""
            return Fault(
                f"is not found: {here} ({ours}{places[0]}) has no module {part!r}",
                f"one of its modules: {listed}" if listed else "a folder that has it; this one has no modules",
            )
        places = inside
    return Fault("is not found by Python, though its file is there: a package before it may hide it")


def _modules(folder: Path) -> list[str]:
    files = [file.stem for file in folder.glob("*.py") if file.stem != "__init__"]
    packages = [init.parent.name for init in folder.glob("*/__init__.py")]
    return [name for name in (*files, *packages) if name.isidentifier()]
