"""two_body's errors beside the source's, by setting, schedule and number of training orbits, as Markdown tables.

    PJRT_NPROC=1 OMP_NUM_THREADS=1 python -m benchmarks.two_body_reference source --seeds 0 1 2 --data-seeds 0 1 2

`source`: the settings of the source's tables, its values beside ours. `tuned`: the source's setting, the same with a
cosine, preset cosine, and that with head unit, each at every rate of RATES; the one with the least mean validation
error is marked, test errors choose nothing. `schedule`: activations and heads by schedule. `curve`: by the number of
training orbits. `changes`: preset cosine with one change each.

All errors are mean pointwise acceleration errors in percent, on validation orbits and on the sets of 1, 10 and 100 test
orbits, of the best model by validation error. A seed draws initialisation and batches, a data seed the training orbits.
`--keep FILE` has one line per training, and what is there is not trained again. With `--screen 2`, a rate of `tuned`
whose validation error is above twice the setting's least one, both of the first seed, gets no further seeds. Exits 1
if leaky_relu + signed exceeds 4 % in the source's setting of 100 orbits, or is not better than tanh there.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import ProgramCache
from trainables._shared.training import Training
from trainables.two_body.config import Config
from trainables.two_body.method import method

LIMIT_PCT = 4.0
TEST_SETS = (1, 10, 100)
STEPS = {1: 2000, 4: 2000, 10: 2000, 16: 2000, 100: 1000}
"""Optimiser steps by the number of training orbits: the source's for 10 and 100."""
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2, 1e-1)
ACTIVATIONS = ("silu", "tanh", "leaky_relu")
HEADS = tuple(f"mlp_4D_{name}" for name in ("signed", "unit", "unit_softplus", "softplus", "logmag_unit_exp"))
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "head unit": {"head": "mlp_4D_unit"},
    "head signed": {"head": "mlp_4D_signed"},
    "rate 5e-3": {"learning_rate": 5e-3},
    "rate 2e-2": {"learning_rate": 2e-2},
    "warm-up of 400": {"warmup_steps": 400},
    "segments of 10": {"segment_length": 10},
    "segments of 36": {"segment_length": 36},
    "segments of 36, head unit": {"segment_length": 36, "head": "mlp_4D_unit"},
    "width 128": {"width": 128},
    "width 128, head unit": {"width": 128, "head": "mlp_4D_unit"},
    "rate 2e-2, head unit": {"learning_rate": 2e-2, "head": "mlp_4D_unit"},
    "rate 3e-2, head unit": {"learning_rate": 3e-2, "head": "mlp_4D_unit"},
    "rate 2e-2, head signed": {"learning_rate": 2e-2, "head": "mlp_4D_signed"},
    "rate 3e-2, head signed": {"learning_rate": 3e-2, "head": "mlp_4D_signed"},
}
"""What is tried beside the preset cosine."""
SOURCE, COSINE = ({"test_datasets": ["auto"], **Config.presets[name]} for name in ("source", "cosine"))


class Setting(NamedTuple):
    """One row of a table: what is trained, beside the source's errors on 1, 10 and 100 test orbits if it has any."""

    num_orbits: int
    label: str
    values: Mapping[str, Any]
    source: tuple[float, float, float] | None = None
    searched: Mapping[str, tuple[str, ...]] = {}
    """Values by field that share a compiled program, which takes longer to make than a training."""


class Measured(NamedTuple):
    """The errors of one training, in percent; NaN if it failed."""

    validation: float
    tests: tuple[float, ...]


def source_table() -> Iterator[Setting]:
    """Yield the rows of the source's tables; with 10 orbits its loss had the second term."""
    both = {"loss": "percent_error_plus_nmse"}
    for activation, errors in (("tanh", (11.7, 15.6, 11.8)), ("leaky_relu", (2.34, 2.11, 1.98))):
        yield Setting(100, f"{activation}, signed", {**SOURCE, "activation": activation}, errors)
    for head, errors in (
        ("logmag_unit_exp", (4.05, 5.76, 4.65)),
        ("signed", (4.15, 10.7, 7.97)),
        ("unit_softplus", (3.49, 8.95, 6.49)),
        ("softplus", (6.9, 9.07, 7.48)),
    ):
        yield Setting(10, f"leaky_relu, {head}", {**SOURCE, **both, "head": f"mlp_4D_{head}"}, errors)


