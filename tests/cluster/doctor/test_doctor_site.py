import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import swell
from cluster.console import Console
from cluster.doctor.site import environment_findings, folder_findings, load_modules, quota_finding
from cluster.doctor.site_job import found_file, job_findings, look, submit_and_wait
from cluster.jobs.queue_facts import Account, Partition, QueueError
from cluster.jobs.request import Request
from cluster.jobs.slurm.queue import QUEUE
from cluster.jobs.slurm.site import SlurmSite
from cluster.jobs.slurm.site_findings import (
    account_findings,
    command_findings,
    controller_finding,
    partition_findings,
)
from cluster.machine.asking import Answer
from cluster.machine.findings import Verdict
from tests.cluster.fake_slurm import FakeSlurm

SHIPPED = sorted(file.stem for file in QUEUE.sites_folder.glob("*.yaml"))
OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM
BIG = Partition("standard", True, True, 24.0, 8, 4, 128, 4, 503.0)
REQUEST = Request(nodes=1, jobs=1, cpus=2, hours=0.1)
FOUND = {
    "host": "n1", "python": "/opt/python", "failures": {}, "import_s": 8.0, "cpus": 2, "scratch": "/tmp/swell-me",
    "scratch_type": "xfs", "scratch_failure": "", "scratch_free_gb": 700.0, "home": "/home/me",
}  # fmt: skip


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path / "slurm", monkeypatch)


def site(**values):
    return SlurmSite.model_validate({"name": "here", **values})


def verdicts(findings):
    return {finding.name: finding.verdict for finding in findings}


def only(findings):
    (one,) = findings
    return one


# -- the sites that are shipped


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_site_is_valid_and_says_what_it_is(name):
    assert QUEUE.load_site(name).name == name
    text = (Path(swell.__file__).parent / "slurm" / "sites" / f"{name}.yaml").read_text()
    assert text.startswith("# ")


def test_the_keys_that_the_generic_site_shows_are_those_there_are():
    text = (Path(swell.__file__).parent / "slurm" / "sites" / "generic.yaml").read_text()
    shown = {line.removeprefix("# ").partition(":")[0] for line in text.splitlines()[4:] if ":" in line[:20]}
    assert {key for key in shown if key.isidentifier()} == set(SlurmSite.model_fields) - {"name"}


# -- SLURM


def test_a_missing_command_is_a_problem_and_a_useful_one_is_not():
    everything = {"sbatch", "srun", "squeue", "scontrol", "sinfo", "scancel"}
    assert set(verdicts(command_findings(everything)).values()) == {OK}
    found = next(iter(command_findings(everything - {"sbatch"})))
    assert found.verdict is PROBLEM
    assert found.advice.endswith("sbatch cannot be found.")


def test_a_controller_that_does_not_answer_is_a_problem():
    assert controller_finding("slurm 22.05", {"standard": BIG}).found == "answers; slurm 22.05; 1 partition"
    silent = controller_finding(QueueError("x"), QueueError("scontrol: no answer within 8 s"))
    assert (silent.verdict, silent.found) == (PROBLEM, "scontrol: no answer within 8 s")


def test_a_partition_is_described_with_its_limits():
    found = only(partition_findings(site(), {"standard": BIG}))
    assert found.found == (
        "standard (the default), up, 4 nodes of at most 128 CPUs, 503 GB, 4 GPUs, jobs of at most 24 h, and of 8 nodes"
    )


def test_a_partition_that_is_not_there_is_a_problem_with_the_nearest_spelling():
    found = only(partition_findings(site(partition="standrad"), {"standard": BIG}))
    assert found.verdict is PROBLEM
    assert "did you mean 'standard'?" in found.found
    assert only(partition_findings(site(), {})).verdict is PROBLEM


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"max_hours": 48.0}, "max_hours"),
        ({"default_hours": 48.0}, "default_hours"),
        ({"max_nodes": 9}, "max_nodes"),
        ({"cpus_per_node": 256}, "cpus_per_node"),
        ({"gpus_per_node": 8}, "gpus_per_node"),
        ({"memory_gb_per_cpu": 8.0}, "memory_gb_per_cpu"),
    ],
)
def test_a_site_that_promises_more_than_the_partition_has_is_warned(values, key):
    found = verdicts(partition_findings(site(**values), {"standard": BIG}))
    assert found == {"partition": OK, key: WARNING}


