"""A driver of one job of several, without Ray: it asks, reports three times and tells, and prints what it does.

Run as `python -m tests.shared_driver SEARCH JOB PAUSE PATIENCE`: the seconds before each report, and those after which
another driver counts as dead.
"""

import json
import math
import sys
import time
from pathlib import Path

from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.study.study import SearchStudy
from tests.methods.ripple.config import Config

STEPS = (10, 20, 30)


def error_of(config: dict) -> float:
    """Smallest at learning_rate 0.03 and shift 0.5."""
    return (math.log10(config["learning_rate"]) + 1.5) ** 2 + (config["shift"] - 0.5) ** 2


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def train(study: SearchStudy, number: int, config: dict, pause_s: float) -> None:
    value = error_of(config)
    for step in STEPS:
        time.sleep(pause_s)
        goes_on = study.report(number, step, {"val_error": value + 1 / step}, 1.0)
        if not study.is_running(number):
            say(dropped=number)
            return
        say(reported=number, step=step)
        if not goes_on:
            break
    outcome = Outcome.COMPLETED if goes_on else Outcome.PRUNED
    told = study.tell(number, outcome, {"metrics": {"val_error": value}, "seconds": 1.0, "step": step})
    say(told=number, outcome=outcome.value, recorded=told.outcome and told.outcome.value)


def main(root: str, job: str, pause: str, patience: str) -> None:
    paths = SearchPaths(Path(root), int(job))
    study = SearchStudy(paths, load_spec(paths), Config, patience_s=float(patience))
    say(opened=int(job))
    while not (reason := study.finished()):
        assignment = study.ask()
        if assignment is None:
            time.sleep(0.05)
            continue
        say(asked=assignment.number)
        train(study, assignment.number, assignment.config, float(pause))
    study.close()
    say(finished=reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