def tuned_table() -> Iterator[Setting]:
    """Yield the source's setting, the same with a cosine, and the preset cosine with two heads, at every rate."""
    unit = {**COSINE, "head": "mlp_4D_unit"}
    own = {"source": SOURCE, "source, cosine": {**SOURCE, "schedule": "cosine"}, "cosine": COSINE, "unit": unit}
    for num_orbits, (name, values), rate in itertools.product((100, 10), own.items(), RATES):
        yield Setting(num_orbits, f"{name}, {rate:g}", {**values, "learning_rate": rate})


def schedule_table() -> Iterator[Setting]:
    """Yield activations and heads with the preset cosine, and at the source's constant rate."""
    searched = {"activation": ACTIVATIONS, "head": HEADS}
    schedules = {"cosine 1e-2": COSINE, "constant 1e-3": SOURCE}
    for (schedule, values), activation, head in itertools.product(schedules.items(), ACTIVATIONS, HEADS):
        label = f"{schedule}, {activation}, {head.removeprefix('mlp_4D_')}"
        yield Setting(100, label, {**values, "activation": activation, "head": head}, searched=searched)


def curve_table() -> Iterator[Setting]:
    """Yield the source's setting, the preset cosine and the defaults at every number of training orbits."""
    own = {"source": SOURCE, "cosine": COSINE, "default": {"test_datasets": ["auto"]}}
    for (name, values), num_orbits in itertools.product(own.items(), STEPS):
        yield Setting(num_orbits, name, values)


def changes_table() -> Iterator[Setting]:
    """Yield the preset cosine with one change each."""
    for num_orbits, (label, change) in itertools.product((100, 10), CHANGES.items()):
        yield Setting(num_orbits, label, {**COSINE, **change})


TABLES: Mapping[str, Callable[[], Iterator[Setting]]] = {
    "source": source_table,
    "tuned": tuned_table,
    "schedule": schedule_table,
    "curve": curve_table,
    "changes": changes_table,
}


class Trainings:
    """Trains configurations, or reads what was measured of them before."""

    def __init__(self, store: DatasetStore, keep: Path | None) -> None:
        self._store, self._programs, self._keep = store, ProgramCache(), keep
        lines = keep.read_text().splitlines() if keep is not None and keep.exists() else []
        self._known = {key: Measured(validation, tuple(tests)) for key, validation, tests in map(json.loads, lines)}

    def errors(self, setting: Setting, seed: int, data_seed: int) -> Measured:
        """Return the best model's errors."""
        given = {
            "dataset": f"complex_TBP_planar_{setting.num_orbits}_train",
            "steps": STEPS[setting.num_orbits],
            "seed": seed,
            "data_seed": data_seed,
        }
        config = Config.of_values({**given, **setting.values})
        key = config.model_dump_json()
        if key not in self._known:
            self._known[key] = found = self._train(config, setting)
            if self._keep is not None:
                with self._keep.open("a") as file:
                    print(json.dumps([key, *found]), file=file)
        return self._known[key]

    def _train(self, config: Config, setting: Setting) -> Measured:
        start = time.process_time()
        program = self._programs.get(method, config, searched=setting.searched)
        training = Training(program, config, method.data(config, self._store))
        while not (report := training.advance()).ending:
            pass
        metrics = {name: value for result in training.test().values() for name, value in result.metrics.items()}
        tests = tuple(metrics.get(f"test_{number}_accel_error_mean_pct", float("nan")) for number in TEST_SETS)
        validation = training.best.value if training.best is not None else float("nan")
        seconds = time.process_time() - start
        label = f"{setting.num_orbits} orbits, {setting.label}, seeds {config.seed} {config.data_seed}"
        words = f"{label}: {report.ending}, {validation:.2f} %, {tests[-1]:.2f} %, {seconds:.0f} s"
        print(words, file=sys.stderr)
        return Measured(validation, tests)


