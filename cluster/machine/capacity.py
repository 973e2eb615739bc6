"""How many trials may run at once: limited by the CPUs and GPUs, and by memory as far as a trial's need is known."""

from bisect import insort
from dataclasses import dataclass, field
from math import floor
from pathlib import Path

from cluster.machine.file_size import require_unlimited_files
from cluster.machine.memory import available_memory_gb, total_memory_gb
from cluster.machine.resources import cpu_limits, pool_id, slots
from cluster.machine.scratch import living_owners, scratch_root
from search_spaces.errors import UserError
from search_spaces.sections import Resources

MEMORY_SHARE = 0.9
"""The share of the memory free at the start that trials may take together."""
LEARNT_SPARE = 1.1
"""A trial is expected to need this many times the memory that earlier ones took."""
USUAL = 0.9
"""The usual trial is larger than this share of the trials."""


class OversubscribedError(UserError):
    """A trial as the spec asks for it does not fit on this machine."""


def check_fits(resources: Resources) -> int:
    """Return the CPUs that a search may use here now: its budget, less what our other searches use.

    Raises OversubscribedError, with the numbers, if this machine lacks the CPUs or the memory for even one trial, and
    FileSizeError if the size of files is limited.
    """
    require_unlimited_files()
    limits = cpu_limits(resources.max_cpus)
    budget = max(int(min(limits.values())), 1)
    per_trial = resources.cpus_per_trial
    if per_trial > budget:
        bounds = ", ".join(f"{name} {value:g}" for name, value in limits.items())
        raise OversubscribedError(
            f"resources.cpus_per_trial = {per_trial}: more than the {budget} CPUs that the search may use here "
            f"({bounds}); allowed: 1 to {budget}"
        )
    memory = resources.memory_gb_per_trial
    if memory != "auto" and memory > (total := total_memory_gb()):
        raise OversubscribedError(
            f"resources.memory_gb_per_trial = {memory:g}: more than the {total:.3g} GB that this machine, or its "
            "control group, allows"
        )
    return min(budget, _cpus_left(resources))


def _cpus_left(resources: Resources) -> int:
    mine = pool_id()
    others = [owner for owner in living_owners(scratch_root()) if owner.get("pool") == mine]
    used = sum(owner["cpus"] for owner in others)
    total = int(min(cpu_limits().values()))
    if used and total - used < resources.cpus_per_trial:
        who = ", ".join(f"{Path(owner['search']).name} (process {owner['pid']}) {owner['cpus']}" for owner in others)
        raise OversubscribedError(
            f"resources.cpus_per_trial = {resources.cpus_per_trial}: of the {total} CPUs here, other searches use "
            f"{used}: {who}. Wait for them, or give them fewer with resources.cpus"
        )
    return total - used


@dataclass(frozen=True)
class Share:
    """What a further node can run: how many trials, and the memory that they may take together."""

    most: int
    memory_gb: float


@dataclass
class Capacity:
    """The number of trials that may run at once; it falls when trials need more memory than was known."""

    most: int
    """The most trials for the CPUs and GPUs of this node."""
    memory_gb: float
    """The memory that all trials on this node may take together."""
    given_gb: float | None = None
    """The memory that the spec gives a trial; None if it is to be learnt."""
    peaks_gb: list[float] = field(default_factory=list)
    """The peak memory of trials that have run, in ascending order."""
    nodes: dict[str, Share] = field(default_factory=dict)
    """What each further node can run, by its name; nodes come and go."""
    ceiling: int | None = None
    """The most trials on all nodes: for the spec's CPUs, and since the kernel ran out of memory; None if unbounded."""

    @classmethod
    def here(cls, resources: Resources, cpus: int | None = None) -> "Capacity":
        """Return the capacity of this machine, or of `cpus` CPUs of it, before any trial runs."""
        memory = resources.memory_gb_per_trial
        given = None if memory == "auto" else memory
        together = resources.max_cpus // resources.cpus_per_trial if resources.max_cpus else None
        return cls(slots(resources, cpus), MEMORY_SHARE * available_memory_gb(), given, ceiling=together)

    def measure(self) -> None:
        """Measure again how much memory is free; call it while no trial runs, as other users come and go."""
        self.memory_gb = MEMORY_SHARE * available_memory_gb()

    def learn(self, peak_memory_gb: float) -> None:
        """Learn from the peak memory of a trial that has run."""
        if peak_memory_gb > 0:
            insort(self.peaks_gb, peak_memory_gb)

    @property
    def total(self) -> int:
        """How many trials may run at once on all nodes together, limited by CPUs and GPUs only."""
        return self.most + sum(node.most for node in self.nodes.values())

    @property
    def slots(self) -> int:
        """How many trials may run at once, at least one."""
        carried = self._carried(self.most, self.memory_gb)
        carried += sum(self._carried(node.most, node.memory_gb) for node in self.nodes.values())
        return max(1, carried if self.ceiling is None else min(carried, self.ceiling))

    def _carried(self, most: int, memory_gb: float) -> int:
        """Return how many trials one node can run: the largest known beside as many of the usual size as fit.

        Room for as many of the largest would leave the machine almost idle after a single large configuration. Two
        large ones at once are rare: then the supervisor ends one, and it is tried again.
        """
        if self.given_gb is not None:
            carried = int(memory_gb / self.given_gb)
        elif self.peaks_gb:
            usual, largest = self.peaks_gb[int(USUAL * (len(self.peaks_gb) - 1))], self.peaks_gb[-1]
            carried = 1 + floor((memory_gb - LEARNT_SPARE * largest) / (LEARNT_SPARE * usual))
        else:
            carried = most
        return max(0, min(most, carried))
