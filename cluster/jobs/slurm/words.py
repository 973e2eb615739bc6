"""Explains SLURM's names for why jobs wait and how they end."""

import re

NOTHING = frozenset({"", "N/A", "(null)", "None assigned", "Unknown", "None"})

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


def reason(name: str) -> str:
    """Return in words why a job waits, with SLURM's name for it."""
    if name in NOTHING:
        return REASONS["None"]
    said = REASONS.get(name)
    if said is None and name.startswith("ReqNodeNotAvail"):
        said = REASONS["ReqNodeNotAvail"]
    elif said is None and name.startswith("Nodes required for job"):
        return "nodes that it needs are down, drained, or kept for others"
    elif said is None and re.match("(Assoc|QOS|Max|Grp)", name):
        said = "a limit of your account or quality of service is reached: jobs of yours or your group must end first"
    return f"{said} ({name})" if said else name


def end(state: str) -> str:
    """Return in words how a job ended, by SLURM's name for its state."""
    return ENDS.get(state, state.lower().replace("_", " "))
