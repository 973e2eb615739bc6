"""Runs a search in the foreground: the supervisor here, progress on the terminal, Ctrl-C to save and stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.live import Live
from rich.text import Text

from cluster.console import Console
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from cluster.state.snapshot import load_status
from cluster.supervision.display import Progress, one_line
from cluster.supervision.report import write_report
from cluster.supervision.supervisor import Ending, Supervisor

LINE_EVERY_S = 15.0
"""Without a terminal, one line of progress this often."""
SHOW_EVERY_S = 0.25
SHOW_PATIENCE_S = 2.0
"""How long a terminal may take to show the final display."""
STOPPING = (
    "Stopping: every running trial saves and ends at its next report. Ctrl-C again ends at once.",
    "Ending at once.",
)


def run_search(paths: SearchPaths) -> int:
    """Work on a search until it ends; return the process's exit status.

    0: finished; 1: the search failed or paused, or not one trial completed; 130: interrupted. Raises SearchBusyError if
    another supervisor works on it, and ScratchError or OversubscribedError if this machine cannot run it.
    """
    console = Console(stderr=True)
    ending = supervise(paths, Supervisor(paths), console)
    status = conclude(paths, ending, console)
    write_report(paths, ending, console)
    return status


def supervise(paths: SearchPaths, supervisor: Supervisor, console: Console) -> Ending:
    """Work on a search until it ends, showing its progress and handling signals; return how it ended."""
    with _signals(supervisor), _display(console, paths, supervisor):
        return supervisor.run()


@contextmanager
def _display(console: Console, paths: SearchPaths, supervisor: Supervisor) -> Iterator[None]:
    """Show progress from a thread of its own, so that a blocked terminal does not block the supervisor."""
    over = threading.Event()

    def show() -> None:
        # If nobody reads the output (Rich wants to exit on a closed pipe), the search goes on nevertheless.
        with suppress(OSError, SystemExit):
            _show(console, Progress(paths, load_spec(paths)), supervisor, over)

    thread = threading.Thread(target=show, daemon=True, name="display")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(SHOW_PATIENCE_S)


def _show(console: Console, progress: Progress, supervisor: Supervisor, over: threading.Event) -> None:
    said = 0

    def say_stopping() -> None:
        nonlocal said
        while said < min(supervisor.stop_requests, len(STOPPING)):
            console.print(STOPPING[said], style="yellow")
            said += 1

    if console.is_terminal:
        with Live(progress.render(), console=console, auto_refresh=False, transient=True) as live:
            while not over.wait(SHOW_EVERY_S):
                say_stopping()
                live.update(progress.render(), refresh=True)
    else:
        while not over.wait(SHOW_EVERY_S):
            say_stopping()
            progress.print_line(console, LINE_EVERY_S)
    say_stopping()


@contextmanager
def _signals(supervisor: Supervisor) -> Iterator[None]:
    """Make Ctrl-C, SIGTERM, USR2 and a closed terminal save and stop the search, and a second one end it at once."""

    def on_signal(signum: int, _frame: object) -> None:
        supervisor.request_stop(signum)  # and nothing else: it may interrupt a print

    stopping = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup the search goes on
        stopping.append(signal.SIGHUP)
    before = {signum: signal.signal(signum, on_signal) for signum in stopping}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def conclude(paths: SearchPaths, ending: Ending, console: Console) -> int:
    """Print how a search ended; return the exit status, as `run_search` does."""
    snapshot = load_status(paths)
    code, lines = 1, list[str | Text]()
    if ending.state == "stopped":
        code = 130
        lines = [f"Stopped ({ending.reason}). Go on with: swell resume {paths.name}"]
    elif ending.state == "paused":
        lines = [
            Text.assemble(("Paused: ", "red"), ending.reason),
            f"Once the cause is mended: swell resume {paths.name} (with --failed it takes failed trials up again too)",
        ]
    elif ending.state == "failed":
        lines = [Text.assemble(("The search failed: ", "red"), ending.reason)]
    else:
        lines = [Text(f"Finished: {one_line(snapshot)} ({ending.reason})")]
        if snapshot.get("outcomes", {}).get("completed"):
            code = 0
        else:
            lines.append(Text.assemble(("Not one trial completed;", "red"), f" see: swell crashed {paths.name}"))
    with suppress(OSError, SystemExit):  # nobody may read the output
        for line in lines:
            console.print(line, soft_wrap=True)
    return code
