"""What `swell doctor` finds of CPUs, memory and GPUs."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cluster.doctor.needs import Needs
from cluster.machine.asking import Answer, ask
from cluster.machine.capacity import MEMORY_SHARE, Capacity
from cluster.machine.findings import Finding, Verdict
from cluster.machine.memory import Machine, available_memory_gb, total_memory_gb
from cluster.machine.resources import CGROUPS, MEMBERSHIP, TooFewGpusError, cpu_budget, cpu_limits, gpu_count, pool_id
from cluster.machine.scratch import living_owners
from cluster.wording import count
from search_spaces.sections import Resources

CPUS, MEMORY, GPUS = "CPUs", "Memory", "GPUs"
SLOWED = 1.5
"""From this many runnable processes per CPU, ours included, trials are noticeably slower."""
NVIDIA_SMI_TIMEOUT_S = 5.0
WHOSE = {
    "affinity": "affinity",
    "cgroup": "cgroup quota",
    "job": "the job",
    "supervisor": "SWELL_CPUS",
    "spec": "resources.cpus",
}


@dataclass(frozen=True)
class Cpus:
    """The machine's CPUs, and how many of them a search gets."""

    machine: int
    limits: Mapping[str, float]
    budget: int
    slots: int
    per_trial: int
    load: tuple[float, float, float]
    """Runnable processes of all users on the machine, over the last 1, 5 and 15 minutes."""

    others: Mapping[str, int] = field(default_factory=dict)
    """How many of the same CPUs other searches of this user hold."""

    @property
    def left(self) -> float:
        """The CPUs that the machine gives, less those that other searches hold, limited by the spec."""
        given = min(limit for name, limit in self.limits.items() if name != "spec")
        return min(given - sum(self.others.values()), self.limits.get("spec", given))


def read_cpus(resources: Resources, scratch: Path) -> Cpus:
    """Return the CPUs that a search with these resources gets here; `scratch` is where other searches are found."""
    pool = pool_id()
    others = {
        f"{Path(owner['search']).name} (process {owner['pid']})": owner["cpus"]
        for owner in living_owners(scratch)
        if owner.get("pool") == pool
    }
    cpus = Cpus(
        machine=os.cpu_count() or 1,
        limits=cpu_limits(resources.max_cpus),
        budget=cpu_budget(resources.max_cpus),
        slots=1,
        per_trial=resources.cpus_per_trial,
        load=os.getloadavg(),
        others=others,
    )
    try:
        capacity = Capacity.here(resources, max(int(cpus.left), 1))
    except TooFewGpusError:  # reported with the GPUs
        capacity = Capacity.here(resources.model_copy(update={"gpus_per_trial": 0}), max(int(cpus.left), 1))
    return replace(cpus, slots=capacity.slots)


def cpu_findings(cpus: Cpus) -> list[Finding]:
    """Return the findings on CPUs: the budget, how many trials fit in it, and what else runs here."""
    return [_budget(cpus), *_others(cpus), _trials(cpus), _load(cpus)]


def _budget(cpus: Cpus) -> Finding:
    limits = cpus.limits
    named = ", ".join(f"{WHOSE.get(name, name)} {limit:g}" for name, limit in limits.items())
    found = f"{count(cpus.budget, 'CPU')}: the least of {named} (the machine has {cpus.machine})"
    verdict, advice = Verdict.OK, ""
    given = min(limit for name, limit in limits.items() if name != "spec")
    if limits.get("spec", 0) > given:
        verdict = Verdict.WARNING
        advice = (
            f"resources.cpus asks for {limits['spec']:g} CPUs and {given:g} are here: use auto, or a larger machine."
        )
    if limits.get("job", 0) > limits["affinity"]:
        verdict = Verdict.WARNING
        advice = (
            f"The job holds {limits['job']:g} CPUs and this process may use {limits['affinity']:g} of them: "
            "start it with srun --cpus-per-task, or with --cpu-bind=none."
        )
    return Finding(CPUS, "budget", found, verdict, advice)


def _others(cpus: Cpus) -> list[Finding]:
    if not cpus.others:
        return []
    held = ", ".join(f"{who} {num}" for who, num in cpus.others.items())
    return [Finding(CPUS, "other searches", f"hold {count(sum(cpus.others.values()), 'CPU')} of these: {held}")]


def _trials(cpus: Cpus) -> Finding:
    threads, left = cpus.slots * cpus.per_trial, max(cpus.left, 0)
    found = (
        f"{count(cpus.slots, 'trial')} of {count(cpus.per_trial, 'CPU')}: {count(threads, 'thread')} on {left:g} CPUs"
    )
    if threads <= left:
        return Finding(CPUS, "trials at once", found)
    if cpus.others:
        way_out = "Wait for the other searches, give them fewer with resources.cpus"
    elif left >= 1:
        way_out = f"Set resources.cpus_per_trial to at most {int(left)}"
    else:
        way_out = "Ask for one whole CPU at least"
    advice = f"{way_out}, or run where there are more: {count(threads, 'thread')} do not fit on {left:g} CPUs."
    return Finding(CPUS, "trials at once", found, Verdict.PROBLEM, advice)


