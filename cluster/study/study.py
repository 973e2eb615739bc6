"""The search's state and its three verbs: ask for a trial, report its progress, tell its end."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial

from cluster.state.figures import added_up
from cluster.state.notes import ASSIGNED, ATTEMPTS, FAILURES, RESULT, Note, ending, without_ending
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, record_of, waves_in
from cluster.state.shared_lock import PATIENCE_S as LOCK_PATIENCE_S
from cluster.state.storage import open_storage
from cluster.study.assignment import Configured, configure, kept_defaults, note_assigned, suggest
from cluster.study.attempts import add_attempt, failures_with, note_dead_driver, was_invalid
from cluster.study.brake import Brake
from cluster.study.budget import Tally
from cluster.study.claims import PATIENCE_S, Claims
from cluster.study.configurations import largest_num_steps
from cluster.study.inputs import Inputs
from cluster.study.roster import LOOK_EVERY_S, Roster, SharedRoster, end_order
from cluster.study.samplers import build_pruner, build_sampler
from cluster.study.tell_optuna import finish, last_step, name_metrics, score
from search_spaces.grid import Grid
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig

MOST_DEAD_DRIVERS = 5
"""A trial that this many drivers in a row died of, without its getting any further, is told as the cause."""

LONGEST_STEPS = "longest_steps"
"""The study's note of its longest training in steps; null if the method does not say."""


@dataclass(frozen=True)
class Assignment:
    """A trial to run: its number, which never changes, and its method's whole config."""

    number: int
    config: dict[str, Any]


@dataclass(frozen=True)
class _End:
    """What is written to the study when a trial, or an attempt at it, ends."""

    outcome: Outcome
    metrics: Mapping[str, float]
    seconds: float
    notes: Sequence[tuple[Note[Any], Any]]
    stays_open: bool


