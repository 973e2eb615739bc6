"""Searches in odd states, each made in a fraction of a second without Ray: whatever reads a search must bear them all.

`ODD` names them; `make_odd(name, tmp_path)` makes one below `$SWELL_ROOT` and returns its paths. The fixture
`odd_search` (tests/analysis/conftest.py) runs a test once for each.
"""

import json
import math
import shutil

from cluster.state.outcomes import Outcome
from tests.searching import WIDE, Search, make_spec

RUNGS = {"name": "asha", "grace_steps": 10, "reduction": 2}
RISKY = {**WIDE, "trouble": ["none", "exception"]}
CONDITIONAL = {**WIDE, "size": [2, 3], "optional": {"low": 0.5, "high": 2.0, "when": {"size": [3]}}}
HOSTILE = "</script><b>[bold]\x1b[31m 'quoted' \"twice\" \\ $x_1$ & | end\nsecond line"
"""An error's text that every page, table and terminal must show as text."""
STEPS = (10, 20, 30)
ODD = {}
"""The function that makes a search in each state, by the state's name."""


def odd(make):
    """Add a state to ODD under its function's name."""
    ODD[make.__name__] = make
    return make


class Course:
    """Lets trials of a search train: their reports go to the study and to the histories as a driver writes them."""

    def __init__(self, tmp_path, *, job=None, search=None, **parts):
        self.search = search or Search(make_spec(**parts), tmp_path)
        self.paths = self.search.paths if job is None else type(self.search.paths)(self.search.paths.root, job)
        self.study = self.search.open(job)
        self.paths.histories.mkdir(exist_ok=True)
        self._history = self.paths.history(self.paths.next_wave()).open("a")

    def begin(self):
        """Return the next trial's assignment; it runs until it is ended."""
        assigned = self.study.ask()
        assert assigned is not None
        return assigned

    def train(self, assigned, until=STEPS[-1]):
        """Report a trial at each of its steps; return the steps and metrics that it has reached."""
        reached, metrics = 0, {}
        for step in (step for step in STEPS if step <= until):
            reached, metrics = step, _metrics(assigned.config, step)
            self._write({"trial": assigned.number, "step": step, "seconds": step / 20, "metrics": metrics})
            if not self.study.report(assigned.number, step, metrics, step / 20):
                break
        return reached, metrics

    def end(self, assigned, outcome, reached=0, metrics=None, **more):
        """Tell how a trial ended."""
        used = {"step": reached, "seconds": reached / 20 or 0.3, "cpu_seconds": reached / 25, "peak_memory_mb": 310.0}
        used |= {"compile_seconds": 0.2, "host": "node1", "wave": 1, "metrics": metrics or {}}
        return self.study.tell(assigned.number, outcome, used | more, retry=False)

    def complete(self, num=1, **more):
        """Train trials to their ends, or to where early stopping ends them."""
        for _ in range(num):
            assigned = self.begin()
            reached, metrics = self.train(assigned)
            outcome = Outcome.COMPLETED if reached == STEPS[-1] else Outcome.PRUNED
            if outcome is Outcome.COMPLETED:
                metrics = metrics | {"test_error": 1.1 * metrics["val_error"]}
                tests = {"plain": {"error": [metrics["val_error"], 0.5 * metrics["val_error"], 1.5]}}
                self._write({"trial": assigned.number, "tests": tests})
            self.end(assigned, outcome, reached, metrics | more)

    def fail(self, outcome, error, num=1, reached=10):
        """Let trials fail with an error, after some steps."""
        for _ in range(num):
            assigned = self.begin()
            self.end(assigned, outcome, *self.train(assigned, reached), error=error)

    def close(self, waves=1):
        """End the wave, as a driver does."""
        for number in range(1, waves + 1):
            figures = {"trials": 4, "trials_s": 6.0, "slots": 2, "utilisation": 0.8, "tail_s": 0.4}
            self.study.add_wave({"wave": number, **figures, "began_at": 1.7e9 + number, "ended_at": 1.7e9 + 6 + number})
        self._history.close()
        self.study.close()
        return self.search.paths

    def _write(self, entry):
        self._history.write(json.dumps(entry) + "\n")


def _metrics(config, step):
    """Return what a trial measures: the smaller the nearer its rate is to 0.03, less with every step, seeds apart."""
    distance = abs(math.log10(config["learning_rate"] / 0.03)) + 0.1 * abs(config["shift"])
    value = distance + 1.0 / step + 0.01 * config["seed"]
    return {"val_error": value, "train_loss": value**2, "first": 0.3 * value, "cost": step * (2.0 + config["shift"])}


# -- one function for each state ------------------------------------------------------------------------------------


@odd
def empty(tmp_path):
    """Return a search that was launched and whose first wave has not begun: it has no study yet."""
    return Search(make_spec(), tmp_path).paths


@odd
def no_trials(tmp_path):
    """Return a search whose driver has opened the study and asked for nothing yet."""
    return Course(tmp_path).close(waves=0)


@odd
def one_trial(tmp_path):
    """Return a search with a single trial, completed."""
    course = Course(tmp_path, budget={"trials": 1})
    course.complete()
    return course.close()


