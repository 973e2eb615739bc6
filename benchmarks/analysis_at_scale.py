"""What the analysis of a large search costs: 6000 trials of 30 reports, each command in a process of its own.

    python -m benchmarks.analysis_at_scale [FOLDER] [--trials 6000] [--reports 30] [--runs 3] [--watch 60] [--only
    compare]

FOLDER is a search that `benchmarks/large_search.py` has made; it is made first if it is not there. The first run of
each command has nothing of it in a cache of ours, the others may; times are medians. "CPU s" is what the command itself
needed, whatever else the machine did: if it is far below "seconds", the machine was busy.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.large_search import make_large

ROOT = Path(__file__).resolve().parents[1]
SWELL = (sys.executable, "-m", "swell")


@dataclass(frozen=True)
class Cost:
    """What one run of a command cost."""

    seconds: float
    cpu_s: float
    peak_mb: float


def commands(search: Path, out: Path) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    """Yield each command with its name and the seconds that it should stay below."""
    yield "swell --help", ("--help",), None
    yield "swell status", ("status", str(search)), None
    yield "swell table --top 10", ("table", str(search), "--top", "10"), 3
    yield "swell table --format csv", ("table", str(search), "--format", "csv", "-o", str(out / "table.csv")), 3
    yield "swell compare", ("compare", str(search), "-o", str(out / "compare.txt")), 20
    yield "swell report", ("report", str(search), "-o", str(out / "report.html")), 60


def measure(
    command: Sequence[str], environment: dict[str, str], python: str = sys.executable, checkout: Path = ROOT
) -> Cost:
    """Run a swell command of a checkout to its end and return what it cost.

    Raises RuntimeError, with what it printed, if it failed.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [python, "-m", "swell", *command],
            cwd=checkout,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise RuntimeError(f"swell {' '.join(command)} failed:\n{output.read()}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)


@dataclass(frozen=True)
class PageCost:
    """What the dashboard's page of one search cost."""

    start_s: float
    """Until the server says where it is."""
    first_s: float
    """Everything that the first page asks for, one after the other."""
    again_s: float
    """The same once more, its caches warm."""
    megabytes: float
    """What the first page transfers."""
    open_share: float
    """Of one core, while one page stays open and asks as often as it does."""
    idle_share: float
    """Of one core, while no page is open."""


def page_cost(search: Path, environment: dict[str, str], watch_s: float) -> PageCost:
    """Serve a search's dashboard, ask for all that its page asks for, and return what it cost."""
    began = time.monotonic()
    command = [*SWELL, "dashboard", str(search)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = next(line.strip() for line in server.stdout if "http://127.0.0.1" in line)
            start_s = time.monotonic() - began
            ask = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            base = url.partition("/?")[0]
            first_s, size = _ask_all(ask, base, url, search.name)
            again_s, _ = _ask_all(ask, base, url, search.name)
            process = psutil.Process(server.pid)
            return PageCost(
                start_s=start_s,
                first_s=first_s,
                again_s=again_s,
                megabytes=size / 1e6,
                open_share=_share(process, watch_s, lambda: _poll(ask, base, search.name, watch_s)),
                idle_share=_share(process, watch_s, lambda: time.sleep(watch_s)),
            )
        finally:
            server.send_signal(signal.SIGINT)


def _ask_all(ask: urllib.request.OpenerDirector, base: str, url: str, name: str) -> tuple[float, int]:
    began, size = time.monotonic(), 0
    static = ("dashboard.js", "dashboard.css", "base.css", "plotly.js")
    values = ("settings", f"searches/{name}", f"searches/{name}/study")
    paths = ("", *(f"static/{one}" for one in static), *(f"api/{one}" for one in values))
    for address in (url, *(f"{base}/{path}" for path in paths)):
        with ask.open(address, timeout=120) as answer:
            size += len(answer.read())
    return time.monotonic() - began, size


def _poll(ask: urllib.request.OpenerDirector, base: str, name: str, seconds: float) -> None:
    """Ask as often as `dashboard.js` does: every 3 s how far the search is, every 10 s for its study."""
    tags: dict[str, str] = {}
    due = {f"{base}/api/searches/{name}": (0.0, 3.0), f"{base}/api/searches/{name}/study": (0.0, 10.0)}
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        for address, (at, every) in due.items():
            if now < at:
                continue
            due[address] = (now + every, every)
            request = urllib.request.Request(address, headers={"If-None-Match": tags.get(address, "")})
            try:
                with ask.open(request, timeout=120) as answer:
                    tags[address] = answer.headers["ETag"]
                    answer.read()
            except urllib.error.HTTPError as error:
                if error.code != 304:
                    raise
        time.sleep(0.2)


def _share(process: psutil.Process, seconds: float, meanwhile: Callable[[], None]) -> float:
    before = sum(process.cpu_times()[:2])
    meanwhile()
    return (sum(process.cpu_times()[:2]) - before) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--trials", type=int, default=6000)
    parser.add_argument("--reports", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--watch", type=float, default=60, help="seconds that the dashboard is watched, twice")
    parser.add_argument("--only", default="", help="only commands with this in their name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large") as scratch:
        search = options.folder or Path(scratch, "large")
        if not search.exists():
            make_large(search, options.trials, options.reports, 3, options.reports)
        environment = {**os.environ, "SWELL_ROOT": str(search.resolve().parent)}
        shown = Table(title=f"{search.name}: {options.trials} trials of {options.reports} reports")
        for column in ("command", "seconds", "of the goal", "CPU s", "first run, s", "peak MB", "writes MB"):
            shown.add_column(column, justify="left" if column == "command" else "right")
        for name, command, goal in commands(search.resolve(), Path(scratch)):
            if options.only not in name:
                continue
            costs = [measure(command, environment) for _ in range(options.runs)]
            seconds = median(cost.seconds for cost in costs)
            written = Path(command[-1]) if "-o" in command else None
            shown.add_row(
                name,
                f"{seconds:.1f}",
                f"{seconds / goal:.0%}" if goal else "",
                f"{median(cost.cpu_s for cost in costs):.1f}",
                f"{costs[0].seconds:.1f}",
                f"{max(cost.peak_mb for cost in costs):.0f}",
                f"{written.stat().st_size / 1e6:.1f}" if written else "",
            )
        console = Console(width=120)
        console.print(shown)
        if options.only in "swell dashboard":
            page = page_cost(search.resolve(), environment, options.watch)
            console.print(
                f"swell dashboard: serves after {page.start_s:.1f} s; first page {page.first_s:.2f} s "
                f"({page.megabytes:.1f} MB), again {page.again_s:.2f} s; "
                f"with a page open {page.open_share:.1%} of a core, without {page.idle_share:.1%}"
            )


if __name__ == "__main__":
    main()
