"""`swell clean`: prints and deletes what killed searches, and with `foreign` also Ray and W&B, left behind."""

import time

from rich.filesize import decimal
from rich.text import Text

from cluster.commands.clean import WHY_DELETED, Deletion, Leftover, Places, delete, find, own_places
from cluster.console import Console

FAILED = 1


def clean_command(
    *, foreign: bool, dry_run: bool, older_than_h: float, console: Console, places: Places | None = None
) -> int:
    """Delete what is proved unused, or with `dry_run` only list it; return the exit status.

    `places` are by default the user's own. Raises ScratchError if those cannot be found.
    """
    found = find(places or own_places(foreign=foreign), older_than_h)
    kept = [leftover for leftover in found if leftover.keep_because]
    going = [leftover for leftover in found if not leftover.keep_because]
    for leftover in kept:
        _print(console, describe(leftover, "kept"))
    if dry_run:
        for leftover in going:
            _print(console, describe(leftover, "would go"))
        total = sum(leftover.num_bytes for leftover in going)
        _print(console, Text(f"{decimal(total)} would be freed: {len(going)} of {len(found)} would go"))
        return 0
    deletions = []
    for leftover in going:
        deletions.append(delete(leftover, older_than_h))
        for line in describe_deletion(deletions[-1]):
            _print(console, line)
    num_deleted = sum(not deletion.errors and not deletion.leftover.keep_because for deletion in deletions)
    total = sum(deletion.freed_bytes for deletion in deletions)
    _print(console, Text(f"{decimal(total)} freed: {num_deleted} of {len(found)} deleted"))
    return FAILED if any(deletion.errors for deletion in deletions) else 0


def describe(leftover: Leftover, what: str) -> Text:
    """Return a line about a leftover: `what` becomes of it, its size, its age, where it is and why."""
    return Text.assemble(
        (f"{what:<9}", "yellow" if what == "kept" else "green"),
        f"{decimal(leftover.num_bytes):>9}  {_age(time.time() - leftover.newest_mtime):>6}  {leftover.kind:<15}  ",
        f"{leftover.path}: {leftover.keep_because or WHY_DELETED[leftover.kind]}",
    )


def describe_deletion(deletion: Deletion) -> list[Text]:
    """Return the result of a deletion as lines for the terminal."""
    if deletion.leftover.keep_because:
        return [describe(deletion.leftover, "kept")]
    if not deletion.errors:
        return [describe(deletion.leftover, "deleted")]
    freed = f", {decimal(deletion.freed_bytes)} of {decimal(deletion.leftover.num_bytes)} freed"
    head = f"NOT deleted{freed if deletion.freed_bytes else ''}: {deletion.leftover.path}"
    return [Text(head, "red"), *(Text(f"  {error}", "red") for error in deletion.errors)]


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print(console: Console, line: Text) -> None:
    console.print(line, soft_wrap=True)
