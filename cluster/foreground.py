"""A search in the foreground: the supervisor here, its progress on the terminal, Ctrl-C to save and stop."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from cluster.display import Progress, one_line
from cluster.paths import SearchPaths
from cluster.records import load_spec, load_status
from cluster.supervisor import Ending, Supervisor

LINE_EVERY_S = 15.0
"""Without a terminal, one line of progress this often."""


def run_search(paths: SearchPaths) -> int:
    """Work on a search until it ends; return the process's exit code.

    0: finished; 1: the search failed, or not one trial completed; 130: interrupted. Raises SearchBusyError where
    another supervisor works on it.
    """
    console = Console(stderr=True)
    progress = Progress(paths, load_spec(paths))
    with _display(console, progress) as on_poll:
        supervisor = Supervisor(paths, on_poll)
        with _signals(supervisor, console):
            ending = supervisor.run()
    return _conclude(paths, ending, console)


@contextmanager
def _display(console: Console, progress: Progress) -> Iterator:
    if not console.is_terminal:
        yield lambda: progress.print_line(console, LINE_EVERY_S)
        return
    with Live(progress.render(), console=console, refresh_per_second=4, transient=True) as live:
        yield lambda: live.update(progress.render())


@contextmanager
def _signals(supervisor: Supervisor, console: Console) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and USR2 save and stop, and a second one end at once."""
    requests = 0

    def on_signal(_signum: int, _frame: object) -> None:
        nonlocal requests
        requests += 1
        supervisor.request_stop()
        console.print(
            "[yellow]Stopping: every running trial saves and ends at its next report. Ctrl-C again ends at once."
            if requests == 1
            else "[yellow]Ending at once."
        )

    before = {signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _conclude(paths: SearchPaths, ending: Ending, console: Console) -> int:
    snapshot = load_status(paths)
    if ending.state == "stopped":
        console.print(f"Stopped ({ending.reason}). Go on with: swell resume {paths.name}", soft_wrap=True)
        return 130
    if ending.state == "failed":
        console.print(f"[red]The search failed:[/] {ending.reason}", soft_wrap=True)
        return 1
    console.print(f"Finished: {one_line(snapshot)} ({ending.reason})", soft_wrap=True)
    if not snapshot.get("outcomes", {}).get("completed"):
        console.print("[red]Not one trial completed;[/] the reasons are in the table's `outcome` and `error` columns.")
        return 1
    sys.stdout.flush()
    return 0
