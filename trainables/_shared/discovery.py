"""Methods by name: a folder of this package, or the import path of a user's own module."""

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import trainables
from trainables._shared.config import MethodConfig
from trainables._shared.frozen import CODE, METHOD_FOLDERS, import_copies
from trainables._shared.naming import Fault, fault_of, why_not_found

if TYPE_CHECKING:  # loading the contract imports JAX, which `swell check` has no time for
    from trainables._shared.contract import Method


class UnknownMethodError(ValueError):
    """No method of that name; `choices` are the ones of this package."""

    def __init__(self, name: str, fault: Fault) -> None:
        self.name = name
        self.fault = fault
        self.choices = method_names()
        super().__init__(f"{name!r} {fault.rule}")


class IncompleteMethodError(UnknownMethodError):
    """A module of that name, which lacks what a method must define; its text says what."""


def method_names() -> list[str]:
    """Return the names of this package's methods: its folders, without the underscored ones."""
    return sorted(
        module.name for module in pkgutil.iter_modules(trainables.__path__) if module.ispkg and module.name[0] != "_"
    )


def add_folders(*folders: Path) -> list[str]:
    """Have methods be found in folders, after all else, so that they hide nothing; return those that are new.

    A file `random.py` beside somebody's spec must not become every library's `random`.
    """
    own = str(Path(trainables.__path__[0]).resolve().parent)
    if own not in sys.path:  # a folder must not shadow one of our packages
        sys.path.insert(0, own)
    new = [folder for folder in map(str, folders) if folder not in sys.path]
    end = sys.path.index("", 1) if "" in sys.path[1:] else len(sys.path)  # the working directory comes last
    sys.path[end:end] = new
    importlib.invalidate_caches()  # they may be newer than what Python knows of their parents
    return new


@contextmanager
def found_in(*folders: Path) -> Iterator[None]:
    """Have methods be found in folders for a while."""
    new = add_folders(*folders)
    try:
        yield
    finally:
        for folder in new:
            sys.path.remove(folder)


def _module_name(name: str) -> str:
    return name if "." in name else f"trainables.{name}"


def are_of_one_method(name: str, other: str) -> bool:
    """Return whether two names are of the same method: `two_body` is `trainables.two_body`."""
    return _module_name(name) == _module_name(other)


def is_name_of(name: str, method: "Method[Any]") -> bool:
    """Return whether a method goes by a name, in a spec or in a model file; its class may be from elsewhere."""
    if f"{type(method).__module__}.".startswith(f"{_module_name(name)}."):
        return True
    try:
        return type(load_method(name)) is type(method)
    except (Exception, SystemExit):  # what cannot be imported here is another method
        return False


def _find(name: str) -> str:
    """Return the importable module of a method, as this process's search has it.

    Raises UnknownMethodError, and whatever the packages raise that it is in.
    """
    if code := os.environ.get(CODE):
        import_copies(Path(code))
    if folders := os.environ.get(METHOD_FOLDERS):
        add_folders(*map(Path, folders.split(os.pathsep)))
    elif "" not in sys.path:
        sys.path.append("")
    module = _module_name(name)
    try:
        found = fault_of(name) is None and importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise  # a package of the user's has not found what it imports
        found = False
    if not found:
        raise UnknownMethodError(name, fault_of(name) or why_not_found(name, _path()))
    return module


def _path() -> list[Path]:
    return [Path(folder or ".").resolve() for folder in sys.path]


def _part(name: str, part: str) -> ModuleType:
    """Import `NAME.part` where the method is a package that has it, else the method's only module."""
    module = _find(name)
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        full = f"{module}.{part}"
        if importlib.util.find_spec(full) is not None:
            return importlib.import_module(full)
    return importlib.import_module(module)


def _place(module: ModuleType) -> str:
    return f"`Config` and `method` in {getattr(module, '__file__', None) or 'a file of the package'}"


def load_config_type(name: str) -> type[MethodConfig]:
    """Return a method's config class without importing the method itself.

    Raises UnknownMethodError for a name that is no method, and whatever the user's own module raises.
    """
    module = _part(name, "config")
    config_type = getattr(module, "Config", None)
    if not (isinstance(config_type, type) and issubclass(config_type, MethodConfig)):
        raise IncompleteMethodError(name, Fault("must define `Config`, a subclass of MethodConfig", _place(module)))
    return config_type


def loaded_method(name: str) -> "Method[Any] | None":
    """Return a method that came with its config class: that of a single module; None for a package with a config.py."""
    module = _part(name, "config")
    method = getattr(module, "method", None) if module.__name__ == _find(name) else None
    return method if hasattr(method, "selection") else None


def load_method(name: str) -> "Method[Any]":
    """Return a method, ready to train.

    Raises UnknownMethodError for a name that is no method, and whatever the user's own module raises.
    """
    from trainables._shared.contract import Method

    module = _part(name, "method")
    method = getattr(module, "method", None)
    if not isinstance(method, Method):
        raise IncompleteMethodError(
            name, Fault("must define `method`, an instance of a Method subclass", _place(module))
        )
    return method


def load_pictures(name: str) -> ModuleType | None:
    """Return what a method computes for its figures, its module `pictures`; None if it has none.

    Each of the module's functions takes a SavedModel, and returns NumPy arrays by name.
    """
    module = _part(name, "pictures")
    return module if module.__name__.endswith(".pictures") else None
