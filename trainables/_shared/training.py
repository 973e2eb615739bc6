"""One trial's training: chunks of steps, reports, the best models, and the checkpoint that continues it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from trainables._shared import returned
from trainables._shared.checkpoint import Checkpoint, leaves_of, read_checkpoint, write_checkpoint
from trainables._shared.config import MethodConfig
from trainables._shared.contract import Hyper, Phase, TestResult, TrialData
from trainables._shared.model_file import BEFORE_RECOVERY
from trainables._shared.origin import NumbersOrigin, number_settings
from trainables._shared.program import FAILURES, Program, Span, TrainState
from trainables._shared.saved import start_params


class Report(NamedTuple):
    """What a trial says after a chunk of steps."""

    step: int
    phase: int
    metrics: dict[str, float]
    ending: str
    """Empty while there is more to train, else `completed`, `diverged` or `solver_failed`."""


class Results(NamedTuple):
    """What a training that has completed comes to."""

    metrics: dict[str, float]
    """Those of the best model's report, those measured on the test sets, and `best_step`."""
    tables: dict[str, dict[str, list[Any]]]
    """The per-example tables by test set."""


class Best(NamedTuple):
    """The best model so far by the method's selection metric."""

    value: float
    step: int
    metrics: dict[str, float]
    params: PyTree[np.ndarray]


def _some(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:20])


