"""What a search may use of a machine, how many trials that carries, and the caps that keep a trial within its share."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.machine.allocation import JOB_CPUS, JOB_ID, JOB_NODE
from search_spaces.errors import UserError

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


CPUS = "SWELL_CPUS"
"""Variable with the CPUs that a supervisor gives its driver: other searches on the machine may have the rest."""
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def control_groups(controller: str, root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[Path]:
    """Return the folders of this process's control groups, version 2 or 1, and of their parents: all of them bind."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        folder = base / path.lstrip("/")
        # The path may be one of another name space: what is not there is left out when it is read.
        folders += [folder, *(parent for parent in folder.parents if parent == base or base in parent.parents)]
    return folders


def cgroup_cpus(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Return the CPU quota of this process's control groups, in CPUs; None without one."""
    quotas = [_read_quota(folder) for folder in control_groups("cpu", root, membership)]
    return min((quota for quota in quotas if quota is not None), default=None)


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
    """Return every bound on this process's CPUs: affinity, cgroup quota, the job's allocation, supervisor, the spec."""
    limits: dict[str, float] = {"affinity": len(os.sched_getaffinity(0))}
    quota = cgroup_cpus()
    if quota is not None:
        limits["cgroup"] = quota
    of_job = os.environ.get(JOB_CPUS, "")
    if of_job.isdigit():
        limits["job"] = int(of_job)
    given = os.environ.get(CPUS, "")
    if given.isdigit():
        limits["supervisor"] = int(given)
    if limit is not None:
        limits["spec"] = limit
    return limits


def pool_id() -> str:
    """Return an id that two processes share which compete for the same CPUs: affinity, control group, queue's job."""
    # Every login may have a control group of its own: only those that limit the CPUs part them.
    groups = [str(folder) for folder in control_groups("cpu") if _read_quota(folder) is not None]
    job = [os.environ.get(name, "") for name in (JOB_ID, JOB_NODE)]
    mine = (sorted(os.sched_getaffinity(0)), groups, job)
    return hashlib.sha256(repr(mine).encode()).hexdigest()[:12]


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


class TooFewGpusError(UserError):
    """A trial needs more GPUs than there are."""


def slots(resources: "Resources", cpus: int | None = None) -> int:
    """Return how many trials run at once on this machine, or on `cpus` CPUs of it; at least one.

    As many as the CPUs and GPUs carry; `cluster.machine.capacity` looks at the memory.
    Raises TooFewGpusError if not even one trial has its GPUs: Ray would wait for them for ever.
    """
    bounds = [(cpus or cpu_budget(resources.max_cpus)) // resources.cpus_per_trial]
    per_trial = resources.gpus_per_trial
    if per_trial:
        num_gpus = gpu_count()
        if per_trial > num_gpus:
            raise TooFewGpusError(f"a trial needs {per_trial:g} GPUs, there are {num_gpus} on this machine")
        # A part of a GPU lies on one: 0.4 of it goes twice into each. (A tenth goes ten times, whatever floats say.)
        bounds.append(int(num_gpus / per_trial) if per_trial >= 1 else num_gpus * int(1 / per_trial + 1e-9))
    return max(1, min(bounds))
