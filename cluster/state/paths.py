"""The names of all files of a search; no other module joins file names."""

import os
import re
import stat
from pathlib import Path

from search_spaces.errors import UserError
from trainables._shared.artifact_names import folder_name

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a search may be called."""

LAST = "last"
"""Instead of a number of steps: the model after a trial's last one."""


def searches_root() -> Path:
    """Return the folder of all searches: `$SWELL_ROOT`, else `searches` in the working directory."""
    return Path(os.environ.get("SWELL_ROOT") or "searches")


class SearchNotFoundError(UserError):
    """There is no search with that name or path."""


class SearchNameError(UserError):
    """The name cannot be that of a search's directory."""


class SearchPaths:
    """The files of one search directory.

    With a `job`, also the files that each of several jobs on the search has for itself; with a `node`'s rank, those of
    a further node.
    """

    def __init__(self, root: Path, job: int | None = None, node: int = 0) -> None:
        self.root = root
        self.job = job
        self._node = node
        self.own = root if job is None else root / "jobs" / f"{job:03d}"
        """The folder of this job's own files: its locks, its snapshot, its logs."""

    def __repr__(self) -> str:
        return f"SearchPaths({str(self.root)!r}, job={self.job})"

    def of_jobs(self) -> list["SearchPaths"]:
        """Return the paths of each of several jobs that have worked on this search; empty if it only ever had one."""
        found = [folder for folder in self.root.glob("jobs/[0-9]*") if folder.name.isdecimal() and folder.is_dir()]
        return [SearchPaths(self.root, int(folder.name)) for folder in sorted(found)]

    @property
    def name(self) -> str:
        """The search's name, which is its directory's."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """The resolved spec; of it only the budget ever changes, by `swell resume`."""
        return self.root / "spec.json"

    @property
    def budget_changes(self) -> Path:
        """When the budget changed, from what to what: a list of `{"at", "from", "to"}`."""
        return self.root / "budget-changes.json"

    @property
    def spec_source(self) -> Path:
        """The user's YAML file as it was."""
        return self.root / "spec.yaml"

    @property
    def branches(self) -> Path:
        """Which values of a field share a program in this search, by field; missing if none do."""
        return self.root / "branches.json"

    @property
    def inputs(self) -> Path:
        """The data files that the spec named at launch, with their sizes and times of change."""
        return self.root / "inputs.json"

    @property
    def provenance(self) -> Path:
        """Versions, git commit, host and working directory of the launch."""
        return self.root / "provenance.json"

    @property
    def journal(self) -> Path:
        """The Optuna journal: the search's state."""
        return self.root / "study.journal"

    @property
    def journal_lock(self) -> Path:
        """The lock that a process holds while it writes the journal, if several jobs do."""
        return self.root / "study.journal.lock"

    @property
    def study_name(self) -> Path:
        """The study's name in a database, which holds others' studies too: `{"study": name}`."""
        return self.root / "study.json"

    @property
    def driver_heartbeat(self) -> Path:
        """The identity of this job's driver, touched by it every few seconds: other jobs see by it whether it lives."""
        return self.own / "driver.json"

    @property
    def status(self) -> Path:
        """The last snapshot for displays; the study has everything in it too."""
        return self.own / "status.json"

    @property
    def lock(self) -> Path:
        """The lock that the search's one supervisor holds."""
        return self.own / "supervisor.lock"

    @property
    def driver_lock(self) -> Path:
        """The lock of the one wave driver, the journal's only writer, which may outlive its supervisor for a moment."""
        return self.own / "driver.lock"

    @property
    def supervisor_record(self) -> Path:
        """The supervisor's process id and host, written by it for other commands."""
        return self.own / "supervisor.json"

    @property
    def supervisor_heartbeat(self) -> Path:
        """Touched by the supervisor every few seconds, so that another machine sees whether it lives."""
        return self.own / "sign"  # kept in all versions: one may look at another's

    @property
    def storage_away(self) -> Path:
        """Why this job's last driver could not reach the study's storage and ended; no trial is to blame for that."""
        return self.own / "storage-away.json"

    @property
    def run_permit(self) -> Path:
        """Trials run while this file exists. Deleting it, which works on a full disk, makes them save and stop."""
        return self.own / "run-permit"

    @property
    def histories(self) -> Path:
        """Folder of the metric histories, one file per wave."""
        return self.root / "histories"

    @property
    def _wave_prefix(self) -> str:
        return "wave-" if self.job is None else f"job-{self.job:03d}-wave-"

    def history(self, wave: int) -> Path:
        """All reports of one wave's trials, one JSON line each."""
        return self.histories / f"{self._wave_prefix}{wave:05d}.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the trials' checkpoints."""
        return self.root / "checkpoints"

    def checkpoint(self, trial: int) -> Path:
        """The checkpoint of one trial."""
        return self.checkpoints / f"trial-{trial:06d}.npz"

    def model(self, trial: int, step: int | str | None = None) -> Path:
        """A model of one trial: its best, which its checkpoint holds, or the one kept after a step, or `last`."""
        if step is None:
            return self.checkpoint(trial)
        return self.checkpoints / f"trial-{trial:06d}-{f'step-{step:09d}' if isinstance(step, int) else step}.npz"

    def models_on_the_way(self, trial: int) -> str:
        """The names of one trial's models after so many steps, with a place for `step`."""
        return str(self.checkpoints).replace("{", "{{").replace("}", "}}") + f"/trial-{trial:06d}-step-{{step:09d}}.npz"

    def kept_steps(self, trial: int) -> list[int | str]:
        """Return the steps of one trial after which a model was kept, in their order, then `last`."""
        names = [file.stem[len(f"trial-{trial:06d}-") :] for file in self.checkpoints.glob(f"trial-{trial:06d}-*.npz")]
        steps = sorted(int(name.removeprefix("step-")) for name in names if name.startswith("step-"))
        return [*steps, *(name for name in names if name == LAST)]

    @property
    def spool(self) -> Path:
        """Folder of W&B's runs, and of what a later sync of them needs."""
        return self.root / "wandb"

    @property
    def artifacts(self) -> Path:
        """Folder of the data sets and code that were fetched at launch, for all nodes."""
        return self.root / "artifacts"

    def artifact(self, name: str) -> Path:
        """Folder of one W&B artifact's files."""
        return self.artifacts / folder_name(name)

    @property
    def code(self) -> Path:
        """The codes that its numbers come from, each in a folder of its own."""
        return self.root / "code"

    def code_folder(self, code: str) -> Path:
        """One of them, by its id: the copies of the method's modules, and the hashes of what is not copied."""
        return self.code / code

    @property
    def code_history(self) -> Path:
        """Which code was used since when."""
        return self.code / "history.json"

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        return self.own / "logs"

    def driver_log(self, driver: int) -> Path:
        """The log of a wave driver, with what its Ray printed."""
        return self.logs / f"driver-{driver:05d}.log"

    def next_driver(self) -> int:
        """Return the number of the next wave driver, from 1."""
        return 1 + _highest(self.logs, "driver-", ".log")

    def next_wave(self) -> int:
        """Return the number of the next wave, from 1; a wave that died keeps its number."""
        return 1 + _highest(self.histories, self._wave_prefix, ".jsonl")

    @property
    def guard_log(self) -> Path:
        """What this node's guard has found and freed, one JSON line each; two nodes cannot append to one file."""
        return self.logs / (f"guard-{self._node:03d}.jsonl" if self._node else "guard.jsonl")

    @property
    def supervisor_log(self) -> Path:
        """The supervisor's log."""
        return self.logs / "supervisor.log"

    def node_log(self, rank: int) -> Path:
        """The log of the supervisor of a further node."""
        return self.logs / f"node-{rank:03d}.log"

    def node_ray_log(self, rank: int) -> Path:
        """What Ray printed on a further node."""
        return self.logs / f"ray-{rank:03d}.log"

    @property
    def session(self) -> Path:
        """The wave driver's address and keys, for further nodes; readable by its user alone."""
        return self.own / "session.json"

    @property
    def stop_request(self) -> Path:
        """Exists while somebody, on any machine, asks the search to stop: `{"now": bool}`."""
        return self.root / "stop.json"

    @property
    def launch(self) -> Path:
        """How the search was launched: where, with which nodes and jobs, and the jobs' ids."""
        return self.root / "launch.json"

    @property
    def submission(self) -> Path:
        """Folder of submitit's job script, pickles and logs. Readable by its user alone."""
        return self.root / "submission"

    @property
    def evaluations(self) -> Path:
        """Folder of what kept models gave on further test sets, one file per trial and set."""
        return self.root / "evaluations"

    @property
    def best(self) -> Path:
        """Folder that `swell best` exports to by default."""
        return self.root / "best"

    @property
    def export(self) -> Path:
        """Folder that `swell export` writes histories to by default, one folder for each tool."""
        return self.root / "export"

    @property
    def report(self) -> Path:
        """The report that is written at the end of the search, one HTML file."""
        return self.root / "report.html"

    @property
    def report_log(self) -> Path:
        """What was said while the report was written at the end of the search."""
        return self.logs / "report.log"

    def make_folders(self) -> None:
        """Create the search directory, private to the user."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700)
        for folder in (self.histories, self.checkpoints):
            folder.mkdir()
        self.make_own()

    def make_own(self) -> None:
        """Create the job's own folders if they are missing."""
        self.logs.mkdir(parents=True, exist_ok=True)


