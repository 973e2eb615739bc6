"""The actor that runs any method: one worker process trains many trials, one after the other.

It imports nothing of Ray: `cluster/driver/tune_bridge.py` makes it an actor. Ray Tune and what comes with it (pandas,
pyarrow, a thousand modules) would cost every worker half a second of CPU.
"""

import faulthandler
import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.jobs.place import node_name
from cluster.machine.memory import peak_memory_mb
from cluster.machine.resources import THREAD_VARIABLES, xla_pool_threads
from cluster.state.figures import Figures, measured
from cluster.state.outcomes import Outcome, outcome_of
from cluster.state.raised import chain_of, text_of, to_json
from cluster.wire.heartbeats import HEARTBEATS, IDLE, WorkerHeartbeat
from cluster.worker.directory import enter_working_directory
from cluster.worker.models import WayModels
from cluster.worker.process_state import ProcessState, jax_settings, seed_global_generators

if TYPE_CHECKING:  # a method imports JAX: the thread caps must be checked before that
    from trainables._shared.program import ProgramCache
    from trainables._shared.training import Report, Training

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 30.0
"""Seconds of training that a lost worker may cost; shorter trials write one checkpoint, at their end."""
POOL_PATIENCE_S = 30.0
"""How long the threads of XLA's pool may take to set their names, by which they are counted."""


MOST_REPORT_MB = 20.0
"""The largest size of a report as JSON, which goes through the driver into the search's history."""


class ThreadCapError(RuntimeError):
    """A worker was started without thread caps, or the caps had no effect."""


class WorkerSpentError(RuntimeError):
    """A trial has left this process in a state that no other trial may begin in; Tune then starts another worker."""


