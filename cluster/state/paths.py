"""Where everything of a search lies: no other code joins file names."""

import os
import re
import stat
from pathlib import Path

from search_spaces.errors import UserError
from trainables._shared.artifact_names import folder_name

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a search may be called."""


def searches_root() -> Path:
    """Return the folder of all searches: `$SWELL_ROOT`, else `searches` in the working directory."""
    return Path(os.environ.get("SWELL_ROOT") or "searches")


class SearchNotFoundError(UserError):
    """No search of that name or path."""


class SearchNameError(UserError):
    """A name that is not fit for a search's directory."""


class SearchPaths:
    """The files of one search directory.

    With a job's number, those that each of several jobs on it has for itself; with a node's rank, likewise.
    """

    def __init__(self, root: Path, job: int | None = None, node: int = 0) -> None:
        self.root = root
        self.job = job
        self._node = node
        self.own = root if job is None else root / "jobs" / f"{job:03d}"
        """Where this job's own files lie: its locks, its snapshot, its logs."""

    def __repr__(self) -> str:
        return f"SearchPaths({str(self.root)!r}, job={self.job})"

    def of_jobs(self) -> list["SearchPaths"]:
        """Return the paths of every job that has worked on this search beside others; none if one works alone."""
        found = [folder for folder in self.root.glob("jobs/[0-9]*") if folder.name.isdecimal() and folder.is_dir()]
        return [SearchPaths(self.root, int(folder.name)) for folder in sorted(found)]

    @property
    def name(self) -> str:
        """The search's name: its directory's."""
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
    def inputs(self) -> Path:
        """The data files that the spec named at launch: size and time of change by name."""
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
        """Held by whoever writes the journal, where several jobs do."""
        return self.root / "study.journal.lock"

    @property
    def study_name(self) -> Path:
        """What the study is called in a database, where others have theirs too: `{"study": name}`."""
        return self.root / "study.json"

    @property
    def driver_heartbeat(self) -> Path:
        """Who this job's driver is, touched by it every few seconds: other jobs' see by it whether its trials run."""
        return self.own / "driver.json"

    @property
    def status(self) -> Path:
        """The last snapshot for displays; everything in it can be had from the study."""
        return self.own / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the search's one supervisor."""
        return self.own / "supervisor.lock"

    @property
    def driver_lock(self) -> Path:
        """Held by the one wave driver, the only writer of the journal: it may outlive its supervisor for a moment."""
        return self.own / "driver.lock"

    @property
    def supervisor_record(self) -> Path:
        """Which process the supervisor is, and on which host: written by it, read by other commands."""
        return self.own / "supervisor.json"

    @property
    def supervisor_heartbeat(self) -> Path:
        """Touched by the supervisor every few seconds: who watches from another machine sees it change, or not."""
        return self.own / "sign"  # its name in every version: they look at each other's

    @property
    def storage_away(self) -> Path:
        """Why this job's last driver has ended, where it could not reach the study's storage: no trial is to blame."""
        return self.own / "storage-away.json"

    @property
    def run_permit(self) -> Path:
        """Running trials go on while this file exists. Deleting it, which a full disk allows, has them stop."""
        return self.own / "run-permit"

    @property
    def histories(self) -> Path:
        """Folder of the metric histories, one file per wave."""
        return self.root / "histories"

    @property
    def _wave_prefix(self) -> str:
        return "wave-" if self.job is None else f"job-{self.job:03d}-wave-"

    def history(self, wave: int) -> Path:
        """The reports of one wave's trials, a JSON line each."""
        return self.histories / f"{self._wave_prefix}{wave:05d}.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the trials' checkpoints."""
        return self.root / "checkpoints"

    def checkpoint(self, trial: int) -> Path:
        """The checkpoint of one trial."""
        return self.checkpoints / f"trial-{trial:06d}.npz"

    @property
    def spool(self) -> Path:
        """W&B's runs, and what a later sync of them needs."""
        return self.root / "wandb"

    @property
    def artifacts(self) -> Path:
        """Data sets and code fetched at launch, for all nodes."""
        return self.root / "artifacts"

    def artifact(self, name: str) -> Path:
        """The files of one W&B artifact."""
        return self.artifacts / folder_name(name)

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        return self.own / "logs"

    def driver_log(self, driver: int) -> Path:
        """What a wave driver and its Ray printed."""
        return self.logs / f"driver-{driver:05d}.log"

    def next_driver(self) -> int:
        """Return the number of the next wave driver, from 1."""
        return 1 + _highest(self.logs, "driver-", ".log")

    def next_wave(self) -> int:
        """Return the number of the next wave, from 1; a wave that died has used its number up."""
        return 1 + _highest(self.histories, self._wave_prefix, ".jsonl")

    @property
    def guard_log(self) -> Path:
        """What the guard of this node has found and freed, a JSON line each; two machines cannot append to one file."""
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
        """Where further nodes find the wave driver: its address and the keys to it. Readable by its user alone."""
        return self.own / "session.json"

    @property
    def stop_request(self) -> Path:
        """Present while the search is asked to stop, from wherever: `{"now": bool}`."""
        return self.root / "stop.json"

    @property
    def launch(self) -> Path:
        """How the search was launched: on what, with which nodes and jobs, and the ids it got there."""
        return self.root / "launch.json"

    @property
    def submission(self) -> Path:
        """Folder of submitit's job script, pickles and logs. Readable by its user alone."""
        return self.root / "submission"

    @property
    def best(self) -> Path:
        """Where `swell best` exports to unless told otherwise."""
        return self.root / "best"

    def make_folders(self) -> None:
        """Create the search directory, private to the user."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700)
        for folder in (self.histories, self.checkpoints):
            folder.mkdir()
        self.make_own()

    def make_own(self) -> None:
        """Create the folders that a job has for itself, if they are missing."""
        self.logs.mkdir(parents=True, exist_ok=True)


def _highest(folder: Path, prefix: str, suffix: str) -> int:
    """Return the highest number among a folder's numbered files; 0 if there is none."""
    stems = (file.name.removeprefix(prefix).removesuffix(suffix) for file in folder.glob(f"{prefix}*{suffix}"))
    return max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def made_at(paths: SearchPaths) -> float | None:
    """Return when a search's spec was written; None if it cannot be seen: there is none, or it is another user's."""
    try:
        status = paths.spec.stat()
    except (OSError, ValueError):  # also a name that no file can have
        return None
    return status.st_mtime if stat.S_ISREG(status.st_mode) else None


def is_search(path: Path) -> bool:
    """Whether a folder is a search directory that can be looked into."""
    return made_at(SearchPaths(path)) is not None


def all_searches(root: Path | None = None) -> list[SearchPaths]:
    """Return every search under the root, newest first; what is no search, or lets nobody look into it, is left out."""
    root = root or searches_root()
    found = [SearchPaths(path) for path in root.iterdir()] if root.is_dir() else []
    dated = [(at, paths) for paths in found if (at := made_at(paths)) is not None]
    return [paths for _, paths in sorted(dated, key=lambda one: one[0], reverse=True)]


def find_search(name: str) -> SearchPaths:
    """Return a search by its name or its path.

    Raises SearchNotFoundError, naming the searches there are.
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
    """Return whether a folder is there, and cannot be looked into by this user."""
    try:
        return path.is_dir() and not os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False


def new_search_directory(name: str) -> SearchPaths:
    """Return a directory for a new search, `NAME`, else `NAME-2`, `NAME-3`, ...: nothing is ever overwritten.

    Raises SearchNameError for a name that is not fit for a directory.
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