def _copy(tree: PyTree[Array]) -> PyTree[np.ndarray]:
    """Copy to the host for good: a view on the CPU would change when its buffer is donated."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def phase_numbers(hyper: Hyper, phase: Phase) -> dict[str, Any]:
    """Return a config's traced numbers for one phase: `learning_rate` is the phase's."""
    rate = jnp.full_like(hyper["learning_rate"], phase.learning_rate)  # of one training, or of each of many lanes
    return {**hyper, "learning_rate": rate}


class Training:
    """One trial on its way; the same numbers, bit for bit, however often it is saved and loaded."""

    def __init__(self, program: Program, config: MethodConfig, data: TrialData) -> None:
        self.program = program
        self.config = config
        self.hyper = program.hyper(config)
        self.scoring = program.scoring(config)
        """The numbers of the task that its model is scored on."""
        self.origin = NumbersOrigin.here()
        self.phases = returned.phases(program.method.phases(config))
        self.metric, self.mode = returned.selection(program.method.selection(config))
        data = returned.data(data, len(self.phases))
        self.state: TrainState = program.run("init", self.hyper)
        self._step = 0
        self.best: Best | None = None
        self.best_per_phase: dict[int, Best] = {}
        self._last: Report | None = None
        self._again: Report | None = None
        """The report of the checkpoint that this training goes on from: whoever was to hear it may have died before."""
        self._data = data
        self._on_device: tuple[int, PyTree[Array]] | None = None
        self._validation = jax.device_put(data.validation)
        self._begun = False
        """Whether the state is that of a step or of a checkpoint, and no longer the random one."""
        self._prepared = -1
        """The phase whose functions are compiled."""

    @property
    def step(self) -> int:
        """Optimiser steps made."""
        return self._step  # known on the host: if a chunk is broken off, its donated state is gone

    def _starts(self) -> list[int]:
        return [sum(phase.steps for phase in self.phases[:index]) for index in range(len(self.phases) + 1)]

    def _phase_data(self, index: int) -> PyTree[Array]:
        if self._on_device is None or self._on_device[0] != index:
            self._on_device = (index, jax.device_put(self._data.phases[index]))
        return self._on_device[1]

    def begin(self) -> None:
        """Take the parameters of the model that `init_from` names, if one is named and no checkpoint is loaded.

        All else is as in any new training: moments, step, what counts bad steps. Comes before the first step by itself.
        Raises ConfigError if the model cannot be read, or does not fit.
        """
        if not self._begun and self.config.init_from is not None:
            params = start_params(self.program, self.config, self.hyper, self.state.params)
            self.state = self.state._replace(params=params, recovery=self.program.no_recovery(_copy(params)))
        self._begun = True

    def advance(self) -> Report:
        """Train to the next report: a multiple of `report_every` steps, or the end of the phase.

        The first report after `load` is the one that the checkpoint was written at, once more.
        """
        if self._again is not None:
            self._last, self._again = self._again, None
            return self._last
        self.begin()
        step, starts = self.step, self._starts()
        index = next(i for i in range(len(self.phases)) if step < starts[i + 1])
        phase = self.phases[index]
        stop = min(starts[index + 1], (step // self.config.report_every + 1) * self.config.report_every)
        span = Span(
            jnp.asarray(stop - step, jnp.int32),
            jnp.asarray(starts[index], jnp.int32),
            jnp.asarray(phase.steps, jnp.int32),
        )
        chunk = (self.state, phase_numbers(self.hyper, phase), span, self._phase_data(index))
        if self._prepared != index:
            self._prepare(index, chunk)
        self.state, terms = self.program.run("chunk", *chunk)
        self._step = int(self.state.step)
        values = self.program.evaluation.run("validate", self.state.params, self.scoring, self._validation)
        metrics = returned.report({f"train_{name}": float(value) for name, value in terms.items()}, values)
        metrics["skipped_steps"] = float(self.state.skipped)
        metrics["recoveries"] = float(self.state.recovery.recoveries)
        self._keep_best(index, metrics)
        ending = FAILURES[int(self.state.failure)]
        if not ending and self.step >= starts[-1]:
            # Nothing finite to choose from at the end: the model is of no use to anybody.
            ending = "completed" if self.best is not None else "diverged"
        self._last = Report(self.step, index, metrics, ending)
        return self._last

    def _prepare(self, index: int, chunk: tuple[Any, ...]) -> None:
        """Compile what this phase needs; if others of this node do that, first what comes after it."""
        self._prepared = index
        evaluated = (self.state.params, self.scoring)
        later = [("predict", *evaluated, dict(self._data.tests))] if self._data.tests else []
        self.program.prepare([("chunk", *chunk), ("validate", *evaluated, self._validation)], later)

    def _keep_best(self, phase: int, metrics: Mapping[str, float]) -> None:
        value = returned.selected(self.metric, metrics)
        if not math.isfinite(value):
            return
        sign = 1 if self.mode == "min" else -1

        def is_better(than: Best | None) -> bool:
            return than is None or sign * value < sign * than.value

        if is_better(self.best) or is_better(self.best_per_phase.get(phase)):
            candidate = Best(value, self.step, dict(metrics), _copy(self.state.params))
            if is_better(self.best):
                self.best = candidate
            if is_better(self.best_per_phase.get(phase)):
                self.best_per_phase[phase] = candidate

    def test(self, params: PyTree[Array] | None = None) -> dict[str, TestResult]:
        """Return the results of these parameters, by default the best model's, on every named test set."""
        if params is None and self.best is not None:
            params = self.best.params
        if params is None or not self._data.tests:
            return {}
        params, tests = jax.device_put(params), jax.device_put(dict(self._data.tests))
        prediction = self.program.evaluation.run("predict", params, self.scoring, tests)
        prediction = jax.tree.map(np.asarray, prediction)
        return returned.test_results(self.program.method.score(self.config.task(), self._data.tests, prediction))

    def results(self, objectives: Sequence[str] = ()) -> Results:
        """Test the best model of a training that has completed, and return what it comes to.

        Raises ReturnedError if the method's results are not what the contract says, or an objective is not among them.
        """
        assert self.best is not None
        tests = self.test()
        measured = {name: value for result in tests.values() for name, value in result.metrics.items()}
        # A test metric of the same name must not take the place of what the trial was selected by.
        metrics = {**measured, **self.best.metrics, "best_step": self.best.step}
        for name in objectives:
            if name not in metrics:
                raise returned.ReturnedError(f"{name}, the objective, was not measured; measured were {_some(metrics)}")
        return Results(metrics, {name: result.table for name, result in tests.items() if result.table})

    def save(self, path: Path, extra: Mapping[str, Any] | None = None) -> None:
        """Write the checkpoint: one file, whole or not at all."""
        self.begin()
        bests = {"best": self.best, **{f"best_phase_{index}": best for index, best in self.best_per_phase.items()}}
        write_checkpoint(
            path,
            {"state": self.state, **{name: best.params for name, best in bests.items() if best}},
            {
                "config": self.config.model_dump(mode="json"),
                "step": self.step,
                "report": report._asdict() if (report := self._again or self._last) else None,
                "settings": number_settings(),
                "origin": list(self.origin),
                "leaves": [leaf.name for leaf in leaves_of(self.state.params)],
                "bests": {
                    name: {"value": best.value, "step": best.step, "metrics": best.metrics}
                    for name, best in bests.items()
                    if best
                },
                "extra": dict(extra or {}),
            },
        )

    def save_model(self, path: Path, trainable: str) -> None:
        """Write the model as it is now, without what continues its training, for `load_model` and `init_from`."""
        assert self._last is not None, "a model is written after a report"
        value = returned.selected(self.metric, self._last.metrics)
        write_checkpoint(
            path,
            {"best": self.state.params},
            {
                "config": self.config.model_dump(mode="json"),
                "step": self.step,
                "settings": number_settings(),
                "origin": list(self.origin),
                "leaves": [leaf.name for leaf in leaves_of(self.state.params)],
                "bests": {"best": {"value": value, "step": self.step, "metrics": self._last.metrics}},
                "extra": {"trainable": trainable},
            },
        )

    def load(self, path: Path) -> dict[str, Any]:
        """Continue from a checkpoint of the same configuration; return what `save` was given as `extra`.

        Raises CheckpointError for a file that is damaged, belongs to another configuration, or was written by a process
        that computes otherwise: half of a training in 64 bits and half in 32 is neither.
        """
        checkpoint = read_checkpoint(path)
        checkpoint.require_config(self.config)
        checkpoint.require_settings(number_settings())
        self.state = self._state(checkpoint)
        self._begun = True
        self._step = int(self.state.step)
        for name, entry in checkpoint.meta["bests"].items():
            best = Best(entry["value"], entry["step"], entry["metrics"], checkpoint.tree(name, self.state.params))
            if name == "best":
                self.best = best
            else:
                self.best_per_phase[int(name.removeprefix("best_phase_"))] = best
        if "origin" in checkpoint.meta:
            self.origin = self.origin.after(NumbersOrigin(*checkpoint.meta["origin"]))
        report = checkpoint.meta["report"]
        self._again = Report(**report) if report else None
        return checkpoint.meta["extra"]

    def _state(self, checkpoint: Checkpoint) -> TrainState:
        if checkpoint.meta["format"] != BEFORE_RECOVERY:
            return checkpoint.tree("state", self.state)
        older = checkpoint.tree("state", tuple(self.state)[:-1])
        return TrainState(*older, recovery=self.program.no_recovery(older[0]))
