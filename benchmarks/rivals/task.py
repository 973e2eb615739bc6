"""The search that all contenders do, its configurations, and one trial's training as swell's workers do it.

The contenders differ in what they share between trials and in how they start and hear of them, not in what is trained.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from search_spaces.spec import Spec
    from trainables._shared.program import ProgramCache
    from trainables._shared.training import Report

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
METRIC = "val_accel_error_pct"
TASK = "RIVALS_TASK"
"""The variable with the path of the task, as JSON."""
WORKERS = 2
GRACE_STEPS = 50
REDUCTION = 3


@dataclass(frozen=True)
class Task:
    """A search: what each contender is given."""

    trainable: str
    configs: tuple[dict[str, Any], ...]
    """The whole configurations, in their order."""
    searched: dict[str, list[Any]]
    """The values of the fields of which several can share a program."""
    steps: int
    stops_early: bool
    reports: str
    """The file to which trials append their reports, one JSON list a line."""

    def write(self, path: Path) -> None:
        """Write the task for `given`."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def given(cls) -> "Task":
        """Return the task of this process."""
        values = json.loads(Path(os.environ[TASK]).read_text())
        return cls(**{**values, "configs": tuple(values["configs"])})


def spec_values(trials: int, steps: int, *, stops_early: bool) -> dict[str, Any]:
    """Return the spec: quickstart's heads, activations and learning rates, at random, segments of 18 samples."""
    values = yaml.safe_load(QUICKSTART.read_text())
    values["name"] = "rivals"
    values["base"] |= {"steps": steps, "segment_length": 18}
    del values["space"]["segment_length"]
    values["sampler"] = {"name": "random", "seed": 0}
    stopping = {"name": "asha", "grace_steps": GRACE_STEPS, "reduction": REDUCTION}
    values["early_stopping"] = stopping if stops_early else {"name": "none"}
    values["budget"] = {"trials": trials}
    values["resources"] = {"cpus": WORKERS, "cpus_per_trial": 1}
    return values


def draw(spec: "Spec") -> tuple[dict[str, Any], ...]:
    """Return the configurations that swell gives the trials of a spec with a sampler that heeds no results."""
    import optuna

    from cluster.study.assignment import suggest
    from cluster.study.samplers import build_sampler
    from search_spaces.space import resolve
    from trainables._shared.discovery import load_config_type

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert spec.budget.trials is not None
    study = optuna.create_study(sampler=build_sampler(spec, None))
    config_type = load_config_type(spec.trainable)
    chosen = (resolve(spec, suggest(study.ask(), spec)) for _ in range(spec.budget.trials))
    return tuple(config_type.of_values(values).model_dump(mode="json") for values in chosen)


def make_task(spec_file: Path, reports: Path, steps: int, *, stops_early: bool) -> Task:
    """Return the task of a spec."""
    from benchmarks.specs import launched
    from cluster.study.configurations import searched_branches
    from trainables._shared.discovery import load_config_type

    spec = launched(spec_file)
    searched = searched_branches(spec, load_config_type(spec.trainable))
    return Task(spec.trainable, draw(spec), searched, steps, stops_early, str(reports))


class Trial:
    """One training, as a worker of swell's trains it; every report is noted in the task's file.

    `programs` are kept for further trials of the process. If it is `shared`, what the search varies among cheap
    branches shares a program.
    """

    def __init__(self, task: Task, number: int, programs: "ProgramCache", *, shared: bool) -> None:
        from trainables._shared.datasets import DatasetStore
        from trainables._shared.discovery import load_method
        from trainables._shared.training import Training

        method = load_method(task.trainable)
        config = method.config_type.of_values(task.configs[number])
        program = programs.get(method, config, searched=task.searched if shared else None)
        self._training = Training(program, config, method.data(config, DatasetStore()))
        self._reports, self._number = Path(task.reports), number

    def advance(self) -> "Report":
        """Train to the next report; a training that has completed is tested too."""
        report = self._training.advance()
        note(self._reports, self._number, report.step, report.metrics[METRIC])
        if report.ending == "completed":
            self._training.results()
        return report


def note(reports: Path, number: int, step: int, error: float) -> None:
    """Append a report to the task's file."""
    with reports.open("a") as file:
        file.write(json.dumps([number, step, error]) + "\n")


def new_programs() -> "ProgramCache":
    """Return a process's own cache of programs."""
    from trainables._shared.program import ProgramCache

    return ProgramCache()
