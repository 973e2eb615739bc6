"""What `swell report` does."""

from collections.abc import Sequence
from pathlib import Path

from analysis import load
from analysis.report.write import open_report, write_report
from cluster.console import Console


def report_command(names: Sequence[str], output: Path | None, is_opened: bool) -> int:
    """Write the report of some searches, and say where it is; return the exit status.

    It is 1 if no browser was found to open it. Raises SearchNotFoundError, and ReportError if the file cannot be
    written.
    """
    console, errors = Console(), Console(stderr=True)
    path, troubles = write_report([load(name) for name in dict.fromkeys(names)], output)
    for trouble in troubles:
        errors.print(f"warning: {trouble}", style="yellow", soft_wrap=True)
    console.print(f"report: {path.resolve()} ({path.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)
    if is_opened and not open_report(path):
        errors.print("no browser was found to open it", soft_wrap=True)
        return 1
    return 0
