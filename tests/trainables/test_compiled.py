"""Programs that are compiled once: by one process of a node at a time, and for all values that a search varies."""

import fcntl
import math
import subprocess
import sys
import threading
import time

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from cluster.study.configurations import searched_branches
from search_spaces.spec import Spec
from trainables._shared import compiled
from trainables._shared.choice import choices
from trainables._shared.compiled import NUM_LOCKS, Busy, Compiled
from trainables._shared.config import branch_fields, branches_of, structural_key
from trainables._shared.program import Program, ProgramCache
from trainables.two_body.config import HEAD_GROUPS, Config
from trainables.two_body.heads import HEADS
from trainables.two_body.method import method

HEAD_NAMES = ["mlp_4D_signed", "mlp_4D_softplus", "mlp_rtn", "mlp_cartesian"]


class Doubling(Compiled):
    """A function to compile."""

    def double(self, x):
        return 2 * x

    def triple(self, x):
        return 3 * x


@pytest.fixture
def locks(tmp_path):
    """The lock files of a persistent cache, taken by somebody else."""
    folder = tmp_path / "cache-locks"
    folder.mkdir()
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "cache"))
    files = [(folder / f"{number:02}").open("w") for number in range(NUM_LOCKS)]
    yield files
    for file in files:
        file.close()
    jax.config.update("jax_compilation_cache_dir", before)


def test_who_finds_another_process_compiling_waits_or_says_so(locks):
    for file in locks:
        fcntl.flock(file, fcntl.LOCK_EX)
    functions = Doubling("doubling")
    with pytest.raises(Busy):
        functions.compile("double", 1.0, wait=False)
    assert not functions.has("double", 1.0)
    for file in locks:
        fcntl.flock(file, fcntl.LOCK_UN)
    functions.compile("double", 1.0, wait=False)
    assert functions.run("double", 1.5) == 3.0
    assert functions.compilations == 1


