import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

import swell
from cluster.console import Console
from cluster.jobs.launched import Launch, read_launch
from cluster.jobs.queue_facts import Job, QueueError, starts_in_s
from cluster.jobs.slurm.commands import accounts, ask_slurm, expand, hours_of, job_of, jobs, partitions
from cluster.jobs.standing import HEARTBEAT_PATIENCE_S, QueueAnswer, is_worked_on, load_snapshot, standing_of
from cluster.machine.files import write_json
from cluster.machine.processes import identity
from cluster.state.paths import SearchPaths
from tests.cluster.fake_slurm import FakeSlurm
from tests.waiting import PATIENCE_S

ELSEWHERE = {"host": "n1", "pid": 17, "start": "1", "boot": "x"}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path / "slurm", monkeypatch)


@pytest.fixture
def call(searches):
    def run(*arguments):
        done = CliRunner().invoke(swell.app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def launched(make_search):
    """A search of four trials, launched as job 4711, or as an array of it."""

    def make(count=1, **launch):
        search = make_search(budget={"trials": 4})
        ids = ["4711"] if count == 1 else [f"4711_{number}" for number in range(count)]
        values = {"nodes": 1, "jobs": count, "cpus": 2, "hours": 4.0, "launched_at": time.time() - 60, **launch}
        Launch("slurm", site={"name": "here"}, **values).write(search.paths, ids)
        search.paths.submission.mkdir()
        return search.paths

    return make


def say(paths, **snapshot):
    values = {"updated_at": time.time(), "outcomes": {"completed": 1}, "running": [], "max_trials": 4}
    write_json(paths.status, values | snapshot)


def line(one="4711", state="PENDING", start="N/A", elapsed="0:00", nodes="", reason="None"):
    return f"{one}|{state}|{start}|{elapsed}|{nodes}|{reason}\n"


def flat(text):
    return " ".join(text.split())


# -- SLURM's answers


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("1-00:00:00", 24),
        ("2-12", 60),
        ("00:15:00", 0.25),
        ("90", 1.5),
        ("90:00", 1.5),
        ("UNLIMITED", None),
        ("", None),
    ],
)
def test_slurms_times_are_read(text, hours):
    assert hours_of(text) == hours


def test_partitions_are_read_with_their_largest_nodes(slurm):
    found = partitions()
    standard, debug, old = found["standard"], found["debug"], found["old"]
    assert (standard.is_default, standard.max_hours, standard.max_nodes, standard.num_nodes) == (True, 24, 8, 4)
    assert (standard.cpus_per_node, standard.gpus_per_node, round(standard.memory_gb_per_node)) == (128, 4, 503)
    assert (debug.max_hours, debug.max_nodes, debug.gpus_per_node) == (0.25, None, 0)
    assert (old.is_up, old.max_hours, old.allowed_accounts) == (False, None, ("rich", "richer"))


def test_jobs_come_from_the_queue_and_else_from_the_accounting(slurm):
    slurm.says("squeue", line("4711", "RUNNING", "2026-01-01T00:00:00", "1:02", "n[1-2]"))
    slurm.says("sacct", "4712|CANCELLED by 1000|None assigned|00:00:00|Unknown\n4712.batch|CANCELLED|n1|00:00|x\n")
    found = jobs(["4711", "4712", "4713"])
    assert set(found) == {"4711", "4712"}
    assert (found["4711"].nodes, found["4711"].is_active, found["4711"].is_waiting) == ("n[1-2]", True, False)
    assert (found["4712"].state, found["4712"].nodes, found["4712"].is_active) == ("CANCELLED", "", False)


def test_a_job_that_the_queue_has_forgotten_is_no_trouble_even_without_accounting(slurm):
    slurm.says("squeue", error="slurm_load_jobs error: Invalid job id specified\n", status=1)
    slurm.says("sacct", error="Slurm accounting storage is disabled\n", status=1)
    assert jobs(["4711"]) == {}


