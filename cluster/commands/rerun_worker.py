"""Trains one trial again in its own process; reads its request from the file descriptor that is its only argument.

The process that starts it sets the thread caps. Standard input and output are the terminal's, so that `breakpoint()`
works in a method. What the method raises is not caught.
"""

import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cluster.commands.rerun_comparison import Run, describe, difference
from cluster.state.outcomes import Outcome, outcome_of
from cluster.worker.directory import enter_working_directory
from cluster.worker.process_state import seed_global_generators
from search_spaces.validation import explain_validation
from trainables._shared.config import ConfigError, MethodConfig, check_all_data
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_config_type, load_method
from trainables._shared.program import Program
from trainables._shared.training import Report, Training

COMPLETED, FAILED, INTERRUPTED = 0, 1, 130


class Rerun:
    """One trial that is being trained again and compared with what the search has recorded of it."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._trainable: str = request["trainable"]
        self._values: dict[str, Any] = request["config"]
        self._objectives: list[str] = request["objectives"]
        self._searched: dict[str, list[Any]] = request["searched"]
        self._recorded = Run.from_json(request["recorded"])
        self._before = dict(self._recorded.reports)
        self._reports: list[tuple[int, dict[str, float]]] = []
        self._config: MethodConfig | None = None
        self._training: Training | None = None
        self._interrupted = False

    def _interrupt(self, _signum: int, _frame: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def run(self) -> int:
        """Train to the trial's end and print how it compares; does not catch what the method raises."""
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            outcome, metrics = self._train()
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            # An interrupt inside one of JAX's callbacks leaves it as another exception.
            if self._interrupted:
                print(f"interrupted at step {self._step}", flush=True)
                return INTERRUPTED
            self._conclude(*self._failure(error))
            if isinstance(error, SystemExit):  # it would end this process silently, perhaps with status 0
                traceback.print_exc()
                return FAILED
            raise
        self._conclude(outcome, metrics)
        return COMPLETED if outcome is Outcome.COMPLETED else FAILED

    def _failure(self, error: BaseException) -> tuple[Outcome, dict[str, float], str]:
        """Return the outcome, metrics and error that a search would record for a trial that raised this."""
        if self._config is None and isinstance(error, ValidationError):
            explained = explain_validation(error, load_config_type(self._trainable), self._values)
            return Outcome.INVALID_CONFIG, {}, "; ".join(map(str, explained))
        if self._config is None and isinstance(error, ConfigError):
            return Outcome.INVALID_CONFIG, {}, str(error)
        return outcome_of(error), {}, traceback.format_exc()

    @property
    def _step(self) -> int:
        return self._training.step if self._training is not None else 0

    def _train(self) -> tuple[Outcome, dict[str, float]]:
        config = load_config_type(self._trainable).of_values(self._values)
        check_all_data(config)
        self._config = config
        method = load_method(self._trainable)
        seed_global_generators(config.seed)
        data = method.trial_data(config, DatasetStore())
        self._training = Training(Program(method, config, self._searched), config, data)
        num_steps = sum(phase.steps for phase in self._training.phases)
        while True:
            report = self._training.advance()
            self._note(report, num_steps)
            if report.ending:
                return self._end(report)

    def _note(self, report: Report, num_steps: int) -> None:
        """Print a report, and how it differs from the recorded one."""
        self._reports.append((report.step, report.metrics))
        names = dict.fromkeys([*self._objectives, *report.metrics])
        values = "  ".join(f"{name} {report.metrics[name]:.5g}" for name in names if name in report.metrics)
        print(f"step {report.step} of {num_steps}  {values}", flush=True)
        before = self._before.get(report.step)
        found = difference(report.step, before, report.metrics) if before is not None else None
        if found:
            print(f"  not as recorded: {found}", flush=True)

    def _end(self, report: Report) -> tuple[Outcome, dict[str, float]]:
        """Return a training's outcome and results as `cluster.worker.actor` and the study compute them."""
        if report.ending != Outcome.COMPLETED.value:
            return Outcome(report.ending), report.metrics
        training = self._training
        assert training is not None
        metrics = training.results(self._objectives).metrics
        objectives = [metrics.get(name, math.nan) for name in self._objectives]
        return Outcome.COMPLETED if all(map(math.isfinite, objectives)) else Outcome.DIVERGED, metrics

    def _conclude(self, outcome: Outcome, metrics: dict[str, float], error: str = "") -> None:
        again = Run(outcome.value, self._step, metrics, error, self._reports)
        print("", *describe(self._recorded, again, self._objectives), sep="\n", flush=True)


if __name__ == "__main__":
    with os.fdopen(int(sys.argv[1])) as given:
        request = json.load(given)
    enter_working_directory()
    sys.exit(Rerun(request).run())
