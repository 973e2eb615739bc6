"""Which trials a study has, which of them wait to be taken up, and what they have used: for one driver, or several."""

import logging
import math
import time
from collections.abc import Callable, Container
from typing import Any, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from cluster.state.notes import OWNER
from cluster.state.records import TrialRecord, record_of
from cluster.state.shared_lock import LockLostError
from cluster.state.storage import Storage
from cluster.study.budget import Tally
from cluster.study.claims import Claims

log = logging.getLogger(__name__)

T = TypeVar("T")
LOOK_EVERY_S = 1.0
"""How old may be what a driver knows of the others, if nothing depends on it."""
OWN_FOR_S = 0.5
"""How long a trial that was this driver's a moment ago is taken to be so."""


class Roster:
    """The trials of a study that one driver has for itself: read once, then counted here."""

    job_before: int | None = None
    """The job whose driver had the trial that was taken up last; None for the only job."""

    def __init__(self, study: Study, tally: Tally) -> None:
        self._study = study
        self._tally = tally
        self._left_over: list[FrozenTrial] = []
        trials = study.get_trials(deepcopy=False)
        for trial in sorted(trials, key=end_order):
            record = record_of(trial)
            tally.spend(record.seconds)
            if trial.state.is_finished():
                tally.count(record)
            else:
                self._left_over.append(trial)
        self.num_trials = len(trials)

    def frozen(self, trial: Trial) -> FrozenTrial:
        """Return what the study has of a trial."""
        return self._study._storage.get_trial(trial._trial_id)

    def exclusively(self, act: Callable[[], T]) -> T:
        """Do what no other driver may do at the same time."""
        return act()

    def refresh(self, every_s: float = 0.0) -> None:
        """Take in what other drivers have done, if the last look is so old."""

    def has_free(self, running: Container[int]) -> bool:
        """Whether a trial waits to be taken up, other than those that run here."""
        return bool(self._left_over)

    def take_free(self, running: Container[int]) -> Trial | None:
        """Take the first trial that waits to be taken up; None if none does."""
        return Trial(self._study, self._left_over.pop(0)._trial_id) if self._left_over else None

    def put_back(self, trial: Trial) -> None:
        """Let a trial that was taken and not begun be the next to be taken again."""
        self._left_over.insert(0, self.frozen(trial))

    def take_new(self) -> Trial:
        """Make a trial of the next number, and take it."""
        trial = self._study.ask()
        self.num_trials += 1
        return trial

    def has(self, trial: Trial, *, afresh: bool = False) -> bool:
        """Whether a trial taken here is still this driver's."""
        return True

    def leave(self, trial: Trial) -> None:
        """Let a trial that did not end be taken up again, by whoever comes first."""

    def note_end(self, trial: Trial, seconds: float) -> TrialRecord:
        """Count a trial, or an attempt at it, of so many seconds that has been told; return its record."""
        frozen = self.frozen(trial)
        record = record_of(frozen)
        self._tally.spend(seconds)
        if record.is_open:
            self._left_over.append(frozen)
        else:
            self._tally.count(record)
        return record

    @property
    def has_open(self) -> bool:
        """Whether a trial that does not run here has not ended."""
        return bool(self._left_over)

    def take_ended_elsewhere(self) -> list[TrialRecord]:
        """Return the trials of other drivers that have ended since this was last asked."""
        return []