def test_a_command_that_hangs_is_given_up(slurm):
    slurm.hangs("squeue")
    began = time.monotonic()
    with pytest.raises(QueueError, match=r"^squeue: no answer within 0\.3 s$"):
        ask_slurm("squeue", patience_s=0.3)
    assert time.monotonic() - began < PATIENCE_S


def test_accounts_are_read(slurm):
    slurm.says("sacctmgr", "physics||normal,high\nchemistry|gpu|normal\n")
    assert [(one.account, one.partition, one.qos) for one in accounts()] == [
        ("physics", "", ("normal", "high")),
        ("chemistry", "gpu", ("normal",)),
    ]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "others are before it in the queue (Priority)"),
        ("None", "SLURM has not looked at it yet"),
        ("QOSMaxCpuPerUserLimit", "a limit of your account or quality of service is reached"),
        ("AssocGrpBillingMinutes", "a limit of your account or quality of service is reached"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "nodes that it needs are down or reserved"),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs", "nodes that it needs are down, drained"),
        ("SomethingNew", "SomethingNew"),
    ],
)
def test_reasons_are_said_in_words(reason, words):
    assert job_of("1", "PENDING", reason).why.startswith(words)


def test_the_expected_start_is_read():
    now = time.mktime((2026, 1, 1, 12, 0, 0, 0, 0, -1))
    assert starts_in_s(Job("1", "PENDING", start="2026-01-01T12:30:00"), now) == 1800
    assert starts_in_s(Job("1", "PENDING", start=""), now) is None


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("a[09-10],b1", ["a09", "a10", "b1"]),
        ("", []),
    ],
)
def test_lists_of_nodes_are_expanded(nodes, names):
    assert expand(nodes) == names


# -- where a search stands


def test_a_job_that_waits_is_queued_with_the_reason_and_its_expected_start(launched, slurm, call):
    launched()
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 3600))
    slurm.says("squeue", line(start=start, reason="Resources"))
    out = flat(call("status", "try").stdout)
    assert (
        f"try queued (it is next, and waits for nodes to become free (Resources); expected to start at {start[11:16]}"
        in out
    )
    assert "in the queue: job 4711" in out
    assert "swell resume" not in out


def test_a_job_that_has_run_before_is_requeued(launched, slurm):
    paths = launched()
    (paths.submission / "4711_0_log.out").write_text("submitit INFO: Starting\n")
    say(paths, stopped="stopped by SIGUSR2")
    slurm.says("squeue", line(reason="BeginTime"))
    standing = standing_of(paths, load_snapshot(paths))
    assert (standing.state, standing.where) == ("requeued", "job 4711")
    assert standing.why.startswith("it was queued again")


def test_a_running_job_names_its_nodes(launched, slurm, call):
    paths = launched(nodes=2)
    slurm.says("squeue", line(state="RUNNING", elapsed="1:02:03", nodes="n[1-2]"))
    assert standing_of(paths, load_snapshot(paths)).why == "starting"
    write_json(paths.supervisor_record, ELSEWHERE)
    paths.supervisor_heartbeat.touch()
    say(paths, doing="running trials", running=[{"trial": 3, "step": 10, "objective": 0.5}])
    out = flat(call("status", "try").stdout)
    assert "try running (running trials)" in out
    assert "on n[1-2] (job 4711, for 1:02:03); about ? left" in out
    assert "trial 3: step 10" in out


