"""Why trials failed, from any source: groups with reasons, and the reason of each trial."""

from dataclasses import dataclass

from analysis.crashed import MOST_RANGES, find_crashes, ranges
from analysis.search import Search
from cluster.state.outcomes import Outcome

MOST_CHARACTERS = 600
"""Of one line: a message may hold a whole array."""
MOST_GROUPS = 30


@dataclass(frozen=True)
class Failure:
    """Trials that failed in the same way."""

    outcome: str
    meaning: str
    """What this outcome means, in a sentence."""
    num_trials: int
    trials: str
    where: str
    what: str
    example: str
    """The end of the first trial's traceback."""
    first: int


@dataclass(frozen=True)
class Failures:
    """All failures of a search, the largest group first."""

    groups: list[Failure]
    num_left_out: int
    """Groups that are not shown."""
    retried: list[str]
    """Open trials with failed attempts behind them."""
    reasons: dict[int, str]
    """Why each failed trial did."""


def find_failures(search: Search) -> Failures:
    """Return why trials failed; from a source without tracebacks, how they ended alone."""
    if search.paths is None:
        return _by_outcome(search)
    crashes = find_crashes(search.paths)
    groups = [
        Failure(
            group.outcome.value, group.outcome.sentence, len(group.trials), ranges(group.trials, MOST_RANGES),
            _short(group.where), _short(group.what), "\n".join(map(_short, group.example)), group.trials[0],
        )
        for group in crashes.groups
    ]  # fmt: skip
    reasons = {
        number: "\n".join(filter(None, [message[:MOST_CHARACTERS], group.where]))
        for group in crashes.groups
        for number, message in zip(group.trials, group.messages, strict=True)
    }
    retried = [
        f"Trial {number} is still open after {failed} failed attempts, the last {how}."
        for number, failed, how in crashes.retried
    ]
    return Failures(groups[:MOST_GROUPS], max(len(groups) - MOST_GROUPS, 0), retried, reasons)


def _by_outcome(search: Search) -> Failures:
    groups, reasons = [], {}
    known = {outcome.value: outcome for outcome in Outcome}
    for outcome, trials in search.trials.groupby("outcome"):
        one = known.get(str(outcome))
        if one is None or not one.is_failure:
            continue
        numbers = sorted(map(int, trials["trial"]))
        groups.append(
            Failure(
                one.value, one.sentence, len(numbers), ranges(numbers, MOST_RANGES), "", one.sentence, "", numbers[0]
            )
        )
        reasons |= dict.fromkeys(numbers, one.sentence)
    return Failures(sorted(groups, key=lambda group: -group.num_trials), 0, [], reasons)


def _short(line: str) -> str:
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]} [...]"
