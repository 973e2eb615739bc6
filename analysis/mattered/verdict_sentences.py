"""Verdicts in words that a supervisor can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10

from analysis.mattered.level_pairs import Compared, Unit
from analysis.mattered.verdict import LEVEL, Verdict
from cluster.wording import count

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Facts:
    """What a sentence says beyond its verdict's numbers."""

    compared: Compared
    enough: int | None
    """How many seeds (or configurations of each level) could support a verdict; None if more than anyone would try."""
    factor: str
    """The factor's name, if its levels do not say by themselves what they are; empty if they do."""
    objective: str
    trials: tuple[int, int]
    """The trials that ended of the better and of the worse level."""
    pruned: tuple[int, int]
    """Those that were stopped early."""
    is_corrected: bool
    """Whether the correction changed the p-value."""


def sentence(verdict: Verdict, facts: Facts) -> str:
    """Return a verdict as a sentence."""
    one, other = f"{facts.factor} {verdict.better}".strip(), verdict.worse
    if verdict.ties == verdict.pairs:
        return f"{one} and {other} are equal in all {count(verdict.pairs, 'pair')}{_left_out(verdict, facts)}"
    if verdict.is_supported:
        return f"{one} beats {other} by {_amount_and_evidence(verdict, facts)}{_reservations(verdict, facts)}"
    if verdict.least_p > LEVEL:
        ahead = f"{one} is ahead of {other} by {_size(verdict, facts.objective)} in {_won(verdict)}"
        return f"{ahead}, but {_too_few(verdict, facts)}{_left_out(verdict, facts)}"
    if verdict.p_corrected <= LEVEL:
        p = show_p(facts.compared.p_failures or 1.0)
        return (
            f"{one} is better than {other} by {_amount_and_evidence(verdict, facts)}, but not the better choice: it "
            f"failed in {_of(verdict.failed_better, facts.trials[0])} and {other} in "
            f"{_of(verdict.failed_worse, facts.trials[1])} (p = {p} with a failure as the worst result)"
        )
    return (
        f"the seeds do not support a difference between {one} and {other}: {one} is ahead by "
        f"{_amount_and_evidence(verdict, facts)}{_left_out(verdict, facts)}"
    )


def conclusion(factor: str, found: Sequence[Verdict]) -> str:
    """Return what all verdicts of a factor say together: which level is best, what it beats, what it does not.

    It is to stand where the factor's name does.
    """
    if not found:
        return f"no two levels of {factor} can be compared"
    if all(one.ties == one.pairs for one in found):
        return f"the levels of {factor} are equal in all pairs"
    best = found[0].better
    wins = [one for one in found if one.is_supported and one.better == best]
    untold = [one for one in found if best in (one.better, one.worse) and not one.is_supported]
    if not wins:
        few = all(one.least_p > LEVEL for one in untold)
        why = "so few pairs cannot support any verdict" if few else "the seeds do not support that it is best"
        lead = f"{best} is ahead, but {why}: {untold[0].below_factor}"
        return "; ".join([lead, *(one.below_factor for one in found if one.is_supported)])
    text = wins[0].below_factor
    if wins[1:]:
        text += f"; it beats {', '.join(str(one.worse) for one in wins[1:])} too"
    if untold:
        text += f"; not told apart from it: {', '.join(str(_other(one, best)) for one in untold)}"
    return text


def _other(verdict: Verdict, level: object) -> object:
    return verdict.worse if verdict.better == level else verdict.better


def show_p(p: float) -> str:
    """Return a p-value as texts have it: .031, .5, 1."""
    if p >= 0.995:
        return "1"
    if p < 1e-4:
        return ".0001" if p > 9e-5 else f"{p:.0e}".replace("e-0", "e-")
    return f"{p:.2g}".lstrip("0")


def _amount_and_evidence(verdict: Verdict, facts: Facts) -> str:
    interval = ""
    if isfinite(verdict.low) and isfinite(verdict.high) and verdict.low != verdict.high:
        decimals = _decimals(verdict)
        interval = f"{_number(verdict.low, decimals)} to {_number(verdict.high, decimals)}; "
    p = f"p = {show_p(verdict.p_corrected)}" + (" after correction" if facts.is_corrected else "")
    return f"{_size(verdict, facts.objective)} ({interval}{_evidence(verdict, facts.compared)}; {p})"


