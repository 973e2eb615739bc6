"""The sweep of 288 configurations, `two_body_heads`, measured on some of them and extrapolated to all, as Markdown.

    python -m benchmarks.sweep [--configurations 48] [--share 1.0] [--asha]

swell's grid comes in an order that its seed has shuffled: its first trials are a random part. `--share` trains each
phase that part of its steps. Nothing is compiled before. A search's core-seconds are those of all its processes,
measured from outside; what a trial compiles and trains is told apart by its wall time, as both use one core. What it
waits for another's compilation counts as training, of which the extrapolation has too much rather than too little.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rivals.contenders import (
    ContenderFailedError,
    Lines,
    bench_folder,
    environment_in,
    histories,
    told_in,
)
from benchmarks.rivals.measured import Measured, run
from benchmarks.rivals.task import ROOT, WORKERS
from benchmarks.specs import launched
from cluster.state.paths import all_searches
from cluster.state.records import TrialRecord, load_trials
from cluster.study.configurations import count_programs, searched_branches
from search_spaces.grid import grid_points
from search_spaces.space import resolve
from trainables._shared.discovery import load_config_type

SWEEP = ROOT / "search_spaces" / "two_body_heads.yaml"
PATIENCE_S, POLL_S = 6 * 3600.0, 1.0  # looking at all processes costs a tenth of a core five times a second
ASHA = {"name": "asha", "grace_steps": 300, "reduction": 3}


@dataclass(frozen=True)
class Part:
    """What a part of the sweep took."""

    measured: Measured
    trials: list[TrialRecord]
    programs: int
    """Programs of training in the persistent cache."""

    @property
    def trials_core_s(self) -> float:
        """The core-seconds of all trials."""
        return sum(trial.cpu_seconds for trial in self.trials)

    @property
    def compile_s(self) -> float:
        """The seconds that trials compiled."""
        return sum(trial.compile_seconds for trial in self.trials)

    @property
    def compile_share(self) -> float:
        """The part of the trials' time that they compiled."""
        return self.compile_s / sum(trial.seconds for trial in self.trials)


def values_of(configurations: int, share: float, *, stops_early: bool) -> dict[str, Any]:
    """Return the sweep's spec, cut to so many configurations and to this share of the steps."""
    values = yaml.safe_load(SWEEP.read_text())
    for phase in values["base"]["curriculum"]:
        phase["steps"] = max(1, round(share * phase["steps"]))
    if stops_early:
        values["early_stopping"] = {**ASHA, "grace_steps": max(1, round(share * ASHA["grace_steps"]))}
    return {**values, "budget": {"trials": configurations}, "resources": {"cpus": WORKERS, "cpus_per_trial": 1}}


def measure(configurations: int, share: float, *, stops_early: bool) -> Part:
    """Run a part of the sweep; raise ContenderFailedError if it did not end."""
    with bench_folder() as folder:
        spec = folder / "sweep.yaml"
        spec.write_text(yaml.safe_dump(values_of(configurations, share, stops_early=stops_early), sort_keys=False))
        lines = Lines(lambda: histories(folder / "left" / "searches"))
        command = [sys.executable, "-m", "swell", "run", str(spec)]
        environment = environment_in(folder, keeps_programs=False)  # swell has a cache of its own
        measured = run(command, folder / "left", environment, lambda: told_in(lines), PATIENCE_S, POLL_S)
        if measured.status:
            raise ContenderFailedError(f"the sweep ended with status {measured.status}\n{measured.output[-4000:]}")
        (search,) = all_searches(folder / "left" / "searches")
        return Part(measured, load_trials(search), _chunks(folder / "cache"))


def _chunks(cache: Path) -> int:
    return sum(1 for _ in cache.glob("compiled-*/jit_chunk*-cache"))


def programs_of(configs: Iterable[dict[str, Any]] | None = None) -> int:
    """Return how many programs some of the sweep's configurations have, by default all, if no shapes differ."""
    spec = launched(SWEEP)
    config_type = load_config_type(spec.trainable)
    chosen = (resolve(spec, point) for point in grid_points(spec)) if configs is None else configs
    built = [config_type.of_values(values) for values in chosen]
    return count_programs(built, searched_branches(spec, config_type))


def table(part: Part, share: float) -> str:
    """Return what the part took beside what the whole would."""
    spec = launched(SWEEP)
    all_points, measured, number = len(grid_points(spec)), part.measured, len(part.trials)
    whole = values_of(all_points, 1.0, stops_early=False)
    steps = sum(phase["steps"] for phase in whole["base"]["curriculum"])
    of_part, of_all = programs_of(trial.config for trial in part.trials), programs_of()
    train_s = (1 - part.compile_share) * part.trials_core_s
    compile_core_s = part.compile_share * part.trials_core_s
    rest_s = measured.core_s - part.trials_core_s
    whole_train_s, whole_compile_s = train_s * all_points / number / share, compile_core_s * of_all / of_part
    whole_rest_s = rest_s  # start and end of the search, mostly: it grows by some hundredths of a second a trial
    whole_s = whole_train_s + whole_compile_s + whole_rest_s
    programs = part.programs * of_all / of_part
    rows = [
        ("configurations", f"{number}", f"{all_points}"),
        ("steps of each, if not stopped early", f"{share * steps:.0f}", f"{steps}"),
        ("steps in all", f"{measured.steps}", f"{measured.steps * all_points / number / share:.0f}"),
        ("structural configurations", f"{of_part}", f"{of_all}"),
        ("programs of training compiled", f"{part.programs}", f"{programs:.0f}"),
        ("seconds that trials compiled", f"{part.compile_s:.0f}", ""),
        ("core-seconds: training", f"{train_s:.0f}", f"{whole_train_s:.0f}"),
        ("core-seconds: compiling", f"{compile_core_s:.0f}", f"{whole_compile_s:.0f}"),
        ("core-seconds: the rest of the search", f"{rest_s:.0f}", f"{whole_rest_s:.0f}"),
        ("core-seconds in all", f"{measured.core_s:.0f}", f"{whole_s:.0f}"),
        ("of them compiling", f"{compile_core_s / measured.core_s:.0%}", f"{whole_compile_s / whole_s:.0%}"),
        ("minutes", f"{measured.seconds / 60:.1f}", f"{whole_s / 60 / WORKERS:.1f} on {WORKERS} idle cores"),
        ("best validation error, %", f"{measured.best:.2f}", ""),
        ("peak memory, MB", f"{measured.peak_mb:.0f}", ""),
    ]
    lines = ["| | measured | extrapolated to the whole |", "|---|---|---|"]
    return "\n".join(lines + [f"| {name} | {here} | {whole} |" for name, here, whole in rows])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=48)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--asha", action="store_true", help="with early stopping")
    options = parser.parse_args()
    print(table(measure(options.configurations, options.share, stops_early=options.asha), options.share))


if __name__ == "__main__":
    main()
