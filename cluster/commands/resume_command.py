"""Declares `swell resume`."""

from typing import Annotated, Literal

import typer

from cluster.commands.options import TARGETS, Cpus, Jobs, Nodes, SearchEnded, SearchName, SiteName, target

PLACE = 4


def resume(
    search: SearchName,
    outcomes: Annotated[list[str] | None, typer.Argument(help="With --failed: crashed, worker_lost, ...")] = None,
    here: Annotated[bool, typer.Option("--here", help="In the foreground, however it was launched.")] = False,
    on: Annotated[
        str | None, typer.Option("--on", help="Elsewhere than it was.", parser=target, metavar="|".join(TARGETS))
    ] = None,
    site: SiteName = None,
    nodes: Nodes = None,
    jobs: Jobs = None,
    cpus: Cpus = None,
    job_hours: Annotated[float | None, typer.Option("--job-hours", min=0.01, help="Time limit of a job.")] = None,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed",
            help="Take failed trials up again, under their own numbers: those that ended as OUTCOMES say; "
            "by default all but diverged and solver_failed.",
        ),
    ] = False,
    trials: Annotated[int | None, typer.Option(help="From now on: the budget's trials, in all.")] = None,
    hours: Annotated[float | None, typer.Option(help="The budget's hours, in all.")] = None,
    core_hours: Annotated[float | None, typer.Option(help="The budget's core hours, in all.")] = None,
    target: Annotated[float | None, typer.Option(help="The budget's target.")] = None,
    patience_trials: Annotated[int | None, typer.Option(help="The budget's patience.")] = None,
    code: Annotated[
        Literal["launched", "current"] | None,
        typer.Option("--code", help="If the method's files have changed: with those of the launch, or as they are."),
    ] = None,
) -> SearchEnded | None:
    """Go on with a search that was stopped, killed or finished, the way it was launched, under the same trial numbers.

    A search that has used up its budget goes on with a larger one.
    """
    from cluster.commands.resume import Changes, resume_elsewhere
    from cluster.console import Console
    from cluster.jobs.request import Options
    from cluster.state.paths import find_search
    from cluster.supervision.foreground import run_search
    from search_spaces.errors import UserError

    if here and on:
        raise UserError(f"--here --on {on}: give one of them")
    budget = {"trials": trials, "hours": hours, "core_hours": core_hours, "target": target}
    changes = Changes.of(budget | {"patience_trials": patience_trials}, failed, outcomes or [])
    paths, options = find_search(search), Options(nodes, jobs, cpus, job_hours)
    if resume_elsewhere(paths, "here" if here else on, site, options, changes, Console(), code):
        return None
    return SearchEnded(paths, run_search(paths))
