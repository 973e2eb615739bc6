"""Clocks that mean what they say on machines that are suspended."""

from collections.abc import Callable


class AwakeClock:
    """Counts the seconds in which we ran: a job that was suspended has not hung meanwhile."""

    def __init__(self, most_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._most_s = most_s
        self._last = clock()
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds; a gap between two calls counts for no more than the most that calls lie apart."""
        now = self._clock()
        self._seconds += min(now - self._last, self._most_s)
        self._last = now
        return self._seconds
