"""gru_dynamics beside its baselines, step by step, on the double cart-pole's test trajectories, as a Markdown table.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.gru_dynamics --seeds 0 1 2 history=1 hidden=64

Words `field=value` change the base of `search_spaces/gru_double_cart_pole.yaml`. A seed draws initialisation and
batches; of each training the step with the least validation error is tested (free runs of 9 steps). `--keep FILE` has
one line for each training, and what is there is not trained again; `--save FOLDER` writes the models. The linear
baseline reads as many rows as the model; `--rows` are further numbers of rows for which it is shown. Exits 1 if a
training does not beat each baseline at each step.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training
from trainables.gru_dynamics.config import Config
from trainables.gru_dynamics.method import method
from trainables.gru_dynamics.metric_names import BASELINES, steps
from trainables.gru_dynamics.metrics import baseline_predictions, by_step

SEARCH = Path(__file__).parents[1] / "search_spaces" / "gru_double_cart_pole.yaml"
PARTS = ("coordinate_rmse", "angle_rmse_deg", "velocity_rmse")


def measure(config: Config, programs: ProgramCache, save: Path | None) -> dict[str, float]:
    """Train one model, and return its metrics, validation's and the test's."""
    training = Training(programs.get(method, config), config, method.data(config, DatasetStore()))
    began = time.process_time()
    while not (report := training.advance()).ending:
        pass
    if report.ending != "completed" or training.best is None:
        sys.exit(f"seed {config.seed}: {report.ending}")
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        training.save(save / f"seed-{config.seed}.npz", {"trainable": "gru_dynamics"})
    ((_, result),) = training.test().items()
    return {**training.best.metrics, **result.metrics, "cpu_s": time.process_time() - began}


def linear_errors(config: Config, rows: int) -> list[float]:
    """Return the mean square error at each step of the linear baseline that reads so many rows."""
    config = config.model_copy(update={"history": rows})
    ((_, test),) = method.data(config, DatasetStore()).tests.items()
    return by_step(test.runs, baseline_predictions(config.layout, test)["linear"]).tolist()


def table(found: list[dict[str, float]], others: dict[str, list[float]]) -> str:
    """Return the mean square errors by step: the model's mean over the seeds and their range, and the baselines'."""
    errors = {
        name.replace("_", " "): [found[0][f"test_baseline_{name}_mse_step_{k}"] for k in steps()] for name in BASELINES
    }
    errors |= others
    own = np.array([[one[f"test_mse_step_{k}"] for k in steps()] for one in found])
    lines = [f"| step | GRU, mean of {len(found)} | range | {' | '.join(errors)} |", "|---" * (3 + len(errors)) + "|"]
    for name, chosen in [*((str(k), [k - 1]) for k in steps()), ("all", [k - 1 for k in steps()])]:
        each = own[:, chosen].mean(1)
        theirs = " | ".join(f"{np.mean([values[k] for k in chosen]):.3g}" for values in errors.values())
        lines.append(f"| {name} | {each.mean():.3g} | {each.min():.3g}..{each.max():.3g} | {theirs} |")
    return "\n".join(lines)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> int:
    """Train every seed, and print the table and the errors by kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "gru_dynamics.jsonl")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[11])
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE")
    args = parser.parse_intermixed_args()
    base: dict[str, Any] = yaml.safe_load(SEARCH.read_text())["base"]
    base |= {name: _value(text) for name, _, text in (field.partition("=") for field in args.fields)}
    programs, found, config = ProgramCache(), [], Config.of_values(base)
    for seed in args.seeds:
        config = Config.of_values({**base, "seed": seed})
        key = config.model_dump_json(exclude_defaults=True)
        known = [json.loads(line) for line in args.keep.read_text().splitlines()] if args.keep.exists() else []
        done = next((one["metrics"] for one in known if one["key"] == key), None)
        if done is None:
            done = measure(config, programs, args.save)
            with args.keep.open("a") as kept:
                kept.write(json.dumps({"key": key, "metrics": done}) + "\n")
        found.append(done)
        parts = ", ".join(f"{name} {done[f'test_{name}']:.3g}" for name in PARTS)
        print(
            f"seed {seed}: validation {done['val_free_running_mse']:.4g}, {parts}, {done['cpu_s']:.0f} s of CPU",
            flush=True,
        )
    rows = [num for num in args.rows if num != config.history]
    print(table(found, {f"linear, {num} rows": linear_errors(config, num) for num in rows}))
    return int(any(one["test_baselines_beaten"] < len(BASELINES) for one in found))


if __name__ == "__main__":
    sys.exit(main())
