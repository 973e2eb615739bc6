"""What trainings of the halo emulator come to on the test simulations, seed by seed, beside the baselines.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.halo_emulator
    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.halo_emulator --seeds 0 1 2 --set width=128 --set members=3
    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.halo_emulator --seeds --gp-haloes 1000 4000

Each training keeps its best model by the likelihood of the validation simulations; the test simulations are looked at
once, at its end. --set changes a field of the config (its value as in a spec); --gp-haloes computes the baselines anew
for each of these numbers, and times them. Generated haloes have a floor, too: the law that they were drawn from. The
table is Markdown, for the docs, with the CPU time of each row, compilation included.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.settings import add_set, config_of, tells_mistakes, values_of
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training
from trainables.halo_emulator.baselines import predictions
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.data import load
from trainables.halo_emulator.generated import scatter_sigma
from trainables.halo_emulator.method import method
from trainables.halo_emulator.metrics import scores

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


def floor(config: Config, store: DatasetStore) -> dict[str, float]:
    """Return the scores of the law that generated test haloes were drawn from: its mean, and the scatter's variance."""
    test = load(config, "test", store)
    without = load(config.model_copy(update={"scatter": 0.0}), "test", store)
    sigma = scatter_sigma(config.scatter, np.asarray(test["log_mass"], np.float64))
    mean = np.asarray(without["target"], np.float64)
    return scores(config, test, {"mean": mean, "variance": np.broadcast_to(sigma[:, None] ** 2, mean.shape)})


def row(name: str, metrics: Mapping[str, float], seconds: float | None = None, prefix: str = "") -> str:
    """Return a line of the table."""
    values = [f"{metrics[f'{prefix}{column}']:.4g}" for column in COLUMNS]
    return f"| {name} | {' | '.join(values)} | {'' if seconds is None else f'{seconds:.0f}'} |"


@tells_mistakes
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    add_set(parser, "the defaults")
    parser.add_argument("--gp-haloes", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    changed = values_of(arguments.set, elsewhere={"seed": "--seeds"})
    programs, store = ProgramCache(), DatasetStore()
    config = config_of(Config, changed)
    start = time.process_time()
    training, validation, test = (load(config, split, store) for split in ("train", "val", "test"))
    print(f"data: {time.process_time() - start:.0f} s of CPU\n", flush=True)
    print(f"| on test simulations | {' | '.join(COLUMNS.values())} | CPU, s |\n|{'---|' * (2 + len(COLUMNS))}")
    for num in arguments.gp_haloes:
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            asked = config.model_copy(update={"gp_haloes": num})
            found = predictions(asked, training, validation, test, DatasetStore(Path(folder)))["gaussian_process"]
            values = scores(config, test, {name: np.array(array) for name, array in found.items()})
        print(row(f"Gaussian processes, {num} haloes", values, time.process_time() - start), flush=True)
    if arguments.seeds:
        method.data(config, store)  # the baselines
    metrics: dict[str, float] = {}
    for seed in arguments.seeds:
        start = time.process_time()
        metrics = trained(config_of(Config, {**changed, "seed": seed}), programs, store)
        found = f"validation NLL {metrics['val_nll']:.4f} at step {metrics['best_step']:.0f}"
        name = f"{config.model}, {config.members} members, seed {seed} ({found})"
        print(row(name, metrics, time.process_time() - start, "test_"), flush=True)
    for baseline in config.baselines if metrics else ():
        print(row(baseline.replace("_", " "), metrics, prefix=f"test_baseline_{baseline}_"))
    if config.dataset == "generated":
        print(row("the law itself", floor(config, store)))


if __name__ == "__main__":
    main()
