"""The functions of Python and of libraries under their public names, which a method may replace (`np.sum = ...`)."""

import sys
from typing import Any

NAMESPACES = (
    *("builtins", "math", "random", "numpy", "numpy.fft", "numpy.linalg", "numpy.random"),
    *("jax", "jax.lax", "jax.nn", "jax.numpy", "jax.numpy.fft", "jax.numpy.linalg", "jax.random", "jax.scipy.linalg"),
    *("jax.scipy.special", "jax.scipy.stats", "jax.tree", "jax.tree_util", "diffrax", "equinox", "equinox.nn", "optax"),
)
"""The modules whose names are put back, as far as they are imported when the state is noted."""
_NOT_IN_NUMBERS = frozenset({"builtins.print", "builtins.input", "builtins.breakpoint"})
"""Functions that leave nothing in a compiled program."""
_GONE = object()


class Namespaces:
    """What some modules' names stand for; names that are added later, such as a submodule's, are no matter."""

    def __init__(self) -> None:
        modules = {name: sys.modules[name] for name in NAMESPACES if name in sys.modules}
        self._noted = {module: (name, _public(module, name)) for name, module in modules.items()}

    def put_back(self) -> list[str]:
        """Put back what was replaced or deleted; return the full names of what compiled programs may have kept."""
        replaced: list[str] = []
        for module, (name, noted) in self._noted.items():
            now = vars(module)
            for attribute, value in noted.items():
                if now.get(attribute, _GONE) is not value:
                    now[attribute] = value
                    replaced.append(f"{name}.{attribute}")
        return [name for name in replaced if name not in _NOT_IN_NUMBERS]


def _public(module: Any, name: str) -> dict[str, Any]:
    """Return a module's names; of builtins all but `_`, the last result of an interactive Python."""
    return {key: value for key, value in vars(module).items() if key != "_" and (key[0] != "_" or name == "builtins")}
