"""Chooses which of many trials a sampler fits its model on, so that a suggestion costs no more in a longer search."""

import math
from bisect import insort
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from optuna.study import Study, StudyDirection
from optuna.study._multi_objective import _fast_non_domination_rank
from optuna.trial import FrozenTrial, TrialState

MANY = 50
"""So many new entries of a list are sorted into it together."""

Key = tuple[int, float, float]
"""Sorts trials as TPE does: completed ones by value, then stopped ones, the furthest first, then infeasible ones."""


class FittedOn:
    """Chooses at most `most` of the trials that a sampler learns from; up to that number it passes all on.

    It chooses the best tenth, which a model of what is good rests on; the latest third, so that nothing is suggested
    again that has just failed; and of all others a sample, drawn by the trials' numbers. So what is chosen depends on
    the trials that have ended alone, and a driver that takes the search up chooses the same.

    What has ended does not change, so that each look only takes in what is new.
    """

    def __init__(self, most: int, place: Callable[[int], int]) -> None:
        """Choose at most `most` trials, and sample in the order of `place`, a hash of a trial's number."""
        self.most = most
        self._num_best, self._num_latest = most // 10, most // 3
        self._place = place
        self._num_seen = 0
        self._open: set[int] = set()
        self._ended: list[int] = []
        """The numbers of the trials to learn from, in order."""
        self._by_rank: list[tuple[Key, int]] = []
        self._by_place: list[tuple[int, int]] = []

    def choose(self, study: Study, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of a study's trials that are to be learnt from, running ones too, in the order of numbers."""
        self._take_in(study, trials)
        if len(self._ended) <= self.most:
            chosen = set(self._ended)
        else:
            chosen = set(self._best(study, trials))
            _fill(chosen, reversed(self._ended), len(chosen) + self._num_latest)
            _fill(chosen, (number for _, number in self._by_place), self.most)
        running = (number for number in self._open if trials[number].state is TrialState.RUNNING)
        return [trials[number] for number in sorted(chain(chosen, running))]

    def _take_in(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        new: list[FrozenTrial] = []
        for number in (*self._open, *range(self._num_seen, len(trials))):
            trial = trials[number]
            self._open.add(number)
            if trial.state.is_finished():
                self._open.discard(number)
                if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                    new.append(trial)
        self._num_seen = len(trials)
        _merge(self._ended, [trial.number for trial in new])
        _merge(self._by_rank, [(_key(study, trial), trial.number) for trial in new])
        _merge(self._by_place, [(self._place(trial.number), trial.number) for trial in new])

    def _best(self, study: Study, trials: Sequence[FrozenTrial]) -> Iterator[int]:
        """Return the numbers of the best trials; of several objectives the front, up to as many as of the latest."""
        in_order = (number for _, number in self._by_rank)
        if len(study.directions) == 1:
            return islice(in_order, self._num_best)
        feasible = [number for (kind, *_), number in self._by_rank if kind == _COMPLETE]
        losses = np.array([trials[number].values for number in feasible]).reshape(len(feasible), len(study.directions))
        losses *= [-1.0 if direction is StudyDirection.MAXIMIZE else 1.0 for direction in study.directions]
        ranks = _fast_non_domination_rank(losses, n_below=min(self._num_best, len(feasible)))
        ranked = sorted(zip(ranks.tolist(), map(self._place, feasible), feasible, strict=True))
        num_best = min(max(self._num_best, int(np.sum(ranks == 0))), self._num_latest)
        others = islice(in_order, len(feasible), None)
        return islice(chain((number for *_, number in ranked), others), num_best)


_COMPLETE, _PRUNED, _INFEASIBLE = range(3)


def _key(study: Study, trial: FrozenTrial) -> Key:
    violation = sum(amount for amount in trial.constraints.values() if amount > 0)
    if violation:
        return _INFEASIBLE, violation, 0.0
    is_single = len(study.directions) == 1
    sign = -1.0 if is_single and study.direction is StudyDirection.MAXIMIZE else 1.0
    if trial.state is TrialState.COMPLETE:
        return _COMPLETE, sign * trial.values[0] if is_single else 0.0, 0.0
    if not trial.intermediate_values:
        return _PRUNED, 1.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return _PRUNED, float(-step), math.inf if math.isnan(value) else sign * value


def _merge(known: list[Any], new: list[Any]) -> None:
    if len(new) < MANY:
        for one in new:
            insort(known, one)
    else:
        known += new
        known.sort()


def _fill(chosen: set[int], numbers: Iterator[int], most: int) -> None:
    for number in numbers:
        if len(chosen) >= most:
            return
        chosen.add(number)


class StudyOf:
    """A study as a sampler sees it that is fitted on chosen trials only; all else is the study's."""

    def __init__(self, study: Study, fitted_on: FittedOn) -> None:
        self._study = study
        self._fitted_on = fitted_on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """Return the chosen trials in the given states; they are not copied, as samplers change none."""
        trials = self._study._get_trials(deepcopy=False, use_cache=use_cache)
        if len(trials) > self._fitted_on.most:  # a cached list may be older than what is known already
            trials = self._fitted_on.choose(self._study, self._study._get_trials(deepcopy=False))
        return [trial for trial in trials if states is None or trial.state in states]
