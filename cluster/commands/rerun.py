"""`swell rerun`: trains one trial again, as its own search or in this terminal, and compares the results."""

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic import ValidationError

from cluster.commands.rerun_comparison import Run, describe
from cluster.commands.search import CURRENT
from cluster.console import Console
from cluster.machine.files import read_json, write_json
from cluster.machine.scratch import node_cache, scratch_root
from cluster.state.code import changes, code_of_trial, named, read_manifest
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_spec, load_trials, method_folders
from cluster.study.inputs import changed_inputs
from cluster.worker.environment import Origin, training_environment
from search_spaces.errors import UserError
from search_spaces.sections import Budget, EarlyStopping, Keep, Sampler
from search_spaces.spec import Spec
from trainables._shared.artifact_names import ARTIFACTS
from trainables._shared.config import ConfigError, MethodConfig
from trainables._shared.discovery import found_in, load_config_type
from trainables._shared.extras import MissingPackageError, require_needed
from trainables._shared.frozen import copies_imported

FAILED, INTERRUPTED = 1, 130
LONGEST_NAME = 64
"""Characters of a search's name."""
TWICE_S = 3.0
"""Seconds between two presses of Ctrl-C that end the process at once: the first is the method's, or its debugger's."""


class RerunError(UserError):
    """The trial that the user named cannot be run again."""


def rerun_command(paths: SearchPaths, trial: int, *, here: bool, code: str = "", console: Console) -> int:
    """Train a trial's configuration again, and print whether it ends as it had; return the exit status.

    It runs as a search of its own, through Ray, or with `here` in one process of this terminal. The status is that of
    `swell run` either way: 0 if the trial completed, 1 if it failed (with `here`, its traceback is printed last), 130
    if it was interrupted. Other numbers than the recorded ones are printed but do not change the status, since another
    machine may give others.

    The method's modules are those that the trial was made with, unless `code` says `current`.

    Raises RerunError for a trial that cannot be run again.
    """
    record = find_trial(paths, trial)
    spec = load_spec(paths)
    folder = None if code == CURRENT else code_of_trial(paths, record.code)
    config_type = require_method(spec.trainable, method_folders(paths), folder)
    record = replace(record, config=config_type.recorded(record.config))
    _require_packages(record, config_type)
    _print(console, explain_code(record, folder))
    _print(console, [f"{sentence}: it runs with the new one" for sentence in changed_inputs(paths)])
    recorded = Run.of(paths, record)
    if here:
        return _run_here(paths, spec, record, recorded, folder, console)
    again = create_rerun(paths, spec, record, CURRENT if folder is None else folder.name)
    return _run_search(again, spec, recorded, console)


def explain_code(record: TrialRecord, folder: Path | None) -> list[str]:
    """Return sentences on how the code of a rerun in `folder`, or the current one, is not simply that of the trial."""
    said = []
    if "+" in record.code:
        which = "the current one" if folder is None else "the last of them"
        said.append(f"trial {record.number} was made by several codes, {record.code}: all of it runs with {which}")
    found = changes(folder) if folder is not None else []
    if copied := [change for change in found if change.is_copied]:
        said.append(f"{named(copied)} changed since: it runs with its own code; --code current takes the new one")
    if lost := [change for change in found if not change.is_copied]:
        said.append(f"{named(lost)} changed since, and the search has no copy: it runs with the new code")
    return said


def find_trial(paths: SearchPaths, number: int) -> TrialRecord:
    """Return a search's trial by number; raises RerunError if it does not exist or has no configuration."""
    records = {record.number: record for record in load_trials(paths)}
    if number not in records:
        known = f"there are 0 to {max(records)}" if records else "there are none yet"
        raise RerunError(f"no trial {number} in {paths.name}; {known}")
    if not records[number].config:
        raise RerunError(f"trial {number} of {paths.name} has no configuration yet: it was only just asked for")
    return records[number]


def require_method(trainable: str, folders: Sequence[Path], code: Path | None = None) -> type[MethodConfig]:
    """Return the config of a method, imported from a search's folders or copies of it.

    Raises RerunError if it can no longer be imported, and DamagedFileError if the record of the copies is damaged.
    """
    if code is not None:
        read_manifest(code)
    try:
        with found_in(*folders), copies_imported(code):
            return load_config_type(trainable)
    except (Exception, SystemExit) as error:  # a user's own module may raise anything
        said, places = f"{type(error).__name__}: {error}", ", ".join(map(str, folders))
        raise RerunError(f"{trainable} can no longer be imported, from {places} or from here: {said}") from error


def _require_packages(record: TrialRecord, config_type: type[MethodConfig]) -> None:
    """Raise RerunError if a package that the trial's configuration needs is not installed here."""
    with suppress(ValidationError):  # what is ruled out is ruled out again, by the worker
        config = config_type.of_values(record.config)
        try:
            require_needed(config)
        except (ConfigError, MissingPackageError) as error:
            raise RerunError(f"trial {record.number} cannot be run again here: {error}") from None


# -- as a search


