"""Connects Ray Tune to a wave: a searcher and a scheduler that only pass its calls on.

Ray's own OptunaSearch and ASHAScheduler are not used: with a stored study they cannot be resumed, lose their rungs on a
restart, and tell Optuna that trials stopped early are complete.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.air._internal import usage
from ray.air.execution._internal import RayActorManager, TrackedActor
from ray.air.execution.resources import FixedResourceManager
from ray.tune import Callback
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from cluster.driver.ray_head import replaced
from cluster.driver.wave import Wave
from cluster.machine.scratch import Scratch
from cluster.worker.actor import TrialActor
from search_spaces.spec import Spec


class _NeverSaved:
    """Leaves the live wave out of the snapshots that Tune pickles, which nothing ever reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class WaveSearcher(_NeverSaved, Searcher):
    """Tune's search algorithm: asks the wave for trials, and tells it their ends."""

    def __init__(self, wave: Wave, tick: Callable[[], None]) -> None:
        super().__init__()
        self._wave = wave
        self._tick = tick
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next trial's config for the actor, None if Tune shall ask again later, or FINISHED."""
        config = self._wave.next()
        if config is None:
            return Searcher.FINISHED
        if config == "later":
            if not self._wave.running:  # then Tune only asks, and calls no callback
                self._tick()
            return None
        self._numbers[trial_id] = config["number"]
        return config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass a trial's end on to the wave."""
        last = json.loads(result["report"]) if result and "report" in result and not error else None
        # If this raises (on a full disk), Tune calls it again: that must raise too, or Tune would go on.
        self._wave.end(self._numbers.pop(trial_id), last)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save nothing: the study is the only state."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the study is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the study is the only state."""


class WaveScheduler(_NeverSaved, FIFOScheduler):
    """Tune's scheduler: asks the wave whether a trial goes on after a report."""

    def __init__(self, wave: Wave) -> None:
        super().__init__()
        self._wave = wave

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Return CONTINUE or STOP for a trial that has reported."""
        goes_on = self._wave.report(trial.config["number"], json.loads(result["report"]))
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


class WaveCallback(_NeverSaved, Callback):
    """Calls `tick` at every turn of Tune."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Call `tick`, in which the driver checks its clock and orders."""
        self._tick()


class _Registered(tune.Trainable):
    """What Tune is told to run, since it takes none but its own kind; `_PlainActors` starts `TrialActor` instead."""


class _PlainActors(RayActorManager):
    """Starts Tune's trials as actors that are no trainables of Tune's, and hands them only what is their own.

    What Tune adds to an actor's arguments is of classes of its own, which would import all of Tune in every worker. It
    also asks for a runtime environment, which needs an agent of Ray's and another process than those already begun.
    """

    def add_actor(self, cls: Any, kwargs: dict[str, Any], *arguments: Any, **named: Any) -> TrackedActor:
        """Request an actor for a trial."""
        return super().add_actor(ray.remote(TrialActor), {"config": _own(kwargs["config"])}, *arguments, **named)

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        *arguments: Any,
        **named: Any,
    ) -> Any:
        """Call a method of an actor."""
        if method_name == "reset":
            assert args, "Tune gives the next trial's config"
            args, kwargs = (_own(args[0]),), None
        return super().schedule_actor_task(tracked_actor, method_name, args, kwargs, *arguments, **named)


def _left_to_ray() -> FixedResourceManager:
    """Return what lets Tune start actors at any time: Ray knows when they fit, and the wave how many may run at once.

    A placement group for each, as Tune would make it, takes a task in a worker before the actor can begin.
    """
    return FixedResourceManager({"CPU": math.inf, "GPU": math.inf})


def _own(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("number", "task")}


@contextmanager
def lean_tune() -> Iterator[None]:
    """Make Tune start our own actors, without placement groups, and count nobody's callbacks.

    To count which callbacks of its own a search uses, Tune imports W&B: 0.4 s of CPU before the first trial.
    """
    with (
        replaced(tune_controller, "RayActorManager", _PlainActors),
        replaced(tune_controller, "PlacementGroupResourceManager", _left_to_ray),
        replaced(usage, "tag_callbacks", lambda callbacks: False),
    ):
        yield


def run_trials(wave: Wave, spec: Spec, scratch: Scratch, num_slots: int, tick: Callable[[], None]) -> None:
    """Run the wave's trials with Ray Tune until no more may be started and none runs."""
    resources = {"cpu": spec.resources.cpus_per_trial, "gpu": spec.resources.gpus_per_trial}
    tuner = tune.Tuner(
        tune.with_resources(_Registered, {name: amount for name, amount in resources.items() if amount}),
        tune_config=tune.TuneConfig(
            search_alg=WaveSearcher(wave, tick),
            scheduler=WaveScheduler(wave),
            num_samples=-1,
            max_concurrent_trials=num_slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"wave-{wave.number}",
            storage_path=str(scratch.tune),
            verbose=0,
            # The study retries lost trials: it counts their attempts over waves and drivers.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[WaveCallback(tick)],
        ),
    )
    # At its end, Tune misses its result files, which it was told not to write, and lists every trial as failed.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    with lean_tune():
        tuner.fit()
