"""Optional packages: which are missing, and the command that installs them. Imports neither JAX nor a package."""

import importlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from trainables._shared.config import ConfigError, MethodConfig

SWELL = "swell"
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([^'"]+)['"]""")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class MissingPackageError(ImportError):
    """A package that a configuration needs is not installed; the message says the command that installs it."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} {how_missing(package)}", name=package)


def is_installed(package: str) -> bool:
    """Return whether a package can be found; it is not imported, but of a dotted name its parent is."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # its parent is missing; a module without a spec
        return False


def how_missing(package: str) -> str:
    """Return what to say of a package that is missing: that it is, and how to install it."""
    return f"is not installed: {install_command(package)}"


def install_command(package: str, of: str = SWELL) -> str:
    """Return the command that installs a package, by its import name: the extra that brings it, else itself.

    Extras are those that the metadata of the distribution `of` declare; the smallest one that has the package.
    """
    top = package.partition(".")[0]
    found = sorted((size, extra) for extra, size in _extras_with(top, of))
    return f"pip install '{of}[{found[0][1]}]'" if found else f"pip install {top}"


def _extras_with(package: str, of: str) -> Iterator[tuple[str, int]]:
    """Yield each extra that brings a package, with the number of its requirements."""
    by_extra: dict[str, list[str]] = {}
    for requirement in _requirements(of):
        extra, name = _EXTRA.search(requirement), _NAME.match(requirement)
        if extra and name:
            by_extra.setdefault(extra[1], []).append(_normal(name[0]))
    for extra, names in by_extra.items():
        if _normal(package) in names:
            yield extra, len(names)


def _requirements(of: str) -> Iterable[str]:
    try:
        return requires(of) or ()
    except PackageNotFoundError:  # run from a source tree that is not installed
        return ()


def _normal(name: str) -> str:
    """Return a distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def require(package: str) -> ModuleType:
    """Import a package that not everybody has installed, and return it.

    To be called where it is used, not at the top of a method's module: a search of configurations that do without it
    runs without it. Raises MissingPackageError, which says how to install it.
    """
    if not is_installed(package):
        raise MissingPackageError(package)
    return importlib.import_module(package)


def required_version(package: str) -> str:
    """Return the version of a package that not everybody has installed, of the same name; it is not imported.

    Raises MissingPackageError as `require` does.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        raise MissingPackageError(package) from None


def require_needed(config: MethodConfig) -> None:
    """Raise ConfigError if a package that a field's value needs is not installed.

    Raises MissingPackageError if the whole method needs it.
    """
    for package, field in config.needs().items():
        if not is_installed(package):
            if not field:
                raise MissingPackageError(package)
            raise ConfigError(field, getattr(config, field), f"needs {package}, which {how_missing(package)}")
