"""`swell watch`: shows the live progress of a search that runs elsewhere, until it ends, without disturbing it."""

import time
from collections.abc import Callable

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from cluster.commands.status_one import show_one
from cluster.console import Console
from cluster.jobs.launched import read_launch
from cluster.jobs.standing import Standing, load_snapshot, standing_of
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.supervision.display import Progress

SHOW_EVERY_S = 0.5
LINE_EVERY_S = 15.0
"""Without a terminal, one line this often."""
LOOK_EVERY_S = 1.0
ASK_EVERY_S = 10.0
"""How often a queue is asked: it has others to serve."""
ENDINGS = {"finished": 0, "stopped": 130}
"""Exit codes, as those of `swell run`; 1 if the search failed."""


class _Look:
    """Where a search stands, looked up again only now and then."""

    def __init__(self, paths: SearchPaths, clock: Callable[[], float]) -> None:
        launch = read_launch(paths)
        self._every_s = ASK_EVERY_S if launch is not None and launch.is_queued else LOOK_EVERY_S
        self._paths, self._clock = paths, clock
        self._standing: Standing | None = None
        self._looked = 0.0

    def __call__(self) -> Standing:
        if self._standing is None or self._clock() - self._looked > self._every_s:
            self._standing = standing_of(self._paths, load_snapshot(self._paths))
            self._looked = self._clock()
        return self._standing


def watch_search(paths: SearchPaths, console: Console) -> int:
    """Show a search's progress until it ends, then how it ended; return the exit status."""
    look = _Look(paths, time.monotonic)
    progress = Progress(paths, load_spec(paths), is_ours=False)
    if console.is_terminal:
        with Live(_picture(paths, look(), progress), console=console, auto_refresh=False, transient=True) as live:
            while not (standing := look()).is_over:
                live.update(_picture(paths, standing, progress), refresh=True)
                time.sleep(SHOW_EVERY_S)
    else:
        _lines(look, progress, console)
    show_one(paths)
    return ENDINGS.get(look().state, 1)


def _picture(paths: SearchPaths, standing: Standing, progress: Progress) -> RenderableType:
    if standing.state == "running":
        return progress.render()
    return Text.assemble((paths.name, "bold"), f"  {_line(standing)}")


def _line(standing: Standing) -> str:
    """Return a line on where a search stands that does not run."""
    if standing.trouble:
        return f"{standing.state}: {standing.trouble}"
    return f"{standing.state}{f' ({standing.where})' if standing.where else ''}: {standing.why}"


def _lines(look: Callable[[], Standing], progress: Progress, console: Console) -> None:
    said, said_at = "", 0.0
    while not (standing := look()).is_over:
        if standing.state == "running":
            progress.print_line(console, LINE_EVERY_S)
            said = ""
        elif (line := _line(standing)) != said or time.monotonic() - said_at > 4 * LINE_EVERY_S:
            said, said_at = line, time.monotonic()
            console.print(line, soft_wrap=True)
        time.sleep(SHOW_EVERY_S)
