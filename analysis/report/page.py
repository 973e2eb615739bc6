"""Renders the report from what was gathered: one HTML text, with all that it needs inside."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from analysis.report.gather import SearchReport
from analysis.report.libraries import data_tables, packed_libraries, plotly
from analysis.report.packing import Script, policy, shown
from analysis.report.tables import Table, listed
from cluster.wording import count

TEMPLATES = Path(__file__).parent / "templates"
MOST_NAMED = 4
"""Searches that the title names."""


def render_page(reports: Sequence[SearchReport], joint: Table | None, version: str, now: datetime | None = None) -> str:
    """Return the page about some searches; `joint` is a table of them if there are several."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters["count"] = count
    script = Script((TEMPLATES / "report.js").read_text(encoding="utf-8"))
    names = [report.name for report in reports]
    return environment.get_template("report.html.j2").render(
        title=listed(
            names if len(names) <= MOST_NAMED else [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} more"]
        ),
        reports=reports,
        joint=joint,
        policy=policy([script, data_tables(), plotly()]),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script.code),
        libraries=packed_libraries(),
        version=version,
        written=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
    )
