"""The reports of some trials of a growing history: what has been read is not read again."""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cluster.state.paths import SearchPaths

_BEGINNING = b'{"trial": '
_FILE_BITS = 44
"""An entry is one whole number: the file's place in the high bits, the line's offset in the low ones."""
MOST_POINTS = 500
"""Of a curve; of more, a regular choice and the last."""


@dataclass
class _Curve:
    """What has been read of a trial's reports, so far as its places go."""

    points: dict[int, float | None] = field(default_factory=dict)
    num_read: int = 0


class Reports:
    """Where each trial's reports lie in the history files of a search."""

    def __init__(self, paths: SearchPaths) -> None:
        self._paths = paths
        self._files: list[Path] = []
        self._read: list[int] = []
        """Bytes of each file that have been looked at; the last line of it may still be being written."""
        self._places: dict[int, array[int]] = defaultdict(lambda: array("Q"))
        self._curves: dict[tuple[int, str], _Curve] = {}

    def update(self) -> None:
        """Look at what has been written since the last time."""
        known = set(self._files)
        for file in sorted(self._paths.histories.glob("*wave-*.jsonl")):
            if file not in known:
                self._files.append(file)
                self._read.append(0)
        for index, file in enumerate(self._files):
            try:
                if file.stat().st_size > self._read[index]:
                    with file.open("rb") as lines:
                        self._look(index, lines)
            except OSError:
                continue  # deleted, or a network's hiccup

    def _look(self, index: int, lines: BinaryIO) -> None:
        place = self._read[index]
        lines.seek(place)
        for line in lines:
            if not line.endswith(b"\n"):
                break
            if line.startswith(_BEGINNING):
                number = line[len(_BEGINNING) : line.find(b",", len(_BEGINNING))]
                if number.isdigit():
                    self._places[int(number)].append(index << _FILE_BITS | place)
            place += len(line)
        self._read[index] = place

    def curves(self, trials: Iterable[int], metric: str) -> dict[int, list[tuple[int, float | None]]]:
        """Return the steps and values of a metric of some trials; None stands for a value that is not finite.

        Only what is new since the last call is read; trials that are not asked for any more are forgotten.
        """
        wanted = [(trial, metric) for trial in trials]
        self._curves = {key: self._curves.get(key) or _Curve() for key in wanted}
        opened: dict[int, BinaryIO] = {}
        try:
            for (trial, _), curve in self._curves.items():
                for place in (self._places.get(trial) or ())[curve.num_read :]:
                    self._add(curve.points, self._line(place, opened), metric)
                    curve.num_read += 1
        except OSError:
            pass  # what was read until then is shown; the next look reads the rest
        finally:
            for lines in opened.values():
                lines.close()
        return {trial: _thinned(sorted(curve.points.items())) for (trial, _), curve in self._curves.items()}

    def _line(self, place: int, opened: dict[int, BinaryIO]) -> bytes:
        index = place >> _FILE_BITS
        if index not in opened:
            opened[index] = self._files[index].open("rb")
        opened[index].seek(place & ((1 << _FILE_BITS) - 1))
        return opened[index].readline()

    @staticmethod
    def _add(curve: dict[int, float | None], line: bytes, metric: str) -> None:
        try:
            entry: dict[str, Any] = json.loads(line)
            step, value = entry["step"], entry["metrics"].get(metric)
        except (ValueError, KeyError, AttributeError, RecursionError):
            return  # a test's result, or a damaged line
        if isinstance(step, int) and value is not None:
            finite = isinstance(value, int | float) and value - value == 0
            curve.setdefault(step, float(value) if finite else None)


def _thinned(points: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    every = -(-len(points) // MOST_POINTS)
    return points if every < 2 else [*points[:-1:every], points[-1]]
