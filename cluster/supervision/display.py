"""Shows people how far a search is, from its last snapshot, so that looking costs the search nothing."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.console import Console
from cluster.jobs.standing import load_snapshot
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.wording import duration, whose_best

if TYPE_CHECKING:  # what only shows a snapshot needs no specs
    from search_spaces.spec import Spec

MAX_RUNNING_SHOWN = 8


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
        parts.append(f"best {best['value']:.4g} ({whose_best(best.get('trials') or [best['trial']])})")
    return ", ".join(parts)


class Progress:
    """The live display of one search."""

    def __init__(self, paths: SearchPaths, spec: "Spec", *, is_ours: bool = True) -> None:
        self._paths = paths
        self._spec = spec
        self._is_ours = is_ours
        """Whether the search began with this display; if not, the display does not know how long it has run."""
        self._started = time.monotonic()
        self._printed = time.monotonic() if is_ours else float("-inf")

    def _snapshot(self) -> dict[str, Any]:
        return load_snapshot(self._paths)

    def print_line(self, console: Console, every_s: float) -> None:
        """Print one line of progress if the last one is `every_s` old."""
        if time.monotonic() - self._printed < every_s:
            return
        self._printed = time.monotonic()
        snapshot = self._snapshot()
        left = duration(snapshot.get("eta_s"))
        elapsed = duration(time.monotonic() - self._started) if self._is_ours else time.strftime("%H:%M:%S")
        doing = snapshot.get("doing", "starting")
        line = f"{elapsed}  wave {snapshot.get('wave', 1)}, {doing}: {one_line(snapshot)}, about {left} left"
        console.print(line, soft_wrap=True)

    def render(self) -> RenderableType:
        """Return the display as it is now."""
        snapshot = self._snapshot()
        head = Text.assemble(
            (self._paths.name, "bold"),
            f"  wave {snapshot.get('wave', 1)}, {snapshot.get('doing', 'starting')}",
            f"  {duration(time.monotonic() - self._started)} gone," if self._is_ours else " ",
            f" about {duration(snapshot.get('eta_s'))} left",
        )
        return Group(head, *body_of(snapshot, self._spec.objectives[0].metric))


def body_of(snapshot: Mapping[str, Any], metric: str) -> list[RenderableType]:
    """Return the counts, the best so far of a metric and the running trials of a snapshot, to be drawn."""
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
    best = snapshot.get("best")
    if best:
        whose = whose_best(best.get("trials") or [best["trial"]])
        parts.append(Text.assemble("best ", (f"{best['value']:.5g}", "bold"), f" {metric}, {whose}"))
    running = snapshot.get("running", [])
    for entry in running[:MAX_RUNNING_SHOWN]:
        value = entry["objective"]
        now = f"  {metric} {value:.5g}" if value is not None else ""
        parts.append(Text(f"  trial {entry['trial']}: step {entry['step']}{now}", style="dim"))
    if len(running) > MAX_RUNNING_SHOWN:
        parts.append(Text(f"  and {len(running) - MAX_RUNNING_SHOWN} more", style="dim"))
    return parts