@odd
def all_crashed(tmp_path):
    """Return a search in which every trial crashed at once, with an error full of markup."""
    course = Course(tmp_path)
    course.fail(Outcome.CRASHED, HOSTILE, num=4, reached=0)
    return course.close()


@odd
def all_kinds_of_failures(tmp_path):
    """Return a search that has a trial of every outcome, also a choice that explains some."""
    course = Course(tmp_path, space=RISKY)
    for outcome in Outcome:
        if outcome not in (Outcome.COMPLETED, Outcome.STOPPED, Outcome.PRUNED):
            course.fail(outcome, f"RuntimeError: it was {outcome.value}")
    course.complete(3)
    return course.close()


@odd
def running(tmp_path):
    """Return a running search: trials have ended, run with and without reports, and one was stopped on the way."""
    course = Course(tmp_path)
    course.complete(2)
    stopped = course.begin()
    course.end(stopped, Outcome.STOPPED, *course.train(stopped, 20))
    course.train(course.begin(), 20)  # the stopped one, taken up again
    course.train(course.begin(), 10)
    course.begin()
    course._history.close()  # the driver is killed here: it closes nothing
    return course.search.paths


@odd
def only_running(tmp_path):
    """Return a search of which no trial has ended yet."""
    course = Course(tmp_path)
    course.train(course.begin(), 10)
    course.begin()
    course._history.close()
    return course.search.paths


@odd
def pruned(tmp_path):
    """Return a search with early stopping, in which many trials end at the first rungs."""
    course = Course(tmp_path, early_stopping=RUNGS, budget={"trials": 12})
    course.complete(12)
    return course.close()


@odd
def multi_objective(tmp_path):
    """Return a search with two objectives that want opposite things, one to be made large."""
    objectives = [{"metric": "val_error"}, {"metric": "first", "mode": "max"}]
    course = Course(tmp_path, objective=objectives, sampler={"name": "nsga2"}, budget={"trials": 6})
    course.complete(5)
    course.fail(Outcome.CRASHED, "ValueError: no")
    return course.close()


@odd
def constrained(tmp_path):
    """Return a search with constraints that some of its trials break."""
    course = Course(
        tmp_path,
        constraints=[{"metric": "train_loss", "max": 1.0}, {"metric": "first", "min": 0.0}],
        sampler={"name": "tpe"},
    )
    course.complete(6)
    return course.close()


@odd
def none_feasible(tmp_path):
    """Return a search all of whose trials break its constraint."""
    course = Course(tmp_path, constraints=[{"metric": "train_loss", "max": -1.0}], sampler={"name": "tpe"})
    course.complete(3)
    return course.close()


@odd
def repeated(tmp_path):
    """Return a search with seeds: complete sets, one whose second seed crashed, and one that has only begun."""
    course = Course(tmp_path, repeats={"seeds": [3, 4]}, budget={"trials": 12})
    course.complete(5)
    course.fail(Outcome.CRASHED, "ValueError: this seed")
    course.complete(1)
    return course.close()


@odd
def conditional(tmp_path):
    """Return a search with a parameter that only some trials have."""
    course = Course(tmp_path, space=CONDITIONAL)
    course.complete(7)
    return course.close()


@odd
def several_jobs(tmp_path):
    """Return a search that two jobs share: each has histories and waves of its own, numbered from 1."""
    search = Search(make_spec(), tmp_path)
    courses = [Course(tmp_path, search=search, job=job) for job in (0, 1)]
    for course in courses:
        course.complete(2)
    for course in courses:
        course.close()
    return search.paths


@odd
def not_finite(tmp_path):
    """Return a search with metrics that are no finite numbers, of which one trial has more than the others."""
    course = Course(tmp_path)
    course.complete(1, extra=math.inf)
    course.complete(2, first=math.nan)
    course.complete(1, val_error=math.nan)
    return course.close()


@odd
def clashing_names(tmp_path):
    """Return a search whose metrics are called like columns of ours, and like a field of the config."""
    course = Course(tmp_path)
    course.complete(2, rank=3.0, trial=9.0, outcome=1.0, shift=0.25)
    return course.close()


@odd
def without_histories(tmp_path):
    """Return a copy that lacks the histories and the checkpoints."""
    paths = repeated(tmp_path)
    shutil.rmtree(paths.histories)
    shutil.rmtree(paths.checkpoints)
    return paths


@odd
def torn_files(tmp_path):
    """Return a copy that was cut off: the journal and the history end in the midst of a line."""
    paths = running(tmp_path)
    for file in (paths.journal, paths.history(1)):
        content = file.read_bytes()
        file.write_bytes(content[: int(0.7 * len(content))])
    return paths


@odd
def without_study(tmp_path):
    """Return a copy that has everything but the study's journal."""
    paths = one_trial(tmp_path)
    paths.journal.unlink()
    return paths


@odd
def only_spec(tmp_path):
    """Return a copy of which nothing but the resolved spec has arrived."""
    paths = one_trial(tmp_path)
    for part in paths.root.iterdir():
        if part == paths.spec:
            continue
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()
    return paths


def make_odd(name, tmp_path):
    """Make the search in the state of that name below `$SWELL_ROOT`; return its paths."""
    return ODD[name](tmp_path)
