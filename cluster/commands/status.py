"""`swell status`: how far one search is, or all of them, read from its files and the queue."""

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cluster.console import Console
from cluster.jobs.job_logs import last_words
from cluster.jobs.launched import clean_submission, read_launch
from cluster.jobs.standing import Standing, ask_queue, load_snapshot, standing_of
from cluster.machine.disks import read_disks
from cluster.machine.guard import Action, judge
from cluster.machine.scratch import scratch_folder
from cluster.state.guarding import folders_in_use, load_guard_events
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths, all_searches, searches_root
from cluster.state.records import load_spec
from cluster.state.supervisor_record import supervisor_of
from cluster.supervision.display import body_of, duration


def state_of(paths: SearchPaths, snapshot: Mapping[str, Any]) -> str:
    """Return what a search is doing, in a word: queued, running, finished, failed, stopped, interrupted."""
    return standing_of(paths, snapshot).state


def show_one(paths: SearchPaths) -> None:
    """Print one search's state."""
    console, snapshot = Console(), load_snapshot(paths)
    standing = standing_of(paths, snapshot)
    why = _doing(paths, standing) if standing.state == "running" else standing.why
    console.print(Text.assemble((paths.name, "bold"), f"  {standing.state}", f" ({why})" if why else ""))
    now = snapshot if standing.state == "running" else {**snapshot, "running": []}
    console.print(Group(*body_of(now, load_spec(paths))))
    failures = {name: n for name, n in snapshot.get("outcomes", {}).items() if Outcome(name).is_failure}
    for name, number in failures.items():
        console.print(f"  {number} {name}: {Outcome(name).sentence}", style="red", soft_wrap=True)
    for line in (_last_wave(snapshot), _freed(paths)):
        if line:
            console.print(line, style="dim", soft_wrap=True)
    for line in _where(paths, standing, snapshot):
        console.print(Text(line), soft_wrap=True)
    if standing.is_over:
        clean_submission(paths)
    console.print(Text(str(paths.root)), soft_wrap=True)


def _where(paths: SearchPaths, standing: Standing, snapshot: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a search runs or waits, or how to go on with it and what its jobs have said last."""
    if standing.state == "running":
        who = "supervisor: " if standing.where.startswith("process") else "on "
        yield f"{who}{standing.where}; about {duration(snapshot.get('eta_s'))} left"
    elif standing.is_active and standing.where:
        yield f"in the queue: {standing.where}"
    elif standing.state in ("interrupted", "failed to start", "failed"):
        launch = read_launch(paths)
        for line in last_words(paths, launch.job_ids) if launch is not None else ():
            yield f"  | {line}"
    if standing.trouble:
        yield f"SLURM could not be asked about its jobs: {standing.trouble}"
    if standing.is_over and standing.state != "finished":
        yield f"go on with: swell resume {paths.name}"


def _doing(paths: SearchPaths, standing: Standing) -> str:
    """Return what a running search is doing; on a full disk its last word may be old, so the disks are looked at."""
    supervisor = supervisor_of(paths) or {}
    if supervisor.get("host") == socket.gethostname():
        verdict = judge(load_spec(paths).guard, read_disks(folders_in_use(paths, scratch_folder())))
        if verdict.action is not Action.GO_ON:
            return f"short of disk space: {verdict.reason}"
    return standing.why


def _last_wave(snapshot: Mapping[str, Any]) -> str:
    wave = snapshot.get("last_wave")
    if not wave:
        return ""
    busy = f"its slots {100 * wave['utilisation']:.0f} % busy, some idle in its last {wave['tail_s']:.0f} s"
    return f"wave {wave['wave']}: {wave['trials']} trials in {duration(wave['trials_s'])}, {busy}"


def _freed(paths: SearchPaths) -> str:
    freed = [event["freed_bytes"] for event in load_guard_events(paths) if event["what"] == "cleaned"]
    return f"scratch: {sum(freed) / 1e9:.3g} GB freed at the end of {len(freed)} Ray sessions" if freed else ""


def show_all() -> None:
    """Print a list of all searches."""
    console, searches = Console(), all_searches()
    if not searches:
        console.print(f"No searches in {searches_root()} yet.", soft_wrap=True)
        return
    snapshots = [load_snapshot(paths) for paths in searches]
    launches = [read_launch(paths) for paths in searches]
    unfinished = zip(launches, snapshots, strict=True)
    queue = ask_queue(launch for launch, snapshot in unfinished if not snapshot.get("finished"))
    table = Table("search", "state", "trials", "best", "age", "where", box=None)
    for paths, snapshot in zip(searches, snapshots, strict=True):
        standing = standing_of(paths, snapshot, queue)
        best, total = snapshot.get("best"), snapshot.get("max_trials")
        ended = sum(snapshot.get("outcomes", {}).values())
        table.add_row(
            paths.name,
            standing.state,
            f"{ended}/{total}" if total else str(ended),
            f"{best['value']:.4g}" if best else "",
            duration(time.time() - paths.spec.stat().st_mtime),
            standing.where if standing.is_active else "",
        )
    console.print(table)
    if queue.trouble:
        console.print(Text(f"SLURM could not be asked about jobs: {queue.trouble}"), soft_wrap=True)
