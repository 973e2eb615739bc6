"""How far a search is, for people: read from its last snapshot, so that looking costs nothing."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.outcomes import Outcome
from cluster.paths import SearchPaths, all_searches, searches_root
from cluster.records import load_spec, load_status
from cluster.supervisor import holder_of
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

    def __init__(self, paths: SearchPaths, spec: Spec) -> None:
        self._paths = paths
        self._spec = spec
        self._started = time.monotonic()
        self._printed = time.monotonic()

    def _snapshot(self) -> dict[str, Any]:
        return load_status(self._paths)

    def print_line(self, console: Console, every_s: float) -> None:
        """Print one line of progress if the last is old."""
        if time.monotonic() - self._printed < every_s:
            return
        self._printed = time.monotonic()
        snapshot = self._snapshot()
        left = duration(snapshot.get("eta_s"))
        elapsed = duration(time.monotonic() - self._started)
        doing = snapshot.get("doing", "starting")
        line = f"{elapsed}  wave {snapshot.get('wave', 1)}, {doing}: {one_line(snapshot)}, about {left} left"
        console.print(line, soft_wrap=True, highlight=False)

    def render(self) -> RenderableType:
        """Return the display as it is now."""
        snapshot = self._snapshot()
        head = Text.assemble(
            (self._paths.name, "bold"),
            f"  wave {snapshot.get('wave', 1)}, {snapshot.get('doing', 'starting')}",
            f"  {duration(time.monotonic() - self._started)} gone, about {duration(snapshot.get('eta_s'))} left",
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
    """Return what a search is doing: running, finished, stopped, or interrupted (its supervisor is gone)."""
    if holder_of(paths) is not None:
        return "running"
    if snapshot.get("finished"):
        return "finished"
    if snapshot.get("stopped"):
        return "stopped"
    return "interrupted" if snapshot else "failed to start"


def show_one(paths: SearchPaths) -> None:
    """Print one search's state."""
    console, snapshot = Console(), load_status(paths)
    state = state_of(paths, snapshot)
    why = snapshot.get("finished") or snapshot.get("stopped") or ""
    console.print(Text.assemble((paths.name, "bold"), f"  {state}", f" ({why})" if why else ""))
    now = snapshot if state == "running" else {**snapshot, "running": []}
    console.print(Group(*_body(now, load_spec(paths))))
    failures = {name: n for name, n in snapshot.get("outcomes", {}).items() if Outcome(name).is_failure}
    for name, number in failures.items():
        console.print(f"  {number} {name}: {Outcome(name).sentence}", style="red", soft_wrap=True)
    if state == "running":
        holder = holder_of(paths) or {}
        eta = duration(snapshot.get("eta_s"))
        console.print(f"supervisor: process {holder.get('pid')} on {holder.get('host')}; about {eta} left")
    elif state != "finished":
        console.print(f"go on with: swell resume {paths.name}")
    console.print(Text(str(paths.root)), soft_wrap=True)


def show_all() -> None:
    """Print a list of all searches."""
    console, searches = Console(), all_searches()
    if not searches:
        console.print(f"No searches in {searches_root()} yet.", soft_wrap=True)
        return
    table = Table("search", "state", "trials", "best", "age", box=None)
    for paths in searches:
        snapshot = load_status(paths)
        best, total = snapshot.get("best"), snapshot.get("max_trials")
        ended = sum(snapshot.get("outcomes", {}).values())
        table.add_row(
            paths.name,
            state_of(paths, snapshot),
            f"{ended}/{total}" if total else str(ended),
            f"{best['value']:.4g}" if best else "",
            duration(time.time() - paths.spec.stat().st_mtime),
        )
    console.print(table)
