"""`swell status`: lists all searches; reads no spec, so that it is quick."""

import time
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from cluster.console import Console
from cluster.jobs.launched import Launch, read_launch
from cluster.jobs.standing import QueueAnswer, ask_queues, load_snapshot, standing_of
from cluster.state.paths import SearchPaths, all_searches, searches_root
from cluster.wording import duration, on_one_line
from search_spaces.errors import UserError


def show_all() -> None:
    """Print a list of all searches."""
    console, searches = Console(), all_searches()
    if not searches:
        console.print(f"No searches in {searches_root()} yet.", soft_wrap=True)
        return
    looks = [_look(paths) for paths in searches]
    answer = ask_queues(look.launch for look in looks if not look.snapshot.get("finished"))
    table = Table("search", "state", "trials", "best", "age", "where", box=None)
    troubles = [look.trouble for look in looks if look.trouble]
    for look in looks:
        try:
            table.add_row(*_row(look, answer))
        except (OSError, UserError) as error:  # deleted meanwhile, or not readable by this user
            troubles.append(str(error))
    console.print(table)
    for trouble in dict.fromkeys(troubles):
        console.print(trouble, style="yellow", soft_wrap=True)
    if answer.trouble:
        console.print(answer.trouble, soft_wrap=True)


@dataclass(frozen=True)
class _Look:
    """What the files of a search say, or in `trouble` why they cannot be read; this hides no other search."""

    paths: SearchPaths
    snapshot: dict[str, Any] = field(default_factory=dict)
    launch: Launch | None = None
    trouble: str = ""


def _look(paths: SearchPaths) -> _Look:
    try:
        return _Look(paths, load_snapshot(paths), read_launch(paths))
    except (OSError, UserError) as error:
        return _Look(paths, trouble=str(error))


def _row(look: _Look, answer: QueueAnswer) -> list[str]:
    paths, snapshot = look.paths, look.snapshot
    age = duration(time.time() - paths.spec.stat().st_mtime)
    if look.trouble:
        return [on_one_line(paths.name), "unreadable", "", "", age, ""]
    standing = standing_of(paths, snapshot, answer)
    best, total = snapshot.get("best"), snapshot.get("max_trials")
    ended = sum(snapshot.get("outcomes", {}).values())
    return [
        on_one_line(paths.name),
        standing.state,
        f"{ended}/{total}" if total else str(ended),
        f"{best['value']:.4g}" if best else "",
        age,
        on_one_line(standing.where) if standing.is_active else "",
    ]