def _highest(folder: Path, prefix: str, suffix: str) -> int:
    """Return the highest number among a folder's numbered files; 0 if there is none."""
    stems = (file.name.removeprefix(prefix).removesuffix(suffix) for file in folder.glob(f"{prefix}*{suffix}"))
    return max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def made_at(paths: SearchPaths) -> float | None:
    """Return when a search's spec was written; None if there is none, or it is another user's and cannot be seen."""
    try:
        status = paths.spec.stat()
    except (OSError, ValueError):  # ValueError: no file can have such a name
        return None
    return status.st_mtime if stat.S_ISREG(status.st_mode) else None


def is_search(path: Path) -> bool:
    """Return whether a folder is a search directory that this user can read."""
    return made_at(SearchPaths(path)) is not None


def all_searches(root: Path | None = None) -> list[SearchPaths]:
    """Return the searches under the root, newest first; skips what is no search or cannot be read by this user."""
    root = root or searches_root()
    found = [SearchPaths(path) for path in root.iterdir()] if root.is_dir() else []
    dated = [(at, paths) for paths in found if (at := made_at(paths)) is not None]
    return [paths for _, paths in sorted(dated, key=lambda one: one[0], reverse=True)]


def find_search(name: str) -> SearchPaths:
    """Return a search by its name or its path.

    Raises SearchNotFoundError, which names the searches that exist.
    """
    places = (Path(name), searches_root() / name)
    for candidate in places:
        if is_search(candidate):
            return SearchPaths(candidate.resolve())
    for candidate in places:
        if is_closed(candidate):
            raise SearchNotFoundError(f"{candidate} cannot be looked into: it is another user's, or closed to this one")
    names = [paths.name for paths in all_searches()]
    known = (
        f"there are: {', '.join(names[:10])}" + (" ..." if len(names) > 10 else "") if names else "there are none yet"
    )
    raise SearchNotFoundError(f"no search {name!r} in {searches_root()} and none at that path; {known}")


def is_closed(path: Path) -> bool:
    """Return whether a folder exists but this user cannot look into it."""
    try:
        return path.is_dir() and not os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False


def new_search_directory(name: str) -> SearchPaths:
    """Return a directory for a new search: `NAME`, else `NAME-2`, `NAME-3`, ...; never one that exists.

    Raises SearchNameError if the name cannot be a directory's.
    """
    if not NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-', beginning with a letter or a digit"
        raise SearchNameError(f"name = {name!r}: must be fit for a directory's name. Allowed: {allowed}")
    root = searches_root().resolve()
    taken = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if name not in taken:
        return SearchPaths(root / name)
    pattern = re.compile(re.escape(name) + r"-(\d+)$")
    numbers = [int(match[1]) for match in map(pattern.match, taken) if match]
    return SearchPaths(root / f"{name}-{max(numbers, default=1) + 1}")
