"""`swell doctor`: prints the findings on this machine, by topic."""

import socket
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.text import Text

from cluster.commands.check import find_config_type
from cluster.commands.check_code import with_code
from cluster.console import Console
from cluster.doctor.examination import examine, needs_of
from cluster.doctor.needs import Needs
from cluster.jobs.queues import default_queue
from cluster.machine.findings import Finding, Verdict
from cluster.wording import count
from search_spaces.spec import load_spec

FAILED = 1
MOST_NAME, LEAST_TEXT = 16, 24
"""The most columns of a name beside its text, and the fewest of a text."""
STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}


def doctor_command(spec_path: Path | None, *, console: Console) -> int:
    """Print the findings on this machine, for a search's spec if one is given; return the exit status.

    0: nothing prevents a search from running here; 1: something does. Raises SpecError if the spec is wrong.
    """
    needs = Needs() if spec_path is None else _needs(spec_path)
    what = f"for {spec_path}" if spec_path else "for a search with the default resources"
    console.print(Text(f"{socket.gethostname()}, {what}"), soft_wrap=True)
    with console.status("Looking ..."):  # on a terminal alone
        findings = examine(needs)
    for line in draw(findings, console.width):
        console.print(line, soft_wrap=True)
    console.print(summary(findings), soft_wrap=True)
    return exit_status(findings)


def site_command(name: str, *, submit: bool, console: Console) -> int:
    """Print the findings on a site's cluster, with `submit` also those of a tiny job; return the exit status.

    Raises SpecError if the site's file is wrong.
    """
    from cluster.doctor.site import examine_site
    from cluster.doctor.site_job import submit_and_wait

    queue = default_queue()
    site = queue.load_site(name)
    console.print(Text(f"{socket.gethostname()}, for site {site.name}"), soft_wrap=True)
    with console.status("Looking ..."):  # on a terminal alone
        findings = examine_site(queue, site)
    if submit and exit_status(findings) == 0:
        findings += submit_and_wait(queue, site, console)
    for line in draw(findings, console.width):
        console.print(line, soft_wrap=True)
    console.print(summary(findings), soft_wrap=True)
    if submit and not any(finding.topic == "A job" for finding in findings):
        console.print("No job was submitted: mend the problems first.")
    elif not submit:
        console.print("Whether a node can run it: the same with --submit, which sends a tiny job.")
    return exit_status(findings)


def exit_status(findings: Sequence[Finding]) -> int:
    """Return 1 if a finding is a problem, else 0: a search can run despite warnings."""
    return FAILED if any(finding.verdict is Verdict.PROBLEM for finding in findings) else 0


def _needs(path: Path) -> Needs:
    # Not all of `swell check`: it refuses a spec that is too large for this machine, which we are to explain.
    file, code = with_code(load_spec(path))
    find_config_type(file)
    return needs_of(file.spec, code)


def draw(findings: Sequence[Finding], width: int) -> list[Text]:
    """Return findings as lines by topic, with advice below each that is not well; cuts nothing off."""
    names = max((len(finding.name) for finding in findings), default=0)
    indent = 2 + max(map(len, Verdict)) + 2 + min(names, MOST_NAME) + 2
    lines: list[Text] = []
    for topic, group in groupby(findings, key=lambda finding: finding.topic):
        lines += [Text(), Text(topic, style="bold")]
        for finding in group:
            lines += _lines(finding, indent, width)
    return [*lines, Text()]


def _lines(finding: Finding, indent: int, width: int) -> list[Text]:
    style, space = STYLES[finding.verdict], max(width - indent, LEAST_TEXT)
    start = f"  {finding.verdict.value:7}  {finding.name}"
    found = _fold(finding.found, space)
    if len(start) + 2 > indent:  # a long name gets its own line
        lines = [Text(line) for line in _fold(start, width)]
    else:
        lines = [Text(start.ljust(indent) + found.pop(0))]
    lines[0].stylize(style, 2, 2 + len(finding.verdict.value))
    lines += [Text(" " * indent + line) for line in found]
    advice = _fold(f"-> {finding.advice}", space) if finding.advice else []
    return lines + [Text(" " * indent + line, style=style) for line in advice]


def _fold(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, drop_whitespace=True) or [""]


def summary(findings: Sequence[Finding]) -> Text:
    """Return a line with the numbers of problems and warnings."""
    problems, warnings = (
        sum(finding.verdict is verdict for finding in findings) for verdict in (Verdict.PROBLEM, Verdict.WARNING)
    )
    said = [count(problems, "problem")] if problems else []
    said += [count(warnings, "warning")] if warnings else []
    if not said:
        return Text("A search can run here.", style=STYLES[Verdict.OK])
    end = "a search cannot run here as it is" if problems else "a search can run here"
    return Text(f"{', '.join(said)}: {end}.", style=STYLES[Verdict.PROBLEM if problems else Verdict.WARNING])
