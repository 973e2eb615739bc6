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


LONGEST = (
    "test_bundle.py",
    "test_chaos_faults.py",
    "test_search_runs.py",
    "test_searches.py",
    "test_rerun_process.py",
    "test_chaos_kills.py",
    "test_several_nodes.py",
    "test_scored_on.py",
    "test_shared_study.py",
    "test_*_method.py",
    "test_report*.py",
    "test_code.py",
    "test_testbed.py",
    "test_conformance.py",
    "test_method_figures.py",
    "test_sync.py",
    "test_pages.py",
    "test_command_line.py",
)
"""Of the files, by pattern, those that take longest, for a machine on which none has been timed yet."""
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
    """Put the longest files first."""
    cache = getattr(config, "cache", None)
    seconds = cache.get(SECONDS, {}) if cache is not None else {}

    def length(item):
        place = next((place for place, name in enumerate(LONGEST) if item.path.match(name)), None)
        guessed = 600.0 - place if place is not None else 0.0
        return seconds.get(item.nodeid.split("::")[0], guessed)

    items.sort(key=length, reverse=True)


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
