"""How tests wait: until something is so, for as long as the slowest machine may take."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 600.0
"""After this long, a test gives up what takes a second: no verdict is to depend on the machine's pace."""

T = TypeVar("T")


def wait_for(look: Callable[[], T], patience_s: float = PATIENCE_S, every_s: float = 0.02) -> T:
    """Return what `look` returns as soon as that is true; fail if it never is."""
    end = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < end, f"waited in vain for {patience_s:g} s"
        time.sleep(every_s)
    return found
