"""Tells a job's further nodes where its driver is: a file that only the user can read."""

import os
from dataclasses import asdict, dataclass

from cluster.machine.files import write_json
from cluster.state.paths import SearchPaths


@dataclass(frozen=True)
class Meeting:
    """The addresses at which further nodes find Ray's head and the driver's own exchange, and the keys to both."""

    incarnation: str
    """Which start of which job this is, so that what an earlier start has left is not used."""
    driver: int
    ray: str
    ray_token: str
    link: tuple[str, int]
    key: str

    def publish(self, paths: SearchPaths) -> None:
        """Write the addresses and keys to a file that only this user can read."""
        before = os.umask(0o077)
        try:
            write_json(paths.session, asdict(self))
        finally:
            os.umask(before)
