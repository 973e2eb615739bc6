"""What a launch asks of a cluster: nodes, CPUs and hours; refused here if the cluster cannot give them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cluster.jobs.queue_facts import Partition
from cluster.jobs.sites import Site
from cluster.wording import count
from search_spaces.errors import Problem, UserError, nearest
from search_spaces.spec import Spec, SpecFile


class RequestError(UserError):
    """The cluster cannot give what is asked for; the text has one line per reason, ready for the terminal."""


@dataclass(frozen=True)
class Options:
    """The command line's options; None leaves a value to the site and the spec."""

    nodes: int | None = None
    jobs: int | None = None
    cpus: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Request:
    """Everything that one search asks of a cluster."""

    nodes: int
    """Nodes of one job, which work on the search together."""
    jobs: int
    """Jobs of one node each, which share the search."""
    cpus: int
    """CPUs of each node."""
    hours: float
    """Time limit of a job."""
    gpus: int = 0
    """GPUs of each node."""

    @property
    def minutes(self) -> int:
        """The time limit in whole minutes, as queues take it."""
        return math.ceil(round(self.hours * 60, 6))

    def as_dict(self) -> dict[str, Any]:
        """Return the request's values by name, to be written to a file."""
        return asdict(self)


def partition_of(site: Site, known: Mapping[str, Partition]) -> Partition | None:
    """Return the partition that a site's jobs go to; None if the cluster has no default.

    Raises RequestError if the partition does not exist.
    """
    if site.partition is None:
        return next((one for one in known.values() if one.is_default), None)
    names = site.partition.split(",")  # the queue takes the first with room
    unknown = [name for name in names if name not in known]
    if unknown:
        near = nearest(unknown[0], known)
        hint = f"; did you mean {near!r}?" if near else ""
        listed = ", ".join(sorted(known)) or "none"
        raise RequestError(
            f"site {site.name}: partition = {unknown[0]!r}: the cluster has no such partition. Allowed: {listed}{hint}"
        )
    return known[names[0]] if len(names) == 1 else None


def make_request(options: Options, site: Site, file: SpecFile, partition: Partition | None) -> Request:
    """Return the request for a search: the options given, completed by the site and the spec.

    Raises RequestError if the cluster cannot give it, and SpecError if a trial does not fit on a node.
    """
    spec = file.spec
    cpus = _cpus(options, site, spec, partition)
    request = Request(
        nodes=options.nodes or 1,
        jobs=options.jobs or 1,
        cpus=cpus,
        hours=options.hours or _hours(site, partition),
        gpus=_gpus(site, spec, cpus, partition),
    )
    problems = [*_problems(request, site, partition)]
    if problems:
        raise RequestError("\n".join(problems))
    _check_spec(request, site, file)
    return request


def _cpus(options: Options, site: Site, spec: Spec, partition: Partition | None) -> int:
    whole = site.cpus_per_node or (partition.cpus_per_node if partition else None)
    asked = options.cpus or spec.resources.max_cpus
    if asked:
        return asked
    if site.default_cpus:
        return max(min(site.default_cpus, whole or site.default_cpus), spec.resources.cpus_per_trial)
    if whole is None:
        raise RequestError(f"--cpus: is required: neither site {site.name} nor its cluster says how many a node has")
    return whole


def _hours(site: Site, partition: Partition | None) -> float:
    most = partition.max_hours if partition else None
    return min(site.default_hours, most) if most else site.default_hours


