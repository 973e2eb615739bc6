"""Optuna with a pool of processes: one journal, one shared program per process, a persistent cache."""

import multiprocessing
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.rivals.task import GRACE_STEPS, METRIC, REDUCTION, WORKERS, Task, Trial, new_programs

NAME = "rivals"
kept: dict[str, Any] = {}
"""What a process of the pool keeps between trials."""


def _storage() -> JournalStorage:
    return JournalStorage(JournalFileBackend("study.journal"))


def _pruner(task: Task) -> optuna.pruners.BasePruner:
    if not task.stops_early:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=GRACE_STEPS, reduction_factor=REDUCTION)


def begin() -> None:
    """Prepare a process of the pool."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = Task.given()
    study = optuna.load_study(study_name=NAME, storage=_storage(), pruner=_pruner(task))
    kept.update(task=task, study=study, programs=new_programs())


def objective(trial: optuna.Trial) -> float:
    """Train one configuration."""
    number = trial.suggest_int("number", 0, len(kept["task"].configs) - 1)
    training = Trial(kept["task"], number, kept["programs"], shared=True)
    while True:
        report = training.advance()
        if report.ending:
            return report.metrics[METRIC]
        trial.report(report.metrics[METRIC], report.step)
        if trial.should_prune():
            raise optuna.TrialPruned


def train(_: int) -> None:
    """Train the next trial of the study."""
    kept["study"].optimize(objective, n_trials=1)


def main() -> None:
    """Search."""
    task = Task.given()
    study = optuna.create_study(study_name=NAME, storage=_storage(), direction="minimize")
    for number in range(len(task.configs)):
        study.enqueue_trial({"number": number})
    with multiprocessing.get_context("spawn").Pool(WORKERS, begin) as pool:
        pool.map(train, range(len(task.configs)), chunksize=1)
    print(study.best_value)


if __name__ == "__main__":
    main()
