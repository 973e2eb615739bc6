"""Syne Tune's local backend: a script for every trial, in a process of its own, with a persistent cache of programs.

It asks after its trials ten times a second; its default, every five seconds, would leave workers without a trial.
"""

import argparse
from pathlib import Path

from benchmarks.rivals.task import GRACE_STEPS, METRIC, REDUCTION, WORKERS, Task, Trial, new_programs


def train(number: int) -> None:
    """Train one configuration: what the script does for a trial."""
    from syne_tune import Reporter  # pyright: ignore[reportMissingImports]  # of the extra `bench`

    report_to = Reporter()
    trial = Trial(Task.given(), number, new_programs(), shared=True)
    ending = ""
    while not ending:
        report = trial.advance()
        ending = report.ending
        report_to(step=report.step, **{METRIC: report.metrics[METRIC]})


def search() -> None:
    """Search."""
    from syne_tune import StoppingCriterion, Tuner  # pyright: ignore[reportMissingImports]
    from syne_tune.backend import LocalBackend  # pyright: ignore[reportMissingImports]
    from syne_tune.config_space import randint  # pyright: ignore[reportMissingImports]
    from syne_tune.optimizer.baselines import ASHA, RandomSearch  # pyright: ignore[reportMissingImports]

    task = Task.given()
    space = {"number": randint(0, len(task.configs) - 1)}
    points = [{"number": number} for number in range(len(task.configs))]
    if task.stops_early:
        scheduler = ASHA(
            space,
            metric=METRIC,
            time_attr="step",
            max_t=task.steps,
            grace_period=GRACE_STEPS,
            reduction_factor=REDUCTION,
            points_to_evaluate=points,
        )
    else:
        scheduler = RandomSearch(space, metrics=[METRIC], points_to_evaluate=points)
    # The criterion stops as soon as more than this number have begun.
    Tuner(
        trial_backend=LocalBackend(str(Path(__file__).resolve())),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_started=len(task.configs) - 1),
        n_workers=WORKERS,
        sleep_time=0.1,
        wait_trial_completion_when_stopping=True,
        tuner_name="rivals",
    ).run()


def main() -> None:
    """Search, or train the trial that the search has started this script for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int)
    options, _ = parser.parse_known_args()
    search() if options.number is None else train(options.number)


if __name__ == "__main__":
    main()
