"""What a trial changes of its process, and that the next one finds it as it was; in this very process."""

import builtins
import decimal
import gc
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
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
    "tracing and garbage collection": lambda: (gc.disable(), gc.set_threshold(1), sys.setprofile(lambda *_: None)),
    "switch interval": lambda: sys.setswitchinterval(1),
    "threads' stack size": lambda: threading.stack_size(2**20),
    "longest number in digits": lambda: sys.set_int_max_str_digits(1000),
    "sockets' timeout": lambda: socket.setdefaulttimeout(0.25),
    "temporary folder": lambda: setattr(tempfile, "tempdir", "/nowhere"),
    "decimal arithmetic": lambda: (
        decimal.setcontext(decimal.ExtendedContext),
        setattr(decimal.DefaultContext, "prec", 2),
    ),
    "NumPy's error handling": lambda: (np.seterr(all="raise"), np.set_printoptions(precision=2), np.setbufsize(160)),
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


def test_the_time_zone_is_that_of_the_variables_again(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    state = ProcessState()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert state.restore() == ""
    assert time.localtime(0).tm_hour == 0


def test_a_switch_interval_of_any_length_is_put_back():
    before = sys.getswitchinterval()
    sys.setswitchinterval(249.5e-6)  # kept as 249 microseconds; from 249e-6 Python would make 248
    try:
        state, noted = ProcessState(), sys.getswitchinterval()
        sys.setswitchinterval(1)
        assert (state.restore(), sys.getswitchinterval()) == ("", noted)
    finally:
        sys.setswitchinterval(before)


def test_threads_have_the_stack_that_an_import_has_set_for_them():
    before = threading.stack_size(2**21)
    try:
        state = ProcessState()
        assert threading.stack_size(2**20) == 2**21
        assert state.restore() == ""
        assert threading.stack_size() == 2**21
    finally:
        threading.stack_size(before)


def test_a_decimal_context_of_the_methods_own_stays_as_it_is():
    state, own = ProcessState(), decimal.Context(prec=50)
    decimal.setcontext(own)
    assert (state.restore(), own.prec, decimal.getcontext().prec) == ("", 50, 28)


@pytest.mark.parametrize(
    ("module", "name"),
    [(jnp, "mean"), (np, "sum"), (np.linalg, "norm"), (jax, "vmap"), (random, "gauss"), (builtins, "max")],
)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_function_that_a_trial_replaced_is_put_back_and_the_worker_replaced(module, name, is_deleted, monkeypatch):
    state, before = ProcessState(), getattr(module, name)
    with monkeypatch.context() as patch:  # over before pytest itself needs the function
        if is_deleted:
            patch.delattr(module, name)
        else:
            patch.setattr(module, name, lambda *_, **__: 0)
        reason, now = state.restore(), getattr(module, name, None)
    assert now is before
    assert reason.startswith(f"its {module.__name__}.{name} had been replaced, which programs that were compiled then")
    assert state.restore() == ""


def test_a_function_that_no_program_has_in_it_is_put_back_alone(monkeypatch):
    state, before = ProcessState(), print
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "print", len)
        reason, now = state.restore(), print
    assert (reason, now) == ("", before)


def test_a_name_that_a_library_has_got_is_no_change(monkeypatch):
    state = ProcessState()
    monkeypatch.setattr(jax, "a_submodule_that_was_imported_late", 1, raising=False)
    monkeypatch.setattr(builtins, "_", "a result", raising=False)
    assert state.restore() == ""
    assert jax.a_submodule_that_was_imported_late == 1


def test_a_temporary_file_is_no_change_that_a_module_may_have_made(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "uses_temporary_files.py").write_text("import tempfile\ntempfile.gettempdir()\n")
    monkeypatch.syspath_prepend(tmp_path)
    state = ProcessState()
    __import__("uses_temporary_files")
    assert state.restore() == ""
    monkeypatch.delitem(sys.modules, "uses_temporary_files")


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
