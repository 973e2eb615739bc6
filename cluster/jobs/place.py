"""Where in a job this process runs: on which of its nodes, and in which of several jobs on one search."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

NODES = "SWELL_NODES"
"""The variable with the number of nodes that a driver may expect, its own included."""
NODE = "SWELL_NODE"
"""Variable with this node's name."""
HOSTS = "SWELL_HOSTS"
"""The variable with the names of all nodes of the job, separated by spaces."""
INCARNATION = "SWELL_INCARNATION"
"""Variable with the place's incarnation."""


def node_name() -> str:
    """Return this node's name, as trials' records give it."""
    return os.environ.get(NODE) or socket.gethostname()


@dataclass(frozen=True)
class Place:
    """One node of one job."""

    rank: int
    num_nodes: int
    job: int | None
    """The number of this job among several on one search; None for the only one."""
    node: str
    incarnation: str
    """Which start of which job this is: it changes when the queue starts the job again."""
    queue: str = ""
    """The name of the queue; empty if the process belongs to no job."""
    queue_id: str = ""
    """The queue's id of the job."""

    @classmethod
    def alone(cls) -> "Place":
        """Return the place of a process that belongs to no job, even if it was started inside one."""
        return cls(0, 1, None, socket.gethostname(), "local-0")

    def note(self, hosts: Sequence[str]) -> None:
        """Write this place and the job's nodes to the environment, for the processes that this one starts."""
        os.environ.update({NODE: self.node, INCARNATION: self.incarnation, HOSTS: " ".join(hosts)})
        if not self.rank:
            os.environ[NODES] = str(self.num_nodes)


def address_for_others() -> str:
    """Return the address under which the other nodes of this job reach this one."""
    names = os.environ.get(HOSTS, "").split()
    for name in sorted(names, key=lambda name: name == node_name()):  # other nodes first
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((name, 9))  # sends nothing: it only chooses the route
            address = str(probe.getsockname()[0])
            if not address.startswith("127."):
                return address
    return socket.gethostbyname(socket.gethostname())
