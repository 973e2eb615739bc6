"""`swell status SEARCH`: shows how far one search is, by its files and its queue.

It is asked for often, so that what only some searches need is imported only for those: the whole spec above all.
"""

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from cluster.console import Console
from cluster.jobs.job_logs import last_words
from cluster.jobs.launched import clean_submission, read_launch
from cluster.jobs.standing import Standing, load_snapshot, standing_of
from cluster.machine.files import read_object
from cluster.state.guarding import load_guard_events
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.supervisor_record import supervisor_of
from cluster.supervision.display import body_of
from cluster.wording import duration


def state_of(paths: SearchPaths, snapshot: Mapping[str, Any]) -> str:
    """Return the state of a search in a word: queued, running, finished, failed, stopped, interrupted."""
    return standing_of(paths, snapshot).state


def show_one(paths: SearchPaths) -> None:
    """Print one search's state."""
    console, snapshot, metric = Console(), load_snapshot(paths), _metric(paths)
    standing = standing_of(paths, snapshot)
    why = _doing(paths, standing) if standing.state == "running" else standing.why
    console.print(Text.assemble((paths.name, "bold"), f"  {standing.state}", f" ({why})" if why else ""))
    now = snapshot if standing.state == "running" else {**snapshot, "running": []}
    console.print(Group(*body_of(now, metric)))
    failures = {name: n for name, n in snapshot.get("outcomes", {}).items() if Outcome(name).is_failure}
    for name, number in failures.items():
        console.print(f"  {number} {name}: {Outcome(name).sentence}", style="red", soft_wrap=True)
    for line in (_last_wave(snapshot), _freed(paths)):
        if line:
            console.print(line, style="dim", soft_wrap=True)
    for changed in _changed(paths, standing):
        console.print(Text(changed, style="yellow"), soft_wrap=True)
    for line in _where(paths, standing, snapshot):
        console.print(Text(line), soft_wrap=True)
    if standing.is_over:
        clean_submission(paths)
    console.print(Text(str(paths.root)), soft_wrap=True)


def _metric(paths: SearchPaths) -> str:
    """Return the metric of the first objective.

    Raises DamagedFileError if the spec does not say it.
    """
    match read_object(paths.spec):
        case {"objective": [{"metric": str(metric)}, *_]}:
            return metric
    from cluster.state.records import load_spec

    return load_spec(paths).objectives[0].metric  # an old spec, or it says what is wrong with it


def _changed(paths: SearchPaths, standing: Standing) -> Iterator[str]:
    """Yield what has changed of the code and the data files since a search's launch, while it may go on."""
    if standing.state == "finished":
        return
    from cluster.state.code import explain_changes
    from cluster.study.inputs import changed_inputs

    if changed := explain_changes(paths):
        yield changed
    for sentence in changed_inputs(paths):
        yield f"{sentence}: trials that start now read the new one, and the table's column `inputs` tells them apart"


def _where(paths: SearchPaths, standing: Standing, snapshot: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a search runs or waits, or else how to go on with it and its jobs' last words."""
    if standing.state == "running":
        who = "supervisor: " if standing.where.startswith("process") else "on "
        yield f"{who}{standing.where}; about {duration(snapshot.get('eta_s'))} left"
    elif standing.is_active and standing.where:
        yield f"in the queue: {standing.where}"
    elif standing.state in ("interrupted", "failed to start", "failed"):
        launch = read_launch(paths)
        for line in last_words(paths, launch.job_ids) if launch is not None else ():
            yield f"  | {line}"
    if standing.trouble:
        yield standing.trouble
    if standing.is_over and standing.state != "finished":
        yield f"go on with: swell resume {paths.name}"


def _doing(paths: SearchPaths, standing: Standing) -> str:
    """Return what a running search is doing; looks at the disks too, since on a full disk its snapshot may be old."""
    supervisor = supervisor_of(paths) or {}
    if supervisor.get("host") == socket.gethostname():
        from cluster.machine.disks import read_disks
        from cluster.machine.guard import Action, judge
        from cluster.machine.scratch import scratch_folder
        from cluster.state.guarding import folders_in_use
        from cluster.state.records import load_spec

        verdict = judge(load_spec(paths).guard, read_disks(folders_in_use(paths, scratch_folder())))
        if verdict.action is not Action.GO_ON:
            return f"short of disk space: {verdict.reason}"
    return standing.why


def _last_wave(snapshot: Mapping[str, Any]) -> str:
    wave = snapshot.get("last_wave")
    if not wave:
        return ""
    busy = f"its slots {100 * wave['utilisation']:.0f} % busy, some idle in its last {wave['tail_s']:.0f} s"
    return f"wave {wave['wave']}: {wave['trials']} trials in {duration(wave['trials_s'])}, {busy}"


def _freed(paths: SearchPaths) -> str:
    freed = [event["freed_bytes"] for event in load_guard_events(paths) if event["what"] == "cleaned"]
    return f"scratch: {sum(freed) / 1e9:.3g} GB freed at the end of {len(freed)} Ray sessions" if freed else ""