@pytest.mark.parametrize(
    ("state", "snapshot", "stands", "why"),
    [
        ("COMPLETED", {"finished": "trials: all 4"}, "finished", "trials: all 4"),
        ("COMPLETED", {"stopped": "stopped on request"}, "stopped", "stopped on request"),
        ("TIMEOUT", {}, "interrupted", "job 4711: it ran into its time limit (TIMEOUT)"),
        ("NODE_FAIL", {}, "interrupted", "job 4711: its node went down (NODE_FAIL)"),
        ("OUT_OF_MEMORY", {}, "interrupted", "job 4711: it was ended for using more memory"),
        ("CANCELLED", None, "failed to start", "job 4711: it was cancelled (CANCELLED)"),
        ("FAILED", {"stopped": "of before", "updated_at": 1.0}, "interrupted", "job 4711: it ended with an error"),
    ],
)
def test_a_job_that_is_over_leaves_its_own_word_or_slurms(launched, slurm, state, snapshot, stands, why):
    paths = launched()
    write_json(paths.supervisor_record, ELSEWHERE)  # what a killed supervisor leaves
    if snapshot is not None:
        say(paths, **snapshot)
    slurm.says("squeue", line(state=state, nodes="n1"))
    standing = standing_of(paths, load_snapshot(paths))
    assert standing.state == stands
    assert standing.why.startswith(why)


def test_a_job_that_failed_shows_its_last_lines_and_the_way_on(launched, slurm, call):
    paths = launched()
    (paths.submission / "4711_0_log.out").write_text("submitit INFO (2026): Starting\n")
    (paths.submission / "4711_0_log.err").write_text("swell: module gcc/99 cannot be loaded\n")
    (paths.submission / "4711_submitted.pkl").write_text("pickled")
    slurm.says("squeue", line(state="FAILED"))
    out = call("status", "try").stdout
    assert "failed to start (job 4711: it ended with an error (FAILED))" in flat(out)
    assert "  | swell: module gcc/99 cannot be loaded\n" in out
    assert "go on with: swell resume try" in out
    assert not list(paths.submission.glob("*.pkl"))  # its logs stay
    assert len(list(paths.submission.glob("*log*"))) == 2


def test_a_job_that_slurm_has_forgotten_is_over(launched, slurm):
    paths = launched()
    write_json(paths.supervisor_record, ELSEWHERE)
    slurm.says("squeue", error="slurm_load_jobs error: Invalid job id specified\n", status=1)
    say(paths)
    standing = standing_of(paths, load_snapshot(paths))
    assert (standing.state, standing.why) == ("interrupted", "SLURM does not know 4711 any more")
    paths.supervisor_heartbeat.touch()  # somebody on another machine works on it all the same
    assert standing_of(paths, load_snapshot(paths)).state == "running"


def test_a_controller_that_does_not_answer_is_said_and_not_waited_for(launched, slurm, call, monkeypatch):
    monkeypatch.setattr("cluster.jobs.slurm.commands.PATIENCE_S", 0.3)
    paths = launched()
    slurm.hangs("squeue")
    for arguments in (["status", "try"], ["status"]):
        assert standing_of(paths, {}).state == "unknown"
        began = time.monotonic()
        done = call(*arguments)
        assert time.monotonic() - began < PATIENCE_S
        assert "SLURM could not be asked" in done.stdout
        assert "squeue: no answer within 0.3 s" in flat(done.stdout)


def test_a_launch_that_is_being_submitted_is_queued(launched, slurm):
    paths = launched()
    Launch("slurm", launched_at=time.time()).write(paths)
    assert standing_of(paths, {}).why == "it is being submitted"
    Launch("slurm", launched_at=time.time() - 3600).write(paths)
    assert standing_of(paths, {}).state == "failed to start"