def _gpus(site: Site, spec: Spec, cpus: int, partition: Partition | None) -> int:
    per_trial = spec.resources.gpus_per_trial
    if not per_trial:
        return 0
    there = site.gpus_per_node or (partition.gpus_per_node if partition else 0)
    if per_trial > there:
        raise RequestError(
            f"resources.gpus_per_trial = {per_trial:g}: a node of site {site.name} has {count(there, 'GPU')} "
            "(gpus_per_node, or its partition's). Choose another site or partition"
        )
    at_once = max(cpus // spec.resources.cpus_per_trial, 1)
    return min(there, math.ceil(at_once * per_trial))


def _problems(request: Request, site: Site, partition: Partition | None) -> Iterator[str]:
    """Yield why the cluster cannot give what is requested, one line per reason."""
    if request.nodes > 1 and request.jobs > 1:
        yield (
            f"--nodes {request.nodes} --jobs {request.jobs}: give one of them. --nodes is one job over several nodes, "
            "--jobs are as many jobs of one node each, which start one by one as nodes become free"
        )
    live = partition or Partition("")
    together = min((one for one in (live.max_nodes, live.num_nodes) if one), default=None)
    option, wide = ("--nodes", request.nodes) if request.nodes > 1 else ("--jobs", request.jobs)
    bound = _tighter(site, "max_nodes", live, together if request.nodes > 1 else None)
    if bound and wide > bound[0]:
        yield f"{option} {wide}: {bound[1]} allows {bound[0]}. Allowed: 1 to {bound[0]}"
    bound = _tighter(site, "cpus_per_node", live, live.cpus_per_node)
    if bound and request.cpus > bound[0]:
        yield f"--cpus {request.cpus}: a node has {bound[0]}, by {bound[1]}. Allowed: 1 to {bound[0]}, for each node"
    bound = _tighter(site, "max_hours", live, live.max_hours)
    if bound and request.hours > bound[0]:
        yield (
            f"--hours {request.hours:g}: {bound[1]} allows {bound[0]:.3g}. Allowed: at most {bound[0]:.3g}; a search "
            "that needs longer queues again by itself, and goes on under the same trial numbers"
        )
    if partition is not None:
        yield from _partition_problems(request, site, partition)


def _tighter(site: Site, key: str, partition: Partition, theirs: float | None) -> tuple[float, str] | None:
    """Return the tighter of a limit in a site's file and the queue's own, and whose it is; None if there is neither."""
    ours = getattr(site, key)
    if theirs is not None and (ours is None or theirs < ours):
        return theirs, f"partition {partition.name}"
    return None if ours is None else (ours, f"site {site.name} ({key})")


def _partition_problems(request: Request, site: Site, partition: Partition) -> Iterator[str]:
    per_cpu, per_node = site.memory_gb_per_cpu, partition.memory_gb_per_node
    if per_cpu and per_node and request.cpus * per_cpu > per_node * 1.001:
        yield (
            f"--cpus {request.cpus}: with {per_cpu:g} GB each (memory_gb_per_cpu of site {site.name}) they take "
            f"{request.cpus * per_cpu:g} GB, and a node of partition {partition.name} has {per_node:.0f}"
        )
    if not partition.is_up:
        yield f"site {site.name}: partition = {partition.name!r}: takes no jobs now: choose another"
    allowed = {one.lower() for one in partition.allowed_accounts}
    if site.account and allowed and site.account.lower() not in allowed:
        yield (
            f"site {site.name}: account = {site.account!r}: partition {partition.name} does not take it. "
            f"Allowed: {', '.join(partition.allowed_accounts)}"
        )


def _check_spec(request: Request, site: Site, file: SpecFile) -> None:
    """Raise SpecError if the search cannot run on such nodes as its spec says."""
    problems, per_trial = [], file.spec.resources.cpus_per_trial
    if per_trial > request.cpus:
        rule = f"a trial cannot get more CPUs than there are for the search ({request.cpus} on each node, by --cpus)"
        problems.append(Problem(("resources", "cpus_per_trial"), rule, per_trial))
    if file.spec.tracking.wandb == "online" and not site.internet:
        rule = f"the nodes of site {site.name} do not reach the internet"
        way_out = "offline, and `swell sync` on a login node; or another site"
        problems.append(Problem(("tracking", "wandb"), rule, "online", allowed=way_out))
    if problems:
        raise file.source.error(problems)
