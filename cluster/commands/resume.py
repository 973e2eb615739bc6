"""`swell resume`: goes on with a search under the same trial numbers, the way it was launched or another."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cluster.commands.launch import Target, ask_for, describe, interrupts, start_local, submit_search
from cluster.console import Console
from cluster.jobs.launched import Launch, clean_submission, read_launch
from cluster.jobs.request import Options, RequestError
from cluster.jobs.sites import DEFAULT_SITE, Site, load_site
from cluster.jobs.standing import load_snapshot, standing_of
from cluster.machine.resources import CPUS
from cluster.state.paths import SearchPaths
from cluster.state.records import load_spec
from search_spaces.errors import Source, UserError
from search_spaces.spec import SpecFile
from search_spaces.validation import explain_validation


class BusyError(UserError):
    """The search is queued or running already."""


@dataclass(frozen=True)
class Way:
    """How to go on: in the foreground, or as a target says, with the site where it is a cluster."""

    target: Target
    site: Site | None = None

    @property
    def is_here(self) -> bool:
        """Whether it goes on in the foreground."""
        return self.target.on == "here"


def way_of(paths: SearchPaths, on: str | None, given_site: str | None, given: Options) -> Way:
    """Return how to go on: as the command line says, else as it was launched last.

    Raises RequestError or SpecError where that cannot be.
    """
    launch = read_launch(paths)
    on = on or (launch.on if launch is not None else "here")
    Target(on, given_site, given).check()
    before = launch if launch is not None and launch.on == on else None
    if on != "slurm":
        return Way(Target(on, None, Options(cpus=given.cpus or (before.cpus if before else None))))
    if before is None or before.site is None:
        return Way(Target(on, given_site, given), load_site(given_site or DEFAULT_SITE))
    options = _merged(given, before)
    if given_site is None:
        return Way(Target(on, before.site_given, options), _site_of(paths, before.site))
    site = load_site(given_site)
    if site.name != before.site.get("name"):  # another cluster has other nodes and other limits
        options = Options(options.nodes, options.jobs, given.cpus, given.hours)
    return Way(Target(on, given_site, options), site)


def _site_of(paths: SearchPaths, values: Mapping[str, Any]) -> Site:
    """Return the site of the last launch; raises RequestError where another version of ours has written it."""
    try:
        return Site.model_validate(values, strict=False)
    except ValidationError as error:
        said = "; ".join(map(str, explain_validation(error, Site, values)))
        raise RequestError(f"{paths.launch}: its site is not one of this version ({said}): give --site anew") from None


def _merged(given: Options, before: Launch) -> Options:
    """Return the options given, and for the others those of the last launch; nodes and jobs rule each other out."""
    wide = given.nodes is None and given.jobs is None
    return Options(
        nodes=before.nodes if wide else given.nodes,
        jobs=before.jobs if wide else given.jobs,
        cpus=given.cpus or before.cpus,
        hours=given.hours or before.hours,
    )


def check_free(paths: SearchPaths) -> bool:
    """Return whether there is anything left to do; raises BusyError where the search is queued or running."""
    standing = standing_of(paths, load_snapshot(paths))
    if standing.is_active:
        where = f": {standing.where}" if standing.where else ""
        raise BusyError(
            f"search {paths.name} is {standing.state}{where} ({standing.why}); `swell stop {paths.name}` ends it, "
            f"`swell watch {paths.name}` shows it"
        )
    if standing.trouble:
        raise BusyError(
            f"search {paths.name} may still be queued or running, which SLURM cannot be asked now: {standing.trouble}"
        )
    return standing.state != "finished"


def prepare(paths: SearchPaths) -> None:
    """Take back what asked the search to stop, and delete what its last jobs have left."""
    paths.stop_request.unlink(missing_ok=True)
    clean_submission(paths)


def resume_elsewhere(paths: SearchPaths, on: str | None, site: str | None, options: Options, console: Console) -> bool:
    """Go on with a search on a cluster or detached, where that is the way; return False for the foreground.

    Raises BusyError, RequestError, SpecError, SlurmError, SubmissionError or LaunchError.
    """
    way = way_of(paths, on, site, options)
    # Where it never was launched, its lock is all that can be taken.
    left = check_free(paths) if read_launch(paths) is not None or not way.is_here else True
    if way.is_here:
        prepare(paths)
        if way.target.options.cpus:
            os.environ[CPUS] = str(way.target.options.cpus)
        return False
    if left:
        with interrupts():
            _go_on(paths, way, console)
    else:
        console.print(f"{paths.name} is finished: nothing is left to do.")
    return True


def _go_on(paths: SearchPaths, way: Way, console: Console) -> None:
    if way.site is not None:
        file = SpecFile(load_spec(paths), Source(paths.spec_source, {}))
        request = ask_for(way.target.options, way.site, file)
        prepare(paths)
        launch = submit_search(paths, request, way.site, way.target.site)
    else:
        assert way.target.on == "local", way.target
        prepare(paths)
        launch = start_local(paths, way.target.options.cpus)
    console.print(describe(paths, launch), soft_wrap=True)
