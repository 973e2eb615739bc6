"""What a search may use of a machine, how many trials fit on that, and the caps that keep each within its share."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.machine.allocation import JOB_CPUS, JOB_ID, JOB_NODE
from search_spaces.errors import UserError

if TYPE_CHECKING:  # a worker imports this module to count its threads, and needs no specs
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
"""The variable with the CPUs that a supervisor gives its driver; other searches may have the rest."""
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def control_groups(controller: str, root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[Path]:
    """Return the folders of this process's control groups (version 2 or 1) and their parents, whose limits bind too."""
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
        # The path may be of another namespace: folders that are missing here are skipped when they are read.
        folders += [folder, *(parent for parent in folder.parents if parent == base or base in parent.parents)]
    return folders


def cgroup_cpus(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Return the smallest CPU quota of this process's control groups, in CPUs; None if there is none."""
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
    """Return each limit on this process's CPUs: affinity, control group, the job's allocation, supervisor, the spec."""
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
    """Return an id that two processes share if they compete for the same CPUs: affinity, control group, queue's job."""
    # Every login may have its own control group: only groups that limit CPUs separate processes.
    groups = [str(folder) for folder in control_groups("cpu") if _read_quota(folder) is not None]
    job = [os.environ.get(name, "") for name in (JOB_ID, JOB_NODE)]
    mine = (sorted(os.sched_getaffinity(0)), groups, job)
    return hashlib.sha256(repr(mine).encode()).hexdigest()[:12]


def cpu_budget(limit: int | None = None) -> int:
    """Return how many CPUs a search may use here: the smallest of its limits, at least one."""
    return max(1, int(min(cpu_limits(limit).values())))


def thread_caps(cpus: int) -> dict[str, str]:
    """Return the variables that keep a process's thread pools to `cpus`; they must be set before any import."""
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
    """Return how many GPUs a search may use here: those that CUDA may see, else all of the machine's."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return sum(device.name.removeprefix("nvidia").isdigit() for device in dev.glob("nvidia[0-9]*"))
    count = 0
    for name in visible.split(","):
        if not name.strip() or name.strip().startswith("-"):  # CUDA ignores the first invalid one and all after it
            break
        count += 1
    return count


class TooFewGpusError(UserError):
    """A trial needs more GPUs than this machine has."""


def slots(resources: "Resources", cpus: int | None = None) -> int:
    """Return how many trials run at once on this machine, or on `cpus` CPUs of it; at least one.

    Only CPUs and GPUs count here; `cluster.machine.capacity` considers the memory too. Raises TooFewGpusError if there
    are not enough GPUs for even one trial: Ray would wait for them for ever.
    """
    bounds = [(cpus or cpu_budget(resources.max_cpus)) // resources.cpus_per_trial]
    per_trial = resources.gpus_per_trial
    if per_trial:
        num_gpus = gpu_count()
        if per_trial > num_gpus:
            raise TooFewGpusError(f"a trial needs {per_trial:g} GPUs, there are {num_gpus} on this machine")
        # A part of a GPU is on one GPU: 0.4 fits twice on each. (A tenth fits ten times, despite rounding.)
        bounds.append(int(num_gpus / per_trial) if per_trial >= 1 else num_gpus * int(1 / per_trial + 1e-9))
    return max(1, min(bounds))