def _evidence(verdict: Verdict, compared: Compared) -> str:
    if verdict.is_paired:
        ties = f", equal in {verdict.ties}" if verdict.ties else ""
        seeds = count(verdict.num_seeds, "seed")
        settings = count(verdict.num_settings, "setting")
        where = f"{seeds} in {settings}"
        if compared.unit is Unit.SEED:
            where = f"{seeds}, which move a level alike in all {settings}"
        return f"better in {_won(verdict)}{ties}, {where}"
    one, other = compared.sizes
    forest = {
        True: ", the other factors' effect taken out by a random forest",
        False: ", the other factors' effect not taken out",
        None: "",
    }[compared.is_adjusted]
    settings = "" if compared.is_adjusted is None else " in other settings"
    sizes = f"{one} against {count(other, 'configuration')} of {count(verdict.num_seeds, 'seed')}{settings}"
    return f"{sizes}, better in {verdict.wins / verdict.pairs:.0%} of their pairs{forest}"


def _won(verdict: Verdict) -> str:
    if not verdict.is_paired:
        return f"{verdict.wins / verdict.pairs:.0%} of pairs of configurations"
    return f"{verdict.wins} of {count(verdict.pairs, 'pair')}"


def _too_few(verdict: Verdict, facts: Facts) -> str:
    """Return why no verdict is possible, and what would make it possible."""
    compared, enough = facts.compared, facts.enough
    correction = " after correction" if verdict.least_p > compared.least_p(compared.num_units) * (1 + 1e-9) else ""
    least = f"(p is at least {show_p(verdict.least_p)}{correction})"
    one, other = compared.sizes
    if compared.unit is Unit.RUN:
        what = f"{_few(compared.num_units, 'run')} of each in {count(verdict.num_settings, 'setting')}"
    elif verdict.is_paired:
        what = _few(verdict.pairs, "pair")
    else:
        what = f"{one} against {count(other, 'configuration')}"
    could = f": {enough} {'seeds' if verdict.is_paired else 'of each'} could" if enough else ""
    return f"{what} cannot support any verdict {least}{could}"


def _few(number: int, noun: str) -> str:
    words = count(number, noun)
    return words.replace(str(number), WORDS[number], 1) if number < len(WORDS) else words


def _reservations(verdict: Verdict, facts: Facts) -> str:
    """Return what speaks against taking a supported difference for more than it is."""
    found, compared = "", facts.compared
    if verdict.num_settings > compared.settings_won:
        found += f"; not better in {_of(verdict.num_settings - compared.settings_won, verdict.num_settings, 'setting')}"
    if verdict.p_ranks > LEVEL:
        found += f"; by ranks it is not supported (p = {show_p(verdict.p_ranks)})"
    return found + _left_out(verdict, facts)


def _left_out(verdict: Verdict, facts: Facts) -> str:
    """Return which trials of both levels are in no pair."""
    parts = []
    levels = (verdict.better, verdict.failed_better), (verdict.worse, verdict.failed_worse)
    for (level, failed), pruned, trials in zip(levels, facts.pruned, facts.trials, strict=True):
        ends = [f"{num:,} {how}" for num, how in ((failed, "failed"), (pruned, "stopped early")) if num]
        if ends:
            parts.append(f"{' and '.join(ends)} of {count(trials, 'trial')} of {level}")
    return f"; in no pair are {', '.join(parts)}" if parts else ""


def _of(some: int, total: int, noun: str = "trial") -> str:
    return f"{some} of {count(total, noun)}"


def _size(verdict: Verdict, objective: str) -> str:
    size = _number(verdict.difference, _decimals(verdict))
    if verdict.scale == "ratio":
        return f"a factor of {size}"
    is_share = objective.endswith(("_pct", "_percent"))
    return f"{size} point{'' if size == '1' else 's'}" if is_share else size


def _decimals(verdict: Verdict) -> int | None:
    """Return with how many decimals the ends of the interval differ in two digits; None if that is no way to write."""
    width = verdict.high - verdict.low
    if not isfinite(width) or width <= 0:
        return None
    decimals = 1 - floor(log10(width))
    largest = max(abs(verdict.low), abs(verdict.high), verdict.difference)
    return max(decimals, 0) if decimals <= 4 and largest < 1e5 else None


def _number(value: float, decimals: int | None) -> str:
    return f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