def _load(cpus: Cpus) -> Finding:
    ours = cpus.slots * cpus.per_trial
    per_cpu = (cpus.load[0] + ours) / cpus.machine
    averages = ", ".join(f"{value:.1f}" for value in cpus.load)
    found = f"{averages} processes over 1, 5, 15 minutes on {count(cpus.machine, 'CPU')}"
    if cpus.load[0] < 0.5 or per_cpu < SLOWED:  # the rest of the machine is free enough for the budget
        return Finding(CPUS, "load", found)
    advice = (
        f"Other processes run here (see top): with {ours} threads of ours each CPU would have {per_cpu:.1f} to run, "
        "so wait, lower resources.cpus, or use another machine."
    )
    return Finding(CPUS, "load", found, Verdict.WARNING, advice)


@dataclass(frozen=True)
class Memory:
    """The memory that processes here may use, in GB: the machine's, or a control group's limit if less."""

    total_gb: float
    available_gb: float


def read_memory(root: Path = CGROUPS, membership: Path = MEMBERSHIP, machine: Machine | None = None) -> Memory:
    """Return the memory there is, and how much of it is free for new processes."""
    return Memory(total_memory_gb(root, membership, machine), available_memory_gb(root, membership, machine))


def memory_findings(memory: Memory, needs: Needs, num_slots: int, process_gb: float | None) -> list[Finding]:
    """Return the findings on memory, and how many trials fit in it; `process_gb` is what JAX alone takes."""
    found = f"{memory.available_gb:.1f} of {memory.total_gb:.1f} GB for new processes"
    findings = [Finding(MEMORY, "free", found)]
    usable_gb, per_trial = MEMORY_SHARE * memory.available_gb, needs.resources.memory_gb_per_trial
    if per_trial != "auto":
        carried = int(usable_gb / per_trial)
        found = f"{per_trial:g} GB by the spec: {usable_gb:.1f} GB for all together carry {count(carried, 'trial')}"
        advice = f"Run where {per_trial:g} GB are free, or lower resources.memory_gb_per_trial."
        findings.append(_memory_of_a_trial(found, carried >= 1, advice))
    elif process_gb:
        carried = int(usable_gb / process_gb)
        found = (
            f"not in the spec, so learnt from trials; JAX alone takes {process_gb:.2f} GB, "
            f"of which {usable_gb:.1f} GB carry {carried:,}"
        )
        advice = (
            f"Lower resources.cpus, or run where more memory is free: {count(num_slots, 'trial')} at once do not fit."
        )
        findings.append(_memory_of_a_trial(found, carried >= num_slots, advice))
    return findings


def _memory_of_a_trial(found: str, fits: bool, advice: str) -> Finding:
    return Finding(MEMORY, "one trial", found, Verdict.OK if fits else Verdict.PROBLEM, "" if fits else advice)


def read_cards() -> Answer:
    """Return nvidia-smi's answer, per GPU one line with name, total and free MiB; no text if it is missing."""
    if shutil.which("nvidia-smi") is None:
        return Answer()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    return ask(query, NVIDIA_SMI_TIMEOUT_S)


def gpu_findings(
    needs: Needs, cards: Answer, platforms: Sequence[str], plugins: Sequence[str], num_gpus: int | None = None
) -> list[Finding]:
    """Return the findings on GPUs: whether JAX can use them; it has `platforms`, and could load `plugins`."""
    num_gpus = gpu_count() if num_gpus is None else num_gpus
    per_trial = needs.resources.gpus_per_trial
    found = f"{count(num_gpus, 'GPU') if num_gpus else 'none'} here; a trial has {per_trial:g}"
    if cards.text:
        found += "; " + ", ".join(map(_card, cards.text.splitlines()))
    verdict, advice = Verdict.OK, ""
    if per_trial > num_gpus:
        verdict = Verdict.PROBLEM
        most = f"at most {num_gpus}" if num_gpus else "0"
        advice = f"A trial needs {per_trial:g}: set resources.gpus_per_trial to {most}, or run where they are."
    elif cards.failure:
        found += f"; nvidia-smi: {cards.failure}"
        verdict, advice = Verdict.WARNING, "Have the GPU driver looked at: nvidia-smi should answer at once."
    return [Finding(GPUS, "found", found, verdict, advice), _jax_on_gpus(per_trial, platforms, plugins)]


def _jax_on_gpus(per_trial: float, platforms: Sequence[str], plugins: Sequence[str]) -> Finding:
    installed = f"GPU backend {', '.join(plugins)} installed" if plugins else "no GPU backend installed"
    if not per_trial:
        return Finding(GPUS, "JAX", f"{installed}; not used, as trials have no GPU")
    seen = f"in a trial JAX computes on: {', '.join(platforms) or 'nothing'}"
    if set(platforms) & {"gpu", "cuda", "rocm"}:
        return Finding(GPUS, "JAX", f"{installed}; {seen}")
    way_out = "Check JAX_PLATFORMS and the driver" if plugins else "Install one, such as jax[cuda13]"
    advice = f"{way_out}, or leave resources.gpus_per_trial at 0: a trial would hold GPUs and compute on CPUs."
    return Finding(GPUS, "JAX", f"{installed}; {seen}", Verdict.PROBLEM, advice)


def _card(line: str) -> str:
    fields = [field.strip() for field in line.split(",")]
    try:
        total_gb, free_gb = (int(field) * 2**20 / 1e9 for field in fields[-2:])
    except ValueError:  # "[N/A]", if the GPU has no memory of its own
        return fields[0]
    return f"{', '.join(fields[:-2])} ({free_gb:.0f} of {total_gb:.0f} GB free)"
