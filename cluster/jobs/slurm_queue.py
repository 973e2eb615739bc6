"""What SLURM says of its partitions, our jobs and the user's accounts: every question has a time limit."""

import getpass
import os
import re
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.machine.asking import ask
from search_spaces.errors import UserError

PATIENCE_S = 8.0
"""How long one of SLURM's commands may take: a controller that is down keeps some of them for minutes."""
ACTIVE = frozenset(
    {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "STAGE_OUT", "RESIZING"}
)
ACTIVE_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})
_NOTHING = frozenset({"", "N/A", "(null)", "None assigned", "Unknown", "None"})

REASONS = {
    "None": "SLURM has not looked at it yet",
    "Priority": "others are before it in the queue",
    "Resources": "it is next, and waits for nodes to become free",
    "BeginTime": "it was queued again, and SLURM waits a moment before it starts a job anew",
    "Cleaning": "SLURM is cleaning up after its last run",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "it waits for a job that will never come: stop it",
    "JobArrayTaskLimit": "as many jobs of this search run as may at once",
    "JobHeldUser": "it is held: `scontrol release` lets it go",
    "JobHeldAdmin": "the administrators hold it: ask them",
    "JobHoldMaxRequeue": "it was queued again too often: `scontrol release` lets it go",
    "launch_failed_requeued_held": "it could not be started on its node, and is held: `scontrol release` lets it go",
    "launch failed requeued held": "it could not be started on its node, and is held: `scontrol release` lets it go",
    "Licenses": "it waits for a licence",
    "ReqNodeNotAvail": "nodes that it needs are down or reserved, often for a maintenance; fewer hours may fit before",
    "Reservation": "it waits for its reservation",
    "BadConstraints": "no node has what it asks for: stop it, and mend the site's constraint, CPUs or memory",
    "PartitionNodeLimit": "it asks for more than the partition has: stop it, and ask for less",
    "PartitionTimeLimit": "it asks for more hours than the partition allows: stop it, and give fewer --hours",
    "PartitionDown": "the partition takes no jobs now",
    "PartitionInactive": "the partition starts no jobs now",
    "NodeDown": "a node that it needs is down",
    "InvalidAccount": "its account is not valid: stop it, and mend the site's account",
    "InvalidQOS": "its quality of service is not valid: stop it, and mend the site's qos",
    "AccountNotAllowed": "the partition does not take its account: stop it, and mend the site",
    "FrontEndDown": "the cluster's front end is down",
}
"""Why a job waits, in words, by SLURM's names for it."""

ENDS = {
    "TIMEOUT": "it ran into its time limit",
    "OUT_OF_MEMORY": "it was ended for using more memory than it had asked for",
    "NODE_FAIL": "its node went down",
    "CANCELLED": "it was cancelled",
    "PREEMPTED": "it had to make room for another job",
    "DEADLINE": "it ran into its deadline",
    "BOOT_FAIL": "its node did not come up",
    "FAILED": "it ended with an error",
    "COMPLETED": "it ended",
    "REVOKED": "it was revoked",
}
"""How a job ended, in words."""


class SlurmError(UserError):
    """SLURM cannot be asked: its commands are not here, fail, or do not answer in time."""


@dataclass(frozen=True)
class Partition:
    """A partition, as far as it bounds a job; None where it does not, or is not known."""

    name: str
    is_default: bool = False
    is_up: bool = True
    max_hours: float | None = None
    max_nodes: int | None = None
    num_nodes: int | None = None
    cpus_per_node: int | None = None
    """CPUs of its largest node."""
    gpus_per_node: int = 0
    memory_gb_per_node: float | None = None
    allowed_accounts: tuple[str, ...] = ()
    """The accounts that may use it; empty for all."""


