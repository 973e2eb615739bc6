"""`swell doctor --site`: whether a cluster is as its site's file says, looked at from a login node."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cluster.doctor.disks import Writing, mount_of, try_writing
from cluster.doctor.findings import Finding, Verdict
from cluster.jobs.request import RequestError, partition_of
from cluster.jobs.sites import Site, expanded
from cluster.jobs.slurm_queue import Association, Partition, SlurmError, ask_slurm, associations, partitions
from cluster.machine.asking import Answer, ask
from cluster.machine.scratch import LONGEST_ROOT
from cluster.state.paths import searches_root
from cluster.wording import count
from search_spaces.errors import nearest

NEEDED = ("sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel")
USEFUL = {"sacct": "how jobs have ended that the queue has forgotten", "sacctmgr": "which accounts you may charge"}
SLURM, FOLDERS, ENVIRONMENT = "SLURM", "Folders", "Environment"
MODULES_PATIENCE_S = 20.0
OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM


def examine_site(site: Site) -> list[Finding]:
    """Return what was found of a cluster from here, without a job."""
    with ThreadPoolExecutor() as pool:
        known = pool.submit(_or_trouble, partitions)
        accounts = pool.submit(_or_trouble, associations)
        version = pool.submit(_or_trouble, lambda: ask_slurm("sinfo", "--version"))
        quota = pool.submit(read_quota)
        modules = pool.submit(load_modules, site)
    return [
        *command_findings({name for name in (*NEEDED, *USEFUL) if shutil.which(name)}),
        controller_finding(version.result(), known.result()),
        *partition_findings(site, known.result()),
        *account_findings(site, accounts.result()),
        *folder_findings(site, Path.home().resolve(), os.environ),
        quota_finding(quota.result()),
        *environment_findings(site, modules.result()),
    ]


def _or_trouble(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except SlurmError as error:
        return error


# -- SLURM


def command_findings(there: set[str]) -> Iterator[Finding]:
    """Yield which of SLURM's commands are on the PATH."""
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


def controller_finding(version: str | SlurmError, known: Mapping[str, Partition] | SlurmError) -> Finding:
    """Return whether SLURM's controller answers."""
    if isinstance(known, SlurmError):
        advice = "Try again later, or ask the administrators: nothing can be submitted while it does not answer."
        return Finding(SLURM, "controller", str(known), PROBLEM, advice)
    said = version if isinstance(version, str) else "version unknown"
    return Finding(SLURM, "controller", f"answers; {said}; {count(len(known), 'partition')}")


def partition_findings(site: Site, known: Mapping[str, Partition] | SlurmError) -> Iterator[Finding]:
    """Yield whether the site's partition is there, takes jobs, and has what the site's file says."""
    if isinstance(known, SlurmError):
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
    """Return a partition's limits in a line."""
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


def _limits(site: Site, partition: Partition) -> Iterator[Finding]:
    """Yield where the site's file promises more than the partition has."""
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


def account_findings(site: Site, accounts: Sequence[Association] | SlurmError) -> Iterator[Finding]:
    """Yield whether the site's account and quality of service are the user's."""
    name = "account"
    if isinstance(accounts, SlurmError):
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
    services = sorted({one for association in mine for one in association.qos})
    if site.qos and services and site.qos not in services:
        advice = f"Set `qos` in the site's file to one of: {', '.join(services)}."
        yield Finding(SLURM, "qos", f"{site.qos}: not yours for this account", PROBLEM, advice)
    elif site.qos or services:
        yield Finding(SLURM, "qos", site.qos or f"your default one, of {', '.join(services)}")


# -- folders


