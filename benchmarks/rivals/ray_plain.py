"""Ray Tune as its documentation shows it: a function that reports, and a process of its own for every trial."""

import os
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from benchmarks.rivals.task import GRACE_STEPS, METRIC, REDUCTION, WORKERS, Task, Trial, new_programs


def train(config: dict[str, Any]) -> None:
    """Train one configuration."""
    trial = Trial(Task.given(), config["number"], new_programs(), shared=False)
    ending = ""
    while not ending:
        report = trial.advance()
        ending = report.ending
        tune.report({"step": report.step, METRIC: report.metrics[METRIC]})


def asha(task: Task) -> ASHAScheduler | None:
    """Return Ray Tune's early stopping with quickstart's settings; None if all trials go on to their end."""
    if not task.stops_early:
        return None
    return ASHAScheduler(time_attr="step", grace_period=GRACE_STEPS, reduction_factor=REDUCTION, max_t=task.steps)


def main() -> None:
    """Search."""
    task = Task.given()
    ray.init(num_cpus=WORKERS, _temp_dir=os.environ["TMPDIR"])
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(len(task.configs))))},
        tune_config=tune.TuneConfig(metric=METRIC, mode="min", scheduler=asha(task)),
        run_config=tune.RunConfig(storage_path=str(Path.cwd() / "results")),
    )
    print(tuner.fit().get_best_result().metrics)
    ray.shutdown()


if __name__ == "__main__":
    main()
