"""Estimates what a search will cost from one short trial per distinct program, each in its own process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster.commands.apart import ProcessError, run_apart
from cluster.commands.check import CheckReport, ProgramUse
from cluster.machine.capacity import Capacity
from search_spaces.sections import Resources


@dataclass(frozen=True)
class Probe:
    """The measured cost of one program; `failure` says why there is none."""

    program: ProgramUse
    failure: str = ""
    import_s: float = 0.0
    data_s: float = 0.0
    compile_s: float = 0.0
    step_s: tuple[float, ...] = ()
    """Seconds of one optimiser step, by phase, compilation apart."""
    training_s: float = 0.0
    """Seconds of a whole training, compilation apart, reports and tests included."""
    peak_memory_mb: float = 0.0
    model_mb: float = 0.0
    """Size of a saved model, without what continues its training."""


@dataclass(frozen=True)
class Estimate:
    """The estimated cost of a search, as far as its probes tell; early stopping only makes it cheaper."""

    num_probed: int
    num_programs: int
    num_failed: int
    slots: int
    """Trials that run at once."""
    trial_s: float
    """Mean seconds of one trial."""
    total_s: float | None
    """Seconds of the whole search; None if only time bounds it."""
    core_hours: float | None
    memory_mb: float
    """Peak memory of the largest trial."""
    model_mb: float
    """Size of the largest model that trials keep beside their best one; 0 if they keep none."""


def choose_programs(programs: Sequence[ProgramUse], most: int) -> list[ProgramUse]:
    """Return at most `most` programs, spread evenly over the search's order."""
    if len(programs) <= most:
        return list(programs)
    return [programs[round(index * (len(programs) - 1) / max(most - 1, 1))] for index in range(most)]


def probe_programs(
    report: CheckReport, most: int = 8, run: Callable[..., Mapping[str, Any]] | None = None
) -> Iterator[Probe]:
    """Yield the probes of a search's programs as each is measured; a failed one says why, and the others go on."""
    run = run or partial(_run_worker, report.code, report.searched)
    for program in choose_programs(report.programs, most):
        try:
            yield _probe(program, run(report.spec.trainable, program.config, report.spec.resources))
        except ProcessError as error:
            yield Probe(program, failure=str(error))


def _run_worker(
    code: Path | None,
    searched: Mapping[str, Sequence[Any]],
    trainable: str,
    config: Mapping[str, Any],
    resources: Resources,
) -> Mapping[str, Any]:
    request = {"trainable": trainable, "config": dict(config), "searched": dict(searched)}
    return run_apart("cluster.commands.probe_worker", request, resources, code)


def _probe(program: ProgramUse, measured: Mapping[str, Any]) -> Probe:
    phases = measured["phases"]
    steps = sum(phase["steps"] for phase in phases)
    reports = sum(-(-phase["steps"] // measured["report_every"]) for phase in phases)
    training = sum(phase["steps"] * phase["step_s"] for phase in phases)
    assert steps > 0, "a training has steps"
    return Probe(
        program,
        failure=f"{measured['ending']} within the first steps" if measured["ending"] else "",
        import_s=measured["import_s"],
        data_s=measured["data_s"],
        compile_s=measured["compile_s"],
        step_s=tuple(phase["step_s"] for phase in phases),
        training_s=training + reports * measured["report_s"] + measured["tests_s"],
        peak_memory_mb=measured["peak_memory_mb"],
        model_mb=measured["model_mb"],
    )


def estimate(report: CheckReport, probes: Sequence[Probe], cpus: int | None = None) -> Estimate | None:
    """Return what the search will cost on `cpus` CPUs, by default this machine's; None if every probe failed."""
    good = [probe for probe in probes if probe.step_s]
    if not good:
        return None
    resources = report.spec.resources
    memory_mb = max(probe.peak_memory_mb for probe in good)
    capacity = Capacity.here(resources, cpus)
    capacity.learn(memory_mb / 1e3)
    num_slots = capacity.slots
    weights = [probe.program.num_configurations for probe in good]
    trial_s = sum(w * probe.training_s for w, probe in zip(weights, good, strict=True)) / sum(weights)
    compile_s = sum(probe.compile_s for probe in good) / len(good)
    total_s = core_hours = None
    if report.num_trials is not None:
        # Each program is compiled about once: workers are reused, and compiled programs are kept on disk.
        compilations = min(report.num_programs, report.num_trials) * compile_s
        busy_s = report.num_trials * trial_s + compilations
        total_s = busy_s / min(num_slots, report.num_trials)
        core_hours = busy_s * resources.cpus_per_trial / 3600
    return Estimate(
        num_probed=len(probes),
        num_programs=len(report.programs),
        num_failed=sum(bool(probe.failure) for probe in probes),
        slots=num_slots,
        trial_s=trial_s,
        total_s=total_s,
        core_hours=core_hours,
        memory_mb=memory_mb,
        model_mb=max(probe.model_mb for probe in good) if report.spec.keep.further_models else 0.0,
    )
