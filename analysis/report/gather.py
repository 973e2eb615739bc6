"""Everything that the report says of one search, gathered from the search alone."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.mattered.comparable import Comparable, comparable
from analysis.mattered.compare import compare
from analysis.report.asked import asked, found, tally, varied
from analysis.report.cost import cost_sentences, cost_table
from analysis.report.evaluated import Evaluated, evaluated
from analysis.report.failures import Failures, find_failures
from analysis.report.figures import Drawing, Drawings, draw_all
from analysis.report.mattered import MatteredView, view
from analysis.report.origin import Origin, origin
from analysis.report.packing import packed_json
from analysis.report.tables import Table, table_of
from analysis.report.trials import curves, trial_data
from analysis.search import Search
from cluster.state.outcomes import Outcome
from cluster.wording import count

BEST = 10
"""Trials, or configurations, in the table of the best."""
HEADLINES = 3
"""Sentences on what mattered that are said at the top already, after the first, which says what is known there."""


SECTIONS = (
    ("summary", "Summary"),
    ("trials", "Trials"),
    ("mattered", "What mattered"),
    ("evaluated", "Further test sets"),
    ("failures", "Failures"),
    ("figures", "Figures"),
    ("cost", "Cost"),
    ("origin", "Spec and versions"),
)


BESIDE_TABLES = ("importance", "rank_stability")


@dataclass(frozen=True)
class Part:
    """How many trials ended in one way."""

    outcome: str
    number: int
    share: float
    kind: str
    """completed, pruned, open or failed."""


@dataclass(frozen=True)
class SearchReport:
    """All that the report says of one search."""

    place: int
    """Its place among the searches of the report, from 0."""
    name: str
    asked: list[str]
    varied: list[str]
    found: list[str]
    headlines: list[str]
    tally: list[Part]
    best: Table | None
    mattered: MatteredView | None
    evaluated: Evaluated | None
    failures: Failures
    drawings: Drawings
    cost: list[str]
    cost_table: Table | None
    origin: Origin
    data: str
    """The trials, packed."""
    curves: str
    """Their curves, packed."""
    num_trials: int
    thinned: int
    """Points that a curve has at most; 0 if every report is there."""
    remarks: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """Parts that could not be made, and why."""

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Its sections in their order: the end of the id, and the title."""
        return [section for section in SECTIONS if section[0] != "evaluated" or self.evaluated]

    @property
    def beside(self) -> dict[str, Drawing]:
        """The figures that are shown with what mattered, each beside the table of its numbers, by name."""
        return {one.name: one for one in self.drawings.shown if one.name in BESIDE_TABLES and self.mattered}

    @property
    def figures(self) -> list[Drawing]:
        """The other figures of the search."""
        return [one for one in self.drawings.shown if one.name not in self.beside]

    @property
    def anchor(self) -> str:
        """The beginning of the ids of its sections."""
        return f"s{self.place}"


def gather(search: Search, place: int = 0) -> SearchReport:
    """Return all that the report says of a search.

    A figure or a statistic that fails is named among the troubles instead: the rest of the report stays worth reading.
    """
    troubles: list[str] = []
    among, mattered = _mattered(search, troubles)
    failures = find_failures(search)
    drawings = draw_all(search, f"s{place}")
    lines = curves(search)
    return SearchReport(
        place=place,
        name=search.name,
        asked=asked(search),
        varied=varied(search),
        found=found(search, among),
        headlines=mattered.sentences[1 : HEADLINES + 1] if mattered else [],
        tally=_tally(search),
        best=best_table(search, among),
        mattered=mattered,
        evaluated=evaluated(search),
        failures=failures,
        drawings=drawings,
        cost=cost_sentences(search),
        cost_table=cost_table(search),
        origin=origin(search),
        data=packed_json(trial_data(search, failures.reasons)),
        curves=packed_json(lines),
        num_trials=len(search.trials),
        thinned=lines["points"] if lines["isThinned"] else 0,
        remarks=list(search.remarks),
        troubles=[*troubles, *drawings.broken],
    )


def _mattered(search: Search, troubles: list[str]) -> tuple[Comparable | None, MatteredView | None]:
    if search.completed.empty:
        return None, None
    try:
        return comparable(search), view(compare(search))
    except Exception as error:
        troubles.append(f"What mattered could not be computed: {type(error).__name__}: {error}")
        return None, None


def _tally(search: Search) -> list[Part]:
    counts = tally(search)
    known = {outcome.value: outcome for outcome in Outcome}
    kinds = {
        name: name
        if name in ("completed", "pruned")
        else "failed"
        if name in known and known[name].is_failure
        else "open"
        for name in counts
    }
    total = sum(counts.values())
    return [Part(name.replace("_", " "), number, number / total, kinds[name]) for name, number in counts.items()]


def best_table(search: Search, among: Comparable | None) -> Table | None:
    """Return the best trials, best first; the best configurations if every one was repeated; None if there are none."""
    factors = [one.column for one in search.factors]
    if search.seed is not None and among is not None and len(among.units):
        units = among.units.head(BEST)
        frame = pd.DataFrame({"rank": range(1, len(units) + 1)}).assign(
            trials=[", ".join(map(str, numbers)) for numbers in units["trials"]],
            mean=units["value"].tolist(),
            spread=units["seed_std"].tolist(),
            **{name: units[name].tolist() for name in factors},
        )
        names = {"mean": f"mean {search.objective.column}", "spread": "spread of seeds"}
        return table_of(frame, "The best configurations, by the mean over all their seeds", names)
    completed = search.completed.head(BEST)
    if completed.empty:
        return None
    judged = [*(one.column for one in search.objectives), *(one.column for one in search.constraints)]
    feasible = ["feasible"] if search.constraints else []
    names = list(dict.fromkeys(["rank", "trial", *feasible, *judged, *factors, "steps_trained", "wall_time_s"]))
    frame = completed.filter(items=names)
    caption = f"The best {len(frame)} of {count(len(search.completed), 'completed trial')}, best first"
    return table_of(frame, caption, {"steps_trained": "steps", "wall_time_s": "seconds"})


def joint_rows(reports: list[SearchReport], searches: list[Search]) -> Table:
    """Return a row per search: how many trials, and its best."""
    rows: list[dict[str, Any]] = []
    for report, search in zip(reports, searches, strict=True):
        best = search.completed.iloc[0] if len(search.completed) else None
        rows.append(
            {
                "search": report.name,
                "trials": report.num_trials,
                "completed": len(search.completed),
                "objective": search.objective.column,
                "best value": None if best is None else best.get(search.objective.column),
                "best trial": None if best is None else int(best["trial"]),
            }
        )
    return table_of(pd.DataFrame(rows), "The searches of this report")
