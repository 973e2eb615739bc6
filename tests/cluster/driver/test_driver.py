"""The wave driver's process without Ray: where it imports from, and what it does without its supervisor."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from cluster.machine.files import write_json
from cluster.machine.scratch import Scratch
from cluster.worker.environment import driver_environment
from tests.waiting import wait_for

ROOT = Path(__file__).parents[3]
START = "import subprocess, sys; raise SystemExit(subprocess.call([*sys.argv[1:], str(__import__('os').getpid())]))"


@pytest.fixture
def shadows(tmp_path):
    """A folder of the user's, with a method, and with packages of the same names as ours."""
    folder = tmp_path / "launched"
    for name in ("analysis", "cluster", "search_spaces", "trainables"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise ImportError('the {name} of the user')\n")
    (folder / "own").mkdir()
    shutil.copy(ROOT / "tests" / "methods" / "alone.py", folder / "own" / "method.py")
    return folder


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    return Scratch.create({})


def test_a_users_folders_of_our_names_do_not_break_a_check_of_the_users_own_method(shadows):
    (shadows / "s.yaml").write_text(
        "name: s\ntrainable: own.method\nobjective: {metric: val_error}\nspace: {size: [2, 3]}\nsampler: {name: grid}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "swell", "check", "s.yaml"],
        capture_output=True,
        text=True,
        cwd=shadows,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "s is a valid search of own.method" in done.stdout


def test_a_driver_imports_our_packages_and_the_users_others(shadows, scratch, make_search, monkeypatch):
    search = make_search()
    write_json(search.paths.provenance, {"working_directory": str(shadows)})
    monkeypatch.chdir(shadows)
    monkeypatch.setenv("PYTHONPATH", str(shadows))
    code = "import importlib.util as i; [print(i.find_spec(n).origin) for n in ('analysis', 'cluster', 'own.method')]"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        env=driver_environment(search.spec, search.paths, scratch, "token", 2),
        check=True,
    )
    ours = [str(ROOT / name / "__init__.py") for name in ("analysis", "cluster")]
    assert done.stdout.splitlines() == [*ours, str(shadows / "own" / "method.py")]


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def heeds_sigterm(pid):
    (caught,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.fixture
def wave(make_search, scratch):
    """A search, its scratch, and a process such as Ray's, which bears the wave's mark."""
    search = make_search()
    environment = driver_environment(search.spec, search.paths, scratch, f"test-{os.getpid()}-{time.monotonic_ns()}", 1)
    ray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=environment)
    command = [sys.executable, "-P", "-m", "cluster.driver.main", str(search.paths.root), "-", "1", str(scratch.path)]
    yield search.paths, command, environment, ray
    ray.kill()
    ray.wait()


def test_a_driver_whose_supervisor_died_before_it_could_follow_it_ends_and_cleans_up(wave, scratch):
    paths, command, environment, ray = wave
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = subprocess.run([*command, str(gone.pid)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"the supervisor, process {gone.pid}, has died" in done.stderr
    assert ray.wait(600) == -signal.SIGTERM
    assert not scratch.path.exists()
    assert not paths.journal.exists()


def test_a_driver_whose_supervisor_dies_before_ray_has_started_cleans_up(wave, scratch):
    paths, command, environment, ray = wave
    with FileLock(paths.driver_lock):  # the driver waits for its predecessor
        supervisor = subprocess.Popen([sys.executable, "-c", START, *command], env=environment)
        wait_for(lambda: any(map(heeds_sigterm, children(supervisor.pid))))
        supervisor.kill()
        supervisor.wait()
        assert ray.wait(600) == -signal.SIGTERM
        wait_for(lambda: not scratch.path.exists())


def test_a_driver_that_fails_under_its_supervisor_leaves_the_cleaning_up_to_it(wave, scratch):
    paths, command, environment, ray = wave
    paths.spec.unlink()
    done = subprocess.run([*command, str(os.getpid())], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stderr
    assert ray.poll() is None
    assert scratch.path.exists()
