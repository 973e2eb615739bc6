"""What all tests share: a node cache and a scratch of their own, and quiet, capped libraries."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("PJRT_NPROC", "1")
ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
from tests.databases import postgres, postgres_url  # noqa: E402, F401 - fixtures for all tests
from tests.memory import forget_programs, is_large  # noqa: E402

# Compiling is most of what the tests do: programs are compiled with little optimisation, which takes a fifth less (none
# at all would take half, but then those that train for long take three times as long), and kept between runs, beside
# pytest's own cache.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


FIRST = (
    "test_chaos.py",
    "test_chaos_kills.py",
    "test_searches.py",
    "test_search_runs.py",
    "test_shared_study.py",
    "test_conformance.py",
    "test_sync.py",
    "test_rerun.py",
    "test_two_body_method.py",
)
"""The longest files, each run by one process: what comes last keeps one core busy alone."""


def pytest_collection_modifyitems(items):
    """Put the longest files first."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Forget what a file's tests have compiled once its last test is over, fixtures and all, or when it is too much."""
    yield
    if nextitem is None or nextitem.path != item.path:
        forget_programs(item.module)
    elif is_large():
        forget_programs()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep data sets and compiled programs of the tests out of the user's cache, and share them between tests."""
    os.environ["SWELL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


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