class SearchStudy:
    """An Optuna study and every decision that rests on it; it needs no Ray.

    If `paths` are those of one job of several, it shares the study with the other jobs' processes; otherwise it is the
    only writer.
    """

    def __init__(
        self,
        paths: SearchPaths,
        spec: Spec,
        config_type: type[MethodConfig],
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
        lock_patience_s: float = LOCK_PATIENCE_S,
    ) -> None:
        self.spec = spec
        self._paths = paths
        self._config_type = config_type
        self.grid = Grid(spec) if spec.is_grid else None
        storage = open_storage(paths, spec.storage, to_write=True, lock_patience_s=lock_patience_s)
        assert storage is not None
        self._opened = storage
        self._storage = storage.optuna
        self.repaired_bytes = storage.repaired_bytes
        self._study = optuna.create_study(
            storage=storage.optuna,
            study_name=storage.study_name,
            load_if_exists=True,
            directions=["minimize" if o.mode == "min" else "maximize" for o in spec.objectives],
            sampler=build_sampler(spec, self.grid),
        )
        name_metrics(self._study, spec)
        self._study.pruner = build_pruner(spec, self._longest_steps)
        self.waits_for = ""
        """What the machine lacked for the next trial when it was last asked for; empty if nothing."""
        self._inputs = Inputs.at_launch(paths)
        self._running: dict[int, Trial] = {}
        self._steps: dict[int, set[int]] = {}
        """The steps that each running trial has reported, here or under an earlier driver."""
        self._taken_over: dict[int, Trial] = {}
        """Trials that other drivers have taken over from this one, and that it has not told yet."""
        self.tally = Tally(spec, float(self._study.user_attrs.get("active_s", 0.0)), clock)
        self._saved_active_s = self.tally.active_s
        self._claims = None if paths.job is None else Claims(paths, patience_s)
        if self._claims is None:
            self._roster = Roster(self._study, self.tally)
        else:
            self._roster = SharedRoster(self._study, self.tally, storage, self._claims)
        trials = self._study.get_trials(deepcopy=False)
        # Once is enough: a method's defaults do not change while a driver lives.
        self._kept_defaults = kept_defaults(trials, spec, config_type)
        ended = [trial for trial in trials if trial.state.is_finished()]
        self.brake = Brake(spec, (record_of(trial) for trial in sorted(ended, key=end_order)))

    def _longest_steps(self) -> int | None:
        """Return the steps of the longest training: found out once, as a thousand configurations may have to be built.

        Brackets that follow from it also stay what they are if a method's defaults change between two drivers.
        """
        known = self._study.user_attrs
        if LONGEST_STEPS not in known:
            self._study.set_user_attr(LONGEST_STEPS, largest_num_steps(self.spec, self._config_type))
        return self._study.user_attrs[LONGEST_STEPS]

    def close(self) -> None:
        """Give up the trials that still run here, so that other drivers may take them, and close the storage."""
        try:
            if self._claims is not None:
                self._roster.exclusively(self._leave_all)
                self._claims.close()  # skipped if the storage is away: our heartbeat's end then tells others
        finally:
            self._opened.close()

    def _leave_all(self) -> None:
        for trial in self._running.values():
            if self._roster.has(trial, afresh=True):
                self._roster.leave(trial)

    # -- ask ------------------------------------------------------------------------------------------------------

    @property
    def max_trials(self) -> int | None:
        """The most trials this search may have; None for no bound."""
        bounds = [self.spec.budget.trials] if self.spec.budget.trials else []
        if self.grid is not None:
            bounds.append(self.grid.size * len(self.spec.seeds))
        return min(bounds, default=None)

    @property
    def num_left(self) -> int | None:
        """The most trials that may yet run, those that run now included; None for no bound."""
        return None if self.max_trials is None else self.max_trials - self.tally.outcomes.total()

    def ask(self, is_called_off: Callable[[], bool] = lambda: False) -> Assignment | None:
        """Return the next trial to run; None if no more may be started.

        Trials that an earlier driver left running, or whose driver has died, come first, under their own numbers. If
        the method or its data rule out a configuration, the trial is told as such here and the next one is asked; this
        ends when the brake pauses the search or `is_called_off` returns True. If the next trial lacks a data file that
        existed before, the trial is kept for later, and `waits_for` says so.
        """
        self.waits_for = ""
        self._roster.refresh(LOOK_EVERY_S)
        if self._is_all_asked and not self._roster.has_free(self._running):
            return None
        return self._roster.exclusively(lambda: self._ask(is_called_off))

    @property
    def _is_all_asked(self) -> bool:
        is_full = self.max_trials is not None and self._roster.num_trials >= self.max_trials
        return bool(self.tally.spent()) or is_full

    def _ask(self, is_called_off: Callable[[], bool]) -> Assignment | None:
        while not (self.brake.reason or is_called_off()):
            self._roster.refresh()
            trial = free = self._roster.take_free(self._running)
            if trial is None:
                if self._is_all_asked:
                    return None
                trial = self._roster.take_new()
            self._complete_leader(trial)
            configured = self._configure(trial)
            if self._is_kept_for_later(trial, configured):
                return None
            if free is not None and not self._take_up(trial):
                continue
            goes_on = self._paths.checkpoint(trial.number).exists()
            inputs = self._inputs.version(configured.config)
            note_assigned(trial, self.spec, configured.config, inputs, goes_on=goes_on)
            if not configured.reason:
                self._runs(trial)
                return Assignment(trial.number, configured.config)
            self._end_at_once(trial, Outcome.INVALID_CONFIG, configured.reason)
        return None

    def _configure(self, trial: Trial) -> Configured:
        goes_on = self._paths.checkpoint(trial.number).exists()
        return configure(trial, self.spec, self._config_type, self._inputs, self._kept_defaults, goes_on=goes_on)

    def _is_kept_for_later(self, trial: Trial, configured: Configured) -> bool:
        """Return whether a trial stays open untouched, since the machine lacks its data or the method refuses it now.

        If the method refuses a trial that has begun, its code has most likely changed: the search pauses.
        """
        has_begun = ASSIGNED.of(trial) is not None and not was_invalid(trial)
        if configured.reason and has_begun:
            self.brake.reason = (
                f"trial {trial.number} has begun, and its method does not take its configuration any more: "
                f"{configured.reason}"
            )
        elif not configured.away:
            return False
        self.waits_for = configured.away
        self._roster.put_back(trial)
        return True

    def lacks_data(self, number: int) -> str:
        """Return which data file of a running trial existed before and is missing now; empty if none."""
        trial = self._running[number]
        return self._configure(trial).away

    def _runs(self, trial: Trial) -> None:
        self._running[trial.number] = trial
        self._taken_over.pop(trial.number, None)
        self._steps[trial.number] = set(self._roster.frozen(trial).intermediate_values)
        self.brake.began(trial.number)

    def _end_at_once(self, trial: Trial, outcome: Outcome, error: str) -> None:
        self._runs(trial)
        try:
            end = self._end_of(trial.number, outcome, {"error": error}, retry=False, is_its_fault=True)
            self._tell(trial.number, end)
        finally:  # if the lock was lost meanwhile, everything is asked again
            self._running.pop(trial.number, None)

    def _complete_leader(self, trial: Trial) -> None:
        """Let the first trial of a configuration choose all its values before a repetition copies them.

        The first trial's driver may have died before all were chosen, without being known to be dead yet.
        """
        offset = trial.number % len(self.spec.seeds)
        if offset:
            of_number = self._storage.get_trial_id_from_study_id_trial_number
            leader = self._storage.get_trial(of_number(self._study._study_id, trial.number - offset))
            if ASSIGNED.of(leader) is None and not leader.state.is_finished():
                suggest(Trial(self._study, leader._trial_id), self.spec)

    def _take_up(self, trial: Trial) -> bool:
        """Note that a trial goes on, unless driver after driver has died of it; return whether it goes on.

        A trial that was stopped by request or lost its worker has been told. So a trial left untold means that its
        driver died or lost the storage.
        """
        result = RESULT.of(trial)
        if ending(result):
            RESULT.write(trial, without_ending(result))
            return True
        if ASSIGNED.of(trial) is None:
            return True
        if SearchPaths(self._paths.root, self._roster.job_before).storage_away.exists():
            add_attempt(trial)  # no driver died of it
            return True
        reached = [_changed_at(self._paths.checkpoint(trial.number)), last_step(self._study, trial)]
        times = note_dead_driver(trial, reached)
        if times < MOST_DEAD_DRIVERS:
            add_attempt(trial)
            return True
        error = f"{times} wave drivers in a row died while it ran, and it came no further in between"
        self._end_at_once(trial, Outcome.WORKER_LOST, error)
        return False

    # -- report ---------------------------------------------------------------------------------------------------

    def report(self, number: int, step: int, metrics: Mapping[str, float], seconds: float = 0.0) -> bool:
        """Note a running trial's metrics at a step, and its seconds so far; return whether it should go on.

        If the step was reported before (the trial continued from an earlier checkpoint), its value is the same: it is
        judged again, and not written. A trial's last step is reported too, though nothing is left to decide for it:
        other trials are judged against its value at that rung.
        """
        if not self.is_running(number):
            return False
        self.tally.running_s[number] = seconds
        if not self.brake.knows(number):
            self.brake.reported(number, self._running[number].params)
        if self.spec.is_multi_objective or self.spec.early_stopping.name == "none":
            return True
        trial = self._running[number]
        try:
            if step not in self._steps[number]:
                trial.report(score(self.spec, metrics), step)
                self._steps[number].add(step)
            return not trial.should_prune()
        except UpdateFinishedTrialError:  # another driver took it over and ended it at this very moment
            return self.is_running(number)

    def is_running(self, number: int) -> bool:
        """Return whether a trial was asked for here, is not told yet, and was not taken over by another driver."""
        return self._is_mine(number)

    def _is_mine(self, number: int, *, afresh: bool = False) -> bool:
        trial = self._running.get(number)
        if trial is None:
            return False
        if not self._roster.has(trial, afresh=afresh):
            self._taken_over[number] = self._running.pop(number)
            self.tally.running_s.pop(number, None)
            return False
        return True

    # -- tell -----------------------------------------------------------------------------------------------------

    def tell(
        self,
        number: int,
        outcome: Outcome,
        result: Mapping[str, Any],
        *,
        retry: bool = True,
        is_its_fault: bool = True,
    ) -> TrialRecord:
        """End a trial, or this attempt at it: write its record to the study, then its state; return the record.

        Only ends that the configuration or the method brought about reach the sampler. A diverged trial is told as
        pruned with the worst value at its step, so that a sampler keeps away from there. A crash is told as failed: it
        says nothing about the configuration's worth. A completed trial whose objective is not finite has diverged.

        A stopped trial stays open, to be taken up again. So does a trial that the machine failed, up to the spec's
        `retries`; an attempt costs no retry if `is_its_fault` is false, and `retry=False` grants it none.
        What earlier attempts used is added. Nothing is told of a trial that another driver has taken over.
        """
        end = self._end_of(number, outcome, result, retry, is_its_fault)
        told = self._roster.exclusively(lambda: self._tell(number, end))
        self.tally.running_s.pop(number, None)
        return told

    def _end_of(
        self, number: int, outcome: Outcome, result: Mapping[str, Any], retry: bool, is_its_fault: bool
    ) -> "_End":
        """Compute what to write of an end; done once, since writing is repeated if the lock was lost."""
        trial = self._running.get(number) or self._taken_over[number]
        metrics = result.get("metrics", {})
        values = [metrics.get(objective.metric, math.nan) for objective in self.spec.objectives]
        if outcome is Outcome.COMPLETED and not all(map(math.isfinite, values)):
            outcome = Outcome.DIVERGED
        notes: list[tuple[Note[Any], Any]] = []
        has_failed = outcome.is_machines and is_its_fault
        if has_failed:
            failures = failures_with(trial, outcome, result)
            notes.append((FAILURES, failures))
            retry = len(failures) <= self.spec.retries and retry
        stays_open = outcome.stays_open(retry=retry)
        notes.append((RESULT, {"outcome": outcome.value, **result, **added_up(RESULT.of(trial), result)}))
        if stays_open and has_failed:
            notes.append((ATTEMPTS, ATTEMPTS.of(trial) + 1))
        return _End(outcome, metrics, result.get("seconds", 0.0), notes, stays_open)

    def _tell(self, number: int, end: "_End") -> TrialRecord:
        if not self._is_mine(number, afresh=True):
            return record_of(self._roster.frozen(self._taken_over.pop(number)))
        trial = self._running[number]
        for note, value in end.notes:
            note.write(trial, value)
        if end.stays_open:
            self._roster.leave(trial)
        else:
            finish(self._study, self.spec, trial, end.outcome, end.metrics)
        del self._running[number]
        self.tally.running_s.pop(number, None)
        record = self._roster.note_end(trial, end.seconds)
        self.brake.ended(record)
        return record

    def records(self) -> list[TrialRecord]:
        """Return the records of all trials so far."""
        return [record_of(trial) for trial in self._study.get_trials(deepcopy=False)]

    # -- budget ---------------------------------------------------------------------------------------------------

    def save_active(self, every_s: float = 0.0) -> None:
        """Note the seconds worked in the study for later drivers, if the last note is `every_s` old.

        If other drivers work on the study, this takes in their seconds too, and what else they have done.
        """
        self._roster.refresh(LOOK_EVERY_S)
        if self.tally.active_s - self._saved_active_s >= every_s:
            self._saved_active_s = self.tally.active_s
            self._study.set_user_attr("active_s", round(self._saved_active_s, 3))
            if self._paths.job is not None and self.spec.budget.core_hours:
                running = {str(number): round(seconds, 3) for number, seconds in self.tally.running_s.items()}
                self._study.set_user_attr(f"running_s.{self._paths.job:03d}", running)

    def use_up_hours(self) -> None:
        """Count the rest of the budget's hours as used: too little is left for a trial to reach a checkpoint."""
        assert self.spec.budget.hours
        self.tally.use_up(self.spec.budget.hours * 3600)
        self.save_active()

    @property
    def waves(self) -> list[dict[str, Any]]:
        """What was noted of each wave that has ended."""
        return waves_in(self._study.user_attrs)

    def add_wave(self, wave: Mapping[str, Any]) -> None:
        """Note a wave that has ended; each job notes only its own waves."""
        key = "waves" if self._paths.job is None else f"waves.{self._paths.job:03d}"
        self._study.set_user_attr(key, [*self._study.user_attrs.get(key, []), dict(wave)])

    def take_ended_elsewhere(self) -> list[TrialRecord]:
        """Return the trials of other drivers that have ended since the last call."""
        return self._roster.take_ended_elsewhere()

    def waits_for_others(self) -> bool:
        """Whether other drivers run trials that this one must take over if they die."""
        return self._claims is not None and self._roster.has_open and not self.tally.spent()

    def finished(self) -> str:
        """Return why the search is over; empty while trials run, here or elsewhere, or may still be started."""
        if self._running:
            return ""
        self._roster.refresh()
        spent = self.tally.spent()
        if spent or self._roster.has_open:
            return spent
        if self.max_trials is not None and self._roster.num_trials >= self.max_trials:
            return f"trials: all {self.max_trials} have ended"
        return ""


def _changed_at(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
