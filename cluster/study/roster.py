"""The trials of a study: which wait to be taken up, and what they have used; for one driver, or for several."""

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
"""How old a driver's knowledge of the others may be if nothing depends on it."""
OWN_FOR_S = 0.5
"""For how long a driver need not ask again whether a trial is its own."""


class Roster:
    """The trials of a study that only one driver works on: it reads them once, then keeps count."""

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
        """Return a trial as the study has it."""
        return self._study._storage.get_trial(trial._trial_id)

    def exclusively(self, act: Callable[[], T]) -> T:
        """Call `act` while no other driver can act on the study; return what it returns."""
        return act()

    def refresh(self, every_s: float = 0.0) -> None:
        """Take in what other drivers have done, if the last look is `every_s` ago or longer."""

    def has_free(self, running: Container[int]) -> bool:
        """Return whether a trial waits to be taken up that is not among those `running` here."""
        return bool(self._left_over)

    def take_free(self, running: Container[int]) -> Trial | None:
        """Take the first trial that waits to be taken up and is not `running` here; None if none waits."""
        return Trial(self._study, self._left_over.pop(0)._trial_id) if self._left_over else None

    def put_back(self, trial: Trial) -> None:
        """Put back a trial that was taken and not begun, as the next to be taken."""
        self._left_over.insert(0, self.frozen(trial))

    def take_new(self) -> Trial:
        """Create the trial with the next number, and take it."""
        trial = self._study.ask()
        self.num_trials += 1
        return trial

    def has(self, trial: Trial, *, afresh: bool = False) -> bool:
        """Return whether a trial taken here is still this driver's; `afresh` asks the study anew."""
        return True

    def leave(self, trial: Trial) -> None:
        """Let any driver take up a trial that did not end."""

    def note_end(self, trial: Trial, seconds: float) -> TrialRecord:
        """Count a trial, or an attempt, whose end has been told after this many seconds; return the trial's record."""
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
        """Return whether any trial that does not run here is open."""
        return bool(self._left_over)

    def take_ended_elsewhere(self) -> list[TrialRecord]:
        """Return the trials of other drivers that have ended since the last call."""
        return []


class SharedRoster(Roster):
    """The trials of a study that several drivers work on; each decision rests on the study as it is now.

    An open trial either belongs to the driver that has claimed it, or waits to be taken up.
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
        """The seconds of each open trial that are counted so far."""
        self._had_at: dict[int, float] = {}
        """When each trial was last seen to be this driver's."""
        self._ended_elsewhere: list[TrialRecord] = []
        self._looked_at = -math.inf
        self.num_trials = 0
        self.refresh()

    def exclusively(self, act: Callable[[], T]) -> T:
        """Call `act` with the study's lock held; if the lock is lost meanwhile, call it again."""
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
        """Take in the trials that have ended, begun or been left since the last look."""
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
        """Take in the seconds of work and training that other drivers have noted."""
        self._tally.use_up(notes.get("active_s", 0.0))
        self._tally.others_running_s = sum(
            seconds
            for key, noted in notes.items()
            if key.startswith("running_s.")
            for number, seconds in noted.items()
            if self._is_others(int(number), job=int(key.removeprefix("running_s.")))
        )

    def _is_others(self, number: int, job: int) -> bool:
        """Return whether another driver, that of job `job`, runs a trial."""
        owner = OWNER.of(self._open[number]) if number in self._open else None
        return owner is not None and owner["job"] == job and not self._claims.has(self._open[number])

    def has_free(self, running: Container[int]) -> bool:
        """Return whether a trial that is not `running` here has no owner, or a dead one."""
        return any(number not in running and self._claims.is_free(trial) for number, trial in self._open.items())

    def take_free(self, running: Container[int]) -> Trial | None:
        """Claim the first trial that has no owner, or a dead one; the caller must hold the study's lock."""
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
        """Give up the claim to a trial that was not begun, so that any driver may take it."""
        self.leave(trial)

    def take_new(self) -> Trial:
        """Create the trial with the next number, and claim it; the caller must hold the study's lock."""
        self._exclusive.check()
        trial = self._study.ask()
        self._exclusive.check()  # the sampler may have taken long
        self._claims.take(trial)
        return trial

    def has(self, trial: Trial, *, afresh: bool = False) -> bool:
        """Return whether this driver still owns the trial; cached for OWN_FOR_S unless `afresh`.

        That is safe: other drivers wait much longer before they take a trial over, and a driver that was suspended
        that long looks again.
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
        """Give up the claim to a trial."""
        self._had_at.pop(trial.number, None)
        self._claims.release(trial)

    def note_end(self, trial: Trial, seconds: float) -> TrialRecord:
        """Count the trials that have ended here and elsewhere; return this trial's record."""
        self.refresh()
        return record_of(self.frozen(trial))

    @property
    def has_open(self) -> bool:
        """Return whether any trial is open: if its driver dies, this one must take it over."""
        return bool(self._open)

    def take_ended_elsewhere(self) -> list[TrialRecord]:
        """Return the trials of other drivers that have ended since the last call."""
        ended, self._ended_elsewhere = self._ended_elsewhere, []
        return ended


def end_order(trial: FrozenTrial) -> tuple[float, int]:
    """Return a key that sorts trials by when they ended: patience counts those that ended after the best one."""
    ended = trial.datetime_complete
    return (ended.timestamp() if ended else math.inf, trial.number)
