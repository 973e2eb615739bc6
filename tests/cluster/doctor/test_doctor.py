import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.commands.doctor import doctor_command, draw, exit_status, summary
from cluster.console import Console
from cluster.doctor.machine import Cpus, Memory, cpu_findings, gpu_findings, memory_findings, read_cpus, read_memory
from cluster.doctor.needs import Needs
from cluster.doctor.threads import WorkerError, measure_trial, method_findings, run_worker, thread_findings
from cluster.machine.asking import Answer, ask
from cluster.machine.findings import Finding, Verdict
from cluster.machine.memory import Machine
from cluster.machine.resources import THREAD_VARIABLES, cgroup_cpus, thread_caps
from search_spaces.errors import SpecError
from search_spaces.sections import Resources
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM
IDLE = Cpus(machine=8, limits={"affinity": 8}, budget=8, slots=8, per_trial=1, load=(0.1, 0.2, 0.3))
SPEC = """\
name: examined
trainable: tests.methods.ripple
objective: {metric: val_error}
space:
  learning_rate: {low: 1e-3, high: 1.0, log: true}
budget: {trials: 3}
"""


def needs(**resources):
    return Needs(Resources(**resources))


def verdicts(findings):
    return {finding.name: finding.verdict for finding in findings}


def python(code, prefix=(), **variables):
    """Return what a process of its own prints as JSON."""
    command = [*prefix, sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **variables}, check=True
    )
    return json.loads(done.stdout)


READ_CPUS = """
import json
from pathlib import Path
from cluster.doctor.machine import cpu_findings, read_cpus
from search_spaces.sections import Resources
cpus = read_cpus(Resources({}), Path('/none'))
trials = cpu_findings(cpus)[1]
budget = cpu_findings(cpus)[0]
print(json.dumps([cpus.budget, cpus.slots, dict(cpus.limits), trials.verdict, budget.verdict, trials.advice]))
"""


def test_a_process_bound_to_one_cpu_carries_one_trial():
    budget, slots, limits, verdict, *_ = python(READ_CPUS.format(""), ["taskset", "-c", "0"])
    assert (budget, slots, limits["affinity"], verdict) == (1, 1, 1, OK)


def test_a_trial_wider_than_its_binding_is_a_problem_that_names_the_numbers():
    *_, verdict, _, advice = python(READ_CPUS.format("cpus_per_trial=3"), ["taskset", "-c", "0"])
    assert verdict == PROBLEM
    assert advice == (
        "Set resources.cpus_per_trial to at most 1, or run where there are more: 3 threads do not fit on 1 CPUs."
    )


def test_a_queues_allocation_is_the_budget_where_it_is_less():
    budget, _, limits, _, verdict, _ = python(READ_CPUS.format(""), SWELL_JOB_CPUS="1")
    assert (budget, limits["job"], verdict) == (1, 1, OK)


def test_a_step_bound_to_less_than_its_job_holds_is_a_warning():
    *_, verdict, _ = python(READ_CPUS.format(""), ["taskset", "-c", "0"], SWELL_JOB_CPUS="8")
    assert verdict == WARNING
    bound = cpu_findings(replace(IDLE, limits={"affinity": 1, "job": 8}, budget=1, slots=1))[0]
    assert bound.found == "1 CPU: the least of affinity 1, the job 8 (the machine has 8)"
    assert bound.advice.startswith("The job holds 8 CPUs and this process may use 1 of them")


def test_a_spec_that_asks_for_more_cpus_than_there_are_is_warned():
    asked = cpu_findings(replace(IDLE, limits={"affinity": 8, "spec": 64}))[0]
    assert (asked.verdict, asked.advice[:51]) == (WARNING, "resources.cpus asks for 64 CPUs and 8 are here: use")
    assert cpu_findings(replace(IDLE, limits={"affinity": 8, "spec": 8}))[0].verdict is OK


def test_half_a_cpu_by_quota_is_oversubscribed_by_a_single_thread(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "cgroup").write_text("0::/job\n")
    quota = cgroup_cpus(tmp_path, tmp_path / "cgroup")
    assert quota == 0.5
    half = cpu_findings(replace(IDLE, limits={"affinity": 8, "cgroup": quota}, budget=1, slots=1))[1]
    assert (half.verdict, half.found) == (PROBLEM, "1 trial of 1 CPU: 1 thread on 0.5 CPUs")
    (tmp_path / "job" / "cpu.max").write_text("100000 100000\n")
    whole = {"affinity": 8, "cgroup": cgroup_cpus(tmp_path, tmp_path / "cgroup")}
    assert cpu_findings(replace(IDLE, limits=whole, budget=1, slots=1))[1].verdict is OK


