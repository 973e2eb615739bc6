"""How a search was launched, as its directory records it: on what, asking for what, and under which ids."""

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from cluster.jobs.environment import queue_names
from cluster.machine.files import DamagedFileError, read_object, write_json
from cluster.state.paths import SearchPaths


@dataclass(frozen=True)
class Launch:
    """How a search was last launched."""

    on: str
    """The name of a queue, or `local`: a process of its own on `host`."""
    nodes: int = 1
    jobs: int = 1
    cpus: int | None = None
    """CPUs of each node; None stands for all of them."""
    hours: float | None = None
    gpus: int = 0
    site: dict[str, Any] | None = None
    """The resolved site, since its file may have changed since."""
    site_given: str | None = None
    """The value of `--site`: a name, or a path."""
    job_ids: tuple[str, ...] = ()
    """The queue's ids, one per job; empty until the queue has answered."""
    host: str = ""
    """The machine it was launched from."""
    launched_at: float = 0.0

    @property
    def is_queued(self) -> bool:
        """Whether its jobs went to a cluster's queue."""
        return self.on in queue_names()

    @classmethod
    def new(cls, on: str, **asked: Any) -> "Launch":
        """Return a launch made now, from this machine and folder, with what it `asked` for."""
        return cls(on, host=socket.gethostname(), launched_at=time.time(), **asked)

    def write(self, paths: SearchPaths, job_ids: Sequence[str] = ()) -> "Launch":
        """Write the launch to the search directory with its jobs' ids; return it with them."""
        launch = replace(self, job_ids=tuple(job_ids))
        write_json(paths.launch, asdict(launch))
        return launch


_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("on", "host"), str),
    **dict.fromkeys(("nodes", "jobs", "gpus"), int),
    "cpus": int | None,
    "hours": int | float | None,
    "site": dict | None,
    "site_given": str | None,
    "job_ids": list,
    "launched_at": int | float,
}


def read_launch(paths: SearchPaths) -> Launch | None:
    """Return how a search was last launched; None if it only ever ran in the foreground.

    Raises DamagedFileError if its file is damaged.
    """
    values = read_object(paths.launch)
    if values is None:
        if paths.launch.exists():
            values = {}
        else:
            return None
    known = {name: value for name, value in values.items() if name in Launch.__dataclass_fields__}
    wrong = [name for name, value in known.items() if not isinstance(value, _KINDS[name])]
    if wrong or "on" not in known or not all(isinstance(one, str) for one in known.get("job_ids", ())):
        raise DamagedFileError(
            f"{paths.launch} is damaged{': ' if wrong else ''}{', '.join(wrong)}. Without that file the search counts "
            "as one that was run in the foreground: delete it once no job of it is in the queue"
        )
    return Launch(**{**known, "job_ids": tuple(known.get("job_ids", ()))})


def make_submission_folder(paths: SearchPaths) -> None:
    """Make the folder of a search's job script, pickles and logs, private to the user: pickles are code."""
    paths.submission.mkdir(mode=0o700, exist_ok=True)
    paths.submission.chmod(0o700)


def clean_submission(paths: SearchPaths) -> None:
    """Delete submitit's files of jobs that have ended, except their scripts and logs."""
    for pattern in ("*.pkl", "*_tmp", ".submission_file_*.sh"):
        for file in paths.submission.glob(pattern):
            with suppress(OSError):
                file.unlink()
