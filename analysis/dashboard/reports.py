"""The reports of some trials of a growing history: every line is looked at when it is new, and never again."""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from cluster.state.paths import SearchPaths

_BEGINNING = b'{"trial": '
_FILE_BITS = 44
"""An entry is one whole number: the file's place in the high bits, the line's offset in the low ones."""


class Reports:
    """Where each trial's reports lie in the history files of a search."""

    def __init__(self, paths: SearchPaths) -> None:
        self._paths = paths
        self._files: list[Path] = []
        self._read: list[int] = []
        """Bytes of each file that have been looked at; the last line of it may still be being written."""
        self._places: dict[int, array[int]] = defaultdict(lambda: array("Q"))

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
        """Return the steps and values of a metric of some trials; None stands for a value that is not finite."""
        found: dict[int, dict[int, float | None]] = {trial: {} for trial in trials}
        wanted = [(place, trial) for trial in found for place in self._places.get(trial, ())]
        opened: dict[int, BinaryIO] = {}
        try:
            for place, trial in sorted(wanted):
                index = place >> _FILE_BITS
                if index not in opened:
                    opened[index] = self._files[index].open("rb")
                opened[index].seek(place & ((1 << _FILE_BITS) - 1))
                self._add(found[trial], opened[index].readline(), metric)
        except OSError:
            pass  # what was read until then is shown; the next look reads the rest
        finally:
            for lines in opened.values():
                lines.close()
        return {trial: sorted(curve.items()) for trial, curve in found.items()}

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
