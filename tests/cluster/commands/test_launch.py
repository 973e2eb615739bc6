import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import swell
from cluster.jobs.launched import Launch, read_launch
from cluster.state.paths import SearchPaths
from tests.cluster.fake_slurm import FakeSlurm
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
SPEC = """\
name: short
trainable: tests.methods.ripple
objective: {metric: val_error}
space:
  learning_rate: {low: 1e-3, high: 1.0, log: true}
sampler: {name: random}
budget: {trials: 3}
report: false
"""
SITE = """\
partition: standard
account: physics
qos: normal
constraint: zen3
modules: [gcc, python/3.11]
setup:
  - export http_proxy=http://proxy:3128
python: /opt/swell/bin/python
scratch: /tmp/swell-$USER
cache: $TMPDIR/cache
memory_gb_per_cpu: 3.5
default_cpus: 16
sbatch: {mail-type: "END,FAIL", exclusive: true}
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path / "slurm", monkeypatch)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "here.yaml"
    path.write_text(SITE)
    return path


@pytest.fixture
def launch(searches, spec):
    """Launch in this process; its texts must never hold a traceback."""

    def run(*arguments, on="slurm"):
        given = ["launch", str(spec), "--on", on, *map(str, arguments)]
        done = CliRunner().invoke(swell.app, given, catch_exceptions=False)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def normal(script, searches):
    """Return a script without what differs between machines."""
    text = script.replace(str(searches), "/searches").replace(str(ROOT), "/swell")
    return text.replace(sys.executable, "/swell/.venv/bin/python")


# -- the job script


@pytest.mark.parametrize(
    ("golden", "arguments"),
    [
        ("one_node.sh", ["--site", "generic", "--cpus", "8"]),
        ("several_nodes.sh", ["--nodes", "3", "--hours", "1.5"]),
        ("array.sh", ["--jobs", "4", "--cpus", "2"]),
    ],
)
def test_the_job_script_is_the_one_that_was_read_and_approved(launch, slurm, site, searches, golden, arguments):
    """Write it anew with `SWELL_WRITE_GOLDEN=1`, and read every line of the difference."""
    given = arguments if "--site" in arguments else ["--site", site, *arguments]
    done = launch(*given, "--dry-run")
    assert done.exit_code == 0, done.stderr
    text = normal(done.stdout, searches)
    if os.environ.get("SWELL_WRITE_GOLDEN"):
        (GOLDEN / golden).write_text(text)
    assert text == (GOLDEN / golden).read_text()
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["--nodes", "3"], ["--jobs", "4"]])
def test_a_dry_run_prints_what_sbatch_gets_and_leaves_nothing(launch, slurm, site, searches, arguments):
    dry = launch("--site", site, *arguments, "--dry-run")
    assert not searches.exists()
    assert slurm.calls("sbatch") == []
    assert launch("--site", site, *arguments).exit_code == 0
    assert dry.stdout == slurm.submitted


def test_a_dry_run_needs_no_slurm(launch, site, searches, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    done = launch("--site", site, "--dry-run")
    assert done.exit_code == 0
    assert done.stdout.startswith("#!/bin/bash\n")
    assert not searches.exists()


def test_an_account_of_the_environment_is_used_and_other_settings_of_sbatch_are_hidden(launch, slurm, monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "chemistry")
    monkeypatch.setenv("SBATCH_PARTITION", "debug")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    assert launch("--cpus", "2").exit_code == 0
    assert "#SBATCH --account=chemistry\n" in slurm.submitted
    names = [name for name in slurm.environment if name.startswith(("SLURM_", "SBATCH_"))]
    assert names == ["SLURM_CONF"]
    assert os.environ["SBATCH_PARTITION"] == "debug"


# -- what a launch leaves


def test_a_launch_writes_down_how_and_says_what_to_type_next(launch, slurm, site, searches):
    done = launch("--site", site, "--hours", "6", "--name", "mine")
    assert done.exit_code == 0, done.stderr
    assert "mine is job 4711 on here: 1 node, 16 CPUs each, 6 h." in done.stdout
    assert "swell watch mine" in done.stdout
    paths = SearchPaths(searches / "mine")
    written = json.loads(paths.launch.read_text())
    assert (written["on"], written["nodes"], written["jobs"], written["cpus"]) == ("slurm", 1, 1, 16)
    assert (written["hours"], written["job_ids"], written["site"]["account"]) == (6.0, ["4711"], "physics")
    assert paths.submission.stat().st_mode & 0o777 == 0o700
    assert (paths.submission / "4711_submitted.pkl").exists()
    assert paths.spec.exists()


def test_jobs_of_an_array_have_an_id_each(launch, slurm, searches):
    done = launch("--jobs", "3", "--cpus", "2")
    assert "short is jobs 4711_0 to 4711_2 on generic: 3 of 1 node, 2 CPUs each, 4 h." in done.stdout
    assert read_launch(SearchPaths(searches / "short")).job_ids == ("4711_0", "4711_1", "4711_2")
    assert "#SBATCH --array=0-2%3\n" in slurm.submitted


def test_searches_go_where_the_site_wants_them_unless_the_user_says_where(launch, slurm, site, tmp_path, monkeypatch):
    site.write_text(f"{SITE}searches_root: {tmp_path}/fast\n")
    launch("--site", site)
    assert not (tmp_path / "fast").exists()
    monkeypatch.setenv("SWELL_ROOT", "")
    done = launch("--site", site)
    monkeypatch.setenv("SWELL_ROOT", "")
    assert (tmp_path / "fast" / "short" / "launch.json").exists()
    assert f"swell status {tmp_path}/fast/short" in done.stdout
    assert f"export SWELL_ROOT={tmp_path}/fast" in done.stdout


# -- what is refused, before SLURM hears of it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "2", "--jobs", "2"], "--nodes 2 --jobs 2: give one of them"),
        (["--cpus", "129"], "--cpus 129: a node has 128, by partition standard. Allowed: 1 to 128"),
        (["--hours", "25"], "--hours 25: partition standard allows 24. Allowed: at most 24"),
        (["--nodes", "5"], "--nodes 5: partition standard allows 4. Allowed: 1 to 4"),
        (["--site", "zaratn"], "did you mean 'zaratan'?"),
        (["--site", "no/such.yaml"], "no/such.yaml: the file cannot be read: No such file or directory"),
        (["--cpus", "0"], "Invalid value for '--cpus'"),
    ],
)
def test_an_impossible_request_is_refused(launch, slurm, searches, arguments, message):
    done = launch(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert slurm.calls("sbatch") == []
    assert not searches.exists()


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (
            "partition: standrad",
            [],
            "partition = 'standrad': the cluster has no such partition. Allowed: debug, old, st",
        ),
        ("partition: standrad", [], "did you mean 'standard'?"),
        ("partition: old", [], "partition = 'old': takes no jobs now"),
        ("partition: old\naccount: poor", [], "partition old does not take it. Allowed: rich, richer"),
        ("partition: debug", ["--hours", "0.5"], "partition debug allows 0.25"),
        ("max_hours: 5", ["--hours", "6"], "site one (max_hours) allows 5"),
        ("cpus_per_node: 4", ["--cpus", "5"], "a node has 4, by site one (cpus_per_node)"),
        ("max_nodes: 2", ["--jobs", "3"], "--jobs 3: site one (max_nodes) allows 2"),
        ("memory_gb_per_cpu: 100", ["--cpus", "8"], "they take 800 GB, and a node of partition standard has 503"),
        ("partiton: old", [], ":1: partiton = 'old': unknown key. "),
        ("sbatch: {time: 5}", [], ":1: sbatch.time = 5: is set by the launch itself: give --hours instead"),
        ("signal_s: 5", [], ":1: signal_s = 5: must be at least 10"),
        ("scratch: relative", [], ":1: scratch = 'relative': must be an absolute path"),
        ("scratch: /a/path/much/too/long/for/sockets", [], "at most 26 are allowed: Ray's sockets lie below it"),
        ("default_hours: 9\nmax_hours: 5", [], ":1: default_hours = 9.0: must be at most max_hours, which is 5"),
    ],
)
def test_a_site_that_does_not_fit_is_refused(launch, slurm, tmp_path, searches, lines, arguments, message):
    site = tmp_path / "one.yaml"
    site.write_text(lines + "\n")
    done = launch("--site", site, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert slurm.calls("sbatch") == []
    assert not searches.exists()


def test_a_trial_wider_than_a_node_is_refused_with_its_line(launch, slurm, spec, searches):
    spec.write_text(SPEC + "resources: {cpus_per_trial: 16}\n")
    done = launch("--cpus", "8")
    assert done.exit_code == 2
    assert f"{spec}:9: resources.cpus_per_trial = 16: a trial cannot get more CPUs than there are" in done.stderr
    assert not searches.exists()
    assert launch("--cpus", "16").exit_code == 0  # however few this machine has


def test_gpus_are_asked_for_where_the_spec_needs_them(launch, slurm, spec):
    spec.write_text(SPEC + "resources: {gpus_per_trial: 0.5}\n")
    assert launch("--cpus", "4").exit_code == 0
    assert "#SBATCH --gpus-per-node=2\n" in slurm.submitted
    spec.write_text(SPEC + "resources: {gpus_per_trial: 8}\n")
    assert "resources.gpus_per_trial = 8: a node of site generic has 4 GPUs" in launch("--cpus", "4").stderr


@pytest.mark.parametrize("options", [["--nodes", "2"], ["--site", "generic"], ["--hours", "1"], ["--dry-run"]])
def test_options_of_a_cluster_are_refused_on_this_machine(launch, options, searches):
    done = launch(*options, on="local")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{options[0]}: only for --on slurm")
    assert not searches.exists()


# -- a SLURM that fails


def test_without_slurm_it_says_so_and_leaves_no_search(launch, searches, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    done = launch("--cpus", "2")
    assert done.exit_code == 2
    assert done.stderr.startswith("scontrol is not on the PATH: this is no login node")
    assert not searches.exists()


def test_without_sbatch_it_says_so_and_leaves_no_search(launch, slurm, searches, monkeypatch):
    (slurm.bin / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(slurm.bin))
    done = launch("--cpus", "2")
    assert done.exit_code == 2
    assert done.stderr.startswith("sbatch: not on the PATH")
    assert list(searches.iterdir()) == []


def test_what_sbatch_refuses_is_said_once_and_no_search_is_left(launch, slurm, searches):
    slurm.says("sbatch", error="sbatch: error: Batch job submission failed: Invalid account\n", status=1)
    done = launch("--cpus", "2")
    assert done.exit_code == 2
    assert done.stderr == "sbatch: Batch job submission failed: Invalid account\n"
    assert list(searches.iterdir()) == []


def test_a_controller_that_does_not_answer_is_not_waited_for(launch, slurm, searches, monkeypatch):
    monkeypatch.setattr("cluster.jobs.slurm.commands.PATIENCE_S", 3.0)
    slurm.hangs("scontrol")
    began = time.monotonic()
    done = launch("--cpus", "2")
    assert time.monotonic() - began < PATIENCE_S
    assert done.exit_code == 2
    assert done.stderr == "scontrol: no answer within 3 s\n"
    assert not searches.exists()


def test_an_interrupt_while_sbatch_takes_its_time_leaves_no_search(slurm, searches, spec):
    slurm.hangs("sbatch")
    command = [sys.executable, "-P", "-m", "swell", "launch", str(spec), "--on", "slurm", "--cpus", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as launching:
        while not slurm.calls("sbatch"):
            assert launching.poll() is None
            time.sleep(0.05)
        launching.send_signal(signal.SIGINT)
        assert launching.wait(600) == 130
        assert "Traceback" not in launching.stderr.read()
    assert list(searches.iterdir()) == []


def queued(searches, one="4712"):
    """What squeue says of a job of this search's, and of another of the same name."""
    script = ".submission_file_a0.sh"
    return f"{one}|{searches}/short/submission/{script}\n9|/else/where/short/submission/{script}\n"