@dataclass(frozen=True)
class Job:
    """A job, or one of an array, as the queue or the accounting has it."""

    id: str
    state: str
    reason: str = ""
    start: str = ""
    """When it started, or is expected to; empty where that is not known."""
    nodes: str = ""
    elapsed: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ACTIVE or self.state in ACTIVE_WAITING

    @property
    def is_waiting(self) -> bool:
        """Whether it waits in the queue."""
        return self.state in ACTIVE_WAITING

    @property
    def why(self) -> str:
        """Why it waits, or how it ended, in words."""
        return _reason(self.reason) if self.is_waiting else ENDS.get(self.state, self.state.lower().replace("_", " "))


def _reason(name: str) -> str:
    """Return why a job waits in words, with SLURM's name for it."""
    if name in _NOTHING:
        return REASONS["None"]
    said = REASONS.get(name)
    if said is None and name.startswith("ReqNodeNotAvail"):
        said = REASONS["ReqNodeNotAvail"]
    elif said is None and name.startswith("Nodes required for job"):
        return "nodes that it needs are down, drained, or kept for others"
    elif said is None and re.match("(Assoc|QOS|Max|Grp)", name):
        said = "a limit of your account or quality of service is reached: jobs of yours or your group must end first"
    return f"{said} ({name})" if said else name


def ask_slurm(*command: str, patience_s: float | None = None) -> str:
    """Return what one of SLURM's commands prints.

    Raises SlurmError where it is not here, fails, or does not answer in time.
    """
    if shutil.which(command[0]) is None:
        raise SlurmError(
            f"{command[0]} is not on the PATH: this is no login node of a SLURM cluster, or its module is missing"
        )
    answer = ask(command, PATIENCE_S if patience_s is None else patience_s, limit=300)
    if answer.failure:
        raise SlurmError(f"{command[0]}: {answer.failure.removeprefix(f'{command[0]}: ')}")
    return answer.text


