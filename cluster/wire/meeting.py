"""Where further nodes of a job find the driver of its first node: published as a file that only the user can read."""

import os
from dataclasses import asdict, dataclass

from cluster.machine.files import write_json
from cluster.state.paths import SearchPaths


@dataclass(frozen=True)
class Meeting:
    """Where further nodes find the driver: Ray's head, the driver's own exchange, and the keys to both."""

    incarnation: str
    """Which start of which job this is: what an earlier one has left is nobody's."""
    driver: int
    ray: str
    ray_token: str
    link: tuple[str, int]
    key: str

    def publish(self, paths: SearchPaths) -> None:
        """Write it where only this user can read it."""
        before = os.umask(0o077)
        try:
            write_json(paths.session, asdict(self))
        finally:
            os.umask(before)
