"""The values of a stepped range, as one list that the grid, conditions, samplers and checks all use."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import overload

_WHOLE = Decimal("1e-8")
"""How far a number of steps may be from a whole one: a third has no exact decimal digits."""


def num_steps(low: float, high: float, step: float) -> Decimal:
    """Return the number of steps from low to high, computed with the decimal digits that the author wrote."""
    return (_decimal(high) - _decimal(low)) / _decimal(step)


def is_whole(steps: Decimal) -> bool:
    """Return whether a number of steps is whole, up to the digits that a step like 1/3 cannot have."""
    return abs(steps - round(steps)) <= _WHOLE * max(1, abs(steps))


def _decimal(value: float) -> Decimal:
    return Decimal(repr(float(value)))


class Steps(Sequence[float]):
    """The values from low to high, made when asked for: decimal ones as one writes them, and the last is `high`.

    In floating point, 19 steps of 0.05 end at 0.9500000000000001, and three of 0.1 at 0.30000000000000004.
    """

    def __init__(self, low: float, high: float, step: float) -> None:
        self.low, self.high, self.step = low, high, step
        steps = num_steps(low, high, step)
        self._count = round(steps) + 1
        self.is_exact = steps == round(steps)
        """Whether the decimal digits of the step lead to `high` itself."""

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [self._value(place) for place in range(*index.indices(self._count))]
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count:
            raise IndexError(index)
        return self._value(place)

    def __iter__(self) -> Iterator[float]:
        return map(self._value, range(self._count))

    def _value(self, place: int) -> float:
        if place == self._count - 1:
            return self.high
        return float(_decimal(self.low) + place * _decimal(self.step))

    def place(self, value: float) -> int:
        """Return the index of the value that is nearest to a given one."""
        return min(max(round((value - self.low) / self.step), 0), self._count - 1)
