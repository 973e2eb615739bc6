"""`swell report`: writes the report of some searches as one file."""

import webbrowser
from collections.abc import Sequence
from pathlib import Path

from analysis.report.gather import gather, joint_rows
from analysis.report.page import render_page
from analysis.search import Search
from cluster.machine.files import write_text
from search_spaces.errors import UserError

FILE = "report.html"


class ReportError(UserError):
    """The report cannot be written there; the message says why."""


def write_report(searches: Sequence[Search], path: Path | None = None) -> tuple[Path, list[str]]:
    """Write the report of some searches; return its file, and what could not be made, in sentences.

    Without `path` that of one search directory lies in it, and any other in the working directory. Raises ReportError
    if the file cannot be written.
    """
    path = path or _place(searches)
    if path.is_dir():
        raise ReportError(f"{path} is a folder; give the report a file: -o {path / FILE}")
    reports = [gather(search, place) for place, search in enumerate(searches)]
    joint = joint_rows(reports, list(searches)) if len(searches) > 1 else None
    text = render_page(reports, joint, _version())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text, "utf-8")
    except OSError as error:
        raise ReportError(
            f"{path} cannot be written ({error.strerror or error}); choose another file with -o"
        ) from None
    return path, [f"{report.name}: {one}" for report in reports for one in report.troubles]


def open_report(path: Path) -> bool:
    """Open a report in the user's browser; return whether one was found."""
    return webbrowser.open(path.resolve().as_uri())


def _place(searches: Sequence[Search]) -> Path:
    paths = searches[0].paths
    return paths.report if len(searches) == 1 and paths is not None else Path(FILE)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("swell")
    except PackageNotFoundError:
        return "unknown"