PATIENCE_S = 300.0
"""How long a thread may take that has nothing left to wait for."""
HOLDS = """
import fcntl, sys
files = [open(name, "w") for name in sys.argv[1:]]
for file in files:
    fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(locks):
    """A process that holds every lock until its end."""
    names = [file.name for file in locks]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def _waiting(functions):
    thread = threading.Thread(target=functions.compile, args=("double", 1.0), daemon=True)
    thread.start()
    return thread


def test_who_waits_for_a_process_that_dies_goes_on(holder, monkeypatch):
    monkeypatch.setattr(compiled, "PATIENCE_S", math.inf)
    functions = Doubling("doubling")
    thread = _waiting(functions)
    thread.join(1.0)
    assert not functions.has("double", 1.0)
    holder.kill()
    thread.join(PATIENCE_S)
    assert functions.has("double", 1.0)


def test_who_has_waited_long_enough_for_a_process_that_lives_compiles_without_it(holder, monkeypatch):
    assert compiled.PATIENCE_S == 60
    monkeypatch.setattr(compiled, "PATIENCE_S", 1.0)
    functions, start = Doubling("doubling"), time.monotonic()
    _waiting(functions).join(PATIENCE_S)
    assert functions.has("double", 1.0)
    assert time.monotonic() - start >= 1.0
    assert functions.run("double", 1.5) == 3.0
    assert functions.compile_s < time.monotonic() - start - 0.9  # waiting is none of it
    assert holder.poll() is None
    with pytest.raises(Busy):
        Doubling("doubling").compile("double", 1.0, wait=False)


def test_a_cache_that_cannot_be_locked_is_no_obstacle(tmp_path):
    (tmp_path / "cache-locks").write_text("no folder")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "cache"))
    try:
        assert Doubling("doubling").run("double", 2.0) == 4.0
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_an_entry_of_the_cache_that_is_only_half_there_is_compiled_anew(tmp_path):
    folder, before = tmp_path / "cache", jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(folder))
    compilation_cache.reset_cache()
    try:
        assert Doubling("whole").run("triple", 2.0) == 6.0
        entries = list(folder.glob("*-cache"))
        assert entries
        for entry in entries:
            entry.write_bytes(entry.read_bytes()[:-20])
        jax.clear_caches()
        assert Doubling("half").run("triple", 2.0) == 6.0
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()


class Scripted(Compiled):
    """Functions of which some are being compiled by others for a while."""

    def __init__(self, busy):
        super().__init__("scripted")
        self.busy, self.done = busy, []

    def compile(self, name, *args, wait=True):
        if self.has(name):
            return
        if not wait and self.busy.get(name, 0) > 0:
            self.busy[name] -= 1
            raise Busy
        self.done.append((name, wait))

    def has(self, name, *args):
        return any(name == done for done, _ in self.done)


@pytest.mark.parametrize(
    ("busy", "expected"),
    [
        ({}, [("chunk", False), ("validate", False)]),
        ({"chunk": 1}, [("validate", False), ("predict", False), ("chunk", False)]),
        ({"chunk": 9}, [("validate", False), ("predict", False), ("chunk", True)]),
        ({"chunk": 9, "predict": 9}, [("validate", False), ("chunk", True)]),
    ],
)
def test_while_others_compile_what_is_needed_now_what_comes_later_is_compiled(busy, expected):
    program = Program(method, Config(width=4, depth=1))
    scripted = Scripted(dict(busy))
    program._owner = lambda call: scripted
    program.prepare([("chunk",), ("validate",)], [("predict",)])
    assert scripted.done == expected


FUNCTIONS = {"tanh": lambda x: x + 1, "leaky_relu": lambda x: 2 * x, "silu": lambda x: -x}


@pytest.mark.parametrize("together", [["tanh"], ["leaky_relu", "silu", "tanh"]])
def test_a_choice_gives_what_its_value_does_alone_or_among_others_which_compile_nothing_more(together):
    branches = branches_of(Config(), {"activation": together})

    @jax.jit
    def applied(choice, x):
        results = {name: function(x) for name, function in FUNCTIONS.items()}
        return choice.switch(FUNCTIONS, x), choice.select(results), choice.is_in(["silu", "tanh"])

    for name in together:
        fields = {} if len(together) == 1 else branches
        choice = choices(Config(activation=name), fields)["activation"]
        switched, selected, among = applied(choice, 3.0)
        assert (float(switched), float(selected)) == (float(FUNCTIONS[name](3.0)),) * 2
        assert bool(among) is (name != "leaky_relu")
    assert applied._cache_size() == 1


def test_branches_are_the_values_that_a_search_gives_and_that_have_equal_arrays():
    assert [{HEADS[name][0] for name in group} for group in HEAD_GROUPS] == [{3}, {4}, {6}]
    assert {name for group in HEAD_GROUPS for name in group} == set(HEADS)
    assert branches_of(Config(), {}) == {}
    assert branches_of(Config(), {"head": [Config().head], "width": [8, 16]}) == {}
    both = {"head": HEAD_NAMES, "activation": ["tanh", "leaky_relu"]}
    four = branches_of(Config(head="mlp_4D_softplus", activation="tanh"), both)
    assert four == {"head": ("mlp_4D_signed", "mlp_4D_softplus"), "activation": ("leaky_relu", "tanh")}
    assert branches_of(Config(head="mlp_rtn"), both)["head"] == ("mlp_cartesian", "mlp_rtn")
    keys = {structural_key(Config(head=head), branches_of(Config(head=head), both)) for head in HEAD_NAMES}
    assert len(keys) == 2
    assert set(branch_fields(Config)) == {"head", "activation"}


def test_programs_are_shared_by_what_a_search_varies_and_evaluations_by_what_only_training_reads():
    programs, searched = ProgramCache(), {"activation": ["tanh", Config().activation]}
    small = {"width": 4, "depth": 1}

    def program(searched=searched, **fields):
        return programs.get(method, Config(**small, **fields), searched=searched)

    first = program(activation="tanh")
    assert program(activation=Config().activation, dataset="complex_TBP_planar_1_train", steps=7) is first
    assert program(activation="tanh", searched={}) is not first
    assert program(dataset="complex_TBP_3D_10_train") is not first
    other = program(segment_length=4, loss="mse")
    assert other is not first
    assert other.evaluation is first.evaluation
    assert program(solver="adaptive", segment_length=4).evaluation is not program(solver="adaptive").evaluation


def test_a_search_says_which_values_its_fields_get():
    space = {
        "head": ["mlp_4D_signed", "mlp_4D_softplus"],
        "activation": {"choices": ["tanh", "gelu"], "when": {"head": "mlp_4D_signed"}},
        "width": [8, 16],
    }
    values = {"name": "s", "trainable": "two_body", "objective": {"metric": "val_accel_error_pct"}, "space": space}
    spec = Spec.model_validate({**values, "sampler": {"name": "grid"}})
    found = {"head": ["mlp_4D_signed", "mlp_4D_softplus"], "activation": ["tanh", "gelu", Config().activation]}
    assert searched_branches(spec, Config) == found
