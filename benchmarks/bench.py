"""What `make bench` runs: swell beside its rivals, the sweep of 288 configurations, steps, compilation, start-up.

    python -m benchmarks.bench [--full] [--only rivals sweep] [--out build/bench.md]

Writes one report and prints it. Each part is a command that can be run alone; one that fails is said to have failed,
and the others still run. By default everything is cut to what takes minutes.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from cluster.machine.resources import thread_caps
from trainables._shared.discovery import method_names

ROOT = Path(__file__).resolve().parents[1]
LATENT_ODE = "benchmarks.step_speed --method latent_ode --settings solver=tsit5 solver=mesh"
SHORT_CASES = '"10 orbits, segment 18" "100 orbits, segment 4"'


@dataclass(frozen=True)
class Part:
    """A command, as it is by default and with --full, and what it is."""

    title: str
    reduced: str
    full: str
    one_core: bool = True
    """Whether it caps the threads of what it measures to one, as it measures itself."""
    fenced: bool = False
    """Whether its table is one for a terminal."""


PARTS = {
    "rivals": Part(
        "The same search in turn",
        "benchmarks.rivals --rounds 1 --trials 12 --steps 300 --stopping asha",
        "benchmarks.rivals --rounds 3 --trials 12 --steps 300 --stopping asha none",
        one_core=False,
    ),
    "sweep": Part(
        "The sweep of 288 configurations",
        "benchmarks.sweep --configurations 12 --share 0.1",
        "benchmarks.sweep --configurations 48",
        one_core=False,
    ),
    "sweep-asha": Part(
        "The sweep with early stopping", "", "benchmarks.sweep --configurations 48 --asha", one_core=False
    ),
    "two_body": Part(
        "two_body: the step, and what compiles",
        f"benchmarks.two_body_speed --in-turn --steps 5 --rounds 3 --cases {SHORT_CASES}",
        "benchmarks.two_body_speed --in-turn --steps 15",
    ),
    "compilation": Part(
        "two_body: compilation by solver, in processes of their own",
        "benchmarks.two_body_speed --steps 20 --only mesh",
        "benchmarks.two_body_speed --steps 60 --only per_sample mesh adaptive",
    ),
    "latent_ode": Part(
        "latent_ode: the step",
        f"{LATENT_ODE} --only default --steps 10 --rounds 3",
        LATENT_ODE,
    ),
    "jacobian_ode": Part(
        "jacobian_ode: the step",
        'benchmarks.jacobian_ode_step --cases "Van der Pol, width 64" --rounds 3 --steps 10',
        "benchmarks.jacobian_ode_step",
    ),
    "start": Part(
        "From swell run to the first report, all compiled before",
        "benchmarks.start_up --first-report --runs 1",
        "benchmarks.start_up --first-report --runs 5",
        one_core=False,
        fenced=True,
    ),
}

BATCHES = "--settings batch_size=64 batch_size=256"
PARTS |= {  # a method without a benchmark of its own has this one
    name: Part(
        f"{name}: the step",
        f"benchmarks.step_speed --method {name} {BATCHES} --only default --steps 10 --rounds 3",
        f"benchmarks.step_speed --method {name} {BATCHES}",
    )
    for name in method_names()
    if name not in PARTS
}


def machine() -> str:
    """Return this machine in words: its processor, cores, and how busy it is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "processor unknown"
    )
    return f"{model}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"


def commit() -> str:
    """Return the commit of the code; empty outside a repository."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip()


def run_part(command: str, say: Callable[[str], None], *, one_core: bool, fenced: bool) -> bool:
    """Run a part and say its report, line by line; return whether it ended well."""
    fence = "```\n" if fenced else ""
    arguments = [sys.executable, "-m", *shlex.split(command)]
    environment = {**os.environ, **(thread_caps(1) if one_core else {}), "JAX_PLATFORMS": "cpu"}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(
            arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None
            say(fence)
            for line in process.stdout:
                say(line)
            say(fence)
        errors.seek(0)
        said = errors.read()
    if process.returncode:
        say(f"\nThis command ended with status {process.returncode}.\n")
        say("".join(f"    {line}\n" for line in said.splitlines()[-15:]))
    say(f"\n`python -m {command}`: {time.monotonic() - began:.0f} s, load afterwards {os.getloadavg()[0]:.1f}\n")
    return process.returncode == 0


def write_report(out: TextIO, chosen: list[str], *, full: bool) -> list[str]:
    """Run the parts, and write and print what they say as they say it; return those that failed."""

    def say(text: str) -> None:
        out.write(text)
        out.flush()
        print(text, end="", flush=True)

    say(f"# Benchmarks, {'full' if full else 'reduced'}\n")
    started, code, failed = machine(), commit(), []
    for name in chosen:
        part = PARTS[name]
        command = part.full if full else part.reduced
        if not command:
            continue
        say(f"\n## {part.title}\n\n")
        if not run_part(command, say, one_core=part.one_core, fenced=part.fenced):
            failed.append(name)
    say(f"\nCommand: `make bench{' FULL=1' if full else ''}`, commit {code}\n")
    say(f"Machine: {started}\nDate: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n")
    return failed


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.md")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w") as out:
        failed = write_report(out, options.only, full=options.full)
    print(f"\n{options.out}")
    if failed:
        sys.exit(f"failed, as the report says: {', '.join(failed)}")


if __name__ == "__main__":
    main()
