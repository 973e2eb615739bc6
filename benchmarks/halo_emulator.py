"""What trainings of the halo emulator come to on the test simulations, seed by seed, beside the baselines.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.halo_emulator
    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.halo_emulator --seeds 0 1 2 --set width=128 --set members=3

Each training keeps its best model by the likelihood of the validation simulations; the test simulations are looked at
once, at its end. --set changes a field of the config (its value as in a spec). The table is Markdown, for the docs; the
last line says what the trainings cost.
"""

import argparse
import json
import time
from typing import Any

import yaml

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.method import method

COLUMNS = {
    "nll": "NLL",
    "rmse_dex": "error, dex",
    "median_error_pct": "median error, %",
    "r2": "R^2",
    "coverage_68_pct": "within 68 %, %",
    "coverage_95_pct": "within 95 %, %",
}


def trained(config: Config, programs: ProgramCache, store: DatasetStore) -> dict[str, float]:
    """Return the metrics of the best model of a training by validation, those of the baselines among them."""
    training = Training(programs.get(method, config), config, method.trial_data(config, store))
    while not training.advance().ending:
        pass
    return training.results().metrics


def row(name: str, metrics: dict[str, float], prefix: str = "test_") -> str:
    values = [f"{metrics[f'{prefix}{column}']:.3g}" for column in COLUMNS]
    return f"| {name} | {' | '.join(values)} |"


def _value(text: str) -> Any:
    """Return a value as a spec gives it; 1e-3 is a number, as it is in JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    changed: dict[str, Any] = {}
    for one in arguments.set:
        name, _, value = one.partition("=")
        changed[name] = _value(value)
    programs, store = ProgramCache(), DatasetStore()
    config = Config.of_values(changed)
    start = time.process_time()
    method.data(config, store)
    print(f"data and baselines: {time.process_time() - start:.0f} s of CPU", flush=True)
    print(f"| on test simulations | {' | '.join(COLUMNS.values())} |\n|{'---|' * (1 + len(COLUMNS))}")
    start, metrics = time.process_time(), {}
    for seed in arguments.seeds:
        metrics = trained(Config.of_values({**changed, "seed": seed}), programs, store)
        found = f"validation NLL {metrics['val_nll']:.3f} at step {metrics['best_step']:.0f}"
        print(row(f"{config.model}, {config.members} members, seed {seed} ({found})", metrics), flush=True)
    for baseline in config.baselines:
        print(row(baseline.replace("_", " "), metrics, f"test_baseline_{baseline}_"))
    spent = (time.process_time() - start) / len(arguments.seeds)
    print(f"\n{spent:.0f} s of CPU a training of {config.steps} steps, compilation included")


if __name__ == "__main__":
    main()