def row(setting: Setting, found: np.ndarray, is_least: bool) -> str:
    """Return a table row of errors (seeds, data seeds, sets), the first set validation.

    Ranges are over the seeds of the first draw of orbits, and over the draws' means.
    """
    theirs = "/".join(f"{value:g}" for value in setting.source) if setting.source is not None else ""
    mean, over_seeds, draws = found.mean((0, 1)), found[:, 0, -1], found.mean(0)[:, -1]
    label = f"**{setting.label}**" if is_least else setting.label
    columns = (
        setting.num_orbits,
        STEPS[setting.num_orbits],
        label,
        theirs,
        f"{mean[0]:.2f}",
        "/".join(f"{value:.2f}" for value in mean[1:]),
        f"{over_seeds.min():.2f} to {over_seeds.max():.2f}",
        f"{draws.min():.2f} to {draws.max():.2f}" if len(draws) > 1 else "",
        len(found),
    )
    return "| " + " | ".join(map(str, columns)) + " |"


def tuned_groups(rows: Sequence[Setting]) -> list[list[int]]:
    """Return the places of the rows that differ in their rate alone."""
    groups: dict[tuple[int, str], list[int]] = {}
    for place, setting in enumerate(rows):
        groups.setdefault((setting.num_orbits, setting.label.rpartition(",")[0]), []).append(place)
    return list(groups.values())


def mean_validation(errors: np.ndarray) -> float:
    """Return the mean validation error of errors (seeds, data seeds, sets), infinite if one of them is not known."""
    return float(np.nan_to_num(errors[..., 0].mean(), nan=np.inf))


def least(rows: Sequence[Setting], errors: Sequence[np.ndarray]) -> set[int]:
    """Return the rows to mark: of each setting that was tuned, the one with the least mean validation error."""
    return {min(places, key=lambda place: mean_validation(errors[place])) for places in tuned_groups(rows)}


def screened(rows: Sequence[Setting], errors: Sequence[np.ndarray], factor: float) -> set[int]:
    """Return the rows whose validation error is at most `factor` times the least of their setting."""
    found = [mean_validation(each) for each in errors]
    return {
        place
        for places in tuned_groups(rows)
        for place in places
        if found[place] <= factor * min(found[other] for other in places)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES, nargs="?", default="source")
    parser.add_argument("--only", type=int, nargs="+", default=[*STEPS], metavar="N", help="numbers of training orbits")
    parser.add_argument("--settings", nargs="+", metavar="NAME", help="rows whose setting begins so; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0], metavar="SEED")
    parser.add_argument(
        "--screen", type=float, metavar="FACTOR", help="rates of `tuned` that get all seeds; all by default"
    )
    parser.add_argument("--solver", choices=("adaptive", "per_sample", "mesh"), default="mesh")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="trainings of before; new ones are added")
    options = parser.parse_args()
    rows = [
        setting._replace(values={"solver": options.solver, **setting.values})
        for setting in TABLES[options.table]()
        if setting.num_orbits in options.only and setting.label.startswith(tuple(options.settings or [""]))
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainings = Trainings(DatasetStore(Path(folder)), options.keep)

        def measured(setting: Setting, seeds: Sequence[int]) -> np.ndarray:
            found = [[trainings.errors(setting, seed, draw) for draw in options.data_seeds] for seed in seeds]
            return np.array([[[one.validation, *one.tests] for one in draws] for draws in found])

        going_on = set(range(len(rows)))
        if options.table == "tuned" and options.screen is not None:
            going_on = screened(rows, [measured(setting, options.seeds[:1]) for setting in rows], options.screen)
        errors = [
            measured(setting, options.seeds if place in going_on else options.seeds[:1])
            for place, setting in enumerate(rows)
        ]
    columns = (
        "orbits",
        "steps",
        "setting",
        "source, 1/10/100",
        "validation",
        "1/10/100",
        "100, seeds",
        "100, draws",
        "seeds",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    marked = least(rows, errors) if options.table == "tuned" else set()
    for place, (setting, found) in enumerate(zip(rows, errors, strict=True)):
        print(row(setting, found, place in marked))
    if options.table != "source":
        return 0
    means = {
        setting.label: float(found[..., -1].mean())
        for setting, found in zip(rows, errors, strict=True)
        if setting.num_orbits == 100
    }
    leaky, tanh = means.get("leaky_relu, signed", 0.0), means.get("tanh, signed", np.inf)
    return int(not leaky <= LIMIT_PCT or not tanh > leaky)


if __name__ == "__main__":
    sys.exit(main())