def _reset_peak_memory() -> None:
    """Reset the process's peak memory, VmHWM, which earlier trials have raised."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not permitted here: then the peak includes earlier trials
        return


def _raised(error: BaseException) -> dict[str, Any]:
    """Return an exception as a result has it: its traceback for people, and its frames as data."""
    return {"error": text_of(error), "raised": to_json(chain_of(error))}


def _too_large(result: Mapping[str, Any], size_mb: float) -> str:
    tables = {name: len(json.dumps(table)) / 1e6 for name, table in result.get("tests", {}).items()}
    largest = max(tables, key=lambda name: tables[name], default="")
    what = f"the test table of {largest} alone {tables[largest]:.0f} MB" if largest else "its metrics"
    return f"its last report comes to {size_mb:.0f} MB, {what}; at most {MOST_REPORT_MB:.0f} MB are kept of a trial"


class TrialActor:
    """Runs the trials that it is given; a trial's own failure becomes its result, so Tune only sees lost workers.

    Its public methods are those that Ray Tune calls of its trainables.
    """

    _programs: "ProgramCache | None" = None
    _training: "Training | None" = None
    _clean: ProcessState | None = None
    """The process as it was before the method's code first ran in a trial."""
    _spent = ""
    """Why no more trials may begin in this process; empty if they may."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Begin the first trial of this process."""
        faulthandler.enable(all_threads=False)  # print the stack of a segmentation fault
        # Ray's handler raises SystemExit, which would look like the method's: SIGTERM shall simply end the process.
        with suppress(ValueError):  # raised outside the main thread
            signal.signal(signal.SIGTERM, lambda signum, _: os._exit(128 + signum))
        self._heartbeat = WorkerHeartbeat(Path(os.environ[HEARTBEATS]))
        self._begin(config)

    def reset(self, config: Mapping[str, Any]) -> bool:
        """Begin the next trial; compiled programs stay.

        A process whose state cannot be restored takes no trial: it says so with its first report and ends, and the
        driver starts the trial in another worker. (Returning False here would make Tune end the trial without the
        driver's knowledge.)
        """
        self._spent = self._clean.restore() if self._clean is not None else ""
        self._begin(config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._task: dict[str, Any] = json.loads(config["task"])
        self._heartbeat.set_trial(self._task["trial"])
        self._failure: tuple[Outcome, dict[str, Any]] | None = None
        self._training = None
        self._started = self._saved_at = time.monotonic()
        self._cpu_started = time.process_time()
        self._saved_step = -1
        _reset_peak_memory()
        if self._spent:
            log.warning("this worker is to be replaced: %s", self._spent)
            return
        try:
            enter_working_directory()
            self._check_caps()
            self._open()
        except ThreadCapError as error:  # the machine's fault or ours: not charged to the configuration
            self._failure = Outcome.WORKER_LOST, _raised(error)
        except BaseException as error:  # whatever a method raises, also by sys.exit(), ends only its trial
            self._failure = outcome_of(error), _raised(error)

    def _check_caps(self) -> None:
        wanted = str(self._task["cpus"])
        wrong = [name for name in THREAD_VARIABLES if os.environ.get(name) != wanted]
        if wrong:
            raise ThreadCapError(f"a worker of {wanted} CPUs was started without its caps: {', '.join(wrong)}")

    def _check_pool(self) -> None:
        """Compare the thread pool that XLA made at its first compiled call with this trial's CPUs."""
        import jax

        if jax.default_backend() != "cpu":
            return
        wanted, deadline = self._task["cpus"], time.monotonic() + POOL_PATIENCE_S
        while 0 < (threads := xla_pool_threads()) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        if threads not in (0, wanted):  # 0: the pool has another name and cannot be counted
            raise ThreadCapError(f"XLA's pool has {threads} threads in a worker of {wanted} CPUs: its cap did not hold")

    def _open(self) -> None:
        from trainables._shared.checkpoint import CheckpointError
        from trainables._shared.datasets import DatasetStore
        from trainables._shared.discovery import load_method
        from trainables._shared.extras import require_needed
        from trainables._shared.program import ProgramCache
        from trainables._shared.training import Training

        if self._programs is None:
            self._programs = ProgramCache()
        method = load_method(self._task["trainable"])
        config = method.config_type.of_values(self._task["config"])
        require_needed(config)
        self._remember()
        seed_global_generators(config.seed)
        data = method.trial_data(config, DatasetStore())
        program = self._programs.get(method, config, jax_settings(), self._task.get("searched"))
        self._compile_s_before = program.compile_s
        self._training = Training(program, config, data)
        self._models = WayModels(self._task.get("models", {}), self._task["trainable"])
        self._check_pool()
        checkpoint = Path(self._task["checkpoint"])
        if not checkpoint.exists():
            return
        try:
            self._training.load(checkpoint)
            self._saved_step = self._training.step
            self._models.go_on_from(self._training.step)
        except CheckpointError as error:  # costs the steps in it, not the trial
            log.warning("starting from step 0: %s", error)
            checkpoint.unlink(missing_ok=True)
            self._training = Training(program, config, data)  # a part of the checkpoint may have been loaded

    def _remember(self) -> None:
        """Note the process's state once, after JAX's backend has started, which reads the environment then."""
        if self._clean is None:
            import jax.numpy as jnp

            jnp.zeros(()).block_until_ready()
            self._clean = ProcessState()

    def train(self) -> dict[str, Any]:
        """Train to the next report and return it; the last one carries the trial's outcome and results."""
        if self._spent:
            return self._hand_back()
        result = self._advance()
        # One string, since Tune flattens, copies and inspects every nested result on its way to the driver.
        report = json.dumps(result)
        if len(report) > 1e6 * MOST_REPORT_MB:
            result = self._end(Outcome.CRASHED, {"error": _too_large(result, len(report) / 1e6)})
            report = json.dumps(result)
        if "outcome" in result:
            self._heartbeat.set_trial(IDLE)
        else:
            self._heartbeat.beat()
        return {"report": report, "done": "outcome" in result}

    def _hand_back(self) -> dict[str, Any]:
        """Return the report that this worker cannot take the trial; the worker then ends."""
        if self._failure is not None:
            raise WorkerSpentError(self._spent)
        self._failure = Outcome.STOPPED, {}
        self._heartbeat.set_trial(IDLE)
        return {"report": json.dumps({**self._usage(0), "metrics": {}, "worker_spent": self._spent}), "done": False}

    def _advance(self) -> dict[str, Any]:
        if self._failure is not None:
            return self._end(*self._failure)
        assert self._training is not None
        try:
            report = self._training.advance()
            self._models.after(self._training, report)
            if report.ending:
                return self._finish(report)
            self._maybe_save()
        except BaseException as error:
            return self._end(outcome_of(error), _raised(error))
        return {**self._usage(report.step), "metrics": report.metrics}

    def _maybe_save(self) -> None:
        """Write a checkpoint if the last one is old, or if the search drains and nothing may be lost."""
        assert self._training is not None
        draining = not Path(self._task["run_permit"]).exists()
        if draining or time.monotonic() - self._saved_at >= CHECKPOINT_EVERY_S:
            self._training.save(Path(self._task["checkpoint"]))
            self._saved_step, self._saved_at = self._training.step, time.monotonic()

    def _finish(self, report: "Report") -> dict[str, Any]:
        assert self._training is not None
        if report.ending != Outcome.COMPLETED.value:
            return self._end(Outcome(report.ending), {"metrics": report.metrics})
        metrics, tables = self._training.results(self._task.get("objectives", ()))
        if self._task["keep"]:
            self._training.save(Path(self._task["checkpoint"]), {"trainable": self._task["trainable"]})
        return self._end(Outcome.COMPLETED, {"metrics": metrics, "last": report.metrics, "tests": tables})

    def _end(self, outcome: Outcome, result: dict[str, Any]) -> dict[str, Any]:
        step = self._training.step if self._training is not None else 0
        return {**self._usage(step), "outcome": outcome.value, **result}

    def _usage(self, step: int) -> dict[str, Any]:
        compiled = 0.0
        if self._training is not None:
            compiled = self._training.program.compile_s - self._compile_s_before
        origin = self._training.origin if self._training is not None else None
        figures = Figures(
            step=step,
            seconds=time.monotonic() - self._started,
            cpu_seconds=time.process_time() - self._cpu_started,
            compile_seconds=compiled,
            peak_memory_mb=peak_memory_mb(),
            xla_threads=xla_pool_threads(),
            host=node_name(),
            code=origin.code if origin else "",
            settings=origin.settings if origin else "",
        )
        return {**measured(figures), "saved_step": self._saved_step}

    def get_auto_filled_metrics(self, debug_metrics_only: bool = True) -> dict[str, Any]:
        """Return nothing: what Tune knows of a trial before its first report is never read."""
        return {}

    def stop(self) -> None:
        """Do nothing: a trial that is stopped has saved, and Ray ends the process."""
