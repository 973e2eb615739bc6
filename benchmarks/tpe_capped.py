"""Compares TPE fitted on a bounded number of trials with TPE fitted on all, on problems whose optimum is known to be 0.

    python -m benchmarks.tpe_capped [--trials 1500] [--seeds 4] [--most 500] [--only numbers mixed branches]

Each search is asked and told in memory, by the sampler that a search has. What is shown is the best value so far and
the mean of the last 200, averaged over the seeds with its standard deviation, and the CPU time of a suggestion at the
end.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import optuna
from optuna.trial import Trial

from cluster.study.samplers import NumberedSampler
from search_spaces.samplers import SAMPLERS

LAST = 200


def numbers(trial: Trial, noise: float) -> float:
    """Return a curved valley of six numbers with its optimum off the middle."""
    x = np.array([trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(6)])
    off = x - np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.9])
    return float((off**2).sum() + 4.0 * (off[0] - off[1] ** 2 - 0.5 * off[2]) ** 2) + noise


def mixed(trial: Trial, noise: float) -> float:
    """Return what a training might: a learning rate, a decay, choices that interact, a choice that changes nothing."""
    rate = math.log10(trial.suggest_float("learning_rate", 1e-5, 1.0, log=True))
    decay = math.log10(trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True))
    width = trial.suggest_int("width", 16, 512, step=16)
    schedule = trial.suggest_categorical("schedule", ["constant", "cosine", "linear"])
    trial.suggest_categorical("unused", ["a", "b", "c", "d"])
    best_rate = -2.5 - 0.5 * math.log2(width / 256)
    value = 0.3 * (rate - best_rate) ** 2 + 0.1 * (decay + 3.0) ** 2 + 0.2 * math.log2(width / 256) ** 2
    return value + {"constant": 0.3, "cosine": 0.0, "linear": 0.1}[schedule] + noise


def branches(trial: Trial, noise: float) -> float:
    """Return the value of one of two methods, each with numbers of its own: the better one is harder to fit."""
    if trial.suggest_categorical("method", ["easy", "hard"]) == "easy":
        x = np.array([trial.suggest_float(f"easy{i}", 0.0, 1.0) for i in range(2)])
        return 0.05 + float(((x - 0.4) ** 2).sum()) + noise
    x = np.array([trial.suggest_float(f"hard{i}", 0.0, 1.0) for i in range(5)])
    return float((4.0 * (x - 0.7) ** 2).sum()) + noise


PROBLEMS: dict[str, Callable[[Trial, float], float]] = {"numbers": numbers, "mixed": mixed, "branches": branches}


def search(problem: str, most: int, seed: int, trials: int) -> dict[str, float]:
    """Search a problem with noise of 0.01, with TPE fitted on at most `most` trials, and return how it went."""
    options = SAMPLERS["tpe"].options
    sampler = NumberedSampler(lambda own_seed: optuna.samplers.TPESampler(seed=own_seed, **options), seed, fits_on=most)
    study = optuna.create_study(sampler=sampler)
    true: list[float] = []
    asking: list[float] = []
    for number in range(trials):
        noise = float(np.random.default_rng((seed, number)).normal(0.0, 0.01))
        began = time.process_time()
        trial = study.ask()
        value = PROBLEMS[problem](trial, noise)
        asking.append(time.process_time() - began)
        study.tell(trial, value)
        true.append(value - noise)
    marks = {f"best of {n}": min(true[:n]) for n in (trials // 3, 2 * trials // 3, trials)}
    return {
        **marks,
        f"mean of the last {LAST}": statistics.mean(true[-LAST:]),
        "ms": 1000 * statistics.median(asking[-50:]),
    }


def main() -> None:
    """Print a row for each problem and number of trials that TPE is fitted on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--most", type=int, nargs="+", default=[SAMPLERS["tpe"].fits_on, 0])
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for problem in options.only:
        for most in options.most:
            runs = [search(problem, most, seed, options.trials) for seed in range(options.seeds)]
            print(json.dumps({"problem": problem, "most": most or "all", "runs": runs}), flush=True)
            for name in runs[0]:
                values = [run[name] for run in runs]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                print(f"  {name}: {statistics.mean(values):.4f} +- {spread:.4f}", flush=True)


if __name__ == "__main__":
    main()
