"""What all tests share: a node cache and a scratch of their own, and quiet, capped libraries."""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("PJRT_NPROC", "1")
ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
from tests.browser import chromium, visit  # noqa: E402, F401 - fixtures for all tests
from tests.databases import postgres, postgres_url  # noqa: E402, F401 - likewise
from tests.memory import LARGE_MB, WORTH_MB, Growth  # noqa: E402

# Compiling is most of what the tests do: programs are compiled without optimisation and without XLA's newer way to emit
# fused loops, which takes a fifth of the time, and kept between runs, beside pytest's own cache. Trainings take longer,
# but few tests train for so long that it matters. Searches, in processes of their own, inherit it.
QUICKLY = (
    "xla_backend_optimization_level=0",
    "xla_llvm_disable_expensive_passes=true",
    "xla_cpu_use_fusion_emitters=false",
)
os.environ.setdefault("XLA_FLAGS", " ".join(f"--{flag}" for flag in QUICKLY))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


LONGEST = {
    "test_chaos_faults.py": 880,
    "test_search_runs.py": 660,
    "test_chaos_kills.py": 590,
    "test_searches.py": 560,
    "test_conformance.py": 410,
    "test_scored_on.py": 230,
    "test_shared_study.py": 190,
    "test_testbed.py": 150,
    "test_several_nodes.py": 140,
    "test_report_page.py": 140,
    "test_resume_code.py": 120,
    "test_*_method.py": 100,
    "test_jacobian_ode_rollout.py": 90,
    "test_sync.py": 90,
    "test_rerun_process.py": 90,
    "test_report.py": 90,
    "test_tracker*.py": 80,
    "test_check_models.py": 80,
    "test_samplers.py": 80,
    "test_launch.py": 70,
    "test_command_line.py": 70,
    "test_*_solvers.py": 60,
    "test_pages.py": 60,
    "test_actor.py": 60,
}
"""Seconds of the files that take longest, by pattern, for a machine on which none has been timed yet."""
SHORT = 10
"""Seconds of any other file there."""
COMPUTING = ("tests/trainables/", "tests/analysis/")
"""Where files lie that compute; the others mostly wait, for searches in processes of their own."""
GROWTH = Growth()
SECONDS = "swell/seconds"
"""In pytest's cache: how long each file took when it was last run."""


class Stopwatch:
    """Times every file: each is run by one process, and what comes last keeps one core busy alone."""

    def __init__(self, config):
        self._config = config
        self._seconds = {}

    def pytest_runtest_logreport(self, report):
        file = report.nodeid.split("::")[0]
        self._seconds[file] = self._seconds.get(file, 0.0) + report.duration

    def pytest_sessionfinish(self):
        if (cache := getattr(self._config, "cache", None)) is None:  # switched off by -p no:cacheprovider
            return
        before = cache.get(SECONDS, {})
        # A run of a few tests of a file says little of the whole file.
        longest = {file: max(seconds, 0.8 * before.get(file, 0.0)) for file, seconds in self._seconds.items()}
        cache.set(SECONDS, before | {file: round(seconds, 1) for file, seconds in longest.items()})


def pytest_configure(config):
    """Time the files in the process that hears of all tests, whether it runs them or others do."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Stopwatch(config), "stopwatch")


def pytest_collection_modifyitems(config, items):
    """Put the longest files first; of those that compute and those that wait, each kind at an even pace.

    Searches of several files at once leave the cores idle again and again, and files that compute share two cores.
    """
    cache = getattr(config, "cache", None)
    timed = cache.get(SECONDS, {}) if cache is not None else {}

    def length(item):
        guessed = next((seconds for name, seconds in LONGEST.items() if item.path.match(name)), SHORT)
        return max(timed.get(_file(item), guessed), 0.1)

    lengths = {_file(item): length(item) for item in items}
    places = {}
    for computes in (True, False):
        files = [file for file in lengths if file.startswith(COMPUTING) == computes]
        whole, before = sum(map(lengths.get, files)), 0.0
        for file in sorted(files, key=lengths.get, reverse=True):
            places[file] = (before / whole, -lengths[file])
            before += lengths[file]
    items.sort(key=lambda item: places[_file(item)])


def _file(item):
    return item.nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Have a file run by one process, but the methods of the conformance tests each by one: they share nothing."""
    from xdist.scheduler.loadfile import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            method = re.search(r"::test_method_conforms\[(\w+)-", nodeid)
            return super()._split_scope(nodeid) + (f"[{method[1]}]" if method else "")

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Forget what a file's tests have compiled once its last test is over, fixtures and all, or when it is too much."""
    yield
    is_last = nextitem is None or nextitem.path != item.path
    if GROWTH.exceeds(WORTH_MB if is_last else LARGE_MB):
        GROWTH.forget(item.module if is_last else None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep data sets and compiled programs of the tests out of the user's cache, and share them between tests."""
    os.environ["SWELL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _own_scratch():
    """Give the process a scratch: searches that share one share its CPUs, and would refuse to start beside others'."""
    folder = tempfile.mkdtemp(prefix="swt", dir="/tmp")  # short: Ray's sockets lie below it
    os.environ["SWELL_SCRATCH"] = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def searches(tmp_path, monkeypatch):
    """Return a root for searches, set as `$SWELL_ROOT`."""
    root = tmp_path / "searches"
    monkeypatch.setenv("SWELL_ROOT", str(root))
    return root


@pytest.fixture
def make_search(tmp_path, searches):
    """Return a function that makes a search directory of ripple; its arguments replace parts of the spec."""
    from tests.searching import Search, make_spec

    return lambda **parts: Search(make_spec(**parts), tmp_path)
