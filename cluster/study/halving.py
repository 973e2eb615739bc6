"""Optuna's successive halving, whose decisions cost as much as is new in the study, not as much as it is long."""

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Callable

from optuna.pruners import SuccessiveHalvingPruner
from optuna.pruners._successive_halving import (
    _completed_rung_key,
    _get_current_rung,
    _is_trial_promotable_to_next_rung,
)
from optuna.study import Study
from optuna.trial import FrozenTrial


class Halving(SuccessiveHalvingPruner):
    """Decides as Optuna's pruner does, by the values that it keeps in the study of each trial at each rung.

    The values of trials that have ended do not change: they are read once, and only the others are looked at again.
    """

    def __init__(
        self,
        min_resource: int | None,
        reduction_factor: int,
        rate: int = 0,
        is_rival: Callable[[FrozenTrial], bool] = lambda _: True,
    ) -> None:
        """Compare trials from `min_resource` steps on, times the factor to the power of `rate`, with their rivals."""
        assert min_resource is not None, "what it is would depend on the trials that have completed"
        super().__init__(min_resource, reduction_factor, rate)
        self._first_step = min_resource * reduction_factor**rate
        self._is_rival = is_rival
        self._num_seen = 0
        self._open: list[int] = []
        """The numbers of rivals that had not ended when they were last looked at."""
        self._ended: defaultdict[str, list[float]] = defaultdict(list)
        """The values of the rivals that have ended at each rung, in order."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a trial should stop; note its value at each rung that it has reached."""
        step = trial.last_step
        if step is None:
            return False
        rung, value = _get_current_rung(trial), trial.intermediate_values[step]
        running: list[FrozenTrial] | None = None
        while step >= self._first_step * self._reduction_factor**rung:
            if math.isnan(value):
                return True
            if running is None:
                running = self._look(study)
            key = _completed_rung_key(rung)
            study._storage.set_trial_system_attr(trial._trial_id, key, value)
            rivals = [*self._ended[key], *(one.system_attrs[key] for one in running if key in one.system_attrs), value]
            if not _is_trial_promotable_to_next_rung(value, rivals, self._reduction_factor, study.direction):
                return True
            rung += 1
        return False

    def _look(self, study: Study) -> list[FrozenTrial]:
        """Take in the rivals that have ended since the last look; return those that have not."""
        trials = study.get_trials(deepcopy=False)
        new = [one.number for one in trials[self._num_seen :] if self._is_rival(one)]
        self._num_seen, before, self._open = len(trials), [*self._open, *new], []
        for number in before:
            if not trials[number].state.is_finished():
                self._open.append(number)
                continue
            for key, value in trials[number].system_attrs.items():
                if key.startswith("completed_rung_"):
                    insort(self._ended[key], value)
        return [trials[number] for number in self._open]
