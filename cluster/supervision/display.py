"""How far a search is, for people: read from its last snapshot, so that looking costs nothing."""

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.jobs.launched import clean_submission, read_launch
from cluster.jobs.logs import last_words
from cluster.jobs.standing import Standing, ask_queue, load_snapshot, standing_of
from cluster.machine.disks import read_disks
from cluster.machine.guard import Action, judge
from cluster.machine.scratch import scratch_folder
from cluster.state.holder import holder_of
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths, all_searches, searches_root
from cluster.state.records import load_guard_events, load_spec
from cluster.waves.watcher import folders_in_use
from search_spaces.spec import Spec

MAX_RUNNING_SHOWN = 8


def duration(seconds: float | None) -> str:
    """Return a duration as people say it: 45 s, 12:03, 3:07:41."""
    if seconds is None:
        return "?"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def counts(snapshot: Mapping[str, Any]) -> dict[str, int]:
    """Return the trials done (completed), pruned, failed and running."""
    outcomes: Mapping[str, int] = snapshot.get("outcomes", {})
    return {
        "done": outcomes.get("completed", 0),
        "pruned": outcomes.get("pruned", 0),
        "failed": sum(number for outcome, number in outcomes.items() if Outcome(outcome).is_failure),
        "running": len(snapshot.get("running", [])),
    }


def one_line(snapshot: Mapping[str, Any]) -> str:
    """Return the counts and the best so far in one line."""
    parts = [f"{number} {what}" for what, number in counts(snapshot).items() if number or what == "done"]
    best = snapshot.get("best")
    if best:
        parts.append(f"best {best['value']:.4g} (trial {best['trial']})")
    return ", ".join(parts)


class Progress:
    """The live display of one search."""

    def __init__(self, paths: SearchPaths, spec: Spec, *, is_ours: bool = True) -> None:
        self._paths = paths
        self._spec = spec
        self._is_ours = is_ours
        """Whether the search began with this display: only then is it known here how long it has gone."""
        self._started = time.monotonic()
        self._printed = time.monotonic() if is_ours else float("-inf")

    def _snapshot(self) -> dict[str, Any]:
        return load_snapshot(self._paths)

    def print_line(self, console: Console, every_s: float) -> None:
        """Print one line of progress if the last is old."""
        if time.monotonic() - self._printed < every_s:
            return
        self._printed = time.monotonic()
        snapshot = self._snapshot()
        left = duration(snapshot.get("eta_s"))
        elapsed = duration(time.monotonic() - self._started) if self._is_ours else time.strftime("%H:%M:%S")
        doing = snapshot.get("doing", "starting")
        line = f"{elapsed}  wave {snapshot.get('wave', 1)}, {doing}: {one_line(snapshot)}, about {left} left"
        console.print(line, soft_wrap=True, highlight=False)

    def render(self) -> RenderableType:
        """Return the display as it is now."""
        snapshot = self._snapshot()
        head = Text.assemble(
            (self._paths.name, "bold"),
            f"  wave {snapshot.get('wave', 1)}, {snapshot.get('doing', 'starting')}",
            f"  {duration(time.monotonic() - self._started)} gone," if self._is_ours else " ",
            f" about {duration(snapshot.get('eta_s'))} left",
        )
        return Group(head, *_body(snapshot, self._spec))


def _body(snapshot: Mapping[str, Any], spec: Spec) -> list[RenderableType]:
    number, total = counts(snapshot), snapshot.get("max_trials")
    ended = sum(snapshot.get("outcomes", {}).values())
    line = Text.assemble(
        f"{ended}" + (f" of {total}" if total else "") + " trials  ",
        (f"{number['done']} done  ", "green"),
        (f"{number['pruned']} pruned  ", "cyan"),
        (f"{number['failed']} failed  ", "red" if number["failed"] else "dim"),
        f"{number['running']} running",
    )
    parts: list[RenderableType] = []
    if total:
        bar = Table.grid()  # a bar alone does not end its line
        bar.add_row(ProgressBar(total=total, completed=ended, width=60))
        parts.append(bar)
    parts.append(line)
    objective = spec.objectives[0]
    best = snapshot.get("best")
    if best:
        parts.append(
            Text.assemble("best ", (f"{best['value']:.5g}", "bold"), f" {objective.metric}, trial {best['trial']}")
        )
    running = snapshot.get("running", [])
    for entry in running[:MAX_RUNNING_SHOWN]:
        value = entry["objective"]
        now = f"  {objective.metric} {value:.5g}" if value is not None else ""
        parts.append(Text(f"  trial {entry['trial']}: step {entry['step']}{now}", style="dim"))
    if len(running) > MAX_RUNNING_SHOWN:
        parts.append(Text(f"  and {len(running) - MAX_RUNNING_SHOWN} more", style="dim"))
    return parts


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
    console.print(Group(*_body(now, load_spec(paths))))
    failures = {name: n for name, n in snapshot.get("outcomes", {}).items() if Outcome(name).is_failure}
    for name, number in failures.items():
        console.print(f"  {number} {name}: {Outcome(name).sentence}", style="red", soft_wrap=True)
    for line in (_last_wave(snapshot), _freed(paths)):
        if line:
            console.print(line, style="dim", soft_wrap=True, highlight=False)
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
    holder = holder_of(paths) or {}
    if holder.get("host") == socket.gethostname():
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