def rerun_spec(spec: Spec, record: TrialRecord, name: str) -> Spec:
    """Return the spec of a search with only this trial's configuration, every field fixed, and no early stopping."""
    config = record.config
    # A space must have a parameter: the first field with a plain value, preferably one that was searched.
    plain = (key for key in [*spec.space, *config] if isinstance(config.get(key), bool | int | float | str))
    searched = next(plain, None)
    if searched is None:
        searched = next(iter(config))
        space: Any = {"choices": {"recorded": config[searched]}}
    else:
        space = [config[searched]]
    values = spec.model_dump(mode="json") | {
        "name": name,
        "base": {key: value for key, value in config.items() if key != searched},
        "space": {searched: space},
        "sampler": Sampler(name="random"),
        "early_stopping": EarlyStopping(),
        "repeats": None,  # the seed is among the fixed fields
        "budget": Budget(trials=1),
        "keep": Keep(),
    }
    return Spec.model_validate(values)


def rerun_name(search: str, trial: int) -> str:
    """Return a valid directory name for a trial's rerun: `SEARCH-rerun-TRIAL`."""
    ending = f"-rerun-{trial}"
    fit = re.sub(r"[^A-Za-z0-9._-]", "-", search).lstrip("._-") or "search"
    return fit[: LONGEST_NAME - len(ending)] + ending


def create_rerun(paths: SearchPaths, spec: Spec, record: TrialRecord, code: str = "") -> SearchPaths:
    """Make the search directory of a trial's rerun; raises ScratchError or OSError if it cannot be made."""
    from cluster.commands.search import create_search

    again = rerun_spec(spec, record, rerun_name(paths.name, record.number))
    # JSON is YAML, and quotes every text that YAML would read as something else.
    text = json.dumps(again.model_dump(mode="json", exclude_defaults=True), indent=1, ensure_ascii=False)
    scratch_root()  # before there is a search directory
    node_cache()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as source:
        source.write(f"# trial {record.number} of {paths.name}, again\n{text}\n")
        source.flush()
        made = create_search(again, Path(source.name), origin=paths, code=code or record.code)
    origin = {"search": str(paths.root), "trial": record.number}
    write_json(made.provenance, {**read_json(made.provenance), "rerun_of": origin})
    return made


def _run_search(again: SearchPaths, spec: Spec, recorded: Run, console: Console) -> int:
    from cluster.supervision.foreground import run_search

    _print(console, [f"running it again as {again.name}, in {again.root}"])
    status = run_search(again)
    records = load_trials(again)
    if status == INTERRUPTED or not records:
        return status
    now = Run.of(again, records[0])
    if now.error:
        _print(console, ["", *now.error.rstrip().splitlines()])
    _print(console, ["", *describe(recorded, now, _objectives(spec))])
    return status


def _objectives(spec: Spec) -> list[str]:
    return [objective.metric for objective in spec.objectives]


def _print(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


# -- here


def _run_here(
    paths: SearchPaths, spec: Spec, record: TrialRecord, recorded: Run, code: Path | None, console: Console
) -> int:
    request = {
        "trainable": spec.trainable,
        "config": record.config,
        "objectives": _objectives(spec),
        "searched": read_json(paths.branches) or {},
        "recorded": recorded.as_json(),
    }
    ended = f"{recorded.outcome or 'open'} at step {recorded.step}"
    _print(console, [f"trial {record.number} of {paths.name} ({ended}), from step 0, in this terminal"])
    console.file.flush()  # before the worker writes to the same terminal
    environment = training_environment(spec.resources, Origin.of(paths).with_code(code))
    environment |= {ARTIFACTS: str(paths.artifacts)}
    status = _run_worker(request, environment)
    if status == -signal.SIGINT:
        return INTERRUPTED
    if status < 0:
        why = "; 9 is often the lack of memory" if status == -signal.SIGKILL else ""
        _print(console, ["", f"its process was ended by signal {-status} ({signal.Signals(-status).name}){why}"])
        _print(console, [f"recorded: {ended}"])
        return FAILED
    return status


def _run_worker(request: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """Run the worker in this terminal; return its exit status, negative if a signal (SIGINT if stopped) ended it."""
    # Not by standard input, which is the terminal's, nor by an argument, whose length is limited.
    with tempfile.TemporaryFile("w+") as file:
        json.dump(request, file)
        file.seek(0)
        command = [
            sys.executable,
            "-P",
            "-X",
            "faulthandler",
            "-m",
            "cluster.commands.rerun_worker",
            str(file.fileno()),
        ]
        processes: list[subprocess.Popen[bytes]] = []
        with _interrupts(processes) as interrupted:
            processes.append(subprocess.Popen(command, env=dict(environment), pass_fds=(file.fileno(),)))
            status = processes[0].wait()
    return -signal.SIGINT if interrupted and status == -signal.SIGTERM else status


@contextmanager
def _interrupts(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[float]]:
    """Leave Ctrl-C to the processes, which the terminal sends it to as well; two in short time end them.

    The second is needed if the first is not noticed: Python waits for a running chunk of steps to end.
    """
    pressed: list[float] = []

    def on_signal(signum: int, _frame: object) -> None:
        now = monotonic()
        if signum == signal.SIGTERM or (pressed and now - pressed[-1] < TWICE_S):
            for process in processes:
                process.terminate()
        pressed.append(now)

    before = {signum: signal.signal(signum, on_signal) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
