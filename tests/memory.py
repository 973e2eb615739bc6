"""What a process that runs many tests keeps of those that are over: nothing."""

import contextlib
import ctypes
import gc
import sys
from types import ModuleType

import psutil

WORTH_MB = 80
"""A process that has grown by this much forgets its programs when a file is over."""
LARGE_MB = 200
"""One that has grown by this much forgets them before its file is over; what still needs one reads it from the disk."""


def resident_mb() -> float:
    """Return how much memory this process holds."""
    return psutil.Process().memory_info().rss / 2**20


class Growth:
    """How much memory this process has taken since it last forgot its programs.

    What is left then is needed: asking again after every test would cost half a second each, for nothing.
    """

    def __init__(self) -> None:
        self._floor_mb = resident_mb()

    def exceeds(self, limit_mb: float) -> bool:
        """Return whether the process has grown by more than this."""
        return resident_mb() > self._floor_mb + limit_mb

    def forget(self, module: ModuleType | None) -> None:
        """Forget the programs, and begin to count anew."""
        forget_programs(module)
        self._floor_mb = resident_mb()


def forget_programs(module: ModuleType | None = None) -> None:
    """Drop all programs that JAX has compiled here, and what the functions of a test module have cached.

    Each method's tests compile hundreds of megabytes of programs, which JAX would keep until the process ends.
    """
    for cached in vars(module).values() if module else ():
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    for library in ("equinox", "jax"):
        if library in sys.modules:
            sys.modules[library].clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than GNU's
        ctypes.CDLL("libc.so.6").malloc_trim(0)
