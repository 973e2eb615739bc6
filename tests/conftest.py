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
# Compiling is most of what the tests do: programs are kept between runs, beside pytest's own cache.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


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
