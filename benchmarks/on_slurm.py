"""What a cluster costs: from submission to the first report, the overhead of a job, and what more nodes are worth.

    python benchmarks/on_slurm.py --nodes 1 2 4

On a SLURM of our own (`slurm/testbed`, as root), of the method that does nothing: `swell launch` and a bare sbatch of
the same training in turn, then one search over more and more nodes, whose trials only wait.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.state.paths import SearchPaths
from cluster.state.records import load_history, load_trials, load_waves
from cluster.state.snapshot import load_status

ROOT = Path(__file__).resolve().parents[1]
TESTBED = ROOT / "slurm" / "testbed" / "testbed.sh"
SITE = "partition: main\nscratch: /tmp/swell-bench-{pid}\ndefault_cpus: 2\ndefault_hours: 0.5\ncache: {cache}\n"
SPEC = """\
name: {name}
trainable: benchmarks.nothing
objective: {{metric: val_nothing, mode: min}}
base: {{wait_s: {wait_s}}}
space:
  x: {{low: 0.0, high: 1.0}}
sampler: {{name: random, seed: 0}}
report: false
budget: {{trials: {trials}}}
"""
BARE = """\
import time
from pathlib import Path
from benchmarks.nothing.config import Config
from benchmarks.nothing.method import method
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program
from trainables._shared.training import Training
config = Config()
Training(Program(method, config), config, method.data(config, DatasetStore())).advance()
Path({done!r}).touch()
"""
PATIENCE_S = 600.0
POLL_S = 0.1


class Bed:
    """The test bed, and somebody's shell on its login node."""

    def __init__(self, folder: Path, num_nodes: int) -> None:
        self.folder = folder
        folder.chmod(0o711)  # munge wants its socket within everybody's reach
        self._knobs = {**os.environ, "TESTBED_DIR": str(folder / "bed"), "TESTBED_NODES": str(num_nodes)}
        self._script("up")
        exports = dict(line.removeprefix("export ").split("=", 1) for line in self._script("env").splitlines())
        self.env = {**os.environ, "SLURM_CONF": exports["SLURM_CONF"].strip("'\""), "PYTHONPATH": str(ROOT)}
        self.env["PATH"] = f"{folder / 'bed' / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.env["SWELL_ROOT"] = str(folder / "searches")
        self.site = folder / "site.yaml"
        self.site.write_text(SITE.format(pid=os.getpid(), cache=folder / "cache"))

    def _script(self, word: str) -> str:
        done = subprocess.run([str(TESTBED), word], env=self._knobs, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout

    def down(self) -> None:
        """End it; nothing of it stays."""
        self._script("down")

    def run(self, *command: str) -> str:
        """Run a command on the login node."""
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def launch(self, name: str, trials: int, wait_s: float, *options: str) -> SearchPaths:
        """Launch a search."""
        spec = self.folder / f"{name}.yaml"
        spec.write_text(SPEC.format(name=name, trials=trials, wait_s=wait_s))
        self.run(sys.executable, "-P", "-m", "swell", "launch", str(spec), *options, "--site", str(self.site))
        return SearchPaths(self.folder / "searches" / name)

    def elapsed_s(self, paths: SearchPaths) -> float:
        """Return the seconds that a search's job has run, once it is over."""
        job = json.loads(paths.launch.read_text())["job_ids"][0]
        until(lambda: "COMPLETED" in self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T"))
        hours, minutes, seconds = f"0:0:{self.run('squeue', '-h', '-t', 'all', '-j', job, '-o', '%M').strip()}".split(
            ":"
        )[-3:]
        return 3600 * int(hours) + 60 * int(minutes) + int(seconds)


def until(look: Callable[[], object]) -> float:
    """Wait until something is so; return the seconds that took."""
    began = time.monotonic()
    while not look():
        if time.monotonic() - began > PATIENCE_S:
            sys.exit("waited for too long")
        time.sleep(POLL_S)
    return time.monotonic() - began


def first_report_s(bed: Bed, index: int) -> tuple[float, float, float]:
    """Return the seconds of `swell launch` itself, from there to its first report, and to that of a bare sbatch."""
    began = time.monotonic()
    paths = bed.launch(f"first-{index}", 1, 0.0, "--on", "slurm", "--cpus", "1")
    launched = time.monotonic() - began
    until(lambda: next(iter(load_history(paths)), None))
    ours = time.monotonic() - began
    until(lambda: load_status(paths).get("finished"))
    done = bed.folder / f"bare-{index}"
    script = bed.folder / f"bare-{index}.sh"
    code = BARE.format(done=str(done)).replace("'", '"')
    caps = "export PJRT_NPROC=1 OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu"
    script.write_text(f"#!/bin/bash\n{caps}\nsrun {sys.executable} -c '{code}'\n")
    began = time.monotonic()
    bed.run("sbatch", "-o", "/dev/null", "-c", "1", str(script))
    until(done.exists)
    return launched, ours, time.monotonic() - began


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=24, help="trials per node")
    parser.add_argument("--wait-s", type=float, default=5.0, help="seconds of a trial")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="sw") as folder:
        bed = Bed(Path(folder), max(arguments.nodes))
        try:
            firsts = [first_report_s(bed, index) for index in range(arguments.repeats)]
            launched, ours, bare = (statistics.median(column) for column in zip(*firsts, strict=True))
            console.print(f"swell launch returns after {launched:.1f} s (sbatch included)")
            console.print(f"submission to first report: {ours:.1f} s; a bare sbatch of the same: {bare:.1f} s", end="")
            console.print(f" (ratio {ours / bare:.1f}); medians of {arguments.repeats}")
            table = Table("nodes", "slots", "trials", "trials per hour", "efficiency", "job's overhead s", box=None)
            alone = 0.0
            for number in arguments.nodes:
                trials = arguments.trials * number
                options = ("--on", "slurm", "--cpus", "2", "--nodes", str(number))
                paths = bed.launch(f"nodes-{number}", trials, arguments.wait_s, *options)
                until(lambda paths=paths: load_status(paths).get("finished"))
                waves = load_waves(paths)
                busy_s = sum(wave["trials_s"] for wave in waves)
                pace = 3600 * len(load_trials(paths)) / busy_s
                alone = alone or pace / number
                overhead = bed.elapsed_s(paths) - busy_s
                efficiency = f"{pace / number / alone:.2f}"
                slots = waves[-1]["slots"]
                table.add_row(str(number), str(slots), str(trials), f"{pace:.0f}", efficiency, f"{overhead:.0f}")
            console.print(table)
        finally:
            bed.down()


if __name__ == "__main__":
    main()
