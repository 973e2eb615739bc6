"""Searches for the tests: a spec of ripple, its directory, and its study opened without Ray."""

from cluster.outcomes import Outcome
from cluster.search import create_search
from cluster.study import SearchStudy
from search_spaces.spec import Spec
from tests.methods.ripple import Config

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

    def open(self, **options):
        """Open the study as a new wave driver does."""
        return SearchStudy(self.paths, self.spec, Config, **options)

    def run(self, objective, study=None, most=10**6):
        """Complete trials one after the other with the metrics of a function of their config; return the configs."""
        study = study or self.open()
        configs = {}
        while len(configs) < most and (assignment := study.ask()):
            configs[assignment.number] = assignment.config
            study.tell(assignment.number, Outcome.COMPLETED, result(**objective(assignment.config)))
        return configs
