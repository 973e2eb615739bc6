"""Ray Tune as well as we can write it: the class API, actors used again, one program per process, a persistent cache.

Caps on threads, no dashboard, no loggers of Tune's, no placement group for each trial's one CPU.
"""

import os
from pathlib import Path
from typing import Any

import ray
from ray import tune

from benchmarks.rivals.ray_plain import asha
from benchmarks.rivals.task import METRIC, WORKERS, Task, Trial, new_programs

kept: dict[str, Any] = {}
"""What a worker process keeps between trials."""


class Trainable(tune.Trainable):
    """Trains one configuration after the other."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin a trial."""
        if not kept:
            kept.update(task=Task.given(), programs=new_programs())
        self._trial = Trial(kept["task"], config["number"], kept["programs"], shared=True)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin the next one in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next report."""
        report = self._trial.advance()
        return {"step": report.step, METRIC: report.metrics[METRIC], "done": bool(report.ending)}


def main() -> None:
    """Search."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    task = Task.given()
    ray.init(num_cpus=WORKERS, include_dashboard=False, _temp_dir=os.environ["TMPDIR"], object_store_memory=100 * 2**20)
    tuner = tune.Tuner(
        tune.with_resources(Trainable, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(len(task.configs))))},
        tune_config=tune.TuneConfig(metric=METRIC, mode="min", scheduler=asha(task), reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(Path.cwd() / "results"), verbose=0),
    )
    print(tuner.fit().get_best_result().metrics)
    ray.shutdown()


if __name__ == "__main__":
    main()
