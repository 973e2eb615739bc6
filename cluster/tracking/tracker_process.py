"""Runs the tracker's process beside a supervisor; only that process imports W&B."""

import logging
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from cluster.machine.processes import end_carrying, usr2_held_back
from cluster.machine.scratch import Scratch
from cluster.state.paths import SearchPaths
from cluster.tracking.spool import Spool
from cluster.worker.environment import TOKEN, Origin
from search_spaces.spec import Spec

log = logging.getLogger(__name__)

PATIENCE_S = (60.0, 10.0, 0.0)
"""How long the tracker may take to write the rest if the search has ended, was asked to stop, or to stop at once: a
job that must go has no more. `swell sync` writes the rest."""
POLL_S = 0.1
OF_ONE_RUN = ("RUN_ID", "RESUME", "NAME", "NOTES", "RUN_GROUP", "JOB_TYPE", "TAGS", "PROJECT", "SWEEP_ID", "SERVICE")
OF_ONE_PROCESS = ("MODE", "DISABLED", "SILENT", "QUIET", "CONSOLE", "CONFIG_PATHS", "PROGRAM", "DIR", "START_METHOD")


def wandb_environment(paths: SearchPaths | None, scratch: Scratch, token: str) -> dict[str, str]:
    """Return the environment of a process of ours that uses W&B; `paths` is None if there is no search yet.

    Nothing is left in the user's home or working directory: what a sync needs goes to the spool, the rest to scratch.
    The user's own variables for a single run are dropped; server, login and entity are kept.
    """
    spool = Spool(paths) if paths is not None else None
    dropped = {f"WANDB_{name}" for name in (*OF_ONE_RUN, *OF_ONE_PROCESS)}
    origin = Origin.of(paths) if paths is not None else Origin.here()
    environment = {name: value for name, value in origin.variables().items() if name not in dropped}
    _copy_settings(scratch.wandb / "config", environment)
    return environment | {
        TOKEN: token,
        "TMPDIR": str(scratch.tmp),
        "JAX_PLATFORMS": "cpu",  # a method's module may import JAX
        "WANDB_DIR": str(spool.root if spool else scratch.wandb),
        "WANDB_DATA_DIR": str(spool.staging if spool else scratch.wandb / "staging"),
        "WANDB_CACHE_DIR": str(scratch.wandb / "cache"),
        "WANDB_ARTIFACT_DIR": str(scratch.wandb / "artifacts"),
        "WANDB_CONFIG_DIR": str(scratch.wandb / "config"),
        "WANDB_ERROR_REPORTING": "false",
    }


def _copy_settings(folder: Path, environment: Mapping[str, str]) -> None:
    """Copy the settings of `wandb login`, such as the server; W&B's own file is never written to."""
    own = environment.get("WANDB_CONFIG_DIR") or Path(environment.get("HOME", "~")).expanduser() / ".config" / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        shutil.copyfile(Path(own) / "settings", folder / "settings")


@contextmanager
def wandb_process(paths: SearchPaths | None) -> Iterator[tuple[dict[str, str], Scratch]]:
    """Yield the environment and scratch of a process that uses W&B; then end what it left and delete the scratch."""
    token = secrets.token_hex(16)
    scratch = Scratch.create({"search": str(paths.root) if paths is not None else "", "token": token})
    try:
        yield wandb_environment(paths, scratch, token), scratch
    finally:
        end_carrying(TOKEN, token)
        scratch.delete()


class Tracking:
    """Context manager that runs a search's tracker; it may fail in any way, and the search goes on."""

    def __init__(
        self,
        spec: Spec,
        paths: SearchPaths,
        attend: Callable[[], None] = lambda: None,
        stop_requests: Callable[[], int] = lambda: 0,
    ) -> None:
        """Set up the tracker; nothing is started yet.

        While this waits for the tracker to end, it calls `attend` again and again; a stop request counted by
        `stop_requests` cuts the wait short.
        """
        self._attend = attend
        self._stop_requests = stop_requests
        self._spec = spec
        self._paths = paths
        self._token = secrets.token_hex(16)
        self._scratch: Scratch | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Tracking":
        if self._spec.tracking.wandb == "disabled":
            return self
        try:
            self._scratch = Scratch.create({"search": str(self._paths.root), "token": self._token})
            self._start()
        except (OSError, ValueError) as error:
            log.warning("the tracker could not be started; swell sync will write its runs: %s", error)
        return self

    def _start(self) -> None:
        assert self._scratch is not None
        with (self._paths.logs / "tracker.log").open("ab") as output, usr2_held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cluster.tracking.tracker", str(self._paths.root)],
                env=wandb_environment(self._paths, self._scratch, self._token),
                cwd=self._scratch.tmp,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end()
        except OSError as problem:
            log.warning("the tracker could not write the rest; swell sync will: %s", problem)
        finally:
            if self._scratch is not None:
                end_carrying(TOKEN, self._token)
                if self._process is not None:
                    self._process.wait()
                self._scratch.delete()

    def _end(self) -> None:
        """Let the tracker write the rest; if it has died, start another one for that."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        if self._process.poll() is not None:
            self._process.stdin.close()
            log.warning("the tracker has died with status %d; another writes the rest", self._process.returncode)
            self._start()
            assert self._process.stdin is not None
        self._process.stdin.close()
        began = time.monotonic()
        while (status := self._process.poll()) is None:
            if time.monotonic() - began > PATIENCE_S[min(self._stop_requests(), 2)]:
                log.warning(
                    "the tracker was not done after %.0f s; swell sync writes the rest", time.monotonic() - began
                )
                return
            self._attend()
            time.sleep(POLL_S)
        if status:
            log.warning("not all runs could be written: swell sync writes the rest; see tracker.log")
