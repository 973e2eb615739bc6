"""The search's state and its three verbs: ask for a trial, report its progress, tell its end."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from cluster.budget import Tally
from cluster.configurations import largest_num_steps
from cluster.files import repair_last_line
from cluster.outcomes import Outcome
from cluster.paths import SearchPaths
from cluster.records import STUDY_NAME, TrialRecord, open_storage, record_of, violations
from cluster.samplers import KNOW_CONSTRAINTS, build_pruner, build_sampler
from search_spaces.space import FloatRange, IntRange, Parameter, grid_points, is_active, order, resolve
from search_spaces.spec import Spec
from search_spaces.validation import explain_validation
from trainables._shared.config import ConfigError, MethodConfig

ADDED_UP = ("seconds", "cpu_seconds", "compile_seconds")
"""What a trial used, summed over its parts where it was stopped and taken up again."""


@dataclass(frozen=True)
class Assignment:
    """A trial to run: its number for ever, and the whole config of its method."""

    number: int
    config: dict[str, Any]


class SearchStudy:
    """An Optuna study and all that is decided from it; a plain object, used by one process at a time."""

    def __init__(
        self,
        paths: SearchPaths,
        spec: Spec,
        config_type: type[MethodConfig],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._paths = paths
        self._config_type = config_type
        self.repaired_bytes = repair_last_line(paths.journal)
        self.points = list(grid_points(spec)) if spec.is_grid else None
        self._storage = open_storage(paths)
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=STUDY_NAME,
            load_if_exists=True,
            directions=["minimize" if o.mode == "min" else "maximize" for o in spec.objectives],
            sampler=build_sampler(spec, self.points),
            pruner=build_pruner(spec, largest_num_steps(spec, config_type)),
        )
        self._running: dict[int, Trial] = {}
        self._left_over: list[FrozenTrial] = []
        self.tally = Tally(spec, float(self._study.user_attrs.get("active_s", 0.0)), clock)
        self._saved_active_s = self.tally.active_s
        trials = self._study.get_trials(deepcopy=False)
        for trial in sorted(trials, key=_end_order):
            record = record_of(trial)
            self.tally.spend(record.seconds)
            if trial.state.is_finished():
                self.tally.count(record)
            else:
                self._left_over.append(trial)
        self._num_asked = len(trials)

    # -- ask ------------------------------------------------------------------------------------------------------

    @property
    def max_trials(self) -> int | None:
        """The most trials this search may have; None for no bound."""
        bounds = [self.spec.budget.trials] if self.spec.budget.trials else []
        if self.points is not None:
            bounds.append(len(self.points) * len(self.spec.seeds))
        return min(bounds, default=None)

    def ask(self) -> Assignment | None:
        """Return the next trial to run, or None when no more may be started.

        Trials that an earlier driver left running come first, under their own number. A configuration that the method
        or its data rule out is told as such here and the next one is asked.
        """
        while True:
            if self._left_over:
                trial = Trial(self._study, self._left_over.pop(0)._trial_id)
                self._take_up(trial)
            elif self.tally.spent() or (self.max_trials is not None and self._num_asked >= self.max_trials):
                return None
            else:
                trial = self._study.ask()
                self._num_asked += 1
            self._running[trial.number] = trial
            assignment = self._assign(trial)
            if assignment is not None:
                return assignment

    def _assign(self, trial: Trial) -> Assignment | None:
        chosen = self._suggest(trial)
        repeats = len(self.spec.seeds)
        values = resolve(self.spec, chosen)
        seed = self.spec.seeds[trial.number % repeats]
        if seed is not None:
            values["seed"] = seed
        configuration = trial.number // repeats
        if "assigned" in trial.user_attrs:  # what it has begun with, whatever the method's defaults are by now
            values = trial.user_attrs["assigned"]["config"]
        try:
            config = self._config_type.model_validate(values)
            config.check_data()
        except ValidationError as error:
            reason = "; ".join(map(str, explain_validation(error, self._config_type, values)))
        except ConfigError as error:
            reason = str(error)
        else:
            dumped = config.model_dump(mode="json")
            if "assigned" not in trial.user_attrs:
                trial.set_user_attr("assigned", {"configuration": configuration, "config": dumped})
            return Assignment(trial.number, dumped)
        trial.set_user_attr("assigned", {"configuration": configuration, "config": values})
        self.tell(trial.number, Outcome.INVALID_CONFIG, {"error": reason})
        return None

    def note_retry(self, number: int) -> None:
        """Note that a trial is started once more, after its worker died."""
        self._add_attempt(self._running[number])

    def _add_attempt(self, trial: Trial) -> None:
        trial.set_user_attr("attempts", trial.user_attrs.get("attempts", 1) + 1)

    def _take_up(self, trial: Trial) -> None:
        """Note that a trial goes on; one that was stopped by request has not failed, so its attempts stay."""
        result = trial.user_attrs.get("result", {})
        if result.get("outcome"):
            trial.set_user_attr("result", {**result, "outcome": None})
        elif "assigned" in trial.user_attrs:
            self._add_attempt(trial)

    def _suggest(self, trial: Trial) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for name, parameter in order(self.spec.space):
            if is_active(parameter, {**self.spec.base, **chosen}):
                chosen[name] = _suggest(trial, name, parameter)
        return chosen

    def _last_step(self, trial: Trial) -> int:
        steps = self._frozen(trial).intermediate_values
        return max(steps, default=0)

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self._storage.get_trial(trial._trial_id)

    # -- report ---------------------------------------------------------------------------------------------------

    def report(self, number: int, step: int, metrics: Mapping[str, float], seconds: float = 0.0) -> bool:
        """Note a running trial's metrics at a step, and its seconds so far; return whether it should go on.

        A step reported before (the trial was continued from a checkpoint before it) is the same number: it is judged
        again, and not written. The last report of a trial is made too, though there is nothing left to decide: its
        value belongs to the rung that the others are judged at.
        """
        self.tally.running_s[number] = seconds
        if self.spec.is_multi_objective or self.spec.early_stopping.name == "none":
            return True
        trial = self._running[number]
        if step not in self._frozen(trial).intermediate_values:
            trial.report(self._score(metrics), step)
        return not trial.should_prune()

    def _score(self, metrics: Mapping[str, float]) -> float:
        """Return the objective, the worst there is where it is not a number: Optuna takes none for an early stop."""
        objective = self.spec.objectives[0]
        value = metrics.get(objective.metric, math.nan)
        return value if not math.isnan(value) else (math.inf if objective.mode == "min" else -math.inf)

    def is_running(self, number: int) -> bool:
        """Whether a trial was asked for and has not been told."""
        return number in self._running

    # -- tell -----------------------------------------------------------------------------------------------------

    def tell(self, number: int, outcome: Outcome, result: Mapping[str, Any]) -> TrialRecord:
        """End a trial: its record goes to the study first, then its state; return the record.

        Only the trial's own ends reach the sampler. A diverged trial is told as pruned with the worst value at its
        step, so that a sampler keeps away from there; a crash says nothing about the configuration's worth. A stopped
        trial stays open, to be taken up again; what it used before it was stopped counts too. A completed trial whose
        objective is no number has diverged.
        """
        trial = self._running.pop(number)
        metrics = result.get("metrics", {})
        values = [metrics.get(objective.metric, math.nan) for objective in self.spec.objectives]
        if outcome is Outcome.COMPLETED and not all(map(math.isfinite, values)):
            outcome = Outcome.DIVERGED
        before = trial.user_attrs.get("result", {})
        used = {name: result[name] + before.get(name, 0.0) for name in ADDED_UP if name in result}
        trial.set_user_attr("result", {"outcome": outcome.value, **result, **used})
        self.tally.running_s.pop(number, None)
        self.tally.spend(result.get("seconds", 0.0))
        if outcome is Outcome.STOPPED:
            self._left_over.append(self._frozen(trial))
            return record_of(self._left_over[-1])
        if outcome.is_own:
            self._set_constraints(trial, metrics)
        if outcome is Outcome.COMPLETED:
            self._study.tell(trial, values=values)
        elif outcome is Outcome.PRUNED and not self.spec.is_multi_objective:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif outcome in (Outcome.DIVERGED, Outcome.SOLVER_FAILED) and not self.spec.is_multi_objective:
            step = self._last_step(trial) + 1
            trial.report(self._score({}), step)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)
        record = record_of(self._frozen(trial))
        self.tally.count(record)
        return record

    def _set_constraints(self, trial: Trial, metrics: Mapping[str, float]) -> None:
        if self.spec.sampler.name in KNOW_CONSTRAINTS and not trial.constraints:  # a killed driver may have set them
            for index, amount in enumerate(violations(self.spec, metrics)):
                trial.set_constraint(str(index), amount)

    def records(self) -> list[TrialRecord]:
        """Return every trial so far."""
        return [record_of(trial) for trial in self._study.get_trials(deepcopy=False)]

    # -- budget ---------------------------------------------------------------------------------------------------

    def save_active(self, every_s: float = 0.0) -> None:
        """Note the active seconds in the study, for the budget of whoever goes on, if the last note is old."""
        if self.tally.active_s - self._saved_active_s >= every_s:
            self._saved_active_s = self.tally.active_s
            self._study.set_user_attr("active_s", round(self._saved_active_s, 3))

    @property
    def waves(self) -> list[dict[str, Any]]:
        """What is known of each wave so far."""
        return list(self._study.user_attrs.get("waves", []))

    def add_wave(self, wave: Mapping[str, Any]) -> None:
        """Note a wave that has ended."""
        self._study.set_user_attr("waves", [*self.waves, dict(wave)])

    def finished(self) -> str:
        """Return why the search is over; empty while trials are running or may be started."""
        if self._running:
            return ""
        spent = self.tally.spent()
        if spent or self._left_over:
            return spent
        if self.max_trials is not None and self._num_asked >= self.max_trials:
            return f"trials: all {self.max_trials} have ended"
        return ""


def _end_order(trial: FrozenTrial) -> tuple[float, int]:
    """Sort trials by when they ended: patience counts those that came after the best one."""
    ended = trial.datetime_complete
    return (ended.timestamp() if ended else math.inf, trial.number)


def _suggest(trial: Trial, name: str, parameter: Parameter) -> Any:
    if isinstance(parameter, FloatRange):
        return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    if isinstance(parameter, IntRange):
        return trial.suggest_int(name, parameter.low, parameter.high, log=parameter.log, step=parameter.step or 1)
    return trial.suggest_categorical(name, parameter.labels)