def test_several_jobs_are_one_search(launched, slurm, call):
    paths = launched(3)
    for number, trial in ((0, 5), (1, 6), (2, 7)):
        job = SearchPaths(paths.root, number)
        job.make_own()
        if trial != 7:  # the last one was killed, and has left all the rest
            job.supervisor_heartbeat.touch()
        write_json(job.supervisor_record, {**ELSEWHERE, "host": f"n{number + 1}"})
        say(
            job,
            updated_at=time.time() + number - 10 * (trial == 7),
            outcomes={"completed": number + 2},
            slots=2,
            doing="running trials",
            running=[{"trial": trial, "step": 1, "objective": 0.1}],
        )
    slurm.says(
        "squeue",
        line("4711_0", "RUNNING", "x", "5:00", "n1")
        + line("4711_1", "RUNNING", "x", "5:00", "n2")
        + line("4711_2", reason="Priority"),
    )
    snapshot = load_snapshot(paths)
    assert snapshot["outcomes"] == {"completed": 3}
    assert [entry["trial"] for entry in snapshot["running"]] == [5, 6]
    assert snapshot["slots"] == 4
    out = flat(call("status", "try").stdout)
    assert "running trials; 2 of 3 jobs, 1 queued: others are before it in the queue (Priority)" in out
    assert "on n1 (job 4711_0, for 5:00), n2 (job 4711_1, for 5:00)" in out


def test_the_list_asks_slurm_once_and_says_where_each_is(launched, make_search, slurm, call):
    launched()
    other = make_search(name="other").paths
    say(other, finished="all")
    slurm.says("squeue", line(state="RUNNING", elapsed="2:00", nodes="n1"))
    out = call("status").stdout
    assert any(row.split()[:2] == ["try", "running"] and "n1 (job 4711" in row for row in out.splitlines())
    assert any(row.split()[:2] == ["other", "finished"] for row in out.splitlines())
    assert len(slurm.calls("squeue")) == 1


def test_a_search_launched_on_slurm_and_run_by_hand_here_runs(launched, slurm):
    paths = launched()
    slurm.says("squeue", line(state="COMPLETED", nodes="n1"))
    write_json(paths.supervisor_record, identity())
    assert standing_of(paths, {}, QueueAnswer({})).where.startswith(f"process {os.getpid()} on ")


def test_what_a_killed_supervisor_has_left_on_another_machine_is_not_running(launched, make_search, slurm):
    by_job, by_hand = launched(), make_search(name="other").paths
    Launch("local", host="n1", launched_at=time.time() - 60).write(by_hand)
    slurm.says("squeue", line(state="TIMEOUT", nodes="n2"))
    for paths in (by_job, by_hand):
        write_json(paths.supervisor_record, ELSEWHERE)
        say(paths)
        paths.supervisor_heartbeat.touch()
        assert (standing_of(paths, load_snapshot(paths)).state, is_worked_on(paths)) == ("running", True)
        old = time.time() - 2 * HEARTBEAT_PATIENCE_S
        os.utime(paths.supervisor_heartbeat, (old, old))
        assert (standing_of(paths, load_snapshot(paths)).state, is_worked_on(paths)) == ("interrupted", False)


# -- logs


@pytest.fixture
def logged(launched):
    paths = launched()
    (paths.submission / "4711_0_log.out").write_text("submitit INFO (x): Starting\nout\n")
    (paths.submission / "4711_0_log.err").write_text("err\n")
    (paths.submission / "4711_1_log.err").write_text("err of node 1\n")
    paths.supervisor_log.write_text("".join(f"line {number}\n" for number in range(100)))
    paths.driver_log(1).write_text("first driver\n")
    paths.driver_log(2).write_text("second driver\n")
    paths.node_log(1).write_text("node one\n")
    return paths


def test_logs_are_the_jobs_and_the_supervisors_last_lines(logged, call):
    out = call("logs", "try", "-n", "3").stdout
    assert out == (
        "==> submission/4711_0_log.out <==\nout\n==> submission/4711_0_log.err <==\nerr\n"
        "==> logs/supervisor.log <==\nline 97\nline 98\nline 99\n"
    )


def test_logs_of_a_node_and_of_the_newest_driver(logged, call):
    assert call("logs", "try", "--driver").stdout.endswith("second driver\n")
    out = call("logs", "try", "--node", "1").stdout
    assert "err of node 1" in out
    assert out.endswith("node one\n")
    assert call("logs", "try", "--node", "7").stderr.startswith("search try has no log of a node 7 yet")
    assert call("logs", "try", "--job", "1").stderr == (
        "--job 1: search try has no such job. Allowed: none: it is not several jobs\n"
    )


