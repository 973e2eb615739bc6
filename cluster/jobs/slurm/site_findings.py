"""Checks from a login node whether SLURM has what a site's file says."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cluster.jobs.queue_facts import Account, Partition, QueueError
from cluster.jobs.request import RequestError, partition_of
from cluster.jobs.slurm.commands import accounts, ask_slurm, partitions
from cluster.jobs.slurm.site import SlurmSite
from cluster.machine.findings import Finding, Verdict
from cluster.wording import count
from search_spaces.errors import nearest

SLURM = "SLURM"
NEEDED = ("sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel")
USEFUL = {"sacct": "how jobs have ended that the queue has forgotten", "sacctmgr": "which accounts you may charge"}
OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM


def site_findings(site: SlurmSite) -> list[Finding]:
    """Return whether SLURM has what a site's file says."""
    with ThreadPoolExecutor() as pool:
        known = pool.submit(_or_trouble, partitions)
        mine = pool.submit(_or_trouble, accounts)
        version = pool.submit(_or_trouble, lambda: ask_slurm("sinfo", "--version"))
    return [
        *command_findings({name for name in (*NEEDED, *USEFUL) if shutil.which(name)}),
        controller_finding(version.result(), known.result()),
        *partition_findings(site, known.result()),
        *account_findings(site, mine.result()),
    ]


