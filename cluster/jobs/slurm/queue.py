"""SLURM behind the interface of all queues."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cluster.jobs.queue import Queue
from cluster.jobs.queue_facts import Job, OwnState, Partition, QueueError
from cluster.jobs.slurm import commands
from cluster.jobs.slurm.job import NAME
from cluster.jobs.slurm.machine_findings import read_slurm, slurm_findings
from cluster.machine.findings import Finding
from cluster.state.paths import SearchPaths

if TYPE_CHECKING:
    from cluster.jobs.request import Request
    from cluster.jobs.sites import Site
    from cluster.jobs.slurm.site import SlurmSite

COMES_BACK = ("PREEMPTED", "PENDING", "REQUEUED")


class SlurmQueue(Queue):
    """A SLURM cluster, through its own commands and submitit."""

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "SLURM"

    @property
    def site_type(self) -> "type[SlurmSite]":
        """What a site's file may say of a SLURM cluster."""
        from cluster.jobs.slurm.site import SlurmSite

        return SlurmSite

    def render(self, request: "Request", site: "Site", paths: SearchPaths) -> str:
        """Return the job script exactly as sbatch would get it."""
        from cluster.jobs.slurm.submission import render  # imports submitit, which most commands do not need

        assert isinstance(site, self.site_type)
        return render(request, site, paths)

    def submit(
        self, request: "Request", site: "Site", paths: SearchPaths, function: Callable[[str], object]
    ) -> list[str]:
        """Submit a job or an array of jobs that call `function` with the search directory; return their ids."""
        from cluster.jobs.slurm.submission import submit

        assert isinstance(site, self.site_type)
        return submit(request, site, paths, function)

    def jobs(self, ids: Collection[str]) -> dict[str, Job]:
        """Return the jobs with these ids that squeue or sacct still knows."""
        return commands.jobs(ids)

    def submitted_from(self, folder: Path, name: str) -> list[str]:
        """Return the ids of the user's waiting or running jobs with this name whose script was in this folder."""
        return commands.submitted_from(folder, name)

    def cancel(self, ids: Collection[str]) -> None:
        """Cancel jobs: those that wait leave the queue, those that run are ended."""
        commands.cancel(ids)

    def partitions(self) -> dict[str, Partition]:
        """Return all partitions by name."""
        return commands.partitions()

    def cancel_command(self, ids: Iterable[str], name: str) -> str:
        """Return the command that cancels jobs; if their ids are not known, the one that finds jobs with this name."""
        return f"scancel {' '.join(ids)}" if ids else f"squeue --name={name}"

    def hosts(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of the nodes of the job with this environment."""
        nodes = environment.get("SLURM_JOB_NODELIST", "")
        try:
            return tuple(commands.ask_slurm("scontrol", "show", "hostnames", nodes).split()) if nodes else ()
        except QueueError:
            return ()

    def time_left_s(self, job: str) -> float | None:
        """Return the seconds until SLURM ends a job; None if there is no limit, or no answer."""
        try:
            hours = commands.hours_of(commands.ask_slurm("squeue", "--noheader", f"--jobs={job}", "--format=%L"))
        except QueueError:
            return None
        return None if hours is None else 3600 * hours

    def own_state(self, job: str) -> OwnState:
        """Return the state of this process's job."""
        command = ("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")
        word = commands.ask_slurm(*command).strip()
        return OwnState(word, runs=word == "RUNNING", comes_back=word in COMES_BACK)

    def requeue(self, job: str) -> None:
        """Have SLURM end this process's job and start it again."""
        commands.ask_slurm("scontrol", "requeue", job)

    def machine_findings(self, environment: Mapping[str, str]) -> list[Finding]:
        """Return whether jobs can be submitted and followed from this machine."""
        return slurm_findings(read_slurm(environment))

    def site_findings(self, site: "Site") -> list[Finding]:
        """Return whether SLURM has what a site's file says."""
        from cluster.jobs.slurm.site_findings import site_findings

        assert isinstance(site, self.site_type)
        return site_findings(site)


QUEUE = SlurmQueue()