def test_logs_that_are_followed_end_with_the_search(logged, monkeypatch):
    from cluster.commands.logs import Wanted, show_logs

    monkeypatch.setattr("cluster.commands.logs.POLL_S", 0.01)
    monkeypatch.setattr("cluster.commands.logs.LOOK_S", 0.0)
    looks = 0

    def is_over():
        nonlocal looks
        looks += 1
        with logged.supervisor_log.open("a") as log:
            log.write(f"more {looks}\n")
        return looks == 3

    console = Console(file=io.StringIO(), width=100)
    show_logs(logged, Wanted(), console, lines=1, follow=True, is_over=is_over)
    assert console.file.getvalue().endswith("line 99\nmore 1\nmore 2\nmore 3\n")


# -- stop, resume, watch


def test_what_waits_is_taken_out_of_the_queue(launched, slurm, call, monkeypatch):
    paths = launched()
    slurm.says("squeue", line())
    slurm.install("scancel", f"echo '{line(state='CANCELLED').strip()}' > $here/squeue.out")
    done = call("stop", "try")
    assert done.exit_code == 0, done.stderr
    assert slurm.calls("scancel") == ["4711"]
    assert "Out of the queue: 4711" in done.stdout
    assert "Stopped. Go on with: swell resume try" in done.stdout
    assert "try stopped (taken out of the queue on request)" in flat(call("status", "try").stdout)
    assert json.loads(paths.stop_request.read_text()) == {"now": False}


def test_what_runs_elsewhere_is_asked_to_stop(launched, slurm, call):
    paths = launched()
    write_json(paths.supervisor_record, ELSEWHERE)
    slurm.says("squeue", line(state="RUNNING", nodes="n1"))
    done = call("stop", "try", "--now", "--no-wait")
    assert done.exit_code == 0
    assert json.loads(paths.stop_request.read_text()) == {"now": True}
    assert slurm.calls("scancel") == []
    assert "`swell status try` says when it has" in done.stdout


def test_what_is_over_cannot_be_stopped(launched, slurm, call):
    paths = launched()
    slurm.says("squeue", line(state="COMPLETED"))
    done = call("stop", "try")
    assert done.exit_code == 2
    assert done.stderr.startswith("search try is not running")
    assert not paths.stop_request.exists()


def test_a_resume_goes_the_way_it_was_launched(launched, slurm, call):
    paths = launched(hours=3.0)
    slurm.says("squeue", line(state="TIMEOUT", nodes="n1"))
    write_json(paths.stop_request, {"now": False})
    (paths.submission / "4711_submitted.pkl").write_text("pickled")
    slurm.says("sbatch", "Submitted batch job 4712")
    done = call("resume", "try")
    assert done.exit_code == 0, done.stderr
    assert "try is job 4712 on here: 1 node, 2 CPUs each, 3 h." in done.stdout
    assert not paths.stop_request.exists()
    assert [file.name for file in paths.submission.glob("*.pkl")] == ["4712_submitted.pkl"]
    launch = read_launch(paths)
    assert (launch.job_ids, launch.cpus, launch.hours) == (("4712",), 2, 3.0)


def test_a_resume_can_ask_for_something_else(launched, slurm, call):
    paths = launched(4)
    slurm.says("squeue", "")
    assert call("resume", "try", "--nodes", "2", "--cpus", "4", "--site", "generic").exit_code == 0
    launch = read_launch(paths)
    assert (launch.nodes, launch.jobs, launch.cpus, launch.hours) == (2, 1, 4, 4.0)
    assert launch.site["name"] == "generic"


