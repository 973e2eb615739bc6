"""`swell crashed`: prints the failed trials, grouped by how and where they failed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from cluster.console import Console
from cluster.state.failures import chain_in, failure_kind, first_words, worth_naming
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.raised import telling_line
from cluster.state.records import TrialRecord, load_spec, load_trials, method_folders

FEW_GROUPS = 3
"""Up to this many groups are shown with the end of a traceback."""
EXAMPLE_LINES = 6
MOST_RANGES = 8
"""Ranges of trial numbers shown in a terminal."""
MOST_CHARACTERS = 300
"""Characters shown of one line: a message may hold a whole array."""

_JAX_NOTE = "For simplicity, JAX has removed its internal frames"


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed in the same way at the same place."""

    outcome: Outcome
    where: str
    """`module:line in function`; empty where there is no traceback."""
    what: str
    """The first trial's exception, or the outcome in words, and how many other messages there are."""
    trials: tuple[int, ...]
    messages: tuple[str, ...]
    """What each of the trials said."""
    attempts: tuple[int, int]
    """The fewest and the most of one trial."""
    peak_memory_mb: float
    """Of the largest trial."""
    example: tuple[str, ...]
    """The last lines of the first trial's traceback."""


@dataclass(frozen=True)
class Crashes:
    """The failed trials of a search in groups, the largest first, and the failed trials that are still open."""

    num_trials: int
    groups: tuple[FailureGroup, ...]
    retried: tuple[tuple[int, int, str], ...]
    """Open trials with failed attempts behind them, how many those are, and the outcome of the last."""


# -- groups


def find_crashes(paths: SearchPaths, records: Sequence[TrialRecord] | None = None) -> Crashes:
    """Return a search's failed trials, those together that failed alike; reads its `records` unless given."""
    records = load_trials(paths) if records is None else records
    folders, trainable = method_folders(paths), load_spec(paths).trainable
    found: dict[str, list[TrialRecord]] = {}
    for record in records:
        if record.outcome is not None and record.outcome.is_failure and not record.is_open:
            found.setdefault(failure_kind(record, trainable), []).append(record)
    groups = [_group(same, folders, trainable) for same in found.values()]
    return Crashes(
        num_trials=len(records),
        groups=tuple(sorted(groups, key=lambda group: (-len(group.trials), group.trials))),
        retried=tuple((r.number, r.attempts - 1, _last_failure(r)) for r in records if r.is_open and r.attempts > 1),
    )


def _last_failure(record: TrialRecord) -> str:
    """Return how an open trial's last attempt ended; if nothing says so, its driver died."""
    return record.failures[-1]["outcome"] if record.failures else "its driver died"


def _message(record: TrialRecord) -> str:
    """Return what a trial's failure said, in one line."""
    assert record.outcome is not None
    chain = chain_in(record)
    said = [line.strip() for line in record.error.splitlines() if line.strip()]
    if record.outcome.is_machines and not record.raised and len(said) > 1:  # add the process's most telling line
        return f"{said[0]}: {telling_line(said[1:])}"
    return (chain[-1].message if chain else first_words(record)) or record.outcome.sentence


def _group(records: Sequence[TrialRecord], folders: Iterable[Path], trainable: str) -> FailureGroup:
    first, attempts = records[0], [record.attempts for record in records]
    assert first.outcome is not None
    chain = chain_in(first)
    where = worth_naming(chain, folders, trainable) if chain else ""
    messages = tuple(map(_message, records))
    return FailureGroup(
        outcome=first.outcome,
        where=where,
        what=_with_others(messages[0], len(set(messages)) - 1),
        trials=tuple(record.number for record in records),
        messages=messages,
        attempts=(min(attempts), max(attempts)),
        peak_memory_mb=max(record.peak_memory_mb for record in records),
        example=_last_lines(first.error) if where else (),
    )


