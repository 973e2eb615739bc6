"""Asks SLURM's commands about partitions, our jobs and the user's accounts; every question has a time limit."""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.jobs.queue_facts import Account, Job, NoQueueHereError, Partition, QueueError
from cluster.jobs.slurm import words
from cluster.jobs.slurm.words import NOTHING
from cluster.machine.asking import ask
from cluster.machine.user import user_name

PATIENCE_S = 8.0
"""How long one of SLURM's commands may take: a controller that is down keeps some of them for minutes."""
ACTIVE = frozenset(
    {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "STAGE_OUT", "RESIZING"}
)
ACTIVE_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})


def ask_slurm(*command: str, patience_s: float | None = None) -> str:
    """Return what one of SLURM's commands prints.

    Raises QueueError if the command is missing here, fails, or does not answer in time.
    """
    if shutil.which(command[0]) is None:
        raise NoQueueHereError(
            f"{command[0]} is not on the PATH: this is no login node of a SLURM cluster, or its module is missing"
        )
    answer = ask(command, PATIENCE_S if patience_s is None else patience_s, limit=300)
    if answer.failure:
        raise QueueError(f"{command[0]}: {answer.failure.removeprefix(f'{command[0]}: ')}")
    return answer.text


def hours_of(limit: str) -> float | None:
    """Return the hours in a time that SLURM writes as `days-hours:minutes:seconds`; None if there is no limit."""
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
    """Return all partitions by name; raises QueueError."""
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
    """Return a partition with nodes of this kind added."""
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
    """Return the jobs with these ids that SLURM's queue or accounting still knows; raises QueueError."""
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
    except QueueError as error:
        if "Invalid job id" in str(error):  # squeue's answer if it has forgotten the only id
            return {}
        raise
    found = {}
    for line in text.splitlines():
        one, state, start, elapsed, nodes, reason = (*line.strip().split("|", 5), "", "", "", "", "")[:6]
        found[one] = job_of(one, state, reason, start, nodes, elapsed)
    return found


def _accounted(mains: Sequence[str]) -> dict[str, Job]:
    """Return what SLURM's accounting knows of jobs; empty if the cluster has no accounting."""
    fields = "JobID,State,NodeList,Elapsed,Start"
    try:
        text = ask_slurm(
            "sacct", "-n", "-X", "--parsable2", "-o", fields, *(part for one in mains for part in ("-j", one))
        )
    except QueueError:
        return {}
    found = {}
    for line in text.splitlines():
        one, state, nodes, elapsed, start = (*line.strip().split("|"), "", "", "", "")[:5]
        if one and state and "." not in one:
            found[one] = job_of(one, state.split()[0].rstrip("+"), "", start, nodes, elapsed)
    return found


def job_of(one: str, state: str, reason: str = "", start: str = "", nodes: str = "", elapsed: str = "") -> Job:
    """Return a job from SLURM's words for it."""
    is_waiting = state in ACTIVE_WAITING
    return Job(
        id=one,
        state=state,
        why=words.reason(reason) if is_waiting else words.end(state),
        is_active=is_waiting or state in ACTIVE,
        is_waiting=is_waiting,
        was_cancelled=state == "CANCELLED",
        ended_well=state == "COMPLETED",
        start=_known(start),
        nodes=_known(nodes),
        hosts=tuple(expand(_known(nodes))),
        elapsed=_known(elapsed),
    )


def _known(text: str) -> str:
    return "" if text.strip() in NOTHING else text.strip()


def submitted_from(folder: Path, name: str) -> list[str]:
    """Return the ids of the user's waiting or running jobs with this name and script folder; raises QueueError."""
    text = ask_slurm("squeue", "--noheader", f"--user={os.getuid()}", f"--name={name}", "--format=%F|%o")
    found = (line.strip().partition("|") for line in text.splitlines())
    return sorted({main for main, _, script in found if Path(script).parent == folder})


def cancel(ids: Collection[str]) -> None:
    """Cancel jobs, whether they wait or run; raises QueueError."""
    if ids:
        ask_slurm("scancel", *sorted(ids))


def accounts() -> list[Account]:
    """Return the user's accounts; empty if the cluster keeps none. Raises QueueError."""
    fields = "format=Account,Partition,QOS"
    text = ask_slurm("sacctmgr", "-nP", "show", "associations", f"user={user_name()}", fields)
    found = []
    for line in text.splitlines():
        account, partition, qos = (*line.split("|"), "", "")[:3]
        if account:
            found.append(Account(account, partition, tuple(filter(None, qos.split(",")))))
    return found


def expand(nodes: str) -> list[str]:
    """Return the node names that SLURM writes in short form: n[1-3,7] is n1, n2, n3 and n7."""
    names: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodes):
        found = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if found is None:
            names.append(part)
            continue
        for piece in found[2].split(","):
            low, _, high = piece.partition("-")
            width = len(low)
            names += [f"{found[1]}{number:0{width}}{found[3]}" for number in range(int(low), int(high or low) + 1)]
    return names
