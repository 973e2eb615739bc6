"""Where everything of a search lies: no other code joins file names."""

import os
import re
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a search may be called."""


def searches_root() -> Path:
    """Return the folder of all searches: `$SWELL_ROOT`, else `searches` in the working directory."""
    return Path(os.environ.get("SWELL_ROOT") or "searches")


class SearchNotFoundError(ValueError):
    """No search of that name or path."""


class SearchNameError(ValueError):
    """A name that is not fit for a search's directory."""


class SearchPaths:
    """The files of one search directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"SearchPaths({str(self.root)!r})"

    @property
    def name(self) -> str:
        """The search's name: its directory's."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """The resolved spec, immutable."""
        return self.root / "spec.json"

    @property
    def spec_source(self) -> Path:
        """The user's YAML file as it was."""
        return self.root / "spec.yaml"

    @property
    def provenance(self) -> Path:
        """Versions, git commit, host and working directory of the launch."""
        return self.root / "provenance.json"

    @property
    def journal(self) -> Path:
        """The Optuna journal: the search's state."""
        return self.root / "study.journal"

    @property
    def status(self) -> Path:
        """The last snapshot for displays; everything in it can be had from the study."""
        return self.root / "status.json"

    @property
    def lock(self) -> Path:
        """Held by the search's one supervisor."""
        return self.root / "supervisor.lock"

    @property
    def driver_lock(self) -> Path:
        """Held by the one wave driver, the only writer of the journal: it may outlive its supervisor for a moment."""
        return self.root / "driver.lock"

    @property
    def holder(self) -> Path:
        """Who holds the lock, for the message to others."""
        return self.root / "supervisor.json"

    @property
    def drain(self) -> Path:
        """Present while running trials should save and stop."""
        return self.root / "drain"

    @property
    def histories(self) -> Path:
        """Folder of the metric histories, one file per wave."""
        return self.root / "histories"

    def history(self, wave: int) -> Path:
        """The reports of one wave's trials, a JSON line each."""
        return self.histories / f"wave-{wave:05d}.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the trials' checkpoints."""
        return self.root / "checkpoints"

    def checkpoint(self, trial: int) -> Path:
        """The checkpoint of one trial."""
        return self.checkpoints / f"trial-{trial:06d}.npz"

    @property
    def logs(self) -> Path:
        """Folder of logs."""
        return self.root / "logs"

    def wave_log(self, wave: int) -> Path:
        """What a wave driver and Ray printed."""
        return self.logs / f"wave-{wave:05d}.log"

    def next_wave(self) -> int:
        """Return the number of the next wave, from 1; a wave that died has used its number up."""
        return 1 + max((int(log.stem.removeprefix("wave-")) for log in self.logs.glob("wave-*.log")), default=0)

    @property
    def supervisor_log(self) -> Path:
        """The supervisor's log."""
        return self.logs / "supervisor.log"

    @property
    def best(self) -> Path:
        """Where `swell best` exports to unless told otherwise."""
        return self.root / "best"

    def make_folders(self) -> None:
        """Create the search directory, private to the user."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700)
        for folder in (self.histories, self.checkpoints, self.logs):
            folder.mkdir()


def is_search(path: Path) -> bool:
    """Whether a folder is a search directory."""
    return SearchPaths(path).spec.is_file()


def all_searches(root: Path | None = None) -> list[SearchPaths]:
    """Return every search under the root, newest first."""
    root = root or searches_root()
    found = [path for path in root.iterdir() if is_search(path)] if root.is_dir() else []
    return [SearchPaths(p) for p in sorted(found, key=lambda p: SearchPaths(p).spec.stat().st_mtime, reverse=True)]


def find_search(name: str) -> SearchPaths:
    """Return a search by its name or its path.

    Raises SearchNotFoundError, naming the searches there are.
    """
    for candidate in (Path(name), searches_root() / name):
        if is_search(candidate):
            return SearchPaths(candidate.resolve())
    names = [paths.name for paths in all_searches()]
    known = (
        f"there are: {', '.join(names[:10])}" + (" ..." if len(names) > 10 else "") if names else "there are none yet"
    )
    raise SearchNotFoundError(f"no search {name!r} in {searches_root()} and none at that path; {known}")


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