@pytest.mark.parametrize(
    ("values", "verdict", "words"),
    [
        ({"account": "physics"}, OK, "physics"),
        ({}, OK, "your default one, of chemistry, physics"),
        ({"account": "physcs"}, PROBLEM, "you may not charge it"),
        ({"account": "chemistry", "partition": "standard"}, PROBLEM, "not for partition standard"),
    ],
)
def test_accounts_are_held_against_the_users_own(values, verdict, words, monkeypatch):
    monkeypatch.delenv("SBATCH_ACCOUNT", raising=False)
    mine = [Account("physics", "", ("normal",)), Account("chemistry", "gpu", ("normal",))]
    found = next(iter(account_findings(site(**values), mine)))
    assert found.verdict is verdict
    assert words in found.found


def test_a_quality_of_service_that_is_not_the_users_is_a_problem():
    mine = [Account("physics", "", ("normal", "high"))]
    assert verdicts(account_findings(site(account="physics", qos="high"), mine))["qos"] is OK
    assert verdicts(account_findings(site(account="physics", qos="low"), mine))["qos"] is PROBLEM


def test_without_accounting_accounts_are_not_checked():
    assert only(account_findings(site(account="x"), QueueError("sacctmgr: disabled"))).verdict is OK
    assert only(account_findings(site(account="x"), [])).found == "x; the cluster keeps no accounts"


# -- folders and environment


def test_searches_in_home_are_a_problem_only_where_the_site_wants_them_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = site(searches_root=f"{tmp_path}/home/searches", scratch="/tmp/s")
    found = verdicts(folder_findings(elsewhere, tmp_path / "home", {}))
    assert found == {"searches": PROBLEM, "scratch": OK}
    monkeypatch.setenv("SWELL_ROOT", str(tmp_path / "home"))
    found = verdicts(folder_findings(site(scratch="/tmp/s"), tmp_path / "home", {"SWELL_ROOT": "x"}))
    assert found == {"searches": OK, "scratch": OK}


def test_scratch_in_home_is_a_problem_and_none_a_warning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert verdicts(folder_findings(site(scratch="/h/me/s"), Path("/h/me"), {}))["scratch"] is PROBLEM
    assert verdicts(folder_findings(site(), Path("/h/me"), {}))["scratch"] is WARNING


def test_a_quota_that_is_used_up_is_a_problem():
    head = "Disk quotas for user me (uid 7):\n  Filesystem space quota limit grace files quota limit grace\n"
    fine = quota_finding(Answer(head + "/dev/a 10G 20G 22G  100 0 0\n"))
    assert (fine.verdict, fine.found) == (OK, "1 file system with one, none used up")
    assert quota_finding(Answer(head + "/dev/a 21G* 20G 22G 6days 100 0 0\n")).verdict is PROBLEM
    assert quota_finding(None).verdict is OK


def test_modules_are_loaded_in_a_shell_of_their_own():
    assert load_modules(site()) == Answer()
    failed = load_modules(site(modules=["no-such-module"]))
    assert failed.failure
    assert verdicts(environment_findings(site(modules=["no-such-module"]), failed))["modules"] is PROBLEM
    assert verdicts(environment_findings(site(modules=["gcc"]), Answer("loaded")))["modules"] is OK


def test_a_python_that_is_not_here_is_a_warning():
    assert verdicts(environment_findings(site(python="/no/such/python"), Answer()))["python"] is WARNING
    assert verdicts(environment_findings(site(python="/bin/sh"), Answer()))["python"] is OK


