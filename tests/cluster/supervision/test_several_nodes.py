"""Two nodes of one job, as SLURM starts them, without SLURM: two processes that are told their ranks."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.commands.search import create_search
from cluster.machine.processes import carrying
from cluster.state.guarding import load_guard_events
from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials
from cluster.state.snapshot import load_status
from search_spaces.spec import load_spec

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SPEC = """\
name: two-nodes
trainable: tests.methods.ripple
objective: {metric: val_error}
base: {steps: 400, report_every: 4, pace_s: 0.04}
space:
  learning_rate: [0.001, 0.002, 0.005, 0.01, 0.05, 0.1]
  shift: [1.0, -2.0]
sampler: {name: grid}
resources: {cpus_per_trial: 2}
report: false
"""
JOB = "import sys; from cluster.supervision.job_main import submitted; submitted(sys.argv[1])"
PATIENCE_S = 600.0


def until(look, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited for too long: {what}"
        time.sleep(0.1)
    return found


@pytest.fixture
def job(monkeypatch):
    """A search, and two nodes of a job that works on it."""
    folder = Path(tempfile.mkdtemp(prefix="sw"))  # pytest's own is too long for sockets
    monkeypatch.setenv("SWELL_ROOT", str(folder / "searches"))
    source = folder / "spec.yaml"
    source.write_text(SPEC)
    paths = create_search(load_spec(source).spec, source)
    nodes = []

    def start(incarnation="1"):
        for rank in (0, 1):
            place = {"SLURM_PROCID": str(rank), "SLURM_STEP_NUM_NODES": "2", "SLURMD_NODENAME": f"n{rank}"}
            place |= {"SLURM_JOB_ID": "none", "SLURM_RESTART_COUNT": incarnation}
            place |= {"SWELL_SCRATCH": str(folder / f"s{rank}"), "SWELL_TEST_NODE": f"{folder}-{rank}"}
            command = [sys.executable, "-P", "-c", JOB, str(paths.root)]
            with (folder / f"node-{rank}.log").open("a") as output:
                environment = {**os.environ, **place, "PYTHONPATH": str(ROOT)}
                nodes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=ROOT))
        return nodes[-2:]

    def of(rank):
        return carrying("SWELL_TEST_NODE", f"{folder}-{rank}")

    yield SimpleNamespace(paths=paths, folder=folder, start=start, of=of)
    for rank in (0, 1):
        for pid in of(rank):
            os.kill(pid, signal.SIGKILL)
    for node in nodes:
        node.wait()
    shutil.rmtree(folder)


def scratch(job):
    return [path for rank in (0, 1) for path in (job.folder / f"s{rank}").glob("swell-*")]


def test_trials_run_on_both_nodes_and_nothing_is_left_on_either(job):
    first, second = job.start()
    assert (first.wait(PATIENCE_S), second.wait(PATIENCE_S)) == (0, 0), (job.folder / "node-0.log").read_text()
    trials = load_trials(job.paths)
    assert sorted(trial.number for trial in trials) == list(range(12))
    assert {trial.outcome for trial in trials} == {Outcome.COMPLETED}
    assert {trial.xla_threads for trial in trials} == {2}
    assert {trial.host for trial in trials} == {"n0", "n1"}
    assert scratch(job) == []
    assert job.of(0) == job.of(1) == []
    cleaned = [event.get("node", "n0") for event in load_guard_events(job.paths) if event["what"] == "cleaned"]
    assert sorted(cleaned) == ["n0", "n1"]


def test_one_node_listens_on_loopback_alone(job, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "1")
    environment = {**os.environ, "SWELL_SCRATCH": str(job.folder / "s0"), "SWELL_TEST_NODE": f"{job.folder}-0"}
    command = [sys.executable, "-P", "-m", "cluster.supervision.job_main", str(job.paths.root)]
    environment |= {"PYTHONPATH": str(ROOT)}
    node = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    until(lambda: load_status(job.paths).get("running"), "a trial to run")
    found = {address for pid in {node.pid, *job.of(0)} for address in listening(pid)}
    assert len(found) > 3
    assert {address.rpartition(":")[0] for address in found} == {"127.0.0.1"}
    node.send_signal(signal.SIGTERM)
    assert node.wait(PATIENCE_S) == 0


def listening(pid):
    """Return the TCP addresses that a process listens on, by /proc."""
    sockets = set()
    try:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(file)  # noqa: PTH115 - what it links to is no path
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    except OSError:
        return []
    addresses = []
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                host, port = fields[1].split(":")
                octets = [str(int(host[-8:][i : i + 2], 16)) for i in (6, 4, 2, 0)]
                mapped = family == "tcp" or host[:24] == "0000000000000000FFFF0000"
                addresses.append(f"{'.'.join(octets) if mapped else host}:{int(port, 16)}")
    return addresses
