"""Renders and submits SLURM jobs through submitit; the only module that imports it."""

import contextlib
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

from cluster.installation import is_checkout, own_folder
from cluster.jobs.launched import make_submission_folder
from cluster.jobs.queue_facts import SubmissionError
from cluster.jobs.request import Request
from cluster.jobs.slurm.site import SlurmSite
from cluster.machine.variables import changes_python
from cluster.state.paths import SearchPaths

# Else submitit configures logging when it is imported, and closes every handler, ours and other libraries'.
os.environ["SUBMITIT_LOG_LEVEL"] = "NOCONFIG"
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

PROGRAMS = ("sbatch", "srun")
NEVER = 10**6
"""The number of time limits that submitit counts down: our function saves and requeues by itself, without limit."""
FOREIGN = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SUBMITIT_", "SWELL_JOB_")
"""Variables that would change a job: those of the job that we run in, and those that override the script."""
KEPT = frozenset({"SLURM_CONF"})


class _Executor(SlurmExecutor):
    """Submitit's executor, which here can also render a script on a machine without SLURM."""

    @classmethod
    def affinity(cls) -> int:
        return 2


def render(request: Request, site: SlurmSite, paths: SearchPaths) -> str:
    """Return the job script exactly as sbatch would get it."""
    executor = _executor(request, site, paths)
    if request.jobs > 1:
        executor.parameters["map_count"] = request.jobs
    return executor._make_submission_file_text(executor._submitit_command_str, "")


def submit(request: Request, site: SlurmSite, paths: SearchPaths, function: Callable[[str], object]) -> list[str]:
    """Submit a job or an array of jobs that call `function` with the search directory; return their ids.

    Raises SubmissionError if sbatch refuses.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise SubmissionError(
            f"{' and '.join(missing)}: not on the PATH, so nothing can be submitted here. Launch on a login node of "
            "the cluster (with SLURM's module loaded), or use --on local"
        )
    make_submission_folder(paths)
    executor = _executor(request, site, paths)
    root, said = str(paths.root), io.StringIO()
    try:
        # Submitit repeats sbatch's words on stderr; we print them ourselves.
        with _clean_environment(), contextlib.redirect_stderr(said):
            if request.jobs == 1:
                return [executor.submit(function, root).job_id]
            with executor.batch():
                jobs = [executor.submit(function, root) for _ in range(request.jobs)]
            return [job.job_id for job in jobs]
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        reason = str(error).strip() or said.getvalue().strip() or type(error).__name__
        raise SubmissionError(f"sbatch: {reason.removeprefix('sbatch: ').removeprefix('error: ')}") from None


@contextlib.contextmanager
def _clean_environment() -> Iterator[None]:
    """Hide the environment variables by which SLURM and submitit would change the job, and those that change Python."""
    foreign = (name for name in os.environ if name.startswith(FOREIGN) and name not in KEPT)
    hidden = {name: os.environ[name] for name in (*foreign, *filter(changes_python, os.environ))}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _executor(request: Request, site: SlurmSite, paths: SearchPaths) -> _Executor:
    # -P: `-m` would put the working directory, which is the user's, before our own packages.
    python = f"{_quoted(site.python) if site.python else shlex.quote(sys.executable)} -P"
    if "%" in str(paths.submission):  # SLURM would replace `%j` by the job's id
        raise SubmissionError(
            f"{paths.root}: SLURM replaces what follows a % in the path of a log: set SWELL_ROOT to one without"
        )
    executor = _Executor(paths.submission, max_num_timeout=NEVER, python=python)
    executor.update_parameters(**_parameters(request, site, paths))
    return executor


def _parameters(request: Request, site: SlurmSite, paths: SearchPaths) -> dict[str, Any]:
    # Since SLURM 22.05, srun ignores the job's --cpus-per-task; a user's --export=NONE would undo the setup.
    srun = [f"--cpus-per-task={request.cpus}", "--export=ALL"]
    further: dict[str, Any] = {"requeue": True}
    if request.nodes > 1:  # a lost node, or a lost task, must not end the others
        further["no-kill"] = True
        srun += ["--no-kill", "--kill-on-bad-exit=0", "--wait=0"]
    further |= {name.replace("_", "-"): value for name, value in site.sbatch.items() if value is not False}
    given = {
        "account": site.account or os.environ.get("SBATCH_ACCOUNT"),
        "partition": site.partition,
        "qos": site.qos,
        "constraint": site.constraint,
        "gpus_per_node": request.gpus or None,
        "mem_per_cpu": _memory(site.memory_gb_per_cpu),
    }
    return {
        **{name: value for name, value in given.items() if value is not None},
        "job_name": paths.name,
        "time": request.minutes,
        "nodes": request.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": request.cpus,
        "signal_delay_s": site.signal_s,
        "array_parallelism": request.jobs,
        "wckey": None,  # clusters that check such keys refuse submitit's
        "setup": setup_lines(site),
        "srun_args": srun,
        "additional_parameters": further,
    }


def _memory(gb: float | None) -> str | None:
    if gb is None:
        return None
    return f"{int(gb)}G" if gb == int(gb) else f"{int(gb * 1024)}M"


def setup_lines(site: SlurmSite) -> list[str]:
    """Return the shell lines that a job runs before our command."""
    lines = ["umask 077"]
    if site.modules:
        lines.append("type module >/dev/null 2>&1 || . /etc/profile  # a job's shell may not know it")
    lines += [
        f'module load {shlex.quote(module)} || {{ echo "swell: module {module} cannot be loaded" >&2; exit 1; }}'
        for module in site.modules
    ]
    lines += site.setup
    if "USER" in f"{site.scratch} {site.cache}":
        lines.append('export USER="${USER:-$(id -un)}"')
    if site.scratch:
        lines.append(f"export SWELL_SCRATCH={_quoted(site.scratch)}")
    if site.cache:
        lines.append(f"export SWELL_CACHE={_quoted(site.cache)}")
    if is_checkout(own_folder()):
        lines.append(f"export PYTHONPATH={shlex.quote(str(own_folder()))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return lines


def _quoted(text: str) -> str:
    """Return a text in quotes in which the job's shell still expands variables."""
    return f'"{text}"'