class SharedRoster(Roster):
    """The trials of a study that several drivers work on: what counts is what the study says by now.

    A trial that is open is somebody's who has claimed it, or waits to be taken up.
    """

    def __init__(
        self, study: Study, tally: Tally, storage: Storage, claims: Claims, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert storage.exclusive is not None
        self._study = study
        self._tally = tally
        self._claims = claims
        self._exclusive = storage.exclusive
        self._clock = clock
        self._depth = 0
        self._open: dict[int, FrozenTrial] = {}
        self._seconds: dict[int, float] = {}
        """What open trials have used, as far as it is counted."""
        self._had_at: dict[int, float] = {}
        """When each trial was last seen to be this driver's."""
        self._ended_elsewhere: list[TrialRecord] = []
        self._looked_at = -math.inf
        self.num_trials = 0
        self.refresh()

    def exclusively(self, act: Callable[[], T]) -> T:
        """Do something with the study's lock, again from its beginning where the lock was lost in its midst."""
        if self._depth:
            return act()
        while True:
            try:
                with self._exclusive:
                    self._depth += 1
                    try:
                        return act()
                    finally:
                        self._depth -= 1
            except LockLostError as error:
                log.warning("%s: this driver was suspended, or cut off, for long", error)

    def refresh(self, every_s: float = 0.0) -> None:
        """Take in what has ended, begun and been left since the last look; only that is looked at."""
        now = self._clock()
        if now - self._looked_at < every_s:
            return
        self._looked_at = now
        trials = self._study.get_trials(deepcopy=False)
        ended: list[FrozenTrial] = []
        for number in (*self._open, *range(self.num_trials, len(trials))):
            trial = trials[number]
            record = record_of(trial)
            self._tally.spend(record.seconds - self._seconds.get(number, 0.0))
            self._seconds[number], self._open[number] = record.seconds, trial
            if trial.state.is_finished():
                ended.append(trial)
        for trial in sorted(ended, key=end_order):
            del self._open[trial.number], self._seconds[trial.number]
            self._had_at.pop(trial.number, None)
            record = record_of(trial)
            self._tally.count(record)
            if not self._claims.had(trial):
                self._ended_elsewhere.append(record)
        self.num_trials = len(trials)
        self._heed(self._study._storage.get_study_user_attrs(self._study._study_id))

    def _heed(self, notes: dict[str, Any]) -> None:
        """Take in what other drivers have noted of time."""
        self._tally.use_up(notes.get("active_s", 0.0))
        self._tally.others_running_s = sum(
            seconds
            for key, noted in notes.items()
            if key.startswith("running_s.")
            for number, seconds in noted.items()
            if self._is_others(int(number), job=int(key.removeprefix("running_s.")))
        )

    def _is_others(self, number: int, job: int) -> bool:
        """Whether a trial is run by another driver, that of a job."""
        owner = OWNER.of(self._open[number]) if number in self._open else None
        return owner is not None and owner["job"] == job and not self._claims.has(self._open[number])

    def has_free(self, running: Container[int]) -> bool:
        """Whether a trial that does not run here is nobody's, or a dead driver's."""
        return any(number not in running and self._claims.is_free(trial) for number, trial in self._open.items())

    def take_free(self, running: Container[int]) -> Trial | None:
        """Claim the first trial that is nobody's, or a dead driver's; only with the study's lock."""
        for number, frozen in sorted(self._open.items()):
            if number not in running and self._claims.is_free(frozen):
                trial = Trial(self._study, frozen._trial_id)
                self._exclusive.check()
                owner = OWNER.of(frozen)
                self.job_before = owner["job"] if owner else None
                self._claims.take(trial)
                return trial
        return None

    def put_back(self, trial: Trial) -> None:
        """Leave a trial that was claimed and not begun to whoever comes first."""
        self.leave(trial)

    def take_new(self) -> Trial:
        """Make a trial of the next number, and claim it; only with the study's lock."""
        self._exclusive.check()
        trial = self._study.ask()
        self._exclusive.check()  # a sampler may have thought for long
        self._claims.take(trial)
        return trial

    def has(self, trial: Trial, *, afresh: bool = False) -> bool:
        """Return whether this driver still owns the trial; cached for OWN_FOR_S unless `afresh`.

        Other drivers wait for much longer before they take a trial over, and a driver that was suspended for as long as
        that looks again.
        """
        now = self._clock()
        if not afresh and now - self._had_at.get(trial.number, -math.inf) < OWN_FOR_S:
            return True
        if not self._claims.has(self.frozen(trial)):
            self._had_at.pop(trial.number, None)
            return False
        self._had_at[trial.number] = now
        return True

    def leave(self, trial: Trial) -> None:
        """Claim a trial no more."""
        self._had_at.pop(trial.number, None)
        self._claims.release(trial)

    def note_end(self, trial: Trial, seconds: float) -> TrialRecord:
        """Count what has ended, here and elsewhere; return the trial's record."""
        self.refresh()
        return record_of(self.frozen(trial))

    @property
    def has_open(self) -> bool:
        """Whether any trial has not ended: its driver may die, and then it is to be taken over."""
        return bool(self._open)

    def take_ended_elsewhere(self) -> list[TrialRecord]:
        """Return the trials of other drivers that have ended since this was last asked."""
        ended, self._ended_elsewhere = self._ended_elsewhere, []
        return ended


def end_order(trial: FrozenTrial) -> tuple[float, int]:
    """Sort trials by when they ended: patience counts those that came after the best one."""
    ended = trial.datetime_complete
    return (ended.timestamp() if ended else math.inf, trial.number)
