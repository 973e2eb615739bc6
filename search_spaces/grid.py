"""Counts the configurations of a space by arithmetic and makes them one by one, without a list of all."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from search_spaces.parameters import labels, place_of, same
from search_spaces.space import Searched, order

MOST_CASES = 5_000
"""Cases that a count may tell apart: half a second. A tree of conditions needs about one per parameter."""

_Conditions = frozenset[tuple[int, int]]
"""What a parameter still waits for: parameters by number, and which of the sets of values asked of it."""
_Entries = tuple[tuple[int, _Conditions], ...]
"""Parameters that are still to be chosen, by number, each after those it waits for."""


class TooManyCasesError(Exception):
    """The conditions are so entangled that the configurations cannot be counted."""


class _Part(NamedTuple):
    """Parameters that depend on each other by their conditions."""

    entries: _Entries
    """The parameters that others depend on, with their conditions."""
    leaves: frozenset[tuple[_Conditions, int]]
    """The number of combinations of all other parameters, by the conditions that they depend on."""


class _Branch(NamedTuple):
    """What remains once a parameter has one label, or any label that no condition asks for.

    `size` is the number of configurations, `rest` the parameters that are still to be chosen.
    """

    size: int
    rest: _Entries


class _Branches(NamedTuple):
    """The branches of a parameter's labels.

    For each label that a condition asks for: the index of its first configuration (`starts`), its place among the
    labels, and its branch (`asked`). All other labels have the same branch, `other`.
    """

    starts: list[int]
    places: list[int]
    asked: list[_Branch]
    other: _Branch


class _Counter:
    """Counts the configurations for any choice of labels so far; the counts of independent parts are multiplied."""

    def __init__(self, spec: Searched) -> None:
        ordered = order(spec.space)
        self.names = [name for name, _ in ordered]
        found = [labels(parameter) for _, parameter in ordered]
        assert None not in found, "the values of a range cannot be counted"
        self.labels = [values for values in found if values is not None]
        self.asked: list[dict[int, frozenset[int]]] = [{} for _ in ordered]
        """For each parameter, the places of labels that conditions ask for, with the conditions that each fulfils."""
        self.start = self._start(spec)
        self._counts: dict[_Part, int] = {}

    def _start(self, spec: Searched) -> _Entries:
        places = {name: place for place, name in enumerate(self.names)}
        sets: list[dict[frozenset[int], int]] = [{} for _ in self.names]
        entries: dict[int, _Conditions] = {}
        for name, place in places.items():
            conditions: set[tuple[int, int]] = set()
            for parent, wanted in spec.space[name].when.items():
                if parent not in places:
                    if any(same(spec.base.get(parent), value) for value in wanted):
                        continue
                    break
                if places[parent] not in entries:
                    break
                known, taken = sets[places[parent]], self.labels[places[parent]]
                asked = frozenset(found for value in wanted if (found := place_of(taken, value)) is not None)
                conditions.add((places[parent], known.setdefault(asked, len(known))))
            else:
                entries[place] = frozenset(conditions)
        for parent, known in enumerate(sets):
            for asked, number in known.items():
                for place in asked:
                    self.asked[parent][place] = self.asked[parent].get(place, frozenset()) | {number}
        return tuple(entries.items())

    def after(self, entries: _Entries, fulfilled: frozenset[int]) -> _Entries:
        """Return the parameters left once the first one has a label that fulfils these of the conditions on it."""
        chosen = entries[0][0]
        failed = {chosen}
        rest = []
        for number, conditions in entries[1:]:
            kept = frozenset(one for one in conditions if one[0] != chosen or one[1] not in fulfilled)
            if any(parent in failed for parent, _ in kept):
                failed.add(number)
            else:
                rest.append((number, kept))
        return tuple(rest)

    def count(self, entries: _Entries) -> int:
        """Return the number of ways to choose the labels of these parameters."""
        factor, parts = self._split(entries, {})
        for part in parts:
            self._solve(part)
        return factor * math.prod(self._counts[part] for part in parts)

    def _split(self, entries: _Entries, leaves: dict[_Conditions, int]) -> tuple[int, list[_Part]]:
        """Return the number of choices of the independent parameters, and the parts that the others form."""
        leaves = dict(leaves)
        inner: list[tuple[int, _Conditions]] = []
        awaited = {parent for conditions in leaves for parent, _ in conditions}
        for number, conditions in reversed(entries):
            awaited |= {parent for parent, _ in conditions}
            if number in awaited:
                inner.append((number, conditions))
            else:
                leaves[conditions] = leaves.get(conditions, 1) * len(self.labels[number])
        factor = leaves.pop(frozenset(), 1)
        group = {number: number for number, _ in inner}
        linked = [[number, *(parent for parent, _ in conditions)] for number, conditions in inner]
        for numbers in [*linked, *([parent for parent, _ in conditions] for conditions in leaves)]:
            roots = {_root(group, number) for number in numbers}
            group |= dict.fromkeys(roots, min(roots))
        parts: dict[int, tuple[list[tuple[int, _Conditions]], list[tuple[_Conditions, int]]]] = {}
        for entry in reversed(inner):
            parts.setdefault(_root(group, entry[0]), ([], []))[0].append(entry)
        for conditions, size in leaves.items():
            parts[_root(group, next(iter(conditions))[0])][1].append((conditions, size))
        return factor, [_Part(tuple(found), frozenset(sizes)) for found, sizes in parts.values()]

    def _solve(self, part: _Part) -> None:
        """Count the ways of a part and of all parts that it reduces to; uses a stack, as conditions may nest deeply."""
        waiting = [part]
        cases: dict[_Part, list[tuple[int, list[_Part]]]] = {}
        while waiting:
            part = waiting[-1]
            if part in self._counts:
                waiting.pop()
                continue
            if part not in cases:
                if len(self._counts) + len(cases) > MOST_CASES:
                    raise TooManyCasesError
                cases[part] = list(self._cases(part))
            missing = [one for _, parts in cases[part] for one in parts if one not in self._counts]
            if missing:
                waiting += missing
            else:
                ways = (factor * math.prod(self._counts[one] for one in parts) for factor, parts in cases.pop(part))
                self._counts[part] = sum(ways)

    def _cases(self, part: _Part) -> Iterator[tuple[int, list[_Part]]]:
        """Yield, for each kind of label of a part's first parameter, the number of such labels and the parts left."""
        chosen = part.entries[0][0]
        asked = self.asked[chosen]
        kinds = Counter(asked.values())
        kinds[frozenset()] += len(self.labels[chosen]) - len(asked)
        for fulfilled, size in kinds.items():
            entries = self.after(part.entries, fulfilled)
            left = {number for number, _ in entries}
            leaves: dict[_Conditions, int] = {}
            for conditions, ways in part.leaves:
                kept = frozenset(one for one in conditions if one[0] != chosen or one[1] not in fulfilled)
                if all(parent in left for parent, _ in kept):
                    leaves[kept] = leaves.get(kept, 1) * ways
            factor, parts = self._split(entries, leaves)
            yield size * factor, parts


