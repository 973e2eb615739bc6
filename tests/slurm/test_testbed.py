"""The test bed itself: what the other tests of SLURM rely on, shown on the real thing."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.slurm.bed import UP, Testbed

pytestmark = pytest.mark.slow

WHERE = 'echo "host $(hostname) of $SLURMD_NODENAME"; touch "$TESTBED_SCRATCH/of-$(hostname)"; ls "$TESTBED_SCRATCH"'
# A shell waits for its child before it acts on a signal: hence many short sleeps, not a long one.
LONG = 'echo "run ${SLURM_RESTART_COUNT:-0} on $SLURMD_NODENAME"; for i in $(seq 900); do sleep 0.2; done'
SIGNALS = f"""srun bash -c 'trap "echo got USR2" USR2; trap "echo got TERM" TERM; {LONG}'"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "job.log"


def test_nodes_have_names_and_disks_of_their_own_and_share_the_rest(separate_nodes, tmp_path):
    bed = separate_nodes
    jobs = [bed.sbatch(WHERE, f"--nodelist={node}", output=tmp_path / node) for node in bed.nodes]
    for job, node in zip(jobs, bed.nodes, strict=True):
        assert bed.wait_for_end(job) == "COMPLETED"
        assert (tmp_path / node).read_text().split("\n")[:-1] == [f"host {node} of {node}", f"of-{node}"]
        assert [path.name for path in bed.disk(node).iterdir()] == [f"of-{node}"]
    scratches = {bed.disk(node).stat().st_dev for node in bed.nodes}
    assert len(scratches | {tmp_path.stat().st_dev}) == 3  # file systems that fill up one by one


def test_a_job_over_two_nodes_runs_on_both(testbed, log):
    job = testbed.sbatch("srun bash -c 'echo $SLURM_PROCID $SLURMD_NODENAME'", "--nodes=2", output=log)
    assert testbed.wait_for_end(job) == "COMPLETED"
    assert sorted(log.read_text().split("\n")[:-1]) == ["0 n1", "1 n2"]


def test_nodes_reach_each_other_and_the_login_node_and_nothing_else(separate_nodes, log):
    bed = separate_nodes
    reach = f"for to in n2 {bed.address}; do (: </dev/tcp/$to/9) 2>&1 | grep -om1 'Connection refused'; done; ip route"
    job = bed.sbatch(reach, "--nodelist=n1", output=log)
    assert bed.wait_for_end(job)
    *answers, route = log.read_text().split("\n")[:-1]
    assert answers == ["Connection refused"] * 2  # somebody is there, and does not listen
    assert "default" not in route


def test_a_crashed_node_is_noticed_and_its_job_runs_again_elsewhere(separate_nodes, log):
    bed = separate_nodes
    job = bed.sbatch(f"touch $TESTBED_SCRATCH/left; {LONG}", "--nodelist=n1", "--requeue", output=log)
    bed.wait_for_text(log, "run 0 on n1")
    bed.crash("n1")
    bed.wait_for_node("n1", {"down*", "down"})
    bed.run("scontrol", "update", f"JobId={job}", "ReqNodeList=")
    bed.wait_for_text(log, "run 1 on n2")
    bed.boot("n1")
    assert bed.node_state("n1") in UP
    assert [path.name for path in bed.disk("n1").iterdir()] == ["left"]  # a disk outlives a crash


def test_a_node_taken_down_by_hand_requeues_its_job_at_once(testbed, log):
    job = testbed.sbatch(LONG, "--requeue", output=log)
    testbed.wait_for_text(log, "run 0")
    node = testbed.job(job)["BatchHost"]
    testbed.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    testbed.wait_for_text(log, "run 1", 40)
    assert testbed.job(job)["Restarts"] == "1"
    assert testbed.job(job)["BatchHost"] != node


def test_a_requeued_job_runs_again_under_its_number(testbed, log):
    job = testbed.sbatch(LONG, "--requeue", output=log)
    testbed.wait_for_text(log, "run 0")
    testbed.run("scontrol", "requeue", job)
    testbed.wait_for_text(log, "run 1", 60)
    assert testbed.state(job) == "RUNNING"


def test_a_job_at_its_time_limit_is_killed(testbed, log):
    job = testbed.sbatch(LONG, output=log)
    testbed.wait_for_text(log, "run 0")
    testbed.limit(job, 5)
    assert testbed.wait_for_end(job) == "TIMEOUT"
    assert "DUE TO TIME LIMIT" in log.read_text()


