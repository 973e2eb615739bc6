"""A cluster's queue: everything that we ask of one, as one interface, so that another queue is another folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cluster.installation import own_folder
from cluster.jobs.queue_facts import Job, OwnState, Partition
from cluster.machine.findings import Finding
from cluster.state.paths import SearchPaths

if TYPE_CHECKING:  # code that asks a queue for its jobs needs no specs
    from cluster.jobs.request import Request
    from cluster.jobs.sites import Site


class Queue(ABC):
    """A kind of queue; every question to it has a time limit, and raises QueueError if there is no answer.

    The module `job` in the queue's folder reads what jobs find in their environment: `place` and `allocation`.
    """

    name: ClassVar[str]
    """Its name in `--on` and in the record of a launch; also the name of its folder and of its sites' folder."""
    title: ClassVar[str]
    """Its name in messages."""

    # -- sites ----------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def site_type(self) -> "type[Site]":
        """What a site's file may say."""

    @property
    def sites_folder(self) -> Path:
        """The folder of the sites' files that come with this package."""
        return own_folder() / self.name / "sites"

    def load_site(self, name: str) -> "Site":
        """Return a site by its name or the path of its YAML file; raises SpecError if there is none or it is wrong."""
        from cluster.jobs.sites import load_site

        return load_site(name, self.site_type, self.sites_folder)

    # -- from a login node ----------------------------------------------------------------------------------------

    @abstractmethod
    def render(self, request: "Request", site: "Site", paths: SearchPaths) -> str:
        """Return the job script exactly as the queue would get it; works on machines without the queue too."""

    @abstractmethod
    def submit(
        self, request: "Request", site: "Site", paths: SearchPaths, function: Callable[[str], object]
    ) -> list[str]:
        """Submit the jobs of a request; return their ids.

        Each job calls `function` with the search directory. Raises SubmissionError if the queue does not take a job.
        """

    @abstractmethod
    def jobs(self, ids: Collection[str]) -> dict[str, Job]:
        """Return the jobs with these ids that the queue or its accounting still knows."""

    @abstractmethod
    def submitted_from(self, folder: Path, name: str) -> list[str]:
        """Return the ids of the user's waiting or running jobs with this name whose script was in this folder."""

    @abstractmethod
    def cancel(self, ids: Collection[str]) -> None:
        """Cancel jobs: those that wait leave the queue, those that run are ended."""

    @abstractmethod
    def partitions(self) -> dict[str, Partition]:
        """Return all partitions by name."""

    @abstractmethod
    def cancel_command(self, ids: Iterable[str], name: str) -> str:
        """Return the command that cancels jobs; if their ids are not known, the one that finds jobs with this name."""

    # -- inside of a job ------------------------------------------------------------------------------------------

    @abstractmethod
    def hosts(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of the nodes of the job with this environment; empty if the queue does not say."""

    @abstractmethod
    def time_left_s(self, job: str) -> float | None:
        """Return the seconds until the queue ends a job; None if there is no limit, or no answer."""

    @abstractmethod
    def own_state(self, job: str) -> OwnState:
        """Return the state of this process's job."""

    @abstractmethod
    def requeue(self, job: str) -> None:
        """Have the queue end this process's job and start it again."""

    # -- `swell doctor` -------------------------------------------------------------------------------------------

    @abstractmethod
    def machine_findings(self, environment: Mapping[str, str]) -> list[Finding]:
        """Return whether jobs can be submitted and followed from this machine; never raises QueueError."""

    @abstractmethod
    def site_findings(self, site: "Site") -> list[Finding]:
        """Return whether the queue has what a site's file says; never raises QueueError."""