def _or_trouble(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except QueueError as error:
        return error


def command_findings(there: set[str]) -> Iterator[Finding]:
    """Yield whether SLURM's commands are on the PATH; `there` are those that are."""
    missing = [name for name in NEEDED if name not in there]
    found = f"{', '.join(name for name in NEEDED if name in there) or 'none'} on the PATH"
    if missing:
        advice = f"Go to a login node, or load SLURM's module: {', '.join(missing)} cannot be found."
        yield Finding(SLURM, "commands", found, PROBLEM, advice)
    else:
        yield Finding(SLURM, "commands", found)
    for name, use in USEFUL.items():
        if name not in there:
            yield Finding(SLURM, name, f"not on the PATH: nothing says {use}")


def controller_finding(version: str | QueueError, known: Mapping[str, Partition] | QueueError) -> Finding:
    """Return whether SLURM's controller answers."""
    if isinstance(known, QueueError):
        advice = "Try again later, or ask the administrators: nothing can be submitted while it does not answer."
        return Finding(SLURM, "controller", str(known), PROBLEM, advice)
    said = version if isinstance(version, str) else "version unknown"
    return Finding(SLURM, "controller", f"answers; {said}; {count(len(known), 'partition')}")


def partition_findings(site: SlurmSite, known: Mapping[str, Partition] | QueueError) -> Iterator[Finding]:
    """Yield whether the site's partition is there, takes jobs, and has what the site's file says."""
    if isinstance(known, QueueError):
        return
    try:
        partition = partition_of(site, known)
    except RequestError as error:
        yield Finding(SLURM, "partition", str(error), PROBLEM, "Mend `partition` in the site's file.")
        return
    if partition is None:
        if site.partition:
            yield Finding(SLURM, "partition", f"one of {site.partition}; their limits are not compared")
        else:
            advice = f"Set `partition` in the site's file to one of: {', '.join(sorted(known))}."
            yield Finding(SLURM, "partition", "none given, and the cluster has no default", PROBLEM, advice)
        return
    found = describe_partition(partition, is_given=site.partition is not None)
    if not partition.is_up:
        yield Finding(SLURM, "partition", found, PROBLEM, "Choose another: it takes no jobs now.")
    elif site.account and partition.allowed_accounts and site.account not in partition.allowed_accounts:
        advice = f"Set `account` to one that it takes: {', '.join(partition.allowed_accounts)}."
        yield Finding(SLURM, "partition", found, PROBLEM, advice)
    else:
        yield Finding(SLURM, "partition", found)
    yield from _limits(site, partition)


def describe_partition(partition: Partition, *, is_given: bool) -> str:
    """Return a partition's limits as one line; `is_given` says whether the site's file names it."""
    parts = [f"{partition.name}{'' if is_given else ' (the default)'}"]
    parts.append("up" if partition.is_up else "takes no jobs")
    if partition.num_nodes:
        parts.append(f"{count(partition.num_nodes, 'node')} of at most {partition.cpus_per_node or '?'} CPUs")
    if partition.memory_gb_per_node:
        parts.append(f"{partition.memory_gb_per_node:.0f} GB")
    if partition.gpus_per_node:
        parts.append(count(partition.gpus_per_node, "GPU"))
    parts.append(f"jobs of at most {partition.max_hours:g} h" if partition.max_hours else "jobs as long as they like")
    if partition.max_nodes:
        parts.append(f"and of {count(partition.max_nodes, 'node')}")
    return ", ".join(parts)


def _limits(site: SlurmSite, partition: Partition) -> Iterator[Finding]:
    """Yield the values of the site's file that are more than the partition has."""
    per_cpu, per_node = site.memory_gb_per_cpu, partition.memory_gb_per_node
    carried = int(per_node * 1.001 / per_cpu) if per_cpu and per_node else None
    compared: list[tuple[str, float | None, float | None]] = [
        ("max_hours", site.max_hours, partition.max_hours),
        ("default_hours", site.default_hours, partition.max_hours),
        ("max_nodes", site.max_nodes, partition.max_nodes or partition.num_nodes),
        ("cpus_per_node", site.cpus_per_node, partition.cpus_per_node),
        ("default_cpus", site.default_cpus, partition.cpus_per_node),
        ("gpus_per_node", site.gpus_per_node, partition.gpus_per_node),
    ]
    for key, ours, theirs in compared:
        if ours is not None and theirs is not None and ours > theirs:
            advice = f"Set `{key}` to at most {theirs:g}: a launch that asks for more is refused."
            yield Finding(SLURM, key, f"{ours:g} in the site's file, {theirs:g} in the partition", WARNING, advice)
    asked = site.default_cpus or site.cpus_per_node or partition.cpus_per_node
    if carried is not None and asked is not None and asked > carried:
        found = f"{asked} CPUs at {per_cpu:g} GB each are {asked * (per_cpu or 0):g} GB; a node has {per_node:.0f}"
        advice = f"Lower `memory_gb_per_cpu`, or set `default_cpus` to at most {carried}."
        yield Finding(SLURM, "memory_gb_per_cpu", found, WARNING, advice)


def account_findings(site: SlurmSite, accounts: Sequence[Account] | QueueError) -> Iterator[Finding]:
    """Yield whether the user may use the site's account and quality of service."""
    name = "account"
    if isinstance(accounts, QueueError):
        given = f"{site.account or 'none given'}; not checked"
        yield Finding(SLURM, name, f"{given}: {accounts}")
        return
    if not accounts:
        yield Finding(SLURM, name, f"{site.account or 'none given'}; the cluster keeps no accounts")
        return
    names = sorted({one.account for one in accounts})
    mine = [one for one in accounts if site.account is None or one.account.lower() == site.account.lower()]
    if not mine:
        near = nearest(site.account, names)
        hint = f" Did you mean {near!r}?" if near else ""
        advice = f"Set `account` in the site's file to one of: {', '.join(names)}.{hint}"
        yield Finding(SLURM, name, f"{site.account}: you may not charge it", PROBLEM, advice)
        return
    elsewhere = site.partition and all(one.partition not in ("", *site.partition.split(",")) for one in mine)
    found = site.account or os.environ.get("SBATCH_ACCOUNT") or f"your default one, of {', '.join(names)}"
    if elsewhere:
        only = ", ".join(sorted({one.partition for one in mine}))
        advice = f"Set `partition` to one of: {only}, or another `account`."
        yield Finding(SLURM, name, f"{found}: not for partition {site.partition}", PROBLEM, advice)
    else:
        yield Finding(SLURM, name, found)
    services = sorted({one for account in mine for one in account.qos})
    if site.qos and services and site.qos not in services:
        advice = f"Set `qos` in the site's file to one of: {', '.join(services)}."
        yield Finding(SLURM, "qos", f"{site.qos}: not yours for this account", PROBLEM, advice)
    elif site.qos or services:
        yield Finding(SLURM, "qos", site.qos or f"your default one, of {', '.join(services)}")
