"""Who takes part, and one run of each: a folder, a process and an empty cache of compiled programs of its own."""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rivals.measured import Measured, Told, run
from benchmarks.rivals.task import METRIC, ROOT, TASK, make_task, spec_values
from cluster.machine.resources import thread_caps


@dataclass(frozen=True)
class Contender:
    """What can do the search."""

    name: str
    module: str
    """The module that is run; empty for swell itself."""
    needs: str = ""
    """A package that may be missing."""
    keeps_programs: bool = True
    """Whether it has a persistent cache of compiled programs."""

    @property
    def is_missing(self) -> bool:
        """Whether its package is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


CONTENDERS = {
    "swell": Contender("swell", ""),
    "ray-plain": Contender("Ray Tune, plain", "benchmarks.rivals.ray_plain", keeps_programs=False),
    "ray-fair": Contender("Ray Tune, fair", "benchmarks.rivals.ray_fair"),
    "optuna": Contender("Optuna, process pool", "benchmarks.rivals.optuna_pool"),
    "syne-tune": Contender("Syne Tune, local", "benchmarks.rivals.syne", needs="syne_tune"),
}


class ContenderFailedError(RuntimeError):
    """A contender did not do what it was to do; the message has what it printed."""


@contextmanager
def bench_folder() -> Iterator[Path]:
    """Make a folder with a short path, since Ray's sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="b", dir="/tmp"))
    try:
        (folder / "left" / "tmp").mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment_in(folder: Path, *, keeps_programs: bool) -> dict[str, str]:
    """Return the variables of a contender: caps on threads, and all that it leaves below the folder."""
    dropped = ("JAX_", "SWELL_", "RAY_", "XLA_", "TUNE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    left = folder / "left"
    environment |= {
        **thread_caps(1),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(left / "tmp"),
        "SWELL_ROOT": str(left / "searches"),
        "SWELL_SCRATCH": str(left / "tmp"),
        "SWELL_CACHE": str(folder / "cache"),
        "SYNETUNE_FOLDER": str(left / "syne-tune"),
        "RAY_USAGE_STATS_ENABLED": "0",
        TASK: str(folder / "task.json"),
    }
    if keeps_programs:
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache" / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    return environment


class Lines:
    """The whole lines that are new in files, some of which may not exist yet."""

    def __init__(self, files: Callable[[], list[Path]]) -> None:
        self._files = files
        self._read: dict[Path, int] = {}

    def new(self) -> list[Any]:
        """Return what the new lines say, read as JSON."""
        found = []
        for file in self._files():
            if not file.exists():
                continue
            with file.open("rb") as lines:
                lines.seek(self._read.get(file, 0))
                whole = lines.read().rpartition(b"\n")[0]
            if whole:
                self._read[file] = self._read.get(file, 0) + len(whole) + 1
                found += [json.loads(line) for line in whole.splitlines()]
        return found


def histories(root: Path) -> list[Path]:
    """Return the files with the reports of a folder's searches."""
    return list(root.glob("*/histories/*.jsonl"))


def told_in(lines: Lines) -> list[Told]:
    """Return the new reports in histories; results at a trial's end have no step."""
    entries = (entry for entry in lines.new() if "step" in entry and METRIC in entry["metrics"])
    return [Told(entry["trial"], entry["step"], entry["metrics"][METRIC]) for entry in entries]


def compete(key: str, trials: int, steps: int, *, stops_early: bool) -> Measured:
    """Let a contender do the search once, all compiled anew; raise ContenderFailedError if it did another."""
    contender = CONTENDERS[key]
    with bench_folder() as folder:
        spec, reports = folder / "rivals.yaml", folder / "reports.jsonl"
        spec.write_text(yaml.safe_dump(spec_values(trials, steps, stops_early=stops_early), sort_keys=False))
        task = make_task(spec, reports, steps, stops_early=stops_early)
        task.write(folder / "task.json")
        left = folder / "left"
        searches = Lines(lambda: histories(left / "searches"))
        noted = Lines(lambda: [reports])
        if contender.module:
            command = [sys.executable, "-m", contender.module]
            read = lambda: [Told(*line) for line in noted.new()]  # noqa: E731
        else:
            command = [sys.executable, "-m", "swell", "run", str(spec)]
            read = lambda: told_in(searches)  # noqa: E731
        environment = environment_in(folder, keeps_programs=contender.keeps_programs)
        measured = run(command, left, environment, read)
        if measured.status or measured.trials != trials:
            said = f"{contender.name}: status {measured.status}, {measured.trials} of {trials} trials"
            raise ContenderFailedError(f"{said}\n{measured.output[-4000:]}")
        if not contender.module:
            check_configurations(left / "searches", task.configs)
        return measured


def check_configurations(root: Path, configs: tuple[dict[str, Any], ...]) -> None:
    """Raise ContenderFailedError if swell's trials had other configurations than the rivals'."""
    from cluster.state.notes import ASSIGNED
    from cluster.state.paths import all_searches
    from cluster.state.records import open_study

    (search,) = all_searches(root)
    with open_study(search) as opened:
        assert opened is not None
        trials = opened[0].get_all_trials(opened[1], deepcopy=False)
    trained = tuple(assigned["config"] for trial in trials if (assigned := ASSIGNED.of(trial)) is not None)
    if trained != configs:
        raise ContenderFailedError("swell: its trials had other configurations than the rivals'")
