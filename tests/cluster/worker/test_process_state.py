"""What a trial changes of its process, and that the next one finds it as it was; in this very process."""

import gc
import locale
import logging
import os
import random
import resource
import signal
import sys
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cluster.worker.process_state import PARTS, ProcessState, jax_settings, seed_global_generators


def lower_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


CHANGES = {
    "working directory": lambda: os.chdir("/"),
    "umask": lambda: os.umask(0o123),
    "environment": lambda: (os.environ.update(NEW="1", PATH="/nowhere"), os.environ.pop("HOME", None)),
    "import path": lambda: sys.path.insert(0, "/nowhere"),
    "warning filters": lambda: warnings.simplefilter("ignore"),
    "standard streams and hooks": lambda: (setattr(sys, "stdout", None), setattr(sys, "excepthook", print)),
    "signal handlers": lambda: (signal.signal(signal.SIGTERM, signal.SIG_IGN), signal.signal(signal.SIGUSR1, print)),
    "timers": lambda: signal.setitimer(signal.ITIMER_REAL, 3600),
    "logging": lambda: (logging.root.setLevel(3), logging.disable(40), logging.root.addHandler(logging.NullHandler())),
    "resource limits": lower_limit,
    "CPU affinity": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C" if "UTF" in locale.setlocale(locale.LC_ALL) else "C.UTF-8"),
    "recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 7),
    "tracing and garbage collection": lambda: (gc.disable(), sys.setprofile(lambda *_: None)),
    "NumPy's error handling": lambda: (np.seterr(all="raise"), np.set_printoptions(precision=2)),
    "JAX's settings": lambda: (
        jax.config.update("jax_enable_x64", True),
        jax.config.update("jax_default_matmul_precision", "highest"),
        jax.config.update("jax_debug_nans", True),
    ),
}


def test_every_part_is_changed_below():
    assert [part.name for part in PARTS] == list(CHANGES)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_what_a_trial_changes_is_put_back(part):
    state, before = ProcessState(), part.read()
    CHANGES[part.name]()
    changed = part.read() != before
    reason = state.restore()
    assert (reason, part.read()) == ("", before)
    assert changed or part.name == "CPU affinity"  # a machine of one CPU


def test_what_cannot_be_put_back_is_named():
    state = ProcessState()
    scope = jax.enable_x64(not jax.config.jax_enable_x64)  # of this thread, and nobody's to end
    scope.__enter__()
    try:
        assert state.restore() == "its JAX's settings cannot be put back"
    finally:
        scope.__exit__(None, None, None)
    assert state.restore() == ""


def test_a_thread_that_still_runs_the_users_code_is_named():
    state, over = ProcessState(), threading.Event()
    thread = threading.Thread(target=lambda: over.wait(), name="left")
    thread.start()
    try:
        assert state.restore() == "thread left of the user's code still runs in it"
    finally:
        over.set()
        thread.join()
    assert state.restore() == ""


def test_a_setting_that_a_module_may_have_made_at_its_import_is_not_guessed_at(tmp_path, monkeypatch):
    (tmp_path / "settings_at_import.py").write_text("import sys\nsys.setrecursionlimit(sys.getrecursionlimit() + 9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    before, state = sys.getrecursionlimit(), ProcessState()
    __import__("settings_at_import")
    assert state.restore() == "its recursion limit had changed when settings_at_import was imported within a trial"
    assert sys.getrecursionlimit() == before
    monkeypatch.delitem(sys.modules, "settings_at_import")
    assert state.restore() == ""


def test_global_random_numbers_are_those_of_the_seed():
    drawn = []
    for seed in (3, 3, 4):
        seed_global_generators(seed)
        drawn.append((random.random(), np.random.random()))
    assert drawn[0] == drawn[1] != drawn[2]


def test_settings_are_those_that_programs_are_compiled_under():
    before = jax_settings()
    with jax.enable_x64(True):
        assert jax_settings()["jax_enable_x64"] is True
        assert jnp.ones(()).dtype == np.float64
    assert jax_settings() == before
