"""Methods by name: a folder of this package, or the import path of a user's own module."""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import trainables
from trainables._shared.config import MethodConfig

if TYPE_CHECKING:  # loading the contract imports JAX, which `swell check` has no time for
    from trainables._shared.contract import Method


class UnknownMethodError(ValueError):
    """No method of that name; `choices` are the ones of this package."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.choices = method_names()
        super().__init__(message)


class IncompleteMethodError(UnknownMethodError):
    """A module of that name, which lacks what a method must define; its text says what."""


def method_names() -> list[str]:
    """Return the names of this package's methods: its folders, without the underscored ones."""
    return sorted(
        module.name for module in pkgutil.iter_modules(trainables.__path__) if module.ispkg and module.name[0] != "_"
    )


def add_folders(*folders: Path) -> list[str]:
    """Have methods be found in folders, after our own packages and before all else; return those that are new."""
    own = str(Path(trainables.__path__[0]).resolve().parent)
    if own not in sys.path:  # a folder must not shadow one of our packages
        sys.path.insert(0, own)
    new = [folder for folder in map(str, folders) if folder not in sys.path]
    after = sys.path.index(own) + 1
    sys.path[after:after] = new
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


def _find(name: str) -> str:
    """Return the importable module of a method; the working directory counts, after all else: it shadows nothing."""
    if "" not in sys.path:
        sys.path.append("")
    module = _module_name(name)
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        where = "a method of this package, or the import path of your own module (my_package.my_module)"
        raise UnknownMethodError(name, f"no method {name!r}: must be {where}")
    return module


def _part(name: str, part: str) -> ModuleType:
    """Import `NAME.part` where the method is a package that has it, else the method's only module."""
    module = _find(name)
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        full = f"{module}.{part}"
        if importlib.util.find_spec(full) is not None:
            return importlib.import_module(full)
    return importlib.import_module(module)


def load_config_type(name: str) -> type[MethodConfig]:
    """Return a method's config class without importing the method itself.

    Raises UnknownMethodError for a name that is no method, and whatever the user's own module raises.
    """
    module = _part(name, "config")
    config_type = getattr(module, "Config", None)
    if not (isinstance(config_type, type) and issubclass(config_type, MethodConfig)):
        raise IncompleteMethodError(name, f"{module.__name__} must define `Config`, a subclass of MethodConfig")
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
        raise IncompleteMethodError(name, f"{module.__name__} must define `method`, an instance of a Method subclass")
    return method
