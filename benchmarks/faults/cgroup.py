"""A memory control group around a search, version 1 or 2, whose limit makes the kernel's own OOM killer strike."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = {1: "-1", 2: "max"}
LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
USAGE = {1: "memory.usage_in_bytes", 2: "memory.current"}
EVENTS = {1: "memory.oom_control", 2: "memory.events"}


def _own_folders() -> list[tuple[int, Path]]:
    """Return the version and the folder of the memory groups that this process is in."""
    folders = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            folders.append((1, CGROUPS / "memory" / path.lstrip("/")))
        elif not controllers:
            folders.append((2, CGROUPS / path.lstrip("/")))
    return folders


@dataclass(frozen=True)
class MemoryGroup:
    """A memory group of ours."""

    folder: Path
    version: int

    @classmethod
    def create(cls, name: str) -> "MemoryGroup | None":
        """Make a group below this process's own; None where the kernel or our rights allow none."""
        for version, parent in _own_folders():
            group = cls(parent / name, version)
            try:
                group.folder.mkdir()
            except OSError:
                continue
            # A group of version 2 has no memory files where its parent does not hand the controller down.
            if os.access(group.folder / LIMIT[version], os.W_OK):
                return group
            group.delete()
        return None

    def joining(self) -> list[str]:
        """Return the beginning of a command line that runs the rest of it in this group."""
        return ["sh", "-c", f'echo $$ > "{self.folder}/cgroup.procs" && exec "$@"', "sh"]

    def used_bytes(self) -> int:
        """Return the memory that its processes have."""
        return int((self.folder / USAGE[self.version]).read_text())

    def limit(self, num_bytes: int | None) -> None:
        """Limit the memory of its processes together; None takes the limit away."""
        text = NO_LIMIT[self.version] if num_bytes is None else str(num_bytes)
        (self.folder / LIMIT[self.version]).write_text(text)

    def kills(self) -> int:
        """Return how many of its processes the kernel has ended for want of memory."""
        lines = (self.folder / EVENTS[self.version]).read_text().splitlines()
        return int(dict(line.split() for line in lines).get("oom_kill", 0))

    def delete(self) -> None:
        """Remove the group, which must be empty."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()
