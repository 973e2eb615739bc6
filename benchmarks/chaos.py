"""Faults at random moments of real searches, and what is left of the searches afterwards.

    python benchmarks/chaos.py --faults 40 --seed 0 [--kinds kill_driver,full_scratch] [--keep]

Runs searches of a small method until so many faults have struck them, several in one search. Workers, Ray's processes,
the driver and the supervisor are killed or hang, disks and inodes run out, memory runs out, clocks jump, people press
Ctrl-C. Every search is brought to its end, by `swell resume` where the foreground process has ended, and then held
against the invariants: no trial lost, doubled or changed, the table equal bit for bit to that of an undisturbed search,
no process and no scratch left, nothing foreign touched, exit codes as documented and no traceback printed.

Exits with 1 if any is violated; such a search's directory is kept. Disks are mounted in a mount namespace of this
process alone, for which it must be root, or user namespaces be allowed. One search at a time, two trials at once.
"""

import argparse
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `python benchmarks/chaos.py` puts this folder there

from benchmarks.faults.chaotic_search import LONG_MIN, SPACES, ChaoticSearch, SearchReport
from benchmarks.faults.inject import FAULTS, Fault
from benchmarks.faults.place import Place, PlaceError, enter_namespace

SHORT_TMP = 12
"""Longest path of a temporary folder below which Ray's sockets have room."""
SHORTEST_TIMEOUT_MIN = 0.25
SPARE = 2.0
"""A trial counts as hung after this many times the longest that one took to its first report undisturbed."""
TRIES = 3
"""A fault that its search's end forestalled is tried again in another search, so often."""


@dataclass(frozen=True)
class KindRow:
    """What came of one kind of fault."""

    kind: str
    count: int
    injected: int
    recovered: int
    lost_s: float | None
    violations: int


def summary(reports: Sequence[SearchReport]) -> list[KindRow]:
    """Return a row per kind; a violation counts for every kind that struck its search."""
    rows = []
    for kind in FAULTS:
        tried = [(report, one) for report in reports for one in report.injections if one.kind == kind]
        if not tried:
            continue
        lost = [one.lost_s for _, one in tried if one.lost_s is not None]
        struck = {report.name: len(report.violations) for report, one in tried if one.injected}
        injected, recovered = sum(one.injected for _, one in tried), sum(one.recovered for _, one in tried)
        median = statistics.median(lost) if lost else None
        rows.append(KindRow(kind, len(tried), injected, recovered, median, sum(struck.values())))
    return rows


