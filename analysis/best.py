"""Exports the best trial: its config, its model, and its metrics."""

import json
import math
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from analysis.saved_models import Step, kept_model
from cluster.machine.files import DamagedFileError, read_object, write_json
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import TrialRecord, load_history, load_spec, load_trials, ranked_trials
from search_spaces.errors import UserError
from trainables._shared.model_file import read_model_file

EXPORT_FILE = "export.json"
"""Which trial was exported, and to which files."""


FILES = ("config.yaml", "metrics.json", "model.npz")
CODE = "code"
"""The folder with the search's code, if that is a W&B artifact."""


class ExportError(UserError):
    """The folder cannot take an export; the message says why."""


class NoBestTrialError(ExportError):
    """There is no such trial to export."""


@dataclass(frozen=True)
class Exported:
    """What was exported, and of which trial."""

    record: TrialRecord
    folder: Path
    files: list[str]


def best_trial(paths: SearchPaths, number: int | None = None) -> TrialRecord:
    """Return the best completed trial, or trial `number`.

    With repeated seeds it is the best trial of the configuration with the best mean. Raises NoBestTrialError if no
    trial has completed, or if there are several objectives and the user has to choose.
    """
    spec, records = load_spec(paths), load_trials(paths)
    completed = [record for record in records if record.outcome is Outcome.COMPLETED]
    if number is not None:
        chosen = [record for record in completed if record.number == number]
        if not chosen:
            some = ", ".join(str(record.number) for record in completed[:20]) or "none"
            raise NoBestTrialError(f"trial {number} has not completed; completed trials: {some}")
        return chosen[0]
    if not completed:
        raise NoBestTrialError(f"no trial of {paths.name} has completed yet")
    if spec.is_multi_objective:
        some = ", ".join(str(record.number) for record in ranked_trials(spec, completed)[:10])
        raise NoBestTrialError(f"with several objectives no trial is best: choose one with --trial, e.g. {some}")
    return ranked_trials(spec, completed)[0]


def export_best(paths: SearchPaths, folder: Path, number: int | None = None, step: Step = None) -> Exported:
    """Write a trial's `config.yaml`, `metrics.json`, `model.npz` and per-example test tables to a folder.

    The model is the trial's best, or that after a `step`, whose metrics are its report's and which has no tables. It is
    written if the search kept the trial's checkpoint; the method's code, in the folder `code`, if it is a
    W&B artifact. Raises NoBestTrialError as `best_trial` does, ExportError if the folder has other files with these
    names, ModelError if the model after the step is not kept, and DamagedFileError if the
    model's file is damaged.
    """
    record, spec = best_trial(paths, number), load_spec(paths)
    checkpoint = kept_model(paths, record.number, step)
    if checkpoint.exists():
        _require_whole(checkpoint, paths, record.number)
    folder.mkdir(parents=True, exist_ok=True)
    _remove_earlier(folder)
    foreign = [name for name in (*FILES, *([CODE] if spec.code else [])) if (folder / name).exists()]
    if foreign:
        raise ExportError(f"{folder} has a {foreign[0]} that is not of an earlier export; choose another --output")
    code = {"code": spec.code} if spec.code else {}
    config = {"trainable": spec.trainable, **code, "config": record.config}
    metrics = record.metrics if step is None else read_model_file(checkpoint).metrics
    at = f", the model at step {step}" if step is not None else ""
    (folder / "config.yaml").write_text(
        f"# Trial {record.number} of {paths.name}{at}\n{yaml.safe_dump(config, sort_keys=False)}"
    )
    finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    (folder / "metrics.json").write_text(json.dumps(finite, indent=1, allow_nan=False) + "\n")
    files = ["config.yaml", "metrics.json"]
    if checkpoint.exists():
        shutil.copyfile(checkpoint, folder / "model.npz")
        files.append("model.npz")
    if spec.code:
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(paths.artifact(spec.code), folder / CODE, symlinks=True, ignore=left_out)
        files.append(CODE)
    for entry in load_history(paths) if step is None else ():
        if entry["trial"] == record.number and "tests" in entry:
            files += _write_tests(entry["tests"], folder)
    write_json(folder / EXPORT_FILE, {"trial": record.number, "files": files})
    return Exported(record, folder, files)


def _require_whole(checkpoint: Path, paths: SearchPaths, number: int) -> None:
    """Raise DamagedFileError if a checkpoint's checksums do not hold; to read the model itself would need JAX."""
    try:
        with zipfile.ZipFile(checkpoint) as file:
            damaged = file.testzip()
        why = f"its {damaged} is damaged" if damaged else ""
    except Exception as error:  # what damaged bytes make zipfile raise is no closed list
        why = str(error)
    if why:
        raise DamagedFileError(
            f"{checkpoint}: the model of trial {number} is damaged ({why}); swell rerun {paths.name} {number} trains "
            f"it again, swell best {paths.name} --trial N exports another"
        )


def _remove_earlier(folder: Path) -> None:
    """Delete the files of an earlier export, perhaps of another trial; other files in the folder stay."""
    for name in (read_object(folder / EXPORT_FILE) or {}).get("files", []):
        if name == CODE and (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _write_tests(tests: dict[str, dict[str, list[float]]], folder: Path) -> list[str]:
    import pandas as pd

    written = []
    for name, columns in tests.items():
        file = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.csv"
        pd.DataFrame({column: pd.Series(values) for column, values in columns.items()}).to_csv(
            folder / file, index=False
        )
        written.append(file)
    return written
