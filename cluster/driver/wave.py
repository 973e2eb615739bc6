"""One wave of trials: decides, without Ray, which trial is next, whether one goes on, and what its end means."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cluster.driver.deadline import Deadline
from cluster.driver.kept import Kept
from cluster.machine.capacity import Capacity
from cluster.machine.files import read_json
from cluster.state.figures import MEASURED
from cluster.state.outcomes import Outcome
from cluster.state.paths import LAST, SearchPaths
from cluster.study.study import SearchStudy
from cluster.wire.orders import Order

log = logging.getLogger(__name__)

FIRST_PAUSE_S, MOST_PAUSE_S = 1.0, 30.0
"""The first and the longest pause between two looks for data that a trial lacks; doubled each time."""
SAVE_ACTIVE_EVERY_S = 60.0
"""Seconds of the budget's hours that a killed driver may lose."""


class Wave:
    """The trials of one wave; the searcher and the scheduler pass Tune's calls on to it."""

    def __init__(
        self,
        study: SearchStudy,
        paths: SearchPaths,
        number: int,
        max_trials: int,
        capacity: Capacity,
        deadline: Deadline,
        explain_loss: Callable[[int], tuple[Outcome, str]],
        take_orders: Callable[[Callable[[Order], None]], None],
        clock: Callable[[], float] = time.monotonic,
        doubt_s: float = 0.0,
    ) -> None:
        self.study = study
        self.number = number
        self.draining = ""
        """Why no more trials are started and the running ones are stopped; empty while all is well."""
        self.ending = ""
        """Why no more trials are started, while the running ones go on to their ends; empty while all is well."""
        self.is_paused = False
        """Whether the wave drains because trials fail for a cause that seems to be outside them."""
        self.waits_for = ""
        """The data that the next trial needs and the machine no longer has; empty if nothing is missing."""
        self._look_again, self._pause_s = 0.0, FIRST_PAUSE_S
        self.running: dict[int, dict[str, Any]] = {}
        """The last report of every running trial; until the first, when it began, by the wave's clock."""
        self.num_started = 0
        self.num_ended = 0
        self.slot_seconds = 0.0
        self.capacity = capacity
        self._paths = paths
        self._spec = study.spec
        self._searched = read_json(paths.branches) or {}
        self._max_trials = max_trials
        self._deadline = deadline
        self._explain_loss = explain_loss
        self._take_orders = take_orders
        self.stop_outcome = Outcome.STOPPED
        self.found_disk_full = False
        """Whether a trial has found a disk full."""
        self._doubt_s = doubt_s
        """How long a loss that no supervisor has explained is not charged: the whole job may be ending."""
        self._doubtful: dict[int, _Loss] = {}
        self._causes: dict[int, Order] = {}
        """The supervisors' reasons why workers are about to be ended, by trial."""
        self._handed_back: set[int] = set()
        """Trials that a worker could not take because an earlier trial had spoilt its process."""
        self._history = paths.history(number).open("a")
        self._clock = clock
        self._began: float | None = None
        self._ended = 0.0
        self._refused: float | None = None
        self._kept = Kept(study, paths)

    def drain(self, reason: str, outcome: Outcome = Outcome.STOPPED) -> None:
        """Start no more trials, and stop each running one at its next checkpoint, with this outcome and reason."""
        if not self.draining:
            log.info("draining: %s", reason)
            self.draining, self.stop_outcome = reason, outcome
            self._paths.run_permit.unlink(missing_ok=True)

    def end_early(self, reason: str) -> None:
        """Start no more trials; the running ones go on to their ends."""
        if not self.ending:
            log.info("ending the wave: %s", reason)
            self.ending = reason

    def obey(self, order: Order) -> None:
        """Carry out an order of a supervisor."""
        if order.do == "end_wave":
            self.end_early(order.reason)
        elif order.do == "stop_trials":
            self.drain(order.reason, Outcome.DISK_FULL)
        else:
            self._causes[order.trial] = order

    # -- Tune's three questions -----------------------------------------------------------------------------------

    def next(self) -> dict[str, Any] | Literal["later"] | None:
        """Return what an actor needs for the next trial, `later`, or None if this wave starts no more."""
        if not self._is_called_off() and len(self.running) >= self.capacity.slots:
            return "later"
        self.settle_losses()
        has_room = self.num_started < self._max_trials and not (self.draining or self.ending)
        may_start = has_room and self._deadline.may_start()
        if may_start and self.waits_for and self._clock() < self._look_again:
            return "later"
        assignment = self.study.ask(self._is_called_off) if may_start else None
        self._heed_brake()
        if may_start and self._is_waiting_for_data():
            return "later"
        if assignment is None:
            if self._refused is None:
                self._refused = self._clock()
            # One of the running trials may lose its worker, or another driver die, and is then started again here.
            may_come = self.running or (may_start and self.study.waits_for_others())
            return "later" if self._doubtful or (may_come and not (self.draining or self.ending)) else None
        self.num_started += 1
        self._causes.pop(assignment.number, None)  # an earlier attempt's
        self.running[assignment.number] = {"step": 0, "metrics": {}, "began": self._clock()}
        task = {
            "trial": assignment.number,
            "trainable": self._spec.trainable,
            "config": assignment.config,
            "cpus": self._spec.resources.cpus_per_trial,
            "checkpoint": str(self._paths.checkpoint(assignment.number)),
            "run_permit": str(self._paths.run_permit),
            "keep": self._spec.keep.checkpoints != "none",
            "objectives": [objective.metric for objective in self._spec.objectives],
            "searched": self._searched,
        }
        if self._spec.keep.further_models:
            task["models"] = self._models_of(assignment.number)
        return {"number": assignment.number, "task": json.dumps(task)}

    def _models_of(self, number: int) -> dict[str, Any]:
        """Return which models a trial writes beside the best one, and where."""
        keep = self._spec.keep
        return {
            "every": keep.every_steps,
            "most": keep.most_steps,
            "on_the_way": self._paths.models_on_the_way(number),
            "last": str(self._paths.model(number, LAST)) if keep.last else None,
        }

    def _is_waiting_for_data(self) -> bool:
        """Return whether the next trial lacks data; note when to look again, later after each time."""
        lacks = "" if self.draining else self.study.waits_for
        if lacks and lacks != self.waits_for:
            log.warning("waiting: %s", lacks)
        self._pause_s = min(2 * self._pause_s, MOST_PAUSE_S) if lacks and self.waits_for else FIRST_PAUSE_S
        self.waits_for, self._look_again = lacks, self._clock() + self._pause_s
        return bool(lacks)

    def _is_called_off(self) -> bool:
        """Return whether orders that have come by now say that no more trials shall start."""
        self._take_orders(self.obey)
        return bool(self.draining or self.ending)

    def _heed_brake(self) -> None:
        if self.study.brake.reason and not self.draining:
            self.is_paused = True
            self.drain(self.study.brake.reason)

    def report(self, number: int, result: Mapping[str, Any]) -> bool:
        """Note a running trial's report; return whether the trial goes on."""
        if not self.study.is_running(number):
            self.running.pop(number, None)  # another driver has taken it over
            return False
        if spent := result.get("worker_spent"):  # the worker ends; the trial has not begun
            log.info("trial %d: begins in another worker: %s", number, spent)
            self._handed_back.add(number)
            return True
        self._note_time(number, result)
        metrics = result["metrics"]
        self.running[number] = dict(result)
        self._write(number, result, metrics)
        if not self.study.report(number, result["step"], metrics, result["seconds"]):
            self._tell(number, Outcome.PRUNED, result)
            return False
        if self.draining and result["saved_step"] == result["step"]:
            self._tell(number, self.stop_outcome, result, is_its_fault=False)
            return False
        self.watch_budget()
        return True

    def end(self, number: int, result: Mapping[str, Any] | None) -> None:
        """Note a trial's end with its last result; None means that its worker was lost."""
        if not self.study.is_running(number):
            self.running.pop(number, None)
            return  # told when it was stopped, or taken over by another driver
        if result is None or "outcome" not in result:
            self._lost(number, result or self.running.get(number, {}))
            return
        self._note_time(number, result)
        # The last step's metrics; the record has those of the best model.
        last = result.get("last", result.get("metrics", {}))
        if last:  # an attempt that failed has nothing to say of its step, and the next one has
            self._write(number, result, last)
        if result["outcome"] == Outcome.COMPLETED.value:
            self.study.report(number, result["step"], last, result["seconds"])
        if result.get("tests"):
            self._append({"trial": number, "tests": result["tests"]})
        if result["outcome"] == Outcome.DISK_FULL.value:
            self.found_disk_full = True
            self.end_early(f"trial {number} found a disk full")  # the supervisor cleans up before the next
        outcome = Outcome(result["outcome"])
        if outcome is Outcome.CRASHED and not result["step"] and (lacks := self.study.lacks_data(number)):
            log.warning("trial %d: %s", number, lacks)
            self._tell(number, Outcome.STOPPED, {**result, "error": lacks}, is_its_fault=False)
            return
        self._tell(number, outcome, result)
        self.watch_budget()

    def _lost(self, number: int, result: Mapping[str, Any]) -> None:
        if number in self._handed_back:
            self._handed_back.remove(number)
            self._tell(number, Outcome.STOPPED, {**result, "seconds": 0.0}, is_its_fault=False)
            return
        cause = self._cause(number)
        if self.draining and not cause:  # the queue ends all processes of a job: no trial is to blame
            self._tell(number, self.stop_outcome, result, is_its_fault=False)
            return
        outcome, error = self._explain_loss(number) if cause is None else (Outcome(cause.outcome), cause.reason)
        if cause is None and (cause := self._cause(number)):  # it has come by now
            outcome, error = Outcome(cause.outcome), cause.reason
        log.warning("trial %d: %s", number, error)
        usage = {**result, "error": error}
        if outcome is Outcome.OUT_OF_MEMORY and not cause:  # the kernel ended it: run fewer trials at once from now on
            self.capacity.ceiling = max(1, len(self.running) - 1)
        if cause and cause.memory_gb:
            usage["peak_memory_mb"] = 1e3 * cause.memory_gb
        if cause is None and outcome.is_machines and self._doubt_s:
            self.running.pop(number, None)
            self._doubtful[number] = _Loss(outcome, usage, self._clock() + self._doubt_s)
        else:
            self._tell(number, outcome, usage)

    def settle_losses(self) -> None:
        """Tell the study of lost workers once it is clear whether the job was being ended; then nobody is to blame.

        A queue that takes a job away ends its processes one after the other, often those of a further node first.
        """
        for number, loss in list(self._doubtful.items()):
            if not self.draining and self._clock() < loss.until:
                continue
            del self._doubtful[number]
            if self.draining:
                usage = {name: value for name, value in loss.usage.items() if name != "error"}
                self._tell(number, self.stop_outcome, usage, is_its_fault=False)
            else:
                self._tell(number, loss.outcome, loss.usage)

    def _cause(self, number: int) -> Order | None:
        """Return the supervisor's order about a trial's worker, even if it comes at this very moment."""
        self._take_orders(self.obey)
        return self._causes.pop(number, None)

    # -- bookkeeping ----------------------------------------------------------------------------------------------

    def watch_budget(self) -> None:
        """Drain if time is running out, or if a bound of the budget is used up that ends running trials too."""
        self.study.save_active(every_s=SAVE_ACTIVE_EVERY_S)
        self.settle_losses()
        for record in self.study.take_ended_elsewhere():
            self._kept.after(record)
        bound = self.study.tally.spent_bound()
        if bound is not None and not bound.lets_trials_end:
            self.drain(f"budget {self.study.tally.spent()}")
        elif self._deadline.must_stop():
            self.drain("there is just the time left to save")

    @property
    def is_out_of_time(self) -> bool:
        """Return whether no trial can reach a checkpoint in the time left."""
        return not self._deadline.may_start() or self._deadline.must_stop()

    def _note_time(self, number: int, result: Mapping[str, Any]) -> None:
        self._deadline.note(result["seconds"], self.running[number].get("seconds"))
        self._ended = self._clock()
        if self._began is None:
            self._began = self._ended - result["seconds"]

    @property
    def trials_s(self) -> float:
        """Seconds from the start of the wave's first trial to its last report; the rest is the wave's boundary."""
        return self._ended - self._began if self._began is not None else 0.0

    def figures(self) -> dict[str, float]:
        """Return the wave's results: counts, seconds, and times of day in seconds since 1970."""
        now, wall = self._clock(), time.time()
        busy = self.slot_seconds / max(self.trials_s * self.capacity.slots, 1e-9)
        return {
            "wave": self.number,
            "trials": self.num_ended,
            "trials_s": round(self.trials_s, 2),
            "slots": self.capacity.slots,
            "utilisation": round(busy, 3),
            "tail_s": round(max(self._ended - (self._ended if self._refused is None else self._refused), 0.0), 2),
            "began_at": round(wall - (now - (now if self._began is None else self._began)), 2),
            "ended_at": round(wall - (now - (self._ended or now)), 2),
        }

    def _write(self, number: int, result: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        entry = {"trial": number, "step": result["step"], "seconds": round(result["seconds"], 3), "metrics": metrics}
        self._append(entry)

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._history.write(json.dumps(entry) + "\n")
        self._history.flush()  # first: if the driver is killed before it tells the trial, the history must be there

    def _tell(self, number: int, outcome: Outcome, result: Mapping[str, Any], *, is_its_fault: bool = True) -> None:
        record = {name: result[name] for name in MEASURED if name in result}
        record |= {"metrics": result.get("metrics", {}), "wave": self.number}
        record |= {name: result[name] for name in ("error", "raised") if result.get(name)}
        self.running.pop(number, None)
        self.num_ended += 1
        self.slot_seconds += result.get("seconds", 0.0)
        if outcome is not Outcome.OUT_OF_MEMORY:  # its peak was cut off, and says nothing of other trials
            self.capacity.learn(result.get("peak_memory_mb", 0.0) / 1e3)
        told = self.study.tell(number, outcome, record, is_its_fault=is_its_fault)
        self._heed_brake()
        self._max_trials += told.is_open  # it starts again, and takes no other trial's place
        self._kept.after(told)

    def close(self) -> None:
        """Close the wave's files."""
        self._history.close()


@dataclass(frozen=True)
class _Loss:
    """The loss of a worker that is not told yet, and the time until which it is not."""

    outcome: Outcome
    usage: Mapping[str, Any]
    until: float