def show(rows: Sequence[KindRow], reports: Sequence[SearchReport], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("fault", "count", "injected", "recovered", "seconds lost (median)", "violations"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for row in rows:
        lost = "" if row.lost_s is None else f"{row.lost_s:.1f}"
        table.add_row(row.kind, str(row.count), str(row.injected), str(row.recovered), lost, str(row.violations))
    console.print(table)
    injected, violations = sum(row.injected for row in rows), sum(len(report.violations) for report in reports)
    console.print(f"{injected} faults in {len(reports)} searches, {violations} violations")
    for report in reports:
        if report.violations:
            console.print(Text(f"{report.name}, {len(report.violations)} violated: {report.kept}"), soft_wrap=True)


def plan(kinds: Sequence[str], num_faults: int, rng: random.Random) -> list[Fault]:
    """Return so many faults in random order, the kinds equally often."""
    drawn: list[Fault] = []
    while len(drawn) < num_faults:
        drawn += [FAULTS[kind] for kind in rng.sample(list(kinds), len(kinds))]
    return drawn[:num_faults]


def searches(place: Place, arguments: argparse.Namespace, console: Console) -> Iterator[SearchReport]:
    """Run the searches, the undisturbed ones that they are compared with first where they are needed."""
    rng = random.Random(arguments.seed)
    waiting = [(fault, TRIES) for fault in plan(arguments.kinds, arguments.faults, rng)]
    references: dict[str, SearchReport] = {}
    number = 0
    while waiting:
        sampler = arguments.samplers[number % len(arguments.samplers)]
        number += 1
        if sampler not in references:
            report = run(place, f"undisturbed-{sampler}", sampler, [], None, arguments, console)
            references[sampler] = report
            yield report
        batch, waiting = waiting[: arguments.per_search], waiting[arguments.per_search :]
        name = f"chaos-{arguments.seed}-{number}"
        report = run(place, name, sampler, [fault for fault, _ in batch], references[sampler], arguments, console)
        yield report
        missed = [one.kind for one in report.injections if not one.injected]
        again = []
        for fault, tries in batch:
            if fault.kind in missed and tries > 1:
                missed.remove(fault.kind)
                again.append((fault, tries - 1))
        waiting = again + waiting  # first in the next search: at the end of one they would be forestalled again


def run(
    place: Place,
    name: str,
    sampler: str,
    faults: Sequence[Fault],
    reference: SearchReport | None,
    arguments: argparse.Namespace,
    console: Console,
) -> SearchReport:
    """Run one search under faults, and keep its directory if anything was violated."""
    kinds = ", ".join(fault.kind for fault in faults) or "no faults"
    console.print(f"{name}, {sampler}: {kinds}", soft_wrap=True)
    # Its own randomness: a search's moments do not depend on how the ones before it went.
    rng = random.Random(f"{arguments.seed} {name}")
    timeout_min = max(SHORTEST_TIMEOUT_MIN, SPARE * reference.slowest_s / 60) if reference else LONG_MIN
    search = ChaoticSearch(place, name, sampler, rng, timeout_min)
    report = search.run(faults, reference.rows if reference else None)
    if report.violations or arguments.keep:
        kept = Path(tempfile.mkdtemp(prefix=f"swell-{name}-"))
        if place.paths(name).root.exists():
            shutil.copytree(place.paths(name).root, kept / name)
        for file in search.output():
            shutil.copy(file, kept)
        report = replace(report, kept=str(kept))
    shutil.rmtree(place.paths(name).root, ignore_errors=True)
    for one in report.injections:
        lost = "not recovered" if one.lost_s is None else f"{one.lost_s:.1f} s lost"
        console.print(
            Text(f"  {f'{one.what}: {lost}' if one.injected else f'{one.kind}: not injected'}"), soft_wrap=True
        )
    for violation in report.violations:
        console.print(Text(f"  VIOLATED: {violation}"), soft_wrap=True)
    console.print(Text(f"  {report.seconds:.0f} s{f', kept in {report.kept}' if report.kept else ''}"), soft_wrap=True)
    return report


def _names(known: Sequence[str]) -> "argparse._ActionType":
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: must be among {', '.join(known)}")
        return chosen

    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=len(FAULTS), help="how many faults to inject")
    parser.add_argument("--seed", type=int, default=0, help="seed of kinds, targets and moments")
    parser.add_argument("--kinds", type=_names(list(FAULTS)), default=list(FAULTS), help="kinds, separated by commas")
    parser.add_argument("--per-search", type=int, default=4, help="faults in one search")
    parser.add_argument("--samplers", type=_names(list(SPACES)), default=list(SPACES), help="in turn: grid,random")
    parser.add_argument("--keep", action="store_true", help="keep every search's directory, not only violated ones")
    parser.add_argument("--json", type=Path, help="write what happened to this file")
    arguments = parser.parse_args()
    console = Console()
    try:
        enter_namespace(sys.argv)
    except PlaceError as error:
        parser.error(str(error))
    parent = tempfile.gettempdir() if len(tempfile.gettempdir()) <= SHORT_TMP else "/tmp"
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))  # what was started is ended all the same
    place = Place(Path(tempfile.mkdtemp(prefix="sc", dir=parent)))
    reports: list[SearchReport] = []
    try:
        reports.extend(searches(place, arguments, console))
    finally:
        place.end_all()
        place.close()
    rows = summary(reports)
    show(rows, reports, console)
    if arguments.json:
        content = {"kinds": [asdict(row) for row in rows], "searches": [asdict(report) for report in reports]}
        arguments.json.write_text(json.dumps(content, indent=1))
    sys.exit(any(report.violations for report in reports))


if __name__ == "__main__":
    main()
