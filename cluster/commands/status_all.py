"""`swell status`: a list of all searches. It reads no spec, so that it is quick."""

import time

from rich.table import Table

from cluster.console import Console
from cluster.jobs.launched import read_launch
from cluster.jobs.standing import ask_queues, load_snapshot, standing_of
from cluster.state.paths import all_searches, searches_root
from cluster.wording import duration, on_one_line


def show_all() -> None:
    """Print a list of all searches."""
    console, searches = Console(), all_searches()
    if not searches:
        console.print(f"No searches in {searches_root()} yet.", soft_wrap=True)
        return
    snapshots = [load_snapshot(paths) for paths in searches]
    launches = [read_launch(paths) for paths in searches]
    unfinished = zip(launches, snapshots, strict=True)
    answer = ask_queues(launch for launch, snapshot in unfinished if not snapshot.get("finished"))
    table = Table("search", "state", "trials", "best", "age", "where", box=None)
    for paths, snapshot in zip(searches, snapshots, strict=True):
        standing = standing_of(paths, snapshot, answer)
        best, total = snapshot.get("best"), snapshot.get("max_trials")
        ended = sum(snapshot.get("outcomes", {}).values())
        table.add_row(
            on_one_line(paths.name),
            standing.state,
            f"{ended}/{total}" if total else str(ended),
            f"{best['value']:.4g}" if best else "",
            duration(time.time() - paths.spec.stat().st_mtime),
            on_one_line(standing.where) if standing.is_active else "",
        )
    console.print(table)
    if answer.trouble:
        console.print(answer.trouble, soft_wrap=True)
