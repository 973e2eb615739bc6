"""Recognizes that trials fail for a cause outside their configurations; then the search pauses and charges no more."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from cluster.state.failures import chain_in, failure_kind, first_words
from cluster.state.outcomes import Outcome, Told
from cluster.state.records import TrialRecord
from search_spaces.parameters import FloatRange, IntRange
from search_spaces.spec import Spec

ALIKE = 5
"""The search pauses after this many configurations in a row have failed in the same way."""
CHANCE = 1e-5
"""If trials have failed before, it takes so many more that all failing by chance would be this unlikely."""
_CHARGED = frozenset(outcome for outcome in Outcome if outcome.told is Told.FAILED)
"""Outcomes that a cause outside may have; not those of trials that trained until their numbers were not finite."""


class _Stage:
    """The failures in one stage of training since the last trial that completed the stage."""

    def __init__(self, choices: Iterable[str], trainable: str) -> None:
        self._trainable = trainable
        self.came_through = 0
        self.failed_before = 0
        self._choices = tuple(choices)
        self._seen: dict[str, set[str]] = {name: set() for name in self._choices}
        """The choices of the trials that completed the stage."""
        self.since: dict[str, dict[int, TrialRecord]] = {}
        """The failures since the last such trial, by kind of failure and by configuration."""

    def passed(self, params: Mapping[str, Any], *, is_news: bool = True) -> None:
        """Note that a trial completed the stage.

        With `is_news` false the trial began before the failures did, so its success does not clear them.
        """
        self.came_through += 1
        for name in self._choices:
            self._seen[name].add(repr(params.get(name)))
        if is_news:
            self.failed_before += sum(map(len, self.since.values()))
            self.since.clear()

    def failed(self, record: TrialRecord) -> bool:
        """Note a failure; return whether so many have failed alike that their configurations cannot be the cause."""
        alike = self.alike(record)
        alike[record.configuration] = record
        return len(alike) >= self._enough() * (2 if self._may_be_a_choice(alike.values()) else 1)

    def alike(self, record: TrialRecord) -> dict[int, TrialRecord]:
        """Return the failures of this kind since the last trial that completed the stage, by configuration."""
        return self.since.setdefault(failure_kind(record, self._trainable), {})

    def _enough(self) -> int:
        if not self.came_through:
            return ALIKE
        share = (self.failed_before + 1) / (self.came_through + self.failed_before + 2)
        return max(ALIKE, math.ceil(math.log(CHANCE) / math.log(share)))

    def _may_be_a_choice(self, alike: Iterable[TrialRecord]) -> bool:
        """Return whether all these failures share a parameter's value with which no trial has completed the stage."""
        for name in self._choices:
            chosen = {repr(record.params.get(name)) for record in alike}
            if len(chosen) == 1 and not chosen <= self._seen[name]:
                return True
        return False


class Brake:
    """Watches a search's trials end, and says when it should pause.

    It should if configuration after configuration fails in the same way and no trial succeeds in between. Failures
    in one part of the space, or by chance, do not count: the more trials failed between those that succeeded before,
    the more failures in a row it takes. Failures before a trial's first report and after it are counted apart: a
    first report shows that the data can be read; the end of a training shows that its results can be written.
    """

    def __init__(self, spec: Spec, ended: Iterable[TrialRecord]) -> None:
        choices = [
            name
            for name, parameter in spec.space.items()
            if not isinstance(parameter, FloatRange | IntRange) and len(parameter.labels) > 1
        ]
        self.reason = ""
        """Why the search should pause; empty while it need not."""
        self._is_on = not spec.keep_going
        self._first, self._last = _Stage(choices, spec.trainable), _Stage(choices, spec.trainable)
        self._reported: set[int] = set()
        self._before_failures: set[int] = set()
        """The running trials that had begun when the first of the failures came."""
        self._running: set[int] = set()
        for record in ended:
            self.ended(record)
        for stage in (self._first, self._last):  # the cause of the last failures is mended, or shows again at once
            stage.since.clear()
        self.reason = ""

    def began(self, number: int) -> None:
        """Note that a trial has started."""
        self._running.add(number)

    def knows(self, number: int) -> bool:
        """Return whether a trial's first report has been noted."""
        return number in self._reported

    def reported(self, number: int, params: Mapping[str, Any]) -> None:
        """Note a trial's report of metrics; `params` is what the sampler chose for it."""
        if number not in self._reported:
            self._reported.add(number)
            self._first.passed(params, is_news=number not in self._before_failures)

    def ended(self, record: TrialRecord) -> None:
        """Note that a trial, or an attempt at it, has ended."""
        self._running.discard(record.number)
        self._before_failures.discard(record.number)
        if record.outcome is None or record.is_open:
            return
        has_reported = record.number in self._reported or bool(record.metrics) or record.step > 0
        if record.outcome not in _CHARGED:
            self.reported(record.number, record.params)
            self._last.passed(record.params)
            return
        if has_reported:
            self.reported(record.number, record.params)
        stage = self._last if has_reported else self._first
        if not stage.since:
            self._before_failures = set(self._running)
        if stage.failed(record) and self._is_on and not self.reason:
            self.reason = _reason([one.number for one in stage.alike(record).values()], record)


def _reason(numbers: list[int], record: TrialRecord) -> str:
    assert record.outcome is not None
    chain = chain_in(record)
    frames = chain[-1].frames if chain else ()
    place = f" ({frames[-1].file}:{frames[-1].line})" if frames else ""
    said = chain[-1].message if chain else first_words(record)
    return (
        f"{len(numbers)} configurations failed in the same way, and none got anywhere in between: trials {numbers[0]} "
        f"to {record.number} ended as {record.outcome.value}: {said or record.outcome.sentence}{place}"
    )
