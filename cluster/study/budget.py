"""What a search has used of its budget and reached, and which bound of the budget ends it."""

import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from cluster.state.outcomes import Outcome
from cluster.state.records import TrialRecord, is_feasible, mean_metrics, ranked_trials
from cluster.wording import whose_best
from search_spaces.spec import Spec


class Bound(Enum):
    """A bound of the budget, other than the number of trials; the value is its key under `budget`."""

    HOURS = "hours"
    CORE_HOURS = "core_hours"
    TARGET = "target"
    PATIENCE = "patience_trials"

    @property
    def lets_trials_end(self) -> bool:
        """Whether the trials that run when the bound is reached still go on to their ends."""
        return self is Bound.PATIENCE


class Best(NamedTuple):
    """The best result so far."""

    value: float
    """The objective; with repeats, its mean over the trials."""
    trials: tuple[int, ...]
    """The trial that it is of; with repeats, all of its configuration, that of the best seed first."""


class Tally:
    """Running counts of a search; opening a study rebuilds them from its trials, in the order in which they ended."""

    def __init__(self, spec: Spec, active_before_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.outcomes: Counter[str] = Counter()
        self.best: Best | None = None
        """The best feasible trial; with repeats, the complete set of seeds with the best mean."""
        self.since_best = 0
        """How many trials have ended since the best one."""
        self.running_s: dict[int, float] = {}
        """Seconds of the running trials, as last reported."""
        self.others_running_s = 0.0
        """Seconds of the trials that other drivers run, as they last noted them."""
        self._spec = spec
        self._sets: dict[int, list[TrialRecord]] = {}
        self._spent_s = 0.0
        self._active_before_s = active_before_s
        self._clock = clock
        self._opened = clock()

    @property
    def active_s(self) -> float:
        """Seconds that drivers, this one included, have worked on this search."""
        return self._active_before_s + self._clock() - self._opened

    @property
    def hours_left_s(self) -> float | None:
        """Seconds left of the budget's hours; None if it has none."""
        hours = self._spec.budget.hours
        return hours * 3600 - self.active_s if hours else None

    def use_up(self, active_s: float) -> None:
        """Raise the seconds worked on this search to at least `active_s`."""
        self._active_before_s += max(active_s - self.active_s, 0.0)

    @property
    def cpu_hours(self) -> float:
        """CPU hours of all trials, running ones included: the hours of training times the CPUs held."""
        seconds = self._spent_s + sum(self.running_s.values()) + self.others_running_s
        return seconds * self._spec.resources.cpus_per_trial / 3600

    def spend(self, seconds: float) -> None:
        """Add the seconds of an attempt that is over."""
        self._spent_s += seconds

    def count(self, record: TrialRecord) -> None:
        """Add a trial that has ended."""
        assert record.outcome is not None
        self.outcomes[record.outcome.value] += 1
        self.since_best += 1
        if record.outcome is not Outcome.COMPLETED or self._spec.is_multi_objective:
            return
        of_set = self._sets.setdefault(record.configuration, [])
        of_set.append(record)
        if len(of_set) < len(self._spec.seeds):
            return  # one lucky seed says nothing: only complete sets are compared
        metrics = mean_metrics(self._spec, [one.metrics for one in of_set])
        del self._sets[record.configuration]
        objective = self._spec.objectives[0]
        value = metrics[objective.metric]
        if is_feasible(self._spec, metrics) and (self.best is None or self._is_better(value, self.best.value)):
            self.best = Best(value, tuple(one.number for one in ranked_trials(self._spec, of_set)))
            self.since_best = 0

    def _is_better(self, value: float, than: float) -> bool:
        return value < than if self._spec.objectives[0].mode == "min" else value > than

    def spent_bound(self) -> Bound | None:
        """Return the bound of the budget, other than the number of trials, that is used up; None if none is."""
        budget = self._spec.budget
        if budget.hours and self.active_s >= budget.hours * 3600:
            return Bound.HOURS
        if budget.core_hours and self.cpu_hours >= budget.core_hours:
            return Bound.CORE_HOURS
        if budget.target is not None and self.best is not None and not self._is_better(budget.target, self.best.value):
            return Bound.TARGET
        if budget.patience_trials and self.since_best >= budget.patience_trials:
            return Bound.PATIENCE
        return None

    def spent(self) -> str:
        """Return in words which bound of the budget, other than the number of trials, is used up; empty if none is."""
        bound, budget = self.spent_bound(), self._spec.budget
        if bound is None:
            return ""
        if bound is Bound.HOURS:
            words = f"{self.active_s / 3600:.2f} of {budget.hours:g} used"
        elif bound is Bound.CORE_HOURS:
            words = f"{self.cpu_hours:.2f} of {budget.core_hours:g} used"
        elif bound is Bound.TARGET:
            assert self.best is not None
            words = f"{self.best.value:.6g} reached by {whose_best(self.best.trials)}"
        else:
            words = f"no better trial among the last {self.since_best}"
        return f"{bound.value}: {words}"
