"""What a search may use of a machine, how many trials that carries, and the caps that keep a trial within its share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a worker counts its threads with this module, and has no use for specs
    from search_spaces.sections import Resources

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "PJRT_NPROC",  # what sizes XLA's CPU pool; the XLA_FLAGS usually quoted do not
)


def cgroup_cpus(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return the CPU quota of this process's control group, version 2 or 1, in CPUs; None without one."""
    quotas: list[float] = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for folder in _ancestors(root, controllers, path):
            quota = _read_quota(folder)
            if quota is not None:
                quotas.append(quota)
    return min(quotas, default=None)


def _ancestors(root: Path, controllers: str, path: str) -> list[Path]:
    """Return the group's folder and its parents: a quota holds for everything below it."""
    if controllers and "cpu" not in controllers.split(","):
        return []
    base = root / "cpu" if controllers else root
    folder = base / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent == base or base in parent.parents)]


def _read_quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def cpu_limits(limit: int | None = None) -> dict[str, float]:
    """Return every bound on this process's CPUs that applies: affinity, cgroup quota, SLURM's allocation, the spec."""
    limits: dict[str, float] = {"affinity": len(os.sched_getaffinity(0))}
    quota = cgroup_cpus()
    if quota is not None:
        limits["cgroup"] = quota
    slurm = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if slurm.isdigit():
        limits["slurm"] = int(slurm)
    if limit is not None:
        limits["spec"] = limit
    return limits


def cpu_budget(limit: int | None = None) -> int:
    """Return the CPUs a search may use here: the smallest of its limits, at least one."""
    return max(1, int(min(cpu_limits(limit).values())))


def thread_caps(cpus: int) -> dict[str, str]:
    """Return the environment that keeps a process's thread pools to `cpus`; it must be set before any import."""
    return dict.fromkeys(THREAD_VARIABLES, str(cpus))


def xla_pool_threads() -> int:
    """Return how many threads XLA's CPU pool has in this process, counted in /proc."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        try:
            count += (task / "comm").read_text().startswith("tf_XLAEigen")
        except OSError:  # the thread has ended
            continue
    return count


def available_memory_gb(root: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> float:
    """Return the memory that is free for new processes, in GB: the kernel's estimate, or less by the cgroup's limit."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    available = int(lines["MemAvailable"].split()[0]) / 1e6
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            free = (int((root / limit).read_text()) - int((root / usage).read_text())) / 1e9
        except (OSError, ValueError):  # no such file, or no limit ("max")
            continue
        available = min(available, free)
    return max(available, 0.0)


def gpu_count(dev: Path = Path("/dev")) -> int:
    """Return how many GPUs a search may use here: those that CUDA is told to see, else those of the machine."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return sum(device.name.removeprefix("nvidia").isdigit() for device in dev.glob("nvidia[0-9]*"))
    count = 0
    for name in visible.split(","):
        if not name.strip() or name.strip().startswith("-"):  # CUDA sees none from the first invalid one on
            break
        count += 1
    return count


class TooFewGpusError(ValueError):
    """A trial needs more GPUs than there are."""


def slots(resources: "Resources", cpus: int | None = None) -> int:
    """Return how many trials run at once on this machine, or on `cpus` CPUs of it; at least one.

    As many as the CPUs and GPUs carry, and the memory if the spec says what one trial needs.
    Raises TooFewGpusError where not even one trial has its GPUs: Ray would wait for them for ever.
    """
    bounds = [(cpus or cpu_budget(resources.max_cpus)) // resources.cpus_per_trial]
    if resources.memory_gb_per_trial != "auto":
        bounds.append(int(available_memory_gb() / resources.memory_gb_per_trial))
    per_trial = resources.gpus_per_trial
    if per_trial:
        num_gpus = gpu_count()
        if per_trial > num_gpus:
            raise TooFewGpusError(f"a trial needs {per_trial:g} GPUs, there are {num_gpus} on this machine")
        # A part of a GPU lies on one: 0.4 of it goes twice into each. (A tenth goes ten times, whatever floats say.)
        bounds.append(int(num_gpus / per_trial) if per_trial >= 1 else num_gpus * int(1 / per_trial + 1e-9))
    return max(1, min(bounds))
