"""`swell logs`: prints what a search's jobs, supervisors and drivers have written: the last lines, or what comes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from cluster.console import Console
from cluster.jobs.job_logs import NOT_OURS, job_logs, tail
from cluster.jobs.launched import read_launch
from cluster.state.paths import SearchPaths
from search_spaces.errors import UserError

POLL_S = 0.5
LOOK_S = 5.0
"""How often `--follow` checks whether the search has ended."""


class NoLogError(UserError):
    """The search has no such log."""


@dataclass(frozen=True)
class Wanted:
    """Which of a search's logs are asked for."""

    job: int | None = None
    """One of several jobs on the search, from 0."""
    node: int | None = None
    """One of several nodes, from 0."""
    driver: bool = False
    """Whether the log of the newest wave driver, with its Ray, is wanted."""


def chosen(paths: SearchPaths, wanted: Wanted) -> list[Path]:
    """Return the existing logs among those asked for, the most telling one last.

    Raises NoLogError if none exists.
    """
    launch = read_launch(paths)
    ids = launch.job_ids if launch is not None else ()
    if wanted.job is not None:
        numbers = [one.rpartition("_")[2] for one in ids if "_" in one]
        if str(wanted.job) not in numbers:
            there = f"0 to {len(numbers) - 1}" if numbers else "none: it is not several jobs"
            raise NoLogError(f"--job {wanted.job}: search {paths.name} has no such job. Allowed: {there}")
        ids = [one for one in ids if one.endswith(f"_{wanted.job}")]
        paths = SearchPaths(paths.root, wanted.job)
    elif paths.of_jobs() and not paths.supervisor_log.exists():
        ids = ids[:1]
        paths = paths.of_jobs()[0]
    if wanted.driver:
        found = [paths.driver_log(paths.next_driver() - 1)]
        what = "wave driver"
    elif wanted.node:
        found = [log for one in ids for log in job_logs(paths, one, wanted.node)] + [paths.node_log(wanted.node)]
        what = f"node {wanted.node}"
    else:
        printed = [log for one in ids for log in job_logs(paths, one, 0)] or [paths.submission / "local.log"]
        found = [*printed, paths.supervisor_log]
        what = "supervisor"
    there = [log for log in found if log.exists() and log.stat().st_size]
    if not there:
        raise NoLogError(
            f"search {paths.name} has no log of a {what} yet; `swell status {paths.name}` says where it is"
        )
    return there


def show_logs(
    paths: SearchPaths,
    wanted: Wanted,
    console: Console,
    *,
    lines: int,
    follow: bool,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Print the last lines of a search's logs; with `follow` also new lines, until `is_over` returns True.

    Raises NoLogError if there is no such log.
    """
    logs = chosen(paths, wanted)
    ends = {log: log.stat().st_size for log in logs}
    for log in logs:
        said = [line for line in tail(log, lines) if not line.startswith(NOT_OURS)]
        if said:
            _head(console, paths, log)
            _print(console, "\n".join(said))
    last, looked = logs[-1], time.monotonic()
    while follow:
        over = False
        if time.monotonic() - looked > LOOK_S:
            over, looked = is_over(), time.monotonic()
        for log in logs:
            size = log.stat().st_size if log.exists() else 0
            if size <= ends[log]:
                ends[log] = size  # it may have been begun anew
                continue
            if log != last:
                _head(console, paths, log)
                last = log
            with log.open("rb") as opened:
                opened.seek(ends[log])
                text = opened.read(size - ends[log])
            ends[log] = size
            _print(console, text.decode(errors="replace").removesuffix("\n"))
        if over:
            return
        time.sleep(POLL_S)


def _head(console: Console, paths: SearchPaths, log: Path) -> None:
    place = log.relative_to(paths.root) if log.is_relative_to(paths.root) else log
    console.print(f"==> {place} <==", style="bold", soft_wrap=True)


def _print(console: Console, text: str) -> None:
    console.print(Text.from_ansi(text), soft_wrap=True)
