"""Clocks that stay right on machines that are suspended."""

from collections.abc import Callable


class AwakeClock:
    """Counts only the seconds in which this process ran: one that was suspended must not count as hanging."""

    def __init__(self, most_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most_s = most_s
        self._last = clock()
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds counted; a gap between two calls counts at most as the longest that is expected."""
        now = self._clock()
        self._seconds += min(now - self._last, self._most_s)
        self._last = now
        return self._seconds
