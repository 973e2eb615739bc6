"""What a site's file may say of a SLURM cluster beside what every cluster has."""

import re
from typing import ClassVar

from pydantic import Field

from cluster.jobs.sites import Site
from search_spaces.errors import Problem

OURS = {
    "account": "account",
    "array": "--jobs",
    "constraint": "constraint",
    "cpus-per-task": "--cpus",
    "error": None,
    "gpus-per-node": "gpus_per_node",
    "job-name": "--name",
    "mem": "memory_gb_per_cpu",
    "mem-per-cpu": "memory_gb_per_cpu",
    "no-kill": None,
    "no-requeue": None,
    "nodes": "--nodes",
    "ntasks": "--nodes",
    "ntasks-per-node": None,
    "open-mode": None,
    "output": None,
    "partition": "partition",
    "qos": "qos",
    "requeue": None,
    "signal": "signal_s",
    "time": "--hours",
}
"""Parameters of sbatch that a launch sets itself, with the key or the option that they come from, if any."""

SbatchValue = str | int | float | bool


class SlurmSite(Site):
    """A SLURM cluster."""

    id_variables: ClassVar[tuple[str, ...]] = ("SLURM_JOB_ID", "SLURM_JOBID")
    account: str | None = None
    """The account that is charged; `$SBATCH_ACCOUNT`, else the user's default, when left out."""
    sbatch: dict[str, SbatchValue] = Field(default={})
    """Further parameters of sbatch, by their long names: `mail-type: END`; true for one without a value."""

    def own_problems(self) -> list[Problem]:
        """Return what is wrong with the parameters of sbatch."""
        problems = []
        for key in self.sbatch:
            name = key.replace("_", "-").lstrip("-")
            if name in OURS:
                way_out = OURS[name]
                rule = "is set by the launch itself" + (f": give {way_out} instead" if way_out else "")
                problems.append(Problem(("sbatch", key), rule, self.sbatch[key]))
            elif not re.fullmatch(r"[a-z][a-z0-9-]*", name) or key.startswith("-"):
                problems.append(Problem(("sbatch", key), "is no long name of a parameter, such as mail-type"))
        return problems
