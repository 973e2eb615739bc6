"""Searches on a real SLURM, from `swell launch` on the login node to their tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.records import load_history, load_trials
from cluster.state.snapshot import load_status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUM_TRIALS = 12
SPEC = """\
name: {name}
trainable: tests.methods.ripple
objective: {{metric: val_error}}
base: {{steps: {steps}, report_every: 10, pace_s: 0.25}}
space:
  learning_rate: [0.001, 0.002, 0.005, 0.01, 0.05, 0.1]
  shift: [1.0, -2.0]
sampler: {{name: grid}}
report: {report}
{more}
"""
PATIENCE_S = 600.0


class Cluster:
    """Somebody's shell on the login node."""

    def __init__(self, bed, folder):
        self.bed = bed
        self.folder = folder
        (folder / "cache").mkdir()
        self.site = folder / "site.yaml"
        self.site.write_text(
            f"partition: main\nscratch: /tmp/swell-{os.getpid()}\ndefault_cpus: 2\ndefault_hours: 0.2\n"
            f"signal_s: 40\ncache: {folder / 'cache'}\n"
        )
        self.env = bed.env | {"SWELL_ROOT": str(folder / "searches"), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}

    def swell(self, *words, code=0, patience=600.0):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "swell", *map(str, words)],
            env=self.env,
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=patience,
        )
        assert done.returncode == code, f"swell {words}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def launch(self, name, *options, steps=20, more="", report="false", site=None):
        spec = self.folder / f"{name}.yaml"
        spec.write_text(SPEC.format(name=name, steps=steps, more=more, report=report))
        self.swell("launch", spec, "--on", "slurm", "--site", site or self.site, *options)
        return SearchPaths(self.folder / "searches" / name)

    def job(self, paths):
        return json.loads(paths.launch.read_text())["job_ids"][0]

    def wait_for(self, done, paths, patience=PATIENCE_S):
        def complaint():
            said = "\n".join(file.read_text()[-2000:] for file in sorted(paths.submission.glob("*.err")))
            return f"{self.swell('status', paths.name)}\n{said}\n{self.swell('logs', paths.name)}"

        self.bed.wait_for(done, patience, complaint)

    def start_now(self, job):
        """Spare a requeued job SLURM's own pause, unless it is over already."""
        self.bed.run("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)

    def wait_for_end(self, paths, patience=PATIENCE_S):
        self.wait_for(lambda: load_status(paths).get("finished"), paths, patience)
        self.bed.wait_for_end(self.job(paths))


@pytest.fixture
def cluster(testbed, tmp_path):
    return Cluster(testbed, tmp_path)


def table(paths):
    """What a search has found, without when and where."""
    return {
        trial.number: (trial.outcome, trial.params, trial.metrics, trial.step) for trial in load_trials(paths)
    }, sorted((one["trial"], one.get("step", -1), str(one.get("metrics"))) for one in load_history(paths))


def completed(paths):
    return {number: one for number, one in table(paths)[0].items() if one[0] is Outcome.COMPLETED}


def ended(paths):
    return len(completed(paths))


def hosts(paths):
    return {trial.host for trial in load_trials(paths) if trial.outcome is Outcome.COMPLETED}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The table of the long search, run on this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    spec = SPEC.format(name="undisturbed", steps=200, more="resources: {cpus: 2}", report="false")
    (folder / "spec.yaml").write_text(spec)
    env = {**os.environ, "SWELL_ROOT": str(folder / "searches"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "swell", "run", str(folder / "spec.yaml")]
    subprocess.run(command, env=env, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_S)
    return table(SearchPaths(folder / "searches" / "undisturbed"))


def test_two_nodes_preempted_twice_end_with_the_table_of_an_undisturbed_search(cluster, undisturbed):
    paths = cluster.launch("twice", "--nodes", 2, "--cpus", 2, steps=200, report="true")
    job = cluster.job(paths)
    cluster.wait_for(lambda: hosts(paths) == {"n1", "n2"}, paths)
    cluster.bed.run("scancel", "--signal=USR2", job)  # as ahead of the limit: every trial saves
    cluster.wait_for(lambda: cluster.bed.state(job) == "PENDING", paths)  # and the job requeues itself
    said = cluster.swell("status", paths.name)
    assert "queued" in said or "running (" in said  # on a busy machine it may have started again by then
    before = completed(paths)
    assert len(before) < NUM_TRIALS
    cluster.start_now(job)
    cluster.wait_for(lambda: len(completed(paths)) > len(before), paths)
    before |= completed(paths)
    cluster.bed.run("scontrol", "requeue", job)  # as a preemption without a warning: at once
    cluster.wait_for(lambda: cluster.bed.state(job) == "PENDING", paths)
    cluster.start_now(job)
    cluster.wait_for_end(paths)
    assert before.items() <= table(paths)[0].items()
    assert table(paths) == undisturbed
    assert [trial.failures for trial in load_trials(paths)] == [[]] * NUM_TRIALS
    assert cluster.bed.job(job)["Restarts"] == "2"
    assert list(Path(f"/tmp/swell-{os.getpid()}").glob("swell-*")) == []
    printed = cluster.swell("table", paths.name)
    assert printed.count("completed") == NUM_TRIALS
    assert "finished" in cluster.swell("status", paths.name)
    assert f"{NUM_TRIALS} completed" in paths.report.read_text(encoding="utf-8"), paths.report_log.read_text()


def test_a_node_that_is_lost_in_mid_wave_costs_a_retry(cluster, separate_nodes):
    paths = cluster.launch("lost", "--nodes", 2, "--cpus", 2, steps=200)
    cluster.wait_for(lambda: "n2" in hosts(paths), paths)
    separate_nodes.crash("n2")
    cluster.wait_for_end(paths)
    trials = load_trials(paths)
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert {trial.outcome for trial in trials} == {Outcome.COMPLETED}
    assert {failure["outcome"] for trial in trials for failure in trial.failures} <= {Outcome.NODE_LOST.value}
    assert all(trial.attempts <= 2 for trial in trials)
    separate_nodes.boot("n2")


def test_several_jobs_share_one_search_while_the_controller_is_restarted(cluster):
    paths = cluster.launch("shared", "--jobs", 2, "--cpus", 2, steps=60)
    cluster.wait_for(lambda: ended(paths) > 0, paths)
    cluster.bed.restart_controller()
    cluster.wait_for(lambda: ended(paths) == NUM_TRIALS, paths)
    first = cluster.job(paths).partition("_")[0]
    cluster.wait_for(lambda: not cluster.bed.run("squeue", "-h", "-j", first, check=False), paths)
    trials = load_trials(paths)
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == NUM_TRIALS  # every point once
    assert all(trial.attempts == 1 for trial in trials)
    waves = {re.match(r"job-(\d+)-", file.name)[1] for file in paths.histories.iterdir()}
    assert waves == {"000", "001"}
    assert f"{NUM_TRIALS} of {NUM_TRIALS} trials" in cluster.swell("status", paths.name)


def test_a_job_at_its_limit_goes_on_in_its_next_run_until_it_is_stopped_and_a_resume_goes_on_from_there(cluster):
    paths = cluster.launch("limit", "--cpus", 2, steps=400)
    job = cluster.job(paths)
    cluster.wait_for(lambda: ended(paths) > 0, paths)
    cluster.bed.limit(job, 45)  # it is told 40 s before, when SLURM looks: every 30 s
    cluster.wait_for(lambda: cluster.bed.job(job).get("Restarts") == "1", paths)
    before = completed(paths)
    assert len(before) < NUM_TRIALS
    cluster.start_now(job)
    cluster.wait_for(lambda: load_status(paths).get("running"), paths)

    assert "Stopped" in cluster.swell("stop", paths.name)
    cluster.bed.wait_for_end(job)
    assert {trial.outcome for trial in load_trials(paths)} <= {Outcome.COMPLETED, Outcome.STOPPED}
    assert "stopped" in cluster.swell("status", paths.name)

    cluster.swell("resume", paths.name)
    cluster.wait_for_end(paths)
    assert ended(paths) == NUM_TRIALS
    assert before.items() <= completed(paths).items()
    assert [trial.failures for trial in load_trials(paths)] == [[]] * NUM_TRIALS
    assert "supervisor" in cluster.swell("logs", paths.name)
    # Nobody else can read any of it, and what submitit pickled is gone once somebody has looked after its end.
    assert "finished" in cluster.swell("status", paths.name)
    assert [path for path in (paths.root, paths.submission) if path.stat().st_mode & 0o077] == []
    assert list(paths.submission.glob("*.pkl")) == []


def test_a_job_that_waits_says_why_and_can_be_cancelled(cluster):
    blocker = cluster.bed.sbatch("sleep 600", "--nodes=2", "--exclusive")
    cluster.bed.wait_for_state(blocker, "RUNNING")
    paths = cluster.launch("waiting")
    cluster.wait_for(lambda: cluster.bed.job(cluster.job(paths)).get("Reason") in ("Resources", "Priority"), paths)
    said = cluster.swell("status", paths.name)
    assert "queued" in said
    assert "Resources" in said or "Priority" in said
    cluster.swell("stop", paths.name)
    assert cluster.bed.wait_for_end(cluster.job(paths)) == "CANCELLED"
    assert "queued" not in cluster.swell("status", paths.name)


def test_what_slurm_refuses_is_said_and_leaves_nothing_behind(cluster):
    spec = cluster.folder / "refused.yaml"
    spec.write_text(SPEC.format(name="refused", steps=100, more="", report="false"))
    said = cluster.swell("launch", spec, "--on", "slurm", "--site", cluster.site, "--cpus", 64, code=2)
    assert "64" in said
    assert "4" in said
    with cluster.bed.without_controller():
        said = cluster.swell("launch", spec, "--on", "slurm", "--site", cluster.site, code=2)
        assert "Traceback" not in said
    assert not (cluster.folder / "searches" / "refused").exists()