def folder_findings(site: Site, home: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield where searches and scratch will lie, and whether they may."""
    given = environment.get("SWELL_ROOT")
    root = (Path(expanded(site.searches_root)) if site.searches_root and not given else searches_root()).resolve()
    yield _searches(site, root, try_writing(root), home, by="SWELL_ROOT" if given else "searches_root")
    yield _scratch(site, home)


def _searches(site: Site, root: Path, writing: Writing, home: Path, by: str) -> Finding:
    name, found = "searches", f"{root} on {mount_of(root).type}"
    if writing.failure:
        advice = "Set `searches_root` in the site's file, or SWELL_ROOT, to a folder that you may write to."
        return Finding(FOLDERS, name, f"{found}; cannot be written to: {writing.failure}", PROBLEM, advice)
    if writing.lock_failure:
        advice = "Use a file system with locks: they keep a search from being worked on twice."
        return Finding(FOLDERS, name, f"{found}; no locks: {writing.lock_failure}", PROBLEM, advice)
    if site.searches_root and home != Path("/") and root.is_relative_to(home):
        advice = f"Set {by} to a folder outside of home: this site's runs belong on its scratch."
        return Finding(FOLDERS, name, f"{found}; in your home", PROBLEM, advice)
    return Finding(FOLDERS, name, f"{found}; writable, locks work")


def _scratch(site: Site, home: Path) -> Finding:
    name = "scratch"
    if site.scratch is None:
        advice = "Set `scratch` to a disk of the nodes, such as /tmp/swell-$USER."
        return Finding(FOLDERS, name, "not given: the nodes' folder for temporary files", WARNING, advice)
    path = Path(expanded(site.scratch))
    found = f"{site.scratch}, here {path}: {len(str(path))} of at most {LONGEST_ROOT} characters"
    if home != Path("/") and path.resolve().is_relative_to(home):
        advice = "Set `scratch` to a disk of the nodes: Ray writes there all the time, and homes have quotas."
        return Finding(FOLDERS, name, f"{found}; in your home", PROBLEM, advice)
    if len(str(path)) > LONGEST_ROOT:
        return Finding(FOLDERS, name, found, PROBLEM, "Make it shorter: Ray's sockets lie below it.")
    return Finding(FOLDERS, name, f"{found}; whether nodes can write there is for --submit to see")


def read_quota() -> Answer | None:
    """Return what `quota` says; None where there is no such command."""
    if shutil.which("quota") is None:
        return None
    return ask(["quota", "-s"], MODULES_PATIENCE_S)


def quota_finding(answer: Answer | None) -> Finding:
    """Return whether a quota is used up."""
    if answer is None:
        return Finding(FOLDERS, "quota", "no `quota` command here")
    lines = [line.split() for line in answer.text.splitlines()[2:]]
    over = [words for words in lines if any(word.endswith("*") and word != "*" for word in words[1:])]
    if over:
        advice = "Free some of it: a file system over its quota takes no checkpoint."
        return Finding(FOLDERS, "quota", f"used up: {'; '.join(' '.join(words) for words in over)}", PROBLEM, advice)
    if answer.failure:
        return Finding(FOLDERS, "quota", f"not known: {answer.failure}")
    return Finding(FOLDERS, "quota", f"{count(len(lines), 'file system')} with one, none used up" if lines else "none")


# -- environment


def load_modules(site: Site) -> Answer:
    """Return how it went to load the site's modules in a shell of its own."""
    if not site.modules:
        return Answer()
    names = " ".join(map(shlex.quote, site.modules))
    script = f"type module >/dev/null 2>&1 || . /etc/profile; module load {names} && echo loaded"
    answer = ask(["bash", "-c", script], MODULES_PATIENCE_S, limit=300)
    return answer if answer.failure or "loaded" in answer.text else Answer(failure=answer.text or "they did not load")


def environment_findings(site: Site, modules: Answer) -> Iterator[Finding]:
    """Yield whether the site's modules load here, and its Python is there."""
    if site.modules:
        found = ", ".join(site.modules)
        if modules.failure:
            advice = "Mend `modules` in the site's file; `module avail` lists what there is."
            yield Finding(ENVIRONMENT, "modules", f"{found}: {modules.failure}", PROBLEM, advice)
        else:
            yield Finding(ENVIRONMENT, "modules", f"{found} load here")
    if site.python:
        python = Path(expanded(site.python))
        if os.access(python, os.X_OK):
            yield Finding(ENVIRONMENT, "python", str(python))
        else:
            advice = "Mend `python` in the site's file, unless it is there on the nodes alone: --submit sees."
            yield Finding(ENVIRONMENT, "python", f"{python}: cannot be run here", WARNING, advice)
    reach = "reach the internet" if site.internet else "do not reach the internet: W&B's runs wait for `swell sync`"
    yield Finding(ENVIRONMENT, "internet", f"compute nodes {reach}, says the site's file")
