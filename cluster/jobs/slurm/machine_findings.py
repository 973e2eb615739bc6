"""SLURM as `swell doctor` sees it from this machine."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.machine.asking import Answer, ask
from cluster.machine.findings import Finding, Verdict

SLURM = "SLURM"
TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Slurm:
    """Which of SLURM's commands are on this machine, and what they answer."""

    programs: tuple[str, ...]
    """Those of sbatch, squeue and sacct that are on the PATH."""
    version: Answer
    accounting: Answer
    job: str | None = None
    """The job that this process is in."""


def read_slurm(environment: Mapping[str, str]) -> Slurm:
    """Return what of SLURM is on the PATH and answers."""
    programs = tuple(name for name in ("sbatch", "squeue", "sacct") if shutil.which(name))
    return Slurm(
        programs,
        version=ask(["sinfo", "--version"], TIMEOUT_S) if shutil.which("sinfo") else Answer(),
        accounting=ask(["sacct", "--noheader", "--allocations", "--format=JobID", "--starttime=now-1hour"], TIMEOUT_S)
        if "sacct" in programs
        else Answer(),
        job=environment.get("SLURM_JOB_ID"),
    )


def slurm_findings(slurm: Slurm) -> list[Finding]:
    """Return whether jobs can be submitted and followed from here."""
    where = f"inside job {slurm.job}" if slurm.job else "not inside a job"
    if not slurm.programs:
        return [Finding(SLURM, "commands", f"none on the PATH, {where}: searches run on this machine alone")]
    missing = [name for name in ("sbatch", "squeue") if name not in slurm.programs]
    found = f"{', '.join(slurm.programs)} on the PATH; {slurm.version.text or 'version unknown'}; {where}"
    verdict, advice = Verdict.OK, ""
    if missing:
        verdict, advice = (
            Verdict.WARNING,
            f"Load SLURM's module or mend the PATH: {' and '.join(missing)} cannot be found.",
        )
    elif slurm.version.failure:
        found += f"; sinfo: {slurm.version.failure}"
        verdict, advice = Verdict.WARNING, "Ask the administrators: SLURM's own commands do not run here."
    return [Finding(SLURM, "commands", found, verdict, advice), _accounting(slurm)]


def _accounting(slurm: Slurm) -> Finding:
    if "sacct" in slurm.programs and not slurm.accounting.failure:
        return Finding(SLURM, "accounting", "sacct answers")
    found = f"sacct: {slurm.accounting.failure.removeprefix('sacct: ') or 'not on the PATH'}"
    advice = "Look for ended jobs with squeue and in their logs: without accounting a cancelled one looks unknown."
    return Finding(SLURM, "accounting", found, Verdict.WARNING, advice)
