"""Searches for the tests: a spec of ripple, its directory, and its study opened without Ray."""

import math

from cluster.commands.search import create_search
from cluster.driver.deadline import Deadline
from cluster.driver.wave import Wave
from cluster.machine.capacity import Capacity
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.study.study import SearchStudy
from search_spaces.spec import Spec
from tests.methods.ripple.config import Config

WIDE = {"learning_rate": {"low": 0.0001, "high": 1.0, "log": True}, "shift": {"low": -2.0, "high": 2.0}}


def make_spec(**parts):
    """Return a spec; `parts` replace its own."""
    values = {
        "name": "try",
        "trainable": "tests.methods.ripple",
        "objective": {"metric": "val_error"},
        "space": WIDE,
        "sampler": {"name": "random"},
        "budget": {"trials": 15},
    }
    return Spec.model_validate(values | parts)


def result(seconds=1.0, **metrics):
    """Return what a wave tells of a trial's end."""
    return {"metrics": metrics, "seconds": seconds, "step": 30}


class Search:
    """A search directory, and its study, opened again and again."""

    def __init__(self, spec, tmp_path):
        source = tmp_path / "source.yaml"
        source.write_text("")
        self.spec = spec
        self.paths = create_search(spec, source)
        self.config_type = Config

    def open(self, job=None, **options):
        """Open the study as a new wave driver does, of one job of several where it has a number."""
        return SearchStudy(SearchPaths(self.paths.root, job), self.spec, self.config_type, **options)

    def wave(self, study, number=1, most=100, capacity=None, left_s=lambda: None, **options):
        """Return a wave of a study, with room and time for all unless told otherwise."""
        capacity = capacity or Capacity(most=100, memory_gb=1000.0)
        options.setdefault("explain_loss", lambda trial: (Outcome.WORKER_LOST, "its worker process died"))
        options.setdefault("take_orders", lambda obey: None)
        return Wave(study, self.paths, number, most, capacity, Deadline(left_s), **options)

    def run(self, objective, study=None, most=10**6):
        """Complete trials one after the other with the metrics of a function of their config; return the configs."""
        study = study or self.open()
        configs = {}
        while len(configs) < most and (assignment := study.ask()):
            configs[assignment.number] = assignment.config
            study.tell(assignment.number, Outcome.COMPLETED, result(**objective(assignment.config)))
        return configs


def quadratic(config):
    """Smallest at learning_rate 0.03 and shift 0.5."""
    return {"val_error": (math.log10(config["learning_rate"]) + 1.5) ** 2 + (config["shift"] - 0.5) ** 2}


def optuna_trials(study):
    return study._study.get_trials(deepcopy=False)
