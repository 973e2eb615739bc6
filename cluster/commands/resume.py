"""`swell resume`: continues a search under the same trial numbers, in the way it was launched or in another."""

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from cluster.commands.launch import Target, ask_for, describe, interrupts, start_local, submit_search
from cluster.commands.search import CURRENT, place_sources
from cluster.console import Console
from cluster.jobs.launched import Launch, clean_submission, read_launch
from cluster.jobs.queue_facts import NoQueueHereError, QueueError
from cluster.jobs.queues import queue_named
from cluster.jobs.request import Options, RequestError
from cluster.jobs.sites import DEFAULT_SITE, Site
from cluster.jobs.standing import is_worked_on, load_snapshot, standing_of
from cluster.machine.file_size import require_unlimited_files
from cluster.machine.files import write_json
from cluster.machine.resources import CPUS
from cluster.machine.variables import setting_changes, settings
from cluster.state import code as kept_code
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_spec, load_trials, method_folders, noted_settings
from cluster.state.snapshot import load_status
from cluster.state.supervisor_record import busy_message
from cluster.study.budget_change import changed_budget, progress_of, require_left, way_on, write_budget
from cluster.study.inputs import changed_inputs
from cluster.study.second_try import BY_DEFAULT, CAN_FAIL, begun_problems, has_begun, reopen_failed
from search_spaces.errors import Source, UserError
from search_spaces.spec import SpecFile
from search_spaces.validation import explain_validation
from trainables._shared.discovery import found_in, load_config_type
from trainables._shared.frozen import copies_imported

MOST_SHOWN = 5
"""How many of the trials that keep a search from going on are named."""

LAUNCHED = "launched"
"""Instead of `current`: the code that the search was launched with."""


class BusyError(UserError):
    """The search is queued or running already."""


class RefusedError(UserError):
    """Going on would lose trials that have begun."""


@dataclass(frozen=True)
class Way:
    """How to go on: in the foreground, or on a target, with its site if that is a cluster."""

    target: Target
    site: Site | None = None

    @property
    def is_here(self) -> bool:
        """Whether the search goes on in the foreground."""
        return self.target.on == "here"


def way_of(paths: SearchPaths, on: str | None, given_site: str | None, given: Options) -> Way:
    """Return how to go on: as the command line says, else as the search was launched last.

    Raises RequestError or SpecError if that is impossible.
    """
    launch = read_launch(paths)
    on = on or (launch.on if launch is not None else "here")
    target = Target(on, given_site, given)
    target.check()
    before = launch if launch is not None and launch.on == on else None
    queue = target.queue
    if queue is None:
        return Way(Target(on, None, Options(cpus=given.cpus or (before.cpus if before else None))))
    if before is None or before.site is None:
        return Way(target, queue.load_site(given_site or DEFAULT_SITE))
    options = _merged(given, before)
    if given_site is None:
        return Way(Target(on, before.site_given, options), _site_of(paths, queue.site_type, before.site))
    site = queue.load_site(given_site)
    if site.name != before.site.get("name"):  # another cluster has other nodes and limits
        options = Options(options.nodes, options.jobs, given.cpus, given.hours)
    return Way(Target(on, given_site, options), site)


def _site_of(paths: SearchPaths, site_type: type[Site], values: Mapping[str, Any]) -> Site:
    """Return the site of the last launch; raises RequestError if another version of ours wrote it incompatibly."""
    try:
        return site_type.model_validate(values, strict=False)
    except ValidationError as error:
        said = "; ".join(map(str, explain_validation(error, site_type, values)))
        raise RequestError(f"{paths.launch}: its site is not one of this version ({said}): give --site anew") from None


def _merged(given: Options, before: Launch) -> Options:
    """Return the options given, completed by those of the last launch; `nodes` and `jobs` exclude each other."""
    wide = given.nodes is None and given.jobs is None
    return Options(
        nodes=before.nodes if wide else given.nodes,
        jobs=before.jobs if wide else given.jobs,
        cpus=given.cpus or before.cpus,
        hours=given.hours or before.hours,
    )


def check_free(paths: SearchPaths, *, is_here: bool = False) -> bool:
    """Return whether anything is left to do; raises BusyError if the search is queued or running.

    A machine that lacks the queue which ran the search, such as one it was copied to, can go on in the foreground.
    """
    standing = standing_of(paths, load_snapshot(paths))
    if standing.is_active:
        where = f": {standing.where}" if standing.where else ""
        raise BusyError(
            f"search {paths.name} is {standing.state}{where} ({standing.why}); `swell stop {paths.name}` ends it, "
            f"`swell watch {paths.name}` shows it"
        )
    if standing.trouble and not (is_here and not _has_queue(paths)):
        rest = "" if _has_queue(paths) else f". If this is a copy, or it has ended: swell resume {paths.name} --here"
        raise BusyError(f"search {paths.name} may still be queued or running: {standing.trouble}{rest}")
    return standing.state != "finished"


