"""Finds the figures: ours, those of a method, those of installed packages, and the user's own files."""

import importlib
import importlib.util
import logging
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from analysis.drawing.figure import Figure, FigureError
from analysis.search import Search
from search_spaces.errors import nearest

log = logging.getLogger(__name__)

OURS = "analysis.figures"
GROUP = "swell.figures"
"""The entry points of installed packages: each names a package whose modules are figures."""
NEEDED = ("TITLE", "SENTENCE", "info", "draw")


def figures(*places: str) -> list[Figure]:
    """Return all figures by name: those of `analysis.figures`, of installed packages, and of the user's `places`.

    A place is a file, a folder of files, or the name of a package. A folder inside a package of figures is for the
    method of its name. Raises FigureError if a place is none of these, or holds a module that is no figure.
    """
    found = [*_of_package(importlib.import_module(OURS))]
    for point in entry_points(group=GROUP):
        try:
            found += _of_module(point.name, point.load())
        except (ImportError, AttributeError, SyntaxError, FigureError) as error:
            log.warning("the figures of %s, an installed package, are left out: %s", point.value, error)
    for place in places:
        found += _of_place(place)
    return list({(one.name, one.method): one for one in found}.values())


def find_figures(search: Search, names: Iterable[str] = (), places: Iterable[str] = ()) -> list[Figure]:
    """Return the figures of these names; if there are no names, all that fit a search.

    Raises FigureError if there is no figure of a name.
    """
    found = figures(*places)
    # Of one name, those of the search's method come before those of others, and what was found last, the user's own.
    there = {one.name: one for one in [*found, *(one for one in found if one.fits(search))]}
    for name in names:
        if name not in there:
            near = nearest(name, list(there))
            hint = f" Did you mean {near!r}?" if near else ""
            raise FigureError(f"no figure {name!r}.{hint} Figures: {', '.join(there)}")
    return [there[name] for name in names] or [one for one in there.values() if one.fits(search)]


def _of_package(package: ModuleType, method: str = "") -> Iterator[Figure]:
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: (one.ispkg, one.name)):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if info.ispkg:
            yield from _of_package(module, method=info.name)
        else:
            yield _figure(info.name, module, method)


def _of_module(name: str, module: ModuleType) -> Iterator[Figure]:
    if hasattr(module, "__path__"):
        yield from _of_package(module)
    else:
        yield _figure(name, module, "")


def _of_place(place: str) -> Iterator[Figure]:
    path = Path(place)
    if path.is_dir():
        for file in sorted(path.glob("*.py")):
            if not file.name.startswith("_"):
                yield _of_file(file)
    elif path.suffix == ".py":
        if not path.is_file():
            raise FigureError(f"figures from {place}: there is no such file")
        yield _of_file(path)
    else:
        try:
            package = importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise FigureError(f"figures from {place}: neither a folder, a .py file, nor a package ({error})") from None
        yield from _of_module(place.rpartition(".")[2], package)


def _of_file(file: Path) -> Figure:
    spec = importlib.util.spec_from_file_location(f"swell_figure_{file.stem}", file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        raise FigureError(f"figures from {file}: {error}") from error
    return _figure(file.stem, module, "")


def _figure(name: str, module: ModuleType, method: str) -> Figure:
    missing = [part for part in NEEDED if not hasattr(module, part)]
    if missing:
        raise FigureError(f"{module.__file__} is no figure: it has no {' and no '.join(missing)}")
    return Figure(name, module, getattr(module, "METHOD", method))
