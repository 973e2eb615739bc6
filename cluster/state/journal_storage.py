"""Optuna's journal storage, whose lists of trials cost as much as is new in them, not as much as the search is long."""

import copy
from collections.abc import Container
from typing import Any

from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState


class GrowingJournal(JournalStorage):
    """A journal of one study; it looks again only at trials that had not ended, as what has ended does not change.

    Optuna asks for the trials several times for each that it starts or judges, and looks at all of them each time.
    """

    def __init__(self, backend: Any) -> None:
        super().__init__(backend)
        self._listed: list[FrozenTrial] = []
        self._not_ended: list[int] = []
        """The places in the list of the trials that had not ended when it was last looked at, in order."""

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of the study in the order of their numbers, if wanted only those in some states."""
        with self._thread_lock:
            self._sync_with_backend()
            replayed = self._replay_result
            if study_id != 0 or len(replayed._studies) != 1:
                trials = replayed.get_all_trials(study_id, states)
            else:
                trials = self._all(replayed._study_id_to_trial_ids[study_id], states)
            return copy.deepcopy(trials) if deepcopy else trials

    def _all(self, trial_ids: list[int], states: Container[TrialState] | None) -> list[FrozenTrial]:
        listed, known = self._listed, self._replay_result._trials
        places = [*self._not_ended, *range(len(listed), len(trial_ids))]
        listed += [known[one] for one in trial_ids[len(listed) :]]
        for place in self._not_ended:
            listed[place] = known[trial_ids[place]]
        self._not_ended = [place for place in places if not listed[place].state.is_finished()]
        if states is None:
            return list(listed)
        if any(state.is_finished() and state in states for state in TrialState):
            return [trial for trial in listed if trial.state in states]
        return [listed[place] for place in self._not_ended if listed[place].state in states]
