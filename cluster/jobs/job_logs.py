"""The files that a search's jobs have printed to, and their last lines."""

from collections.abc import Collection
from pathlib import Path

from cluster.state.paths import SearchPaths

NOT_OURS = ("submitit INFO", "submitit WARNING")
"""The beginnings of lines that only say that a job was started."""


def job_logs(paths: SearchPaths, job_id: str, rank: int | None = None) -> list[Path]:
    """Return the files that a job has printed to, errors last; only those of the node `rank`, if given."""
    of = "*" if rank is None else str(rank)
    printed, errors = (sorted(paths.submission.glob(f"{job_id}_{of}_log.{kind}")) for kind in ("out", "err"))
    return [*printed, *errors]


def tail(file: Path, lines: int) -> list[str]:
    """Return the last lines of a file; empty if it cannot be read."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(file.stat().st_size - 1000 * lines, 0))
            return opened.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def last_words(paths: SearchPaths, job_ids: Collection[str], lines: int = 8) -> list[str]:
    """Return the last lines that a search's jobs, or its detached process, have printed."""
    files = [file for one in job_ids for file in job_logs(paths, one)] or [*paths.submission.glob("local.log")]
    for file in sorted(files, key=lambda one: (one.suffix != ".out", one.stat().st_mtime), reverse=True):
        said = [line for line in tail(file, 4 * lines) if line.strip() and not line.startswith(NOT_OURS)]
        if said:
            return said[-lines:]
    return []