def _with_others(message: str, others: int) -> str:
    """Return a group's first message with the number of other ones, which is not cut off with a long message."""
    if not others:
        return message
    counted = f" (and {others} other message{'' if others == 1 else 's'})"
    room = MOST_CHARACTERS - len(counted) - len(" [...]")
    return (message if len(message) <= room else f"{message[:room]} [...]") + counted


def _last_lines(error: str) -> tuple[str, ...]:
    lines = error.rstrip().splitlines()
    first = next((index for index, line in enumerate(lines) if "(most recent call first)" in line), None)
    if first is not None:  # the traceback of a process that died
        return tuple(lines[first + 1 :][:EXAMPLE_LINES])
    note = next((index for index, line in enumerate(lines) if line.startswith(_JAX_NOTE)), None)
    if note is not None and not "".join(lines[note + 1 :]).strip():
        lines = lines[: note - 1]  # and the dashes before it
    return tuple(lines[-EXAMPLE_LINES:])


def ranges(numbers: Sequence[int], most: int | None = None) -> str:
    """Return ascending numbers as text, 3-7, 12; if there are more than `most` ranges, the rest is only counted."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = runs if most is None else runs[:most]
    text = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in shown)
    left = len(numbers) - sum(map(len, shown))
    return f"{text} and {left} more" if left else text


# -- print


def show_crashed(paths: SearchPaths, console: Console) -> int:
    """Print a search's failed trials by group, and how to look at one; return the exit status, 0."""
    crashes = find_crashes(paths)
    for line in describe(crashes, paths.name, MOST_RANGES if console.is_terminal else None):
        console.print(line, soft_wrap=True)
    return 0


def describe(crashes: Crashes, name: str, most_ranges: int | None = None) -> list[Text]:
    """Return a search's failures as lines of Text, so that nothing that a method says is read as markup."""
    num_failed = sum(len(group.trials) for group in crashes.groups)
    if not crashes.num_trials:
        return [Text(f"{name} has no trials yet")]
    if num_failed:
        lines = [Text(f"{num_failed} of {crashes.num_trials} trials of {name} failed, in {_count(crashes.groups)}")]
    else:
        lines = [Text(f"no trial of {name} has failed, of {crashes.num_trials}")]
    for group in crashes.groups:
        lines += [Text(""), *_describe_group(group, most_ranges, with_example=len(crashes.groups) <= FEW_GROUPS)]
    if crashes.retried:
        listed = ", ".join(f"trial {number} ({failed}, last {how})" for number, failed, how in crashes.retried)
        lines += [Text(""), Text(f"note: still open after failed attempts: {listed}", style="yellow")]
    if crashes.groups:
        hint = f"look at one, here and now: swell rerun {name} {crashes.groups[0].trials[0]} --here"
        lines += [Text(""), Text(hint)]
    return lines


def _count(groups: Sequence[FailureGroup]) -> str:
    return "one way" if len(groups) == 1 else f"{len(groups)} ways"


def _describe_group(group: FailureGroup, most_ranges: int | None, *, with_example: bool) -> list[Text]:
    num, (fewest, most) = len(group.trials), group.attempts
    trials = f"trial{'' if num == 1 else 's'} {ranges(group.trials, most_ranges)}"
    attempts = f"{fewest} attempt{'' if fewest == 1 else 's'}" if fewest == most else f"{fewest} to {most} attempts"
    parts = [trials, attempts + (" each" if num > 1 and fewest == most else "")]
    if group.outcome is Outcome.OUT_OF_MEMORY and group.peak_memory_mb:
        parts.append(f"up to {group.peak_memory_mb:.0f} MB")
    lines = [Text.assemble((f"{num} {group.outcome.value}", "bold red"), f"  {'; '.join(parts)}")]
    if group.where:
        lines.append(Text(f"  {_shorten(group.where)}"))
    lines.append(Text(f"  {_shorten(group.what)}"))
    if with_example and group.example:
        lines.append(Text(f"  the end of trial {group.trials[0]}'s traceback:", style="dim"))
        lines += [Text(f"    {_shorten(line)}", style="dim") for line in group.example]
    return lines


def _shorten(line: str) -> str:
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]} [...]"
