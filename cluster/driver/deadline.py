"""Tells whether time is left: for a new trial to reach its first checkpoint, and for running trials to save."""

from collections.abc import Callable

SPARE = 1.5
"""The next report may take this many times as long as the longest so far."""
MARGIN_S = 5.0
"""Seconds for saving, besides the wait for a report."""
MARGIN_SHARE = 0.02
"""The largest share of the whole time that the margin may take, so that it does not end a search of minutes."""


class Deadline:
    """Learns from a wave's reports how long trials take to their first checkpoint, and from one to the next."""

    def __init__(self, left_s: Callable[[], float | None]) -> None:
        self._left_s = left_s
        left = left_s()
        self._margin_s = 0.0 if left is None else min(MARGIN_S, MARGIN_SHARE * left)
        self._first_s = 0.0
        self._between_s = 0.0

    def note(self, seconds: float, before: float | None) -> None:
        """Note the seconds from a trial's start to its report, and to the report `before`; None if it is the first."""
        if before is None:
            self._first_s = max(self._first_s, seconds)
        else:
            self._between_s = max(self._between_s, seconds - before)

    @property
    def reserve_s(self) -> float:
        """The seconds that the running trials need to reach a report and save."""
        return SPARE * self._between_s + self._margin_s

    def may_start(self) -> bool:
        """Return whether a trial that starts now would reach a checkpoint in time."""
        left = self._left_s()
        return left is None or left > max(self._first_s, self._between_s) + self.reserve_s

    def must_stop(self) -> bool:
        """Return whether the running trials must begin to save now to be done in time."""
        left = self._left_s()
        return left is not None and left <= self.reserve_s
