"""A cluster's queue: all that a search asks of one, behind one interface, so that another queue is another folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from cluster.installation import own_folder
from cluster.jobs.queue_facts import Job, OwnState, Partition
from cluster.machine.findings import Finding
from cluster.state.paths import SearchPaths

if TYPE_CHECKING:  # who asks a queue for its jobs has no use for specs
    from cluster.jobs.request import Request
    from cluster.jobs.sites import Site


class Queue(ABC):
    """A kind of queue. Every question to it has a time limit, and raises QueueError if there is no answer.

    What its jobs find in their environment is read by the module `job` in its folder: `place` and `allocation`.
    """

    name: ClassVar[str]
    """What `--on` and the record of a launch call it; its folder below `cluster/jobs` and that of its sites."""
    title: ClassVar[str]
    """What its users call it."""

    # -- sites ----------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def site_type(self) -> "type[Site]":
        """What a site's file may say."""

    @property
    def sites_folder(self) -> Path:
        """The folder of the sites that come with this package."""
        return own_folder() / self.name / "sites"

    def load_site(self, name: str) -> "Site":
        """Return a site by its name, or by the path of its YAML file; raises SpecError."""
        from cluster.jobs.sites import load_site

        return load_site(name, self.site_type, self.sites_folder)

    # -- from a login node ----------------------------------------------------------------------------------------

    @abstractmethod
    def render(self, request: "Request", site: "Site", paths: SearchPaths) -> str:
        """Return the job script exactly as the queue would get it, on any machine."""

    @abstractmethod
    def submit(
        self, request: "Request", site: "Site", paths: SearchPaths, function: Callable[[str], object]
    ) -> list[str]:
        """Submit the jobs of a request, each of which calls a function with the search directory; return their ids.

        Raises SubmissionError.
        """

    @abstractmethod
    def jobs(self, ids: Collection[str]) -> dict[str, Job]:
        """Return the jobs of these ids that the queue, or its accounting, still knows."""

    @abstractmethod
    def submitted_from(self, folder: Path, name: str) -> list[str]:
        """Return the ids of the user's jobs of a name that wait or run and whose script lay in a folder."""

    @abstractmethod
    def cancel(self, ids: Collection[str]) -> None:
        """Take jobs out of the queue, or end them."""

    @abstractmethod
    def partitions(self) -> dict[str, Partition]:
        """Return the partitions there are, by their names."""

    @abstractmethod
    def cancel_command(self, ids: Iterable[str], name: str) -> str:
        """Return what a user types to cancel jobs, or to find those of a name if their ids are not known."""

    # -- inside of a job ------------------------------------------------------------------------------------------

    @abstractmethod
    def hosts(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of the nodes of this process's job; empty if the queue does not say."""

    @abstractmethod
    def time_left_s(self, job: str) -> float | None:
        """Return the seconds that the queue gives a job yet; None if there is no limit, or no answer."""

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