def hours_of(limit: str) -> float | None:
    """Return SLURM's way of writing a time, `days-hours:minutes:seconds`, in hours; None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())
    if found is None:
        return None
    days, *parts = (int(part) if part is not None else None for part in found.groups())
    given = [part for part in parts if part is not None]
    if days is None and len(given) < 3:  # minutes, or minutes and seconds
        given = [0, *given]
    hours, minutes, seconds = (*given, 0, 0)[:3]
    return 24 * (days or 0) + hours + minutes / 60 + seconds / 3600


def partitions() -> dict[str, Partition]:
    """Return the partitions there are, by their names; raises SlurmError."""
    found = {}
    for line in ask_slurm("scontrol", "--oneliner", "show", "partition").splitlines():
        values = {key: value for key, _, value in (part.partition("=") for part in line.split())}
        if "PartitionName" in values:
            partition = _partition(values)
            found[partition.name] = partition
    for line in ask_slurm("sinfo", "--noheader", "--exact", "--format=%P|%c|%m|%G").splitlines():
        name, cpus, memory_mb, gres = (part.strip() for part in (*line.split("|", 3), "", "", "")[:4])
        partition = found.get(name.rstrip("*"))
        if partition is not None:
            found[partition.name] = _with_node(partition, cpus, memory_mb, gres)
    return found


def _partition(values: dict[str, str]) -> Partition:
    accounts = values.get("AllowAccounts", "ALL")
    return Partition(
        name=values["PartitionName"],
        is_default=values.get("Default") == "YES",
        is_up=values.get("State", "UP") == "UP",
        max_hours=hours_of(values.get("MaxTime", "")),
        max_nodes=_number(values.get("MaxNodes", "")),
        num_nodes=_number(values.get("TotalNodes", "")),
        allowed_accounts=() if accounts == "ALL" else tuple(accounts.split(",")),
    )


def _with_node(partition: Partition, cpus: str, memory_mb: str, gres: str) -> Partition:
    """Return a partition that has nodes of this kind too."""
    gpus = sum(int(number) for number in re.findall(r"\bgpu:(?:[^:,(]+:)?(\d+)", gres))
    memory_gb = (_number(memory_mb) or 0) / 1024
    return replace(
        partition,
        cpus_per_node=max(partition.cpus_per_node or 0, _number(cpus) or 0) or None,
        gpus_per_node=max(partition.gpus_per_node, gpus),
        memory_gb_per_node=max(partition.memory_gb_per_node or 0, memory_gb) or None,
    )


def _number(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else None


def jobs(ids: Collection[str]) -> dict[str, Job]:
    """Return the jobs of these ids that SLURM still knows, by its queue or its accounting; raises SlurmError."""
    if not ids:
        return {}
    mains = sorted({one.split("_")[0] for one in ids})
    found = _queued(mains)
    missing = {one.split("_")[0] for one in ids if one not in found}
    if missing:
        found = {**_accounted(sorted(missing)), **found}
    return {one: found[one] for one in ids if one in found}


def _queued(mains: Sequence[str]) -> dict[str, Job]:
    command = (
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        f"--jobs={','.join(mains)}",
        "--format=%i|%T|%S|%M|%N|%r",
    )
    try:
        text = ask_slurm(*command)
    except SlurmError as error:
        if "Invalid job id" in str(error):  # said of a single one that it has forgotten
            return {}
        raise
    found = {}
    for line in text.splitlines():
        one, state, start, elapsed, nodes, reason = (*line.strip().split("|", 5), "", "", "", "", "")[:6]
        found[one] = Job(one, state, reason, _known(start), _known(nodes), _known(elapsed))
    return found


def _accounted(mains: Sequence[str]) -> dict[str, Job]:
    """Return what the accounting knows of jobs; nothing where there is none."""
    fields = "JobID,State,NodeList,Elapsed,Start"
    try:
        text = ask_slurm(
            "sacct", "-n", "-X", "--parsable2", "-o", fields, *(part for one in mains for part in ("-j", one))
        )
    except SlurmError:
        return {}
    found = {}
    for line in text.splitlines():
        one, state, nodes, elapsed, start = (*line.strip().split("|"), "", "", "", "")[:5]
        if one and state and "." not in one:
            found[one] = Job(one, state.split()[0].rstrip("+"), "", _known(start), _known(nodes), _known(elapsed))
    return found


def _known(text: str) -> str:
    return "" if text.strip() in _NOTHING else text.strip()


def submitted_from(folder: Path, name: str) -> list[str]:
    """Return the user's jobs of a name that wait or run and whose script lay in a folder; raises SlurmError."""
    text = ask_slurm("squeue", "--noheader", f"--user={os.getuid()}", f"--name={name}", "--format=%F|%o")
    found = (line.strip().partition("|") for line in text.splitlines())
    return sorted({main for main, _, script in found if Path(script).parent == folder})


def cancel(ids: Collection[str]) -> None:
    """Take jobs out of the queue, or end them; raises SlurmError."""
    if ids:
        ask_slurm("scancel", *sorted(ids))


def starts_in_s(job: Job, now: float | None = None) -> float | None:
    """Return in how many seconds a job that waits is expected to start; None where SLURM does not say."""
    try:
        start = time.mktime(time.strptime(job.start, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None
    return max(start - (time.time() if now is None else now), 0.0)


@dataclass(frozen=True)
class Association:
    """An account that the user may charge, with the partition it is for, if for one, and its qualities of service."""

    account: str
    partition: str
    qos: tuple[str, ...]


def associations() -> list[Association]:
    """Return the user's accounts; none where the cluster keeps none. Raises SlurmError."""
    fields = "format=Account,Partition,QOS"
    text = ask_slurm("sacctmgr", "-nP", "show", "associations", f"user={getpass.getuser()}", fields)
    found = []
    for line in text.splitlines():
        account, partition, qos = (*line.split("|"), "", "")[:3]
        if account:
            found.append(Association(account, partition, tuple(filter(None, qos.split(",")))))
    return found