@pytest.mark.parametrize(
    ("machine", "budget", "load", "verdict"),
    [
        (8, 8, 3.9, OK),
        (8, 8, 4.1, WARNING),
        (64, 4, 50.0, OK),  # others' processes have CPUs of their own
        (64, 4, 93.0, WARNING),
        (1, 1, 0.4, OK),
    ],
)
def test_others_processes_are_a_warning_once_they_take_half_of_a_trials_pace(machine, budget, load, verdict):
    cpus = Cpus(machine, {"affinity": budget}, budget, budget, 1, (load, 0.0, 0.0))
    assert cpu_findings(cpus)[2].verdict is verdict


HOLD = """
import json, sys, time
from cluster.machine.processes import identity
from cluster.machine.resources import pool_id
owner = {**identity(), "pool": pool_id(), "cpus": int(sys.argv[2]), "search": "/searches/first"}
open(sys.argv[1], "w").write(json.dumps(owner)); print("holds", flush=True); time.sleep(60)
"""


def test_what_other_searches_hold_is_not_ours(tmp_path):
    (tmp_path / "swell-other").mkdir()
    file, num = tmp_path / "swell-other" / "owner.json", len(os.sched_getaffinity(0))
    command = [sys.executable, "-c", HOLD, str(file), str(num)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "holds\n"
        _, held, trials, _ = cpu_findings(read_cpus(Resources(), tmp_path))
        other.kill()
    assert held.found == f"hold {num} CPU{'s' * (num > 1)} of these: first (process {other.pid}) {num}"
    assert (trials.verdict, trials.found) == (PROBLEM, "1 trial of 1 CPU: 1 thread on 0 CPUs")
    assert trials.advice.startswith("Wait for the other searches")
    _, trials, _ = cpu_findings(read_cpus(Resources(), tmp_path))  # it has ended
    assert (trials.verdict, trials.found[:7]) == (OK, f"{num} trial")


def test_beside_another_search_there_are_fewer_trials():
    cpus = replace(IDLE, others={"first (process 7)": 6}, slots=2)
    assert (cpus.left, replace(cpus, limits={"affinity": 8, "spec": 1}).left) == (2, 1)
    assert [finding.verdict for finding in cpu_findings(cpus)] == [OK, OK, OK, OK]


def test_a_search_that_finds_no_gpu_still_has_its_cpus_counted(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert read_cpus(Resources(cpus=1, gpus_per_trial=2), tmp_path).slots == 1


@pytest.mark.parametrize("cpus", [1, 2])
def test_a_process_with_the_caps_has_a_pool_of_that_many_threads(cpus, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("PJRT_NPROC", raising=False)  # the tests' own
    measured = measure_trial(needs(cpus_per_trial=cpus))
    assert measured["pool_threads"] == cpus
    assert measured["variables"] == thread_caps(cpus)
    assert measured["platforms"] == {"cpu": 1}
    assert 0.1 < measured["memory_gb"] < 2
    caps, pool = thread_findings(measured, cpus)
    assert (caps.verdict, pool.verdict) == (OK, OK)
    assert caps.found == f"{cpus} in {', '.join(THREAD_VARIABLES)}; your own OMP_NUM_THREADS=7 does not count"
    assert pool.found == f"{cpus} thread{'s' if cpus > 1 else ''}, counted in a process with these caps"


def test_a_pool_or_a_cap_of_another_size_is_a_problem():
    measured = run_worker("jax", environment={**thread_caps(1), "PJRT_NPROC": "3", "JAX_PLATFORMS": "cpu"})
    caps, pool = thread_findings(measured, 1)
    assert (caps.verdict, caps.found) == (PROBLEM, "PJRT_NPROC=3 instead of 1")
    assert (pool.verdict, pool.found[:9]) == (PROBLEM, "3 threads")


def test_a_worker_that_fails_is_a_problem_with_its_reason():
    with pytest.raises(WorkerError) as raised:
        run_worker("jax", environment={"JAX_PLATFORMS": "abacus"})
    (finding,) = thread_findings(raised.value, 1)
    assert finding.verdict is PROBLEM
    assert re.match("not measured: RuntimeError: .*abacus", finding.found)


@pytest.mark.parametrize(
    ("source", "verdict", "found"),
    [
        (
            "from tests.methods.ripple.method import Config, method\nprint('noise')",
            OK,
            r"loads in \d\.\d s, beside JAX",
        ),
        ("import abacus_of_nobody", PROBLEM, "cannot be loaded: ModuleNotFoundError: .*abacus_of_nobody.*"),
        ("raise SystemExit('no licence')", PROBLEM, "cannot be loaded: SystemExit: no licence"),
    ],
)
def test_the_specs_method_is_loaded_where_trials_are(tmp_path, monkeypatch, source, verdict, found):
    (tmp_path / "own_lab").mkdir()
    (tmp_path / "own_lab" / "fit.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    measured = measure_trial(Needs(trainable="own_lab.fit"))
    (finding,) = method_findings(measured, "own_lab.fit")
    assert finding.verdict is verdict
    assert re.fullmatch(found, finding.found)


def test_the_memory_is_that_of_the_machine_or_of_its_control_group(tmp_path):
    (tmp_path / "cgroup").write_text("0::/job\n")
    (tmp_path / "job").mkdir()
    memory = read_memory(tmp_path, tmp_path / "cgroup", Machine(102.4e9, 51.2e9))
    assert (memory.total_gb, memory.available_gb) == pytest.approx((102.4, 51.2))
    (tmp_path / "job" / "memory.max").write_text("8000000000\n")
    (tmp_path / "job" / "memory.current").write_text("2000000000\n")
    assert read_memory(tmp_path, tmp_path / "cgroup", Machine(102.4e9, 51.2e9)) == Memory(8.0, 6.0)


@pytest.mark.parametrize(
    ("per_trial", "verdict", "found"),
    [
        (3.0, OK, "3 GB by the spec: 9.0 GB for all together carry 3 trials"),
        (9.5, PROBLEM, "9.5 GB by the spec: 9.0 GB for all together carry 0 trials"),
    ],
)
def test_the_memory_carries_trials_of_the_specs_size(per_trial, verdict, found):
    free, one = memory_findings(Memory(16.0, 10.0), needs(memory_gb_per_trial=per_trial), 4, None)
    assert free.found == "10.0 of 16.0 GB for new processes"
    assert (one.verdict, one.found) == (verdict, found)
    assert bool(one.advice) == (verdict is PROBLEM)


def test_without_a_size_in_the_spec_jaxs_own_memory_bounds_the_trials():
    assert memory_findings(Memory(16.0, 10.0), Needs(), 18, 0.5)[1].verdict is OK
    one = memory_findings(Memory(16.0, 10.0), Needs(), 19, 0.5)[1]
    assert one.verdict is PROBLEM
    assert one.found.endswith("JAX alone takes 0.50 GB, of which 9.0 GB carry 18")
    assert len(memory_findings(Memory(16.0, 10.0), Needs(), 19, None)) == 1


CARDS = Answer("NVIDIA H200, 143771, 100000\nNVIDIA GB10, [N/A], [N/A]")


def test_the_gpus_are_named_and_jax_must_be_able_to_use_them():
    cards, backend = gpu_findings(needs(gpus_per_trial=1), CARDS, ["cuda"], ["xla_cuda13"], 2)
    assert (cards.verdict, backend.verdict) == (OK, OK)
    assert cards.found == "2 GPUs here; a trial has 1; NVIDIA H200 (105 of 151 GB free), NVIDIA GB10"
    assert backend.found == "GPU backend xla_cuda13 installed; in a trial JAX computes on: cuda"


@pytest.mark.parametrize(
    ("per_trial", "num_gpus", "cards", "platforms", "expected"),
    [
        (0, 0, Answer(), ["cpu"], (OK, OK)),
        (0, 2, CARDS, ["cpu"], (OK, OK)),
        (1, 0, Answer(), ["cpu"], (PROBLEM, PROBLEM)),
        (1, 1, CARDS, ["cpu"], (OK, PROBLEM)),
        (2, 1, CARDS, ["gpu"], (PROBLEM, OK)),
        (1, 1, Answer(failure="no answer within 5 s"), ["gpu"], (WARNING, OK)),
    ],
)
def test_gpus_matter_where_trials_ask_for_them(per_trial, num_gpus, cards, platforms, expected):
    findings = gpu_findings(needs(gpus_per_trial=per_trial), cards, platforms, [], num_gpus)
    assert tuple(finding.verdict for finding in findings) == expected


def test_a_program_that_hangs_is_ended_with_what_it_has_started():
    start = time.monotonic()
    answer = ask(["sh", "-c", "sleep 6047.25 & echo $! ; sleep 6048"], 0.3)
    assert answer == Answer(failure="no answer within 0.3 s")
    assert time.monotonic() - start < PATIENCE_S
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"6047.25" in _read(p)]
    assert left == []


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_programs_failure_is_its_last_word(tmp_path):
    assert ask(["sh", "-c", "echo a; echo b >&2; exit 3"], 5) == Answer(failure="b")
    assert ask(["sh", "-c", "exit 3"], 5) == Answer(failure="exit status 3")
    assert ask(["sh", "-c", "kill -9 $$"], 5) == Answer(failure="signal 9")
    assert ask([str(tmp_path / "none")], 5) == Answer(failure="cannot be run: No such file or directory")
    assert ask(["sh", "-c", "echo ' a '"], 5) == Answer("a")


MANY = [
    Finding("One", "short", "word " * 40),
    Finding("One", "a name of its own line", "found", WARNING, "Do [this] " + "x" * 90),
    Finding("Two", "path", "/p" * 60, PROBLEM, "Mend it."),
]


@pytest.mark.parametrize("width", [80, 120])
def test_everything_is_readable_at_any_width(width):
    lines = [line.plain for line in draw(MANY, width)]
    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    for finding in MANY:
        assert "".join(finding.found.split()) in text.replace("->", "")
        assert "".join(finding.advice.split()) in text
    assert [line for line in lines if line and line[0] != " "] == ["One", "Two"]
    assert lines[2].startswith("  ok       short             word word")
    assert "  problem  path              /p/p" in "\n".join(lines)


def test_the_last_line_counts_problems_and_warnings():
    assert summary(MANY).plain == "1 problem, 1 warning: a search cannot run here as it is."
    assert summary(MANY[:2]).plain == "1 warning: a search can run here."
    assert summary(MANY[:1]).plain == "A search can run here."


def test_only_problems_keep_a_search_from_running():
    assert [exit_status(MANY), exit_status(MANY[:2]), exit_status([])] == [1, 0, 0]


EXAMINE = """
import json, sys
from pathlib import Path
from cluster.console import Console
from cluster.commands.doctor import doctor_command
status = doctor_command(Path(sys.argv[1]), console=Console(width=80, file=sys.stderr))
print(json.dumps([status, sorted({"ray", "jax", "optuna", "wandb", "pandas"} & set(sys.modules))]))
"""


@pytest.mark.slow
def test_the_command_examines_for_a_spec_and_stays_small(tmp_path):
    too_many = len(os.sched_getaffinity(0)) + 1
    spec = SPEC.replace("tests.methods.ripple", "two_body")  # a package with a config.py, which imports no JAX
    (tmp_path / "s.yaml").write_text(f"{spec}resources: {{cpus_per_trial: {too_many}}}\n")
    own = {"SWELL_ROOT": str(tmp_path / "searches"), "SWELL_SCRATCH": "/tmp"}
    command = [sys.executable, "-c", EXAMINE, str(tmp_path / "s.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **own}, check=True)
    assert json.loads(done.stdout) == [1, []]
    lines = done.stderr.splitlines()
    assert lines[0].endswith(f", for {tmp_path}/s.yaml")
    assert max(map(len, lines[1:])) <= 80
    assert [line for line in lines[1:] if line and line[0] != " "][:-1] == [
        *(
            "CPUs",
            "Threads of a trial",
            "Environment",
            "Memory",
            "GPUs",
            "Disks",
            "Method",
            "Software",
            "Ray",
            "Optuna",
            "SLURM",
        ),
        "Weights & Biases",
    ]
    assert f"problem  trials at once    1 trial of {too_many} CPUs: {too_many} threads on " in done.stderr
    assert re.search(r"ok       Ray Tune          Ray 2\.\d+\.\d+, imported in \d+\.\d s", done.stderr)
    assert re.search(r"ok       two_body          loads in \d", done.stderr)
    assert re.search(rf"XLA pool          {too_many} threads, counted", done.stderr)
    assert not (tmp_path / "searches").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SPEC.replace("trials: 3", "trails: 3"), "trails"),
        (SPEC.replace("tests.methods.ripple", "riple"), "is not a method"),
    ],
)
def test_a_wrong_spec_is_said_before_anything_is_printed(tmp_path, text, said):
    (tmp_path / "s.yaml").write_text(text)
    out = io.StringIO()
    with pytest.raises(SpecError, match=said) as error:
        doctor_command(tmp_path / "s.yaml", console=Console(file=out))
    assert out.getvalue() == ""
    assert str(error.value).startswith(f"{tmp_path}/s.yaml:")