def test_a_site_of_another_version_is_said_and_can_be_given_anew(launched, slurm, call):
    paths = launched()
    Launch("slurm", cpus=2, hours=4.0, site={"name": "here", "cores": 3}, launched_at=1.0).write(paths, ["4711"])
    slurm.says("squeue", line(state="TIMEOUT"))
    done = call("resume", "try")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"{paths.launch}: its site is not one of this version (cores = 3: unknown key")
    assert done.stderr.endswith("give --site anew\n")
    assert done.stderr.count("\n") == 1
    assert call("resume", "try", "--site", "generic").exit_code == 0


def test_a_resume_that_is_refused_leaves_the_launch_as_it_was(launched, slurm, call):
    paths = launched()
    before = paths.launch.read_text()
    slurm.says("squeue", line(state="TIMEOUT"))
    slurm.says("sbatch", error="sbatch: error: invalid account\n", status=1)
    done = call("resume", "try")
    assert (done.exit_code, done.stderr) == (2, "sbatch: invalid account\n")
    assert paths.launch.read_text() == before
    assert paths.spec.exists()


@pytest.mark.parametrize(
    ("state", "message"),
    [("PENDING", "search try is queued: job 4711 ("), ("RUNNING", "search try is running: n1 (job 4711, for ")],
)
@pytest.mark.parametrize("options", [[], ["--here"], ["--on", "local"]])
def test_a_resume_of_what_is_queued_or_running_is_refused(launched, slurm, call, state, message, options):
    launched()
    slurm.says("squeue", line(state=state, nodes="n1" if state == "RUNNING" else ""))
    done = call("resume", "try", *options)
    assert done.exit_code == 2
    assert done.stderr.startswith(message)
    assert slurm.calls("sbatch") == []


def test_a_resume_is_refused_while_slurm_cannot_be_asked(launched, slurm, call):
    launched()
    slurm.says("squeue", error="squeue: error: Unable to contact slurm controller\n", status=1)
    done = call("resume", "try")
    assert done.exit_code == 2
    assert "may still be queued or running" in done.stderr


def test_a_finished_search_is_not_submitted_again(launched, slurm, call):
    say(launched(), finished="trials: all")
    slurm.says("squeue", line(state="COMPLETED"))
    done = call("resume", "try")
    way_on = "to go on with more: swell resume try --trials ..."
    assert (done.exit_code, done.stdout) == (0, f"try is finished. Its budget is trials 4; {way_on}\n")
    assert slurm.calls("sbatch") == []


def test_watching_ends_with_the_search_and_says_how_it_ended(launched, slurm, monkeypatch):
    from cluster.commands.watch import watch_search

    paths = launched()
    say(paths, doing="running trials")
    answers = [line(reason="Priority"), None, line(state="RUNNING", nodes="n1", elapsed="0:10"), line(state="TIMEOUT")]
    monkeypatch.setattr("cluster.commands.watch.ASK_EVERY_S", 0.0)
    monkeypatch.setattr("cluster.commands.watch.SHOW_EVERY_S", 0.0)

    def ask(_launches):
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            return QueueAnswer({}, "SLURM could not be asked about jobs: squeue: no answer")
        slurm.says("squeue", answer)
        return QueueAnswer(jobs(["4711"]))

    monkeypatch.setattr("cluster.jobs.standing.ask_queues", ask)
    console = Console(file=io.StringIO(), width=120)
    assert watch_search(paths, console) == 1
    said = console.file.getvalue().splitlines()
    assert said[0] == "queued (job 4711): others are before it in the queue (Priority)"
    assert said[1] == "unknown: SLURM could not be asked about jobs: squeue: no answer"
    assert "wave 1, running trials: 1 done" in said[2]


def test_an_interrupt_leaves_the_search_that_is_watched_alone(launched, slurm, searches):
    launched()
    slurm.says("squeue", line())
    command = [sys.executable, "-m", "swell", "watch", "try"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as watching:
        assert watching.stdout.readline().startswith("queued (job 4711)")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(600) == 130
    assert slurm.calls("scancel") == []