def _root(group: Mapping[int, int], number: int) -> int:
    while group[number] != number:
        number = group[number]
    return number


class Grid:
    """All configurations of a space, each once, as labels by active parameter; the last parameter changes fastest."""

    def __init__(self, spec: Searched) -> None:
        """Count the space's configurations; raises TooManyCasesError if its conditions are too entangled."""
        self._spec = spec
        self._counter = _Counter(spec)
        self._branches: dict[_Entries, _Branches] = {}
        self.size = self._counter.count(self._counter.start)
        """The number of configurations."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.__getitem__, range(self.size))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        chosen: dict[str, Any] = {}
        entries = self._counter.start
        while entries:
            number = entries[0][0]
            place, index, entries = self._locate(entries, index)
            chosen[self._counter.names[number]] = self._counter.labels[number][place]
        return {name: chosen[name] for name in self._spec.space if name in chosen}

    def _locate(self, entries: _Entries, index: int) -> tuple[int, int, _Entries]:
        """Return the place of the first parameter's label, the index among its configurations, and what is left."""
        if entries not in self._branches:
            if len(self._branches) > MOST_CASES:
                self._branches.clear()
            self._branches[entries] = self._branch(entries)
        starts, places, asked, other = self._branches[entries]
        before = bisect_right(starts, index) - 1
        place, end = -1, 0
        if before >= 0:
            place, branch = places[before], asked[before]
            end = starts[before] + branch.size
            if index < end:
                return place, index - starts[before], branch.rest
        further, within = divmod(index - end, other.size)  # all of these labels have the same size
        return place + 1 + further, within, other.rest

    def _branch(self, entries: _Entries) -> _Branches:
        counter, number = self._counter, entries[0][0]
        kinds: dict[frozenset[int], _Branch] = {}
        for fulfilled in {frozenset[int](), *counter.asked[number].values()}:
            rest = counter.after(entries, fulfilled)
            kinds[fulfilled] = _Branch(counter.count(rest), rest)
        places = sorted(counter.asked[number])
        asked, other = [kinds[counter.asked[number][place]] for place in places], kinds[frozenset()]
        starts, last, end = [], -1, 0
        for place, branch in zip(places, asked, strict=True):
            starts.append(end + (place - last - 1) * other.size)
            last, end = place, starts[-1] + branch.size
        return _Branches(starts, places, asked, other)


def grid_points(spec: Searched) -> list[dict[str, Any]]:
    """Return all configurations of a small grid as a list."""
    return list(Grid(spec))


def grid_size(spec: Searched) -> int | None:
    """Return the number of configurations, or None if they cannot be counted (a range, or too entangled conditions)."""
    if any(labels(parameter) is None for parameter in spec.space.values()):
        return None
    try:
        return Grid(spec).size
    except TooManyCasesError:
        return None
