"""gru_dynamics beside its baselines, step by step, on the double cart-pole's test trajectories, as a Markdown table.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.gru_dynamics --set history=1 hidden=64

`--set` changes the base of `search_spaces/gru_double_cart_pole.yaml`. A seed draws initialisation and batches, a data
seed the training trajectories; of each training the step with the least validation error is tested (free runs of 9
steps). `--keep FILE` has one line for each training, and what is there is not trained again, unless its model is
wanted: `--save FOLDER` writes those that are not there. The linear baseline reads as many rows as the model, with the
ridge that validates best; `--rows` are further numbers of rows for which it is shown; `--ridges` shows only these, with
each ridge, and trains nothing. Exits 1 if the mean over the trainings is not below each baseline at each step.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.settings import add_set, config_of, tells_mistakes, values_of
from trainables._shared.datasets import DatasetStore
from trainables._shared.model_file import read_model_file
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training
from trainables.gru_dynamics.baselines import fits, linear
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.data import MAX_TESTED, MAX_VALIDATED, linear_windows, runs, task
from trainables.gru_dynamics.method import method
from trainables.gru_dynamics.metric_names import steps
from trainables.gru_dynamics.metrics import baseline_predictions, by_step

SEARCH = Path(__file__).parents[1] / "search_spaces" / "gru_double_cart_pole.yaml"
PARTS = ("coordinate_rmse", "angle_rmse_deg", "velocity_rmse")


def measure(config: Config, programs: ProgramCache, file: Path | None) -> dict[str, float]:
    """Train one model, write it to a file if there is one, and return its metrics, validation's and the test's."""
    training = Training(programs.get(method, config), config, method.data(config, DatasetStore()))
    began = time.process_time()
    while not (report := training.advance()).ending:
        pass
    if report.ending != "completed" or training.best is None:
        sys.exit(f"seed {config.seed}: {report.ending}")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        training.save(file, {"trainable": "gru_dynamics"})
    ((_, result),) = training.test().items()
    return {**training.best.metrics, **result.metrics, "cpu_s": time.process_time() - began}


def baseline_errors(config: Config, data_seeds: Sequence[int], rows: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the mean square errors of the baselines at each step, and those of linear ones that read so many rows.

    All are means over the draws of training data, by which linear ones differ.
    """
    found: dict[str, list[np.ndarray]] = {}
    for seed, num in itertools.product(data_seeds, sorted({config.history, *rows})):
        values = config.model_copy(update={"history": num, "data_seed": seed, "linear_base": False})
        ((_, test),) = method.data(values, DatasetStore()).tests.items()
        for name, predicted in baseline_predictions(config.layout, test).items():
            label = f"linear, {num} row{'s' * (num > 1)}" if name == "linear" else name.replace("_", " ")
            found.setdefault(label, []).append(by_step(test.runs, predicted))
    return {label: np.mean(errors, axis=0) for label, errors in found.items()}


def ridge_table(config: Config, rows: Sequence[int]) -> str:
    """Return the errors of linear models of so many rows with each ridge."""
    lines = ["| rows | fitted to | ridge | validation | step 1 | step 3 | step 9 |", "|---" * 7 + "|"]
    for num in rows:
        values = config.model_copy(update={"history": num, "linear_base": False})
        parts = [task(values, None, split, DatasetStore()) for split in ("train", "val", "test")]
        validation, test = (
            runs(values, one, most)[0] for one, most in zip(parts[1:], (MAX_VALIDATED, MAX_TESTED), strict=True)
        )
        for fit in fits(config.layout, linear_windows(values, parts[:1])):
            own, theirs = (
                by_step(one, linear(config.layout, fit.model, one.states, one.controls, one.actions))
                for one in (validation, test)
            )
            shown = " | ".join(f"{value:.3g}" for value in (own.mean(), *theirs[[0, 2, 8]]))
            lines.append(f"| {num} | {'whole' if fit.to_whole else 'all'} | {fit.ridge:g} | {shown} |")
    return "\n".join(lines)


def table(found: list[dict[str, float]], errors: dict[str, np.ndarray]) -> str:
    """Return the mean square errors by step: the model's mean over the seeds and their range, and the baselines'."""
    own = np.array([[one[f"test_mse_step_{k}"] for k in steps()] for one in found])
    lines = [f"| step | GRU, mean of {len(found)} | range | {' | '.join(errors)} |", "|---" * (3 + len(errors)) + "|"]
    for name, chosen in [*((str(k), [k - 1]) for k in steps()), ("all", [k - 1 for k in steps()])]:
        each = own[:, chosen].mean(1)
        theirs = " | ".join(f"{np.mean([values[k] for k in chosen]):.3g}" for values in errors.values())
        lines.append(f"| {name} | {each.mean():.3g} | {each.min():.3g}..{each.max():.3g} | {theirs} |")
    return "\n".join(lines)


def _holds(file: Path, config: Config) -> bool:
    """Return whether a file holds the model of a training of this config."""
    return file.exists() and Config.of_values(Config.recorded(read_model_file(file).config)) == config


@tells_mistakes
def main() -> int:
    """Train every seed, and print the table and the errors by kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "gru_dynamics.jsonl")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[11])
    add_set(parser, "the search's base")
    parser.add_argument("--ridges", action="store_true")
    args = parser.parse_args()
    base: dict[str, Any] = yaml.safe_load(SEARCH.read_text())["base"]
    base |= values_of(args.set, elsewhere={"seed": "--seeds", "data_seed": "--data-seeds"})
    programs, found, config = ProgramCache(), [], config_of(Config, base)
    if args.ridges:
        print(ridge_table(config, args.rows))
        return 0
    for data_seed, seed in itertools.product(args.data_seeds, args.seeds):
        config = config_of(Config, {**base, "seed": seed, "data_seed": data_seed})
        key = config.model_dump_json(exclude_defaults=True)
        known = [json.loads(line) for line in args.keep.read_text().splitlines()] if args.keep.exists() else []
        done = next((one["metrics"] for one in known if one["key"] == key), None)
        name = f"data-{data_seed}-seed-{seed}.npz" if data_seed else f"seed-{seed}.npz"
        file = args.save / name if args.save else None
        if done is None or (file is not None and not _holds(file, config)):
            measured = measure(config, programs, file)
            if done is None:
                done = measured
                with args.keep.open("a") as kept:
                    kept.write(json.dumps({"key": key, "metrics": done}) + "\n")
        found.append(done)
        parts = ", ".join(f"{name} {done[f'test_{name}']:.3g}" for name in PARTS)
        print(
            f"data seed {data_seed}, seed {seed}: "
            f"validation {done['val_free_running_mse']:.4g}, {parts}, {done['cpu_s']:.0f} s of CPU",
            flush=True,
        )
    errors = baseline_errors(config, args.data_seeds, args.rows)
    print(table(found, errors))
    own = np.array([[one[f"test_mse_step_{k}"] for k in steps()] for one in found])
    lost = {label: np.flatnonzero(own.max(0) >= theirs) + 1 for label, theirs in errors.items()}
    for label, where in lost.items():
        print(f"{label}: " + (f"better than some training at steps {where.tolist()}" if len(where) else "worse at all"))
    return int(any((own.mean(0) >= theirs).any() for theirs in errors.values()))


if __name__ == "__main__":
    sys.exit(main())