def _has_queue(paths: SearchPaths) -> bool:
    """Return whether this machine has the queue that a search was launched on."""
    launch = read_launch(paths)
    try:
        if launch is not None and launch.is_queued:
            queue_named(launch.on).jobs(launch.job_ids)
    except NoQueueHereError:
        return False
    except QueueError:
        pass
    return True


def choose_code(paths: SearchPaths, choice: str | None, console: Console) -> None:
    """Let a search go on with the code of its launch, or with its method's modules as they are now (`current`).

    Settings that this shell has otherwise are said, and do not count; data files that have changed are said, and do.
    Raises CodeChangedError if the two codes differ
    and nobody has chosen, or if those of ours have changed, of which there are no copies.
    """
    for sentence in setting_changes(noted_settings(paths) or settings(os.environ), os.environ):
        console.print(sentence, soft_wrap=True)
    for sentence in changed_inputs(paths):
        told = "trials that start from now on read the new one, and the table's column `inputs` tells them apart"
        console.print(f"warning: {sentence}; {told}", soft_wrap=True)
    folder = kept_code.code_in_use(paths)
    if choice == CURRENT and not is_worked_on(paths):
        place_sources(paths, load_spec(paths))
        return
    found = kept_code.changes(folder) if folder is not None else []
    if not found:
        return
    lost = [change for change in found if not change.is_copied]
    if choice == LAUNCHED and not lost:
        return
    raise kept_code.CodeChangedError(_refusal(paths, found, lost))


def _refusal(paths: SearchPaths, found: Sequence[kept_code.Change], lost: Sequence[kept_code.Change]) -> str:
    ways = [f"`--code {CURRENT}` goes on with the new code, and the table's column `code` tells the trials apart"]
    if lost:
        ways.append(f"or bring back {kept_code.listed(lost)}, of which the search has no copy")
    else:
        ways.append(f"`--code {LAUNCHED}` goes on with the copy in {kept_code.code_in_use(paths)}")
    return f"{kept_code.named(found)} changed since {paths.name} was launched: {'; '.join(ways)}"


def prepare(paths: SearchPaths) -> None:
    """Remove the request to stop, and delete what the search's last jobs have left."""
    paths.stop_request.unlink(missing_ok=True)
    clean_submission(paths)


@dataclass(frozen=True)
class Changes:
    """What shall change when a search goes on."""

    budget: Mapping[str, float]
    """New bounds by their keys under `budget`."""
    failed: tuple[Outcome, ...] = ()
    """The outcomes of the failed trials that are taken up again."""

    @classmethod
    def of(cls, budget: Mapping[str, float | None], failed: bool, outcomes: Sequence[str]) -> "Changes":
        """Return the changes that the command line asks for; raises RequestError if an outcome is unknown."""
        if outcomes and not failed:
            raise RequestError(f"{' '.join(outcomes)}: the outcomes of trials to be taken up again need --failed")
        known = {outcome.value: outcome for outcome in CAN_FAIL}
        if wrong := [name for name in outcomes if name not in known]:
            raise RequestError(f"--failed {' '.join(wrong)}: no trial fails so. Allowed: {', '.join(known)}")
        chosen = tuple(known[name] for name in outcomes) or BY_DEFAULT
        given = {key: value for key, value in budget.items() if value is not None}
        return cls(given, chosen if failed else ())

    def __bool__(self) -> bool:
        return bool(self.budget or self.failed)


def resume_elsewhere(
    paths: SearchPaths,
    on: str | None,
    site: str | None,
    options: Options,
    changes: Changes,
    console: Console,
    code: str | None = None,
) -> bool:
    """Go on with a search on a cluster or detached; return False if it is to go on in the foreground.

    Raises a UserError, with nothing changed, if it cannot go on in this way.
    """
    way = way_of(paths, on, site, options)
    if way.target.queue is None:
        require_unlimited_files()
    # A search that was never launched has only its lock to take.
    left = (
        check_free(paths, is_here=way.is_here) if read_launch(paths) is not None or not way.is_here or changes else True
    )
    goes_on = bool(changes) or not load_snapshot(paths).get("finished")
    with kept_code.put_back_if_refused(paths):
        if left or changes:
            choose_code(paths, code, console)
        if goes_on:  # else no trial goes on, and to read thousands takes half a second
            _require_begun_valid(paths)
        if changes:
            left = _change(paths, changes, console)
    if not goes_on:
        console.print(f"{paths.name} is finished. {way_on(paths.name, load_spec(paths))}", soft_wrap=True)
    if way.is_here:
        prepare(paths)
        if way.target.options.cpus:
            os.environ[CPUS] = str(way.target.options.cpus)
        return False
    if left:
        with interrupts():
            _go_on(paths, way, console)
    return True


