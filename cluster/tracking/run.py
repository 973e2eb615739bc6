"""One trial as a W&B run: its configuration, its reports by step, how it ended. Imports wandb."""

import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import wandb

from cluster.machine.files import read_object
from cluster.machine.processes import children
from cluster.state.figures import figures_of
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord
from cluster.tracking.offline_file import is_whole
from cluster.tracking.source import Report, run_id, search_id
from search_spaces.spec import Spec
from trainables._shared.config import MethodConfig

INIT_PATIENCE_S = 30.0
FINISH_PATIENCE_S = 60.0
WRITE_PATIENCE_S = 10.0
SERVICE = ("wandb-core",)
"""The name of the process with which W&B writes and uploads."""
SECONDS = "trial seconds"
"""The metric with a trial's seconds so far: W&B's own time is how long the writing took."""


class RunCutOffError(RuntimeError):
    """A run's file lacks its end, though W&B raised no error."""


class Runs:
    """Makes the W&B runs of one search, all in one W&B service."""

    def __init__(self, spec: Spec, paths: SearchPaths, config_type: type[MethodConfig] | None = None) -> None:
        self._spec = spec
        self._config_type = config_type
        self._group = spec.tracking.group or paths.name
        self._provenance: dict[str, Any] = read_object(paths.provenance) or {}
        self._search = paths.name
        self._id = search_id(paths)

    def id_of(self, trial: int) -> str:
        """Return the id of a trial's run."""
        return run_id(self._id, trial)

    def begin(self, record: TrialRecord, *, online: bool) -> Any:
        """Start the run of a trial; continues a run that W&B already has."""
        tracking = self._spec.tracking
        run = wandb.init(
            project=tracking.project or self._spec.trainable,
            entity=tracking.entity,
            group=self._group,
            job_type="trial",
            name=f"trial {record.number}",
            tags=tracking.tags,
            id=self.id_of(record.number),
            config=self._config(record),
            mode="online" if online else "offline",
            resume="allow" if online else None,
            reinit="create_new",  # several runs side by side
            settings=self._settings(record),
        )
        # The summary is not the last report: it is what the trial's record says of the best model.
        run.define_metric("*", summary="none")
        return run

    def write(self, record: TrialRecord, reports: Sequence[Report]) -> Path:
        """Write the whole run of an ended trial offline; return its folder.

        Raises RunCutOffError if the file is not whole because the disk is full.
        """
        run = self.begin(record, online=False)
        file = Path(run.settings.sync_file)
        self.report(run, reports)
        self.end(run, record)
        if not _becomes_whole(file):
            raise RunCutOffError(f"{file} is cut off: is the disk full?")
        for name in ("logs", "tmp"):  # files of every trial that nobody reads
            shutil.rmtree(file.parent / name, ignore_errors=True)
        with suppress(OSError):
            (file.parent / "files").rmdir()  # unless there is something in it
        return file.parent

    def _config(self, record: TrialRecord) -> dict[str, Any]:
        """Return the method's whole config, with where it comes from under `swell`."""
        facts = {
            "search": self._search,
            "search_id": self._id,
            "trial": record.number,
            "configuration": record.configuration,
            "trainable": self._spec.trainable,
            **({"code": self._spec.code} if self._spec.code else {}),
            "objective": [objective.model_dump() for objective in self._spec.objectives],
            "params": record.params,
            "metrics": self._metric_texts(record),
            **{name: self._provenance.get(name) for name in ("git_commit", "git_dirty", "versions", "python", "user")},
        }
        return {**record.config, "swell": facts}

    def _metric_texts(self, record: TrialRecord) -> Mapping[str, str]:
        """Return a description, with units, of each metric that every report has or that the search is judged by."""
        if self._config_type is None:
            return {}
        texts = dict(self._config_type.reported_metrics)
        asked = {part.metric for part in (*self._spec.objectives, *self._spec.constraints)} - set(texts)
        if asked:  # may be hundreds: made only if needed
            try:
                final = self._config_type.of_values(record.config).task().final_metrics()
            except ValueError:  # the configuration was ruled out
                final = {}
            texts |= {name: final[name] for name in asked & set(final)}
        return texts

    def _settings(self, record: TrialRecord) -> wandb.Settings:
        # This process is not the trial's: its console, code, host, load and packages say nothing of the trial.
        return wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
            git_commit=self._provenance.get("git_commit"),
            host=record.host or None,
            symlink=False,
            init_timeout=INIT_PATIENCE_S,
            finish_timeout=FINISH_PATIENCE_S,
            finish_timeout_raises=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )

    def report(self, run: Any, reports: Sequence[Report]) -> None:
        """Log reports to a run, by step."""
        for one in reports:
            run.log({**one.metrics, SECONDS: one.seconds}, step=one.step, commit=True)  # not with the next report

    def end(self, run: Any, record: TrialRecord) -> None:
        """End a run with the status that its trial ended with.

        Raises TimeoutError if W&B does not receive all of it in time.
        """
        summary = {one.name: getattr(record, one.name) for one in figures_of()} | record.metrics
        assert record.outcome is not None
        summary |= {"outcome": record.outcome.value, "configuration": record.configuration}
        if record.error:
            summary["error"] = record.error.strip().splitlines()[-1]
        if record.failures:
            summary["failures"] = [failure["outcome"] for failure in record.failures]
        run.summary.update(summary)
        run.finish(exit_code=int(record.outcome.is_failure))

    def stop(self, run: Any) -> None:
        """End a run for now; its trial may go on later."""
        run.summary.update({"outcome": Outcome.STOPPED.value})
        run.finish()

    def forget_service(self) -> None:
        """Kill W&B's service with the runs that it holds; the next run starts another.

        If it were asked to end, it would first try to upload what it has, for as long as there is no network.
        """
        for pid in children(os.getpid(), SERVICE):
            os.kill(pid, signal.SIGKILL)
        # If W&B notices the death of its service in time, it ends our whole process with the service's exit status.
        with suppress(Exception, SystemExit):
            wandb.teardown()


def _becomes_whole(file: Path) -> bool:
    """Wait until a run's file is whole: W&B reports a run as finished just before its last records are on the disk."""
    until = time.monotonic() + WRITE_PATIENCE_S
    while not (is_there := file.exists() and is_whole(file)) and time.monotonic() < until:
        time.sleep(0.02)
    return is_there
