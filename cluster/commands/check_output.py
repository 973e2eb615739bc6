"""`swell check`: prints what is known of a search before its launch."""

from pathlib import Path

from rich.text import Text

from cluster.commands.check import CheckReport, check
from cluster.commands.probe import Estimate, Probe, estimate, probe_programs
from cluster.console import Console
from cluster.machine.scratch import node_cache
from search_spaces.errors import show_value
from search_spaces.spec import load_spec

FAILED = 1


def check_command(path: Path, *, probe: bool = False, max_programs: int = 8, console: Console) -> int:
    """Print what is known of a spec, and with `probe` what it will cost; return the exit status.

    Raises SpecError if the spec is wrong, and ScratchError if a probe has no place to work in.
    """
    report = check(load_spec(path))
    for line in describe(report):
        console.print(line, soft_wrap=True)
    for warning in report.warnings:
        console.print(Text.assemble(("warning", "yellow"), f"  {warning}"), soft_wrap=True)
    if probe:
        node_cache()  # checked before anything in it is read
        return _probe(report, max_programs, console)
    return 0


def describe(report: CheckReport) -> list[Text]:
    """Return a search's report as lines for the terminal."""
    spec = report.spec
    size = "too many to count" if report.num_configurations is None else f"{report.num_configurations:,}"
    checked = f"{report.num_checked:,} sampled" if report.sampled else f"all {report.num_checked:,}"
    trials = "as many as the time allows" if report.num_trials is None else f"{report.num_trials:,}"
    repeats = f", {len(spec.seeds)} seeds of each configuration" if spec.repeats else ""
    programs = f"{'at least ' if report.sampled else ''}{report.num_programs:,}"
    lines = [
        Text.assemble((spec.name, "bold"), f" is a valid search of {spec.trainable}"),
        Text(f"  configurations  {size} ({checked} built and held against the data)"),
        Text(f"  trials          {trials}{repeats}, by {spec.sampler.name}"),
        Text(f"  programs        {programs} to compile"),
    ]
    return [*lines, *(Text(f"  note            {note}") for note in report.notes)]


def _probe(report: CheckReport, max_programs: int, console: Console) -> int:
    probes = []
    num = min(max_programs, len(report.programs))
    for probe in probe_programs(report, max_programs):
        probes.append(probe)
        line = f"  probe {len(probes)} of {num}    {describe_probe(probe)}"
        console.print(line, soft_wrap=True)
    found = estimate(report, probes)
    if found is None:
        console.print("no probe worked, so there is no estimate", style="red")
        return FAILED
    for line in describe_estimate(found):
        console.print(line, soft_wrap=True)
    return 0


def describe_probe(probe: Probe) -> str:
    """Return what one program costs, or why that was not measured, and with which configuration."""
    configuration = show_value(probe.program.params, 200)
    if not probe.step_s:
        return f"failed: {probe.failure}; {configuration}"
    paces = ", ".join(f"{1 / seconds:.1f}" for seconds in probe.step_s)
    failure = f"{probe.failure}; " if probe.failure else ""
    return (
        f"{failure}{paces} steps/s, {probe.training_s:.0f} s to train, {probe.compile_s:.1f} s to compile, "
        f"{probe.peak_memory_mb:.0f} MB; {configuration}"
    )


def describe_estimate(found: Estimate) -> list[str]:
    """Return an estimate as lines for the terminal."""
    failed = f", {found.num_failed} of them failed" if found.num_failed else ""
    lines = [
        f"  probed          {found.num_probed} of {found.num_programs} programs{failed}",
        f"  one trial       {_duration(found.trial_s)}, at most {found.memory_mb:.0f} MB; {found.slots} at once",
    ]
    if found.total_s is not None and found.core_hours is not None:
        lines.append(
            f"  whole search    about {_duration(found.total_s)} ({found.core_hours:.2f} core hours), "
            "if no trial is stopped early"
        )
    if found.model_mb:
        lines.append(f"  kept models     at most {found.model_mb:.3g} MB each")
    return lines


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