def test_a_job_goes_on_while_the_controller_is_away(testbed, log):
    job = testbed.sbatch("echo first; sleep 8; echo last", output=log)
    testbed.wait_for_text(log, "first")
    with testbed.without_controller():
        refused = subprocess.run(["squeue"], env=testbed.env, capture_output=True, text=True, timeout=600, check=False)
        assert refused.returncode
        assert "Unable to contact slurm controller" in refused.stderr
    assert testbed.wait_for_end(job) == "COMPLETED"
    assert log.read_text() == "first\nlast\n"
    assert testbed.run("sacct", "-j", job, "-nX", "-o", "JobID,State") == f"{job}|COMPLETED\n"


def test_a_preempted_job_is_warned_then_requeued_then_goes_on(testbed, log):
    options = ("--partition=low", "--nodes=2", "--exclusive", "--requeue", "--signal=USR2@60", "--time=30")
    job = testbed.sbatch(SIGNALS, *options, output=log)
    testbed.wait_for_text(log, "run 0 on n1")
    testbed.wait_for_text(log, "run 0 on n2")
    other = testbed.sbatch("sleep 2", "--nodes=2", "--exclusive", "--time=5")
    assert "got TERM" not in testbed.wait_for_text(log, "got USR2", 30)  # the warning comes first
    assert testbed.wait_for_end(other) == "COMPLETED"
    testbed.wait_for_text(log, "run 1 on n1")
    assert "DUE TO PREEMPTION" in log.read_text()
    assert testbed.job(job)["Restarts"] == "1"


def test_the_short_partition_refuses_long_jobs(testbed):
    job = testbed.sbatch("true", "--partition=short", "--time=10")
    testbed.wait_for(lambda: testbed.job(job)["Reason"] == "PartitionTimeLimit", 20, lambda: str(testbed.job(job)))
    assert testbed.state(job) == "PENDING"


def test_sacct_tells_what_became_of_jobs(testbed):
    good, bad, never = (testbed.sbatch(script, *options) for script, options in (
        ("true", ()), ("exit 3", ()), ("true", ("--begin=now+1hour", "--array=0-3%2"))))  # fmt: skip
    assert [testbed.wait_for_end(job) for job in (good, bad)] == ["COMPLETED", "FAILED"]
    said = testbed.run("sacct", "-o", "JobID,State,ExitCode", "--parsable2", "-j", good, "-j", bad, "-j", never)
    header, *rows = said.split("\n")[:-1]
    assert header == "JobID|State|ExitCode"
    assert set(rows) == {f"{good}|COMPLETED|0:0", f"{bad}|FAILED|3:0", f"{never}_[0-3%2]|PENDING|0:0"}


def test_another_bed_beside_this_one_leaves_nothing_behind(testbed, tmp_path, request):
    folder = Path("/tmp") / f"swell-other-{os.getpid()}"
    checksum = subprocess.run(["cksum"], input=str(folder).encode(), capture_output=True, check=True).stdout.split()[0]
    interfaces = lambda: list(Path("/sys/class/net").glob(f"tb{int(checksum):08x}*"))  # noqa: E731
    other = Testbed(folder, nodes=3, scratch_mb=64).up()
    request.addfinalizer(other.down)
    log = tmp_path / "log"
    job = other.sbatch("setsid sleep 1000 & sleep 1000", "--nodes=1", output=log)
    other.wait_for_state(job, "RUNNING")
    kept = testbed.sbatch(LONG, output=log)
    testbed.wait_for_text(log, "run 0")
    assert len(other.run("sinfo", "-h", "-N", "-p", "main").split("\n")[:-1]) == 3
    assert len(interfaces()) == (4 if other.mode == "namespaces" else 0)
    other.down()
    assert not folder.exists()
    assert not interfaces()
    assert str(folder) not in Path("/proc/self/mounts").read_text()
    deadline = time.monotonic() + 60
    while (left := _carrying(str(folder))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert testbed.state(kept) == "RUNNING"  # the other one's end was none of its business


def test_a_folder_that_is_not_a_test_bed_is_left_alone(tmp_path):
    folder = Path("/tmp") / f"swell-mine-{os.getpid()}"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    try:
        Testbed(folder).down()
        with pytest.raises(AssertionError, match="must be a new or empty folder"):
            Testbed(folder).script("up")
        assert (folder / "mine").read_text() == "mine"
    finally:
        (folder / "mine").unlink()
        folder.rmdir()


def _carrying(text: str) -> list[str]:
    """Return the living processes that have a text in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
