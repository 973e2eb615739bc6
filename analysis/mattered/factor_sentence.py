"""What a search says of one factor: which level is best, by how much, and whether the seeds support it."""

from collections.abc import Sequence

import pandas as pd

from analysis.mattered.chance import Chance
from analysis.mattered.comparable import Comparable
from analysis.mattered.crossed import Crossed
from analysis.mattered.marginals import PAIRED, Marginals
from analysis.mattered.seeds import has_repeats
from analysis.mattered.verdict import LEVEL, Verdict
from analysis.mattered.words import gap, listed, p_text
from analysis.search import Search


def factor_sentence(
    search: Search,
    among: Comparable,
    units: Crossed,
    column: str,
    chance: Chance,
    held: Marginals,
    verdicts: Sequence[Verdict],
    seeds_say: str,
) -> str:
    """Return what can be said of a factor, never more than its trials and seeds support.

    `seeds_say` is the conclusion from the verdicts; it leads if there are repeats.
    """
    if chance.why_not and not verdicts:
        return nothing_told([column], chance.why_not)
    if has_repeats(search, among):
        parts = [f"{column}: {seeds_say}.", _beyond_settings(chance, verdicts)]
    elif chance.is_beyond:
        parts = [_by_chance(search, column, chance, held), _best_trial(units, column, held)]
    else:
        parts = [_no_difference(search, among, units, column, chance, held)]
    return " ".join(part for part in parts if part)


def nothing_told(columns: Sequence[str], why: str) -> str:
    """Return that nothing can be told of some factors."""
    return f"{listed(columns)}: nothing can be told, as {why}."


def _no_difference(
    search: Search, among: Comparable, units: Crossed, column: str, chance: Chance, held: Marginals
) -> str:
    """Return that no claim can be made, and which level is ahead by chance as far as can be told."""
    ahead = ""
    if held.method:
        first, second = held.table.iloc[0], held.table.iloc[1]
        by = gap(second["worse_by"], second["low"], second["high"], is_ratio=held.is_ratio)
        ahead = f"; {first['level']} is ahead of {second['level']} {by} in {search.objective.column}"
    return (
        f"{column}: {among.subject} do not support a difference between its {len(units.names[column])} levels "
        f"({p_text(chance.p_corrected)}{_corrected(units)}){ahead}."
    )


def _corrected(units: Crossed) -> str:
    return f" after correction for {len(units.codes)} factors" if len(units.codes) > 1 else ""


def _trial_phrase(units: Crossed, column: str) -> str:
    """Return the level of the best unit."""
    code = units.codes[column][0]
    return units.names[column][code] if code >= 0 else f"no {column}"


def _by_chance(search: Search, column: str, chance: Chance, held: Marginals) -> str:
    """Return which level is best if its difference is beyond chance, without repeats."""
    p = p_text(chance.p_corrected)
    once = "not repeated over seeds"
    if not held.method:
        return f"{column}: its levels differ beyond chance ({p}), but which is best cannot be told: {held.basis}."
    way = "lower" if search.objective.mode == "min" else "higher"
    how = "paired over all other factors" if held.method == PAIRED else "other factors held by a forest"
    table, tied = held.table, held.tied
    if len(tied) == len(table):
        return (
            f"{column}: its levels differ beyond chance ({p}), but none is told apart from the best, {tied[0]} "
            f"({once})."
        )
    behind = table.loc[~table["level"].isin(tied)].iloc[0]
    by = gap(behind["worse_by"], behind["low"], behind["high"], is_ratio=held.is_ratio)
    wins = ""
    if held.method == PAIRED:
        wins = f", better in {int(behind['wins'])} of {held.num_settings} settings"
    if len(tied) == 1:
        return (
            f"{column}: {tied[0]} is best: {search.objective.column} {way} than with {behind['level']}, the next, {by} "
            f"({how}{wins}; {p}; {once})."
        )
    return (
        f"{column}: {listed(tied)} are best, not told apart from each other: {search.objective.column} of {tied[0]} "
        f"{way} than with {behind['level']} {by} ({how}{wins}; {p}; {once})."
    )


def _best_trial(units: Crossed, column: str, held: Marginals) -> str:
    """Return a warning if the best trial has another level than the best ones: one draw, not a ranking."""
    level = _trial_phrase(units, column)
    if not held.method or level in held.tied or units.codes[column][0] < 0:
        return ""
    return f"(The best trial of all has {level} nevertheless: one trial is no ranking.)"


def _beyond_settings(chance: Chance, verdicts: Sequence[Verdict]) -> str:
    """Return a hint if the settings tell a difference that the seeds of pairs do not."""
    if verdicts and chance.is_beyond and not any(one.is_supported for one in verdicts):
        return (
            f"(Its levels differ beyond chance, {p_text(chance.p_corrected)}, if what a seed does in one setting has "
            f"nothing to do with what it does in another.)"
        )
    return ""


def failures_sentence(levels: pd.DataFrame, column: str, corrections: int) -> str:
    """Return which level fails more often than the others, if that is beyond chance; empty otherwise."""
    failed, ended = levels["failed"].to_numpy(), levels["ended"].to_numpy()
    best: tuple[float, int] | None = None
    for place in range(len(levels)):
        rest = failed.sum() - failed[place], ended.sum() - ended[place]
        if min(ended[place], rest[1]) == 0 or failed[place] * rest[1] <= rest[0] * ended[place]:
            continue
        from scipy import stats

        table = [[failed[place], ended[place] - failed[place]], [rest[0], rest[1] - rest[0]]]
        p = float(stats.fisher_exact(table, alternative="greater").pvalue) * len(levels) * corrections  # pyright: ignore
        if best is None or p < best[0]:
            best = p, place
    if best is None or best[0] > LEVEL:
        return ""
    p, place = best
    return (
        f"{column}={levels['level'].iloc[place]} fails in {int(failed[place])} of {int(ended[place])} trials, its "
        f"other "
        f"levels in {int(failed.sum() - failed[place])} of {int(ended.sum() - ended[place])} ({p_text(p)} after "
        f"correction), and no mean has failed trials."
    )