def test_an_sbatch_that_fails_though_the_job_is_queued_has_it_cancelled(launch, slurm, searches):
    slurm.says("sbatch", error="sbatch: error: Socket timed out on send/recv operation\n", status=1)
    slurm.says("squeue", queued(searches))
    done = launch("--cpus", "2")
    assert (done.exit_code, done.stderr) == (2, "sbatch: Socket timed out on send/recv operation\n")
    assert slurm.calls("squeue") == [f"--noheader --user={os.getuid()} --name=short --format=%F|%o"]
    assert slurm.calls("scancel") == ["4712"]
    assert list(searches.iterdir()) == []


def test_an_interrupt_right_after_sbatch_has_the_job_cancelled(launch, slurm, searches):
    slurm.install("sbatch", "kill -INT $PPID")
    slurm.says("squeue", queued(searches, "4711"))
    assert launch("--cpus", "2").exit_code == 130
    assert slurm.calls("scancel") == ["4711"]
    assert list(searches.iterdir()) == []


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that is full once sbatch has answered."""
    write = Launch.write

    def refuse(launch, paths, job_ids=()):
        if job_ids:
            raise OSError(28, "No space left on device")
        return write(launch, paths)

    monkeypatch.setattr(Launch, "write", refuse)


@pytest.mark.usefixtures("full_disk")
def test_a_job_whose_id_cannot_be_written_down_is_cancelled(launch, slurm, searches):
    done = launch("--cpus", "2", "--jobs", "2")
    assert (done.exit_code, done.stderr) == (2, "[Errno 28] No space left on device\n")
    assert slurm.calls("scancel") == ["4711_0 4711_1"]
    assert list(searches.iterdir()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_job_that_cannot_be_cancelled_keeps_its_search(launch, slurm, searches):
    slurm.says("scancel", error="scancel: error: Kill job error: Access denied\n", status=1)
    done = launch("--cpus", "2")
    assert done.exit_code == 2
    assert "job 4711 stays in the queue" in done.stderr
    assert ": scancel 4711. Its search stays too: " in done.stderr
    assert (searches / "short" / "spec.json").exists()


def test_a_search_whose_job_may_be_queued_stays(launch, slurm, searches):
    slurm.says("sbatch", error="sbatch: error: Unable to contact slurm controller\n", status=1)
    slurm.says("squeue", error="squeue: error: Unable to contact slurm controller\n", status=1)
    done = launch("--cpus", "2")
    assert done.exit_code == 2
    assert "a job of it may be in the queue" in done.stderr
    assert (searches / "short" / "launch.json").exists()


def test_an_interrupted_resume_has_its_job_cancelled_and_leaves_the_launch_as_it_was(launch, slurm, searches):
    assert launch("--cpus", "2").exit_code == 0
    paths = SearchPaths(searches / "short")
    before = paths.launch.read_text()
    slurm.install("sbatch", "kill -INT $PPID")
    # Of the last job nothing is known any more; of the next one it is that it waits.
    slurm.install("squeue", f"case $* in *--user=*) echo '{queued(searches).splitlines()[0]}';; esac")
    done = CliRunner().invoke(swell.app, ["resume", "short"])
    assert done.exit_code == 130, done.stderr
    assert slurm.calls("scancel") == ["4712"]
    assert paths.launch.read_text() == before


def test_a_site_without_internet_takes_no_online_runs(launch, slurm, spec, searches):
    spec.write_text(SPEC + "tracking: {wandb: online}\n")
    done = launch("--site", "zaratan", "--cpus", "2")
    assert done.exit_code == 2
    assert f"{spec}:9: tracking.wandb = 'online': the nodes of site zaratan do not reach the internet" in done.stderr
    assert not searches.exists()


# -- detached on this machine


@pytest.fixture
def detached(monkeypatch):
    """Run some code instead of a supervisor; it knows `root`."""

    def become(code):
        head = "import sys, time; from pathlib import Path; root = Path(sys.argv[1])\n"
        monkeypatch.setattr(
            "cluster.commands.launch.local_command", lambda paths: [sys.executable, "-c", head + code, str(paths.root)]
        )

    return become


WORKS = """
from cluster.machine.files import write_json
from cluster.state.paths import SearchPaths
from cluster.machine.processes import identity
write_json(SearchPaths(root).supervisor_record, identity())
print("I am at work", flush=True)
time.sleep(30)
"""


def test_a_detached_process_is_left_once_it_works(launch, detached, searches):
    detached(WORKS)
    done = launch("--cpus", "1", on="local")
    assert done.exit_code == 0, done.stderr
    assert "short runs on this machine" in done.stdout
    paths = SearchPaths(searches / "short")
    holder = json.loads(paths.supervisor_record.read_text())
    assert os.getsid(holder["pid"]) == holder["pid"]  # a closed terminal does not reach it
    assert read_launch(paths).on == "local"
    assert (paths.submission / "local.log").read_text() == "I am at work\n"
    environment = Path(f"/proc/{holder['pid']}/environ").read_bytes().split(b"\0")
    assert b"SWELL_CPUS=1" in environment
    os.kill(holder["pid"], 9)
    os.waitpid(holder["pid"], 0)


def test_a_detached_process_that_fails_at_once_says_why_and_leaves_no_search(launch, detached, searches):
    detached("print('there is no room'); sys.exit(2)")
    done = launch(on="local")
    assert (done.exit_code, done.stderr) == (2, "there is no room\n")
    assert list(searches.iterdir()) == []


def test_a_detached_process_that_never_begins_is_ended(launch, detached, searches, monkeypatch):
    monkeypatch.setattr("cluster.commands.launch.START_PATIENCE_S", 0.3)
    detached("time.sleep(60)")
    assert launch(on="local").stderr == "the process did not begin to work within 0 s, and was ended\n"
    assert list(searches.iterdir()) == []


def test_a_resume_that_fails_at_once_leaves_the_launch_as_it_was(launch, detached, searches):
    detached("sys.exit(0)")
    assert launch(on="local").exit_code == 0
    paths = SearchPaths(searches / "short")
    paths.supervisor_log.write_text("of before\n")
    before = paths.launch.read_text()
    detached("print('other searches use all CPUs'); sys.exit(2)")
    done = CliRunner().invoke(swell.app, ["resume", "short"])
    assert (done.exit_code, done.stderr) == (2, "other searches use all CPUs\n")
    assert paths.launch.read_text() == before


@pytest.mark.slow
def test_a_detached_search_goes_on_by_itself_and_is_watched_to_its_end(launch, searches):
    assert launch(on="local").exit_code == 0
    done = CliRunner().invoke(swell.app, ["watch", "short"], catch_exceptions=False)
    assert done.exit_code == 0, done.stdout
    assert "short  finished" in done.stdout
    assert "3 of 3 trials  3 done" in done.stdout


# -- what it costs


def test_launching_imports_neither_jax_nor_ray(slurm, searches):
    code = """
import sys
sys.argv = ["swell", "launch", "search_spaces/two_body_heads.yaml", "--on", "slurm", "--cpus", "2"]
import swell
try:
    swell.app()
except SystemExit as end:
    assert not end.code, end.code
heavy = ["jax", "jaxlib", "equinox", "ray", "optuna", "torch", "scipy", "pandas", "wandb"]
print(sorted(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_only_one_module_imports_submitit():
    importing = [
        file.name
        for folder in ("cluster", "search_spaces", "trainables", "analysis")
        for file in (ROOT / folder).rglob("*.py")
        if "import submitit" in file.read_text() or "from submitit" in file.read_text()
    ]
    assert importing == ["submission.py"]