# -- the job


@pytest.mark.parametrize(
    ("found", "name", "verdict"),
    [
        ({}, "CPUs", OK),
        ({"cpus": 1}, "CPUs", PROBLEM),
        ({"failures": {"jax": "ImportError: no"}}, "environment", PROBLEM),
        ({"import_s": 100.0}, "environment", WARNING),
        ({"scratch_failure": "Permission denied"}, "scratch", PROBLEM),
        ({"scratch": "/home/me/s"}, "scratch", PROBLEM),
    ],
)
def test_what_a_job_finds_has_a_verdict(found, name, verdict):
    findings = verdicts(job_findings({**FOUND, **found}, REQUEST, site(), 3.0))
    assert findings.pop(name) is verdict
    assert set(findings.values()) == {OK}


def test_a_job_measures_its_node(tmp_path, monkeypatch):
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "s"))
    monkeypatch.setattr("cluster.doctor.site_job.PACKAGES", ("json", "no_such_package"))
    look(str(tmp_path))
    found = json.loads(found_file(tmp_path).read_text())
    assert (found["scratch"], found["scratch_failure"]) == (str(tmp_path / "s"), "")
    assert list(found["failures"]) == ["no_such_package"]
    assert found["cpus"] >= 1


def test_a_job_that_does_not_start_is_cancelled_with_the_reason(slurm, searches, monkeypatch):
    monkeypatch.setattr("cluster.doctor.site_job.QUEUE_PATIENCE_S", 0.2)
    monkeypatch.setattr("cluster.doctor.site_job.ASK_EVERY_S", 0.1)
    slurm.says("squeue", "4711|PENDING|N/A|0:00||Priority\n")
    found = only(submit_and_wait(QUEUE, site(), Console(file=io.StringIO())))
    assert (found.name, found.verdict) == ("job 4711", WARNING)
    assert "pending: others are before it in the queue (Priority)" in found.found
    assert slurm.calls("scancel") == ["4711"]
    assert list(searches.iterdir()) == []


def test_a_job_that_fails_says_why(slurm, searches, monkeypatch):
    monkeypatch.setattr("cluster.doctor.site_job.time.sleep", lambda _: None)
    slurm.says("squeue", "4711|FAILED|N/A|0:00|n1|None\n")
    found = only(submit_and_wait(QUEUE, site(), Console(file=io.StringIO())))
    assert (found.verdict, found.found) == (PROBLEM, "it ended with an error (FAILED): it printed nothing")
    assert list(searches.iterdir()) == []


def test_a_submission_that_is_refused_is_a_problem(slurm, searches):
    slurm.says("sbatch", error="sbatch: error: Invalid qos\n", status=1)
    found = only(submit_and_wait(QUEUE, site(), Console(file=io.StringIO())))
    assert (found.verdict, found.found) == (PROBLEM, "sbatch: Invalid qos")


def test_the_command_says_how_it_stands_and_ends_by_it(slurm, searches, tmp_path):
    def call(*arguments):
        return CliRunner().invoke(swell.app, ["doctor", *map(str, arguments)], catch_exceptions=False)

    mine = tmp_path / "mine.yaml"
    mine.write_text("partition: standard\nscratch: /tmp/s\n")
    done = call("--site", mine)
    assert done.exit_code == 0
    assert "for site mine" in done.stdout
    assert "A search can run here." in done.stdout
    mine.write_text("partition: nowhere\nscratch: /tmp/s\n")
    done = call("--site", mine, "--submit")
    assert done.exit_code == 1
    assert "No job was submitted" in done.stdout
    assert slurm.calls("sbatch") == []
    mine.write_text("partiton: standard\n")
    done = call("--site", mine)
    assert done.exit_code == 2
    assert "did you mean 'partition'?" in done.stderr.replace("\n", " ")
    assert call("--submit").exit_code == 2