def _require_begun_valid(paths: SearchPaths) -> None:
    """Raise RefusedError if a trial has begun whose configuration the method no longer takes."""
    if not has_begun(paths):
        return
    trainable, folders = load_spec(paths).trainable, method_folders(paths)
    code = kept_code.code_in_use(paths)
    if code is not None:
        kept_code.read_manifest(code)
    rest = "Nothing is lost: mend it (a renamed field, a syntax error), and resume then."
    try:
        with found_in(*folders), copies_imported(code):
            config_type = load_config_type(trainable)
    except (Exception, SystemExit) as error:  # a user's own module may raise anything
        said, places = f"{type(error).__name__}: {error}", ", ".join(map(str, folders))
        raise RefusedError(f"{trainable} cannot be imported, from {places} or from here: {said}. {rest}") from None
    if problems := list(begun_problems(paths, config_type)):
        listed = "\n".join(f"  {problem}" for problem in problems[:MOST_SHOWN])
        more = f"\n  and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
        raise RefusedError(
            f"{paths.name}: {trainable} does not take the configurations any more of trials that have begun:\n"
            f"{listed}{more}\n{rest}"
        )


def _change(paths: SearchPaths, changes: Changes, console: Console) -> bool:
    """Change a search that nobody works on, and print how; return True, as something is left to do then.

    Raises NothingLeftError, SpecError or BusyError, with nothing changed.
    """
    with _alone(paths):
        spec, progress = load_spec(paths), progress_of(paths, load_spec(paths))
        new = changed_budget(paths, spec, changes.budget, progress)
        chosen = {outcome.value for outcome in changes.failed}
        failed = [record.number for record in load_trials(paths) if not record.is_open and _ended_as(record, chosen)]
        if changes.failed and not failed and not changes.budget:
            raise RequestError(f"--failed: no trial of {paths.name} ended as {', '.join(sorted(chosen))}")
        require_left(paths.name, new, replace(progress, num_open=progress.num_open + len(failed)))
        write_budget(paths, spec, new)
        for key in changes.budget:
            before, now = getattr(spec.budget, key), getattr(new.budget, key)
            console.print(f"budget.{key}: {'none' if before is None else f'{before:g}'} -> {now:g}")
        if changes.failed:
            again = reopen_failed(paths, new, changes.failed)
            listed = f"{len(again)} failed trials are" if len(again) != 1 else "1 failed trial is"
            console.print(f"{listed} taken up again{': ' if again else ''}{', '.join(map(str, again))}", soft_wrap=True)
        for one in (paths, *paths.of_jobs()):
            if (snapshot := load_status(one)).get("finished"):
                write_json(one.status, {**snapshot, "finished": "", "stopped": snapshot["finished"]})
    return True


def _ended_as(record: TrialRecord, outcomes: Container[str]) -> bool:
    return record.outcome is not None and record.outcome.value in outcomes


@contextmanager
def _alone(paths: SearchPaths) -> Iterator[None]:
    """Keep supervisors, and wave drivers that outlived theirs, from working on a search; raises BusyError."""
    with ExitStack() as locks:
        for one in (paths, *paths.of_jobs()):
            for lock in (one.lock, one.driver_lock):
                try:
                    locks.enter_context(FileLock(lock).acquire(timeout=0))
                except Timeout:
                    raise BusyError(busy_message(one)) from None
        yield


def _go_on(paths: SearchPaths, way: Way, console: Console) -> None:
    queue = way.target.queue
    if way.site is not None and queue is not None:
        file = SpecFile(load_spec(paths), Source(paths.spec_source, {}))
        request = ask_for(queue, way.target.options, way.site, file)
        prepare(paths)
        launch = submit_search(queue, paths, request, way.site, way.target.site)
    else:
        assert way.target.on == "local", way.target
        prepare(paths)
        launch = start_local(paths, way.target.options.cpus)
    console.print(describe(paths, launch), soft_wrap=True)
