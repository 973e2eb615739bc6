"""`make bench`: its parts exist, its contenders get the same configurations, and all that they start is counted."""

import argparse
import dataclasses
import importlib.util
import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis.search import Factor, Objective, Search
from benchmarks import bench, gru_dynamics, in_turn, jacobian_ode_rivals, settings, sweep
from benchmarks.rivals.contenders import CONTENDERS, Lines, environment_in, told_in
from benchmarks.rivals.measured import Measured, Seen, Told
from benchmarks.rivals.task import METRIC, TASK, Task, make_task, note, spec_values
from cluster.state.paths import SearchPaths
from cluster.study.study import SearchStudy
from search_spaces.spec import load_spec
from tests.conftest import ROOT
from trainables._shared import extras
from trainables._shared.discovery import load_config_type
from trainables._shared.model_file import read_model_file
from trainables._shared.program import ProgramCache
from trainables.jacobian_ode.method import JacobianODE


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("rivals") / "rivals.yaml"
    file.write_text(yaml.safe_dump(spec_values(6, 300, stops_early=True), sort_keys=False))
    return file


@pytest.fixture(scope="module")
def task(spec_file):
    return make_task(spec_file, spec_file.parent / "reports.jsonl", 300, stops_early=True)


def test_every_part_is_a_module_that_exists():
    commands = [command for part in bench.PARTS.values() for command in (part.reduced, part.full) if command]
    modules = {shlex.split(command)[0] for command in commands}
    modules |= {contender.module for contender in CONTENDERS.values() if contender.module}
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    assert missing == []
    assert importlib.util.find_spec("benchmarks.rivals.__main__")


class ParsedError(Exception):
    """A command's options are ones that it has."""


def documented():
    """Return the commands that the docs give for benchmarks, each once."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [line for file in files for line in re.findall(r"python -m (benchmarks\.[^`\n|]*)", file.read_text())]
    return sorted({line.partition(" > ")[0].strip() for line in found})


@pytest.fixture
def parse_only(monkeypatch):
    """Return what runs a command until its options are read."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(parser, *arguments):
        parse(parser, *arguments)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)

    def run(command):
        module, *options = shlex.split(command, comments=True)
        name = f"{module}.__main__" if module == "benchmarks.rivals" else module
        monkeypatch.setattr(sys, "argv", [module, *options])
        with pytest.raises(ParsedError):
            importlib.import_module(name).main()

    return run


@pytest.mark.parametrize("part", bench.PARTS.values(), ids=bench.PARTS)
def test_the_options_of_every_part_are_its_commands(part, parse_only):
    for command in filter(None, (part.reduced, part.full)):
        parse_only(command)


@pytest.mark.parametrize("command", documented())
def test_the_docs_commands_have_options_that_there_are(command, parse_only):
    parse_only(command)


def test_swell_asks_the_configurations_that_its_rivals_are_given(spec_file, task, tmp_path):
    spec = load_spec(spec_file).spec
    paths = SearchPaths(tmp_path / "search")
    paths.make_folders()
    study = SearchStudy(paths, spec, load_config_type(spec.trainable))
    asked = [study.ask() for _ in range(len(task.configs))]
    assert tuple(assignment.config for assignment in asked) == task.configs
    assert study.ask() is None


def test_the_configurations_differ_and_are_the_same_however_trials_stop(task, tmp_path):
    assert len({json.dumps(config, sort_keys=True) for config in task.configs}) == 6
    assert {config["segment_length"] for config in task.configs} == {18}
    assert {config["steps"] for config in task.configs} == {300}
    file = tmp_path / "rivals.yaml"
    file.write_text(yaml.safe_dump(spec_values(6, 300, stops_early=False)))
    assert make_task(file, tmp_path / "reports.jsonl", 300, stops_early=False).configs == task.configs


def test_a_process_reads_the_task_that_was_written(task, tmp_path, monkeypatch):
    task.write(tmp_path / "task.json")
    monkeypatch.setenv(TASK, str(tmp_path / "task.json"))
    assert Task.given() == task


def test_a_contender_inherits_no_cache_of_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    monkeypatch.setenv("SWELL_CACHE", "/elsewhere")
    plain = environment_in(tmp_path, keeps_programs=False)
    assert "JAX_COMPILATION_CACHE_DIR" not in plain
    assert "/elsewhere" not in {*plain.values(), *environment_in(tmp_path, keeps_programs=True).values()}


def test_reports_are_read_once_and_whole(tmp_path):
    file = tmp_path / "reports.jsonl"
    lines = Lines(lambda: [file])
    assert lines.new() == []
    note(file, 3, 50, 12.5)
    with file.open("a") as torn:
        torn.write("[4, 5")
    assert lines.new() == [[3, 50, 12.5]]
    with file.open("a") as torn:
        torn.write("0, 1.0]\n")
    assert lines.new() == [[4, 50, 1.0]]


def test_results_in_a_history_are_no_reports(tmp_path):
    file = tmp_path / "wave-00001.jsonl"
    entries = [{"trial": 1, "step": 50, "metrics": {METRIC: 9.0}}, {"trial": 1, "tests": {}}]
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert told_in(Lines(lambda: [file])) == [Told(1, 50, 9.0)]


def test_steps_and_core_seconds_to_an_error():
    told = [Told(0, 50, 30.0), Told(1, 50, 12.0), Told(0, 100, 8.0), Told(1, 100, 9.0)]
    measured = Measured(seen=[Seen(one, float(place), 10.0 * place) for place, one in enumerate(told)])
    assert (measured.trials, measured.steps, measured.best) == (2, 200, 8.0)
    assert measured.core_s_to(12.0) == 10.0
    assert measured.core_s_to(1.0) is None


# A daemon that burns some CPU after its parent has gone, and leaves a file.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        while time.process_time() < 0.5: pass
        open("left.txt", "w").close()
    os._exit(0)
os.wait()
"""


def test_a_daemon_that_lost_its_parent_is_counted_and_waited_for(tmp_path):
    code = f"""
import os, sys
from pathlib import Path
from benchmarks.rivals.measured import run
measured = run([sys.executable, "-c", {DAEMON!r}], Path({str(tmp_path / "left")!r}), os.environ, lambda: [])
print(measured.status, measured.core_s >= 0.5, measured.files)
"""
    (tmp_path / "left").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "True", "1"], done.stderr


def test_an_interrupted_benchmark_leaves_nothing_running(tmp_path):
    code = f"""
import os, sys
from pathlib import Path
import psutil
from benchmarks.rivals.measured import run
def interrupt():
    raise KeyboardInterrupt
try:
    run([sys.executable, "-c", "import time; time.sleep(60)"], Path({str(tmp_path / "left")!r}), os.environ, interrupt)
except KeyboardInterrupt:
    print(psutil.Process().children())
"""
    (tmp_path / "left").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_part_of_the_sweep_is_a_valid_spec_with_fewer_steps(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep.values_of(12, 0.1, stops_early=True), sort_keys=False))
    spec = load_spec(file).spec
    assert spec.budget.trials == 12
    assert [phase["steps"] for phase in spec.base["curriculum"]] == [100, 100, 100]
    assert spec.early_stopping.grace_steps == 30


def test_the_report_says_what_failed_and_goes_on(tmp_path, monkeypatch):
    failing = bench.Part("Failing", "benchmarks.sweep --no-such-option", "")
    monkeypatch.setattr(bench, "PARTS", {"one": failing, "two": failing})
    with (tmp_path / "bench.md").open("w") as out:
        assert bench.write_report(out, ["one", "two"], full=False) == ["one", "two"]
    text = (tmp_path / "bench.md").read_text()
    assert text.count("This command ended with status 2.") == 2
    assert "Machine: " in text
    assert "Command: `make bench`" in text
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "two", "--out", str(tmp_path / "again.md")])
    with pytest.raises(SystemExit, match="failed, as the report says: two"):
        bench.main()


def test_a_training_that_ends_early_is_said_and_no_number(tmp_path, capfd):
    with pytest.raises(ChildProcessError, match="ended with status 1, as it says above"):
        in_turn.Side("two_body", {"head": "none such"}, tmp_path)
    assert "none such" in capfd.readouterr().err


# -- jacobian_ode: winners of equal searches


def rivals(*rows):
    """A search whose trials have these values, in order."""
    names = (
        "noise",
        "model",
        "learning_rate",
        "outcome",
        "feasible",
        "val_noisy_free_running_mse",
        "val_free_running_mse",
    )
    trials = pd.DataFrame([dict(zip(names, row, strict=True)) | {"trial": number} for number, row in enumerate(rows)])
    factors = tuple(Factor(name, levels=()) for name in names[:3])
    configs = [{"noise": row[0], "model": row[1], "learning_rate": row[2], "validation": "noisy"} for row in rows]
    return Search("pairs", trials, factors, (Objective("val_free_running_mse"),), read_config=configs.__getitem__)


def test_each_model_and_noise_has_a_feasible_winner_by_either_error(capsys):
    search = rivals(
        (0.1, "jacobian", 1e-3, "completed", True, 2.0, 0.1),
        (0.1, "jacobian", 3e-3, "completed", True, 1.0, 0.2),
        (0.1, "jacobian", 1e-2, "completed", False, 0.5, 0.05),
        (0.1, "neural_ode", 1e-3, "diverged", False, 0.1, 0.01),
        (0.1, "neural_ode", 3e-3, "completed", True, 3.0, 0.3),
        (0.2, "neural_ode", 3e-3, "completed", False, 3.0, 0.3),
    )
    found = jacobian_ode_rivals.winners([search], ["noisy", "clean"])
    assert [(one.noise, one.selection, one.model, one.fields["learning_rate"]) for one in found] == [
        (0.1, "noisy", "jacobian", 3e-3),
        (0.1, "clean", "jacobian", 1e-3),
        (0.1, "noisy", "neural_ode", 3e-3),
        (0.1, "clean", "neural_ode", 3e-3),
    ]
    assert [one.fields["validation"] for one in found] == ["noisy", "clean"] * 2
    assert (found[0].feasible, found[0].of, found[0].setting) == (2, 3, "learning_rate 0.003")
    assert "at noise 0.2 no neural ODE of 1 is feasible" in capsys.readouterr().out


def test_several_searches_of_one_system_have_one_winner_and_it_says_where_they_differ():
    narrow = rivals((0.1, "jacobian", 1e-3, "completed", True, 2.0, 0.1))
    wide = rivals((0.1, "jacobian", 1e-3, "completed", True, 1.0, 0.2))
    assert narrow.read_config is not None
    configs = [{**narrow.read_config(0), "hidden": hidden} for hidden in ([64, 64], [128, 128])]
    both = [
        dataclasses.replace(search, read_config=[config].__getitem__)
        for search, config in zip((narrow, wide), configs, strict=True)
    ]
    found = jacobian_ode_rivals.winners(both, ["noisy", "clean"])
    assert [(one.of, one.setting) for one in found] == [(2, "hidden 128 x 128"), (2, "hidden 64 x 64")]


def test_the_anchors_of_a_learned_jacobian_are_models_of_their_own_if_both_were_searched():
    rows = [(0.1, "jacobian", 1e-3, "completed", True, value, 0.1) for value in (1.0, 2.0)]
    search = rivals(*rows, (0.1, "neural_ode", 1e-3, "completed", True, 3.0, 0.3))
    search.trials["anchor"] = ["window", "learned", None]
    assert [one.model for one in jacobian_ode_rivals.winners([search], ["noisy"])] == ["jacobian", "neural_ode"]
    both = dataclasses.replace(search, factors=(*search.factors, Factor("anchor", levels=())))
    found = jacobian_ode_rivals.winners([both], ["noisy"])
    assert [(one.model, one.of) for one in found] == [("learned", 1), ("neural_ode", 1), ("window", 1)]


def test_a_winner_is_trained_on_its_own_data_and_on_others():
    (winner, _) = jacobian_ode_rivals.winners(
        [rivals((0.1, "jacobian", 1e-3, "completed", True, 2.0, 0.1))], ["noisy", "clean"]
    )
    runs = [(kind, of["seed"], of["data_seed"]) for kind, of in jacobian_ode_rivals.runs_of(winner, 3)]
    assert runs == [("seed", 0, 0), ("seed", 1, 0), ("seed", 2, 0), ("data", 1, 1), ("data", 2, 2)]
    errors = {"test_frobenius_error_pct": 20.0, "test_lyapunov_1": 0.8, "test_lyapunov_1_exact": 0.88}
    errors |= {"test_free_lyapunov_1": 0.9, "val_free_running_mse": 1e-3}
    found = [("seed", errors), ("seed", errors | {"test_frobenius_error_pct": 24.0}), ("data", {})]
    cells = [cell.strip() for cell in jacobian_ode_rivals.row(winner, found, 18.0).strip("|").split("|")]
    assert len(cells) == len(jacobian_ode_rivals.HEAD)
    assert cells[0] == "10 %"
    assert cells[5] == "22 (20 to 24)"
    assert cells[6] == "18"
    assert cells[7] == "0 of 1 finite"
    assert cells[8] == "0.80 (0.80 to 0.80) (0.88)"


def test_errors_that_cancel_are_not_in_the_mean_of_several_jacobians():
    exact = np.broadcast_to(np.eye(2), (1, 3, 2, 2))
    found = [{"exact": exact, "learned": exact + 0.5}, {"exact": exact, "learned": exact - 0.25}]
    assert jacobian_ode_rivals.error_of_mean(found[:1]) == pytest.approx(100 * 1.0 / 2**0.5)
    assert jacobian_ode_rivals.error_of_mean(found) == pytest.approx(100 * 0.25 / 2**0.5)


@pytest.mark.slow
def test_the_jacobian_that_is_kept_of_a_training_is_the_one_that_was_tested(tmp_path):
    fields = JacobianODE().smoke().model_dump(mode="json")
    metrics = jacobian_ode_rivals.trained(fields, ProgramCache(), tmp_path, tmp_path / "kept.npz")
    with np.load(tmp_path / "kept.npz") as arrays:
        assert arrays["learned"].shape == arrays["exact"].shape
        error = jacobian_ode_rivals.error_of_mean([dict(arrays)])
    assert error == pytest.approx(metrics["test_frobenius_error_pct"], rel=1e-4)


WRONG_SETTINGS = {
    "meanflow_ik --set widht=3": ["widht = 3", "unknown key", "did you mean 'width'?"],
    "meanflow_ik --set width=wide": ["width = 'wide'", "must be a whole number"],
    "meanflow_ik --set warmup_steps=few": ["warmup_steps = 'few'", "must be a whole number"],
    "meanflow_ik --set width=0": ["width = 0", "must be at least 1"],
    "meanflow_ik --set steps=0": ["steps = 0", "is not taken from --set", "--steps or --seconds"],
    "meanflow_ik --set seed=1": ["seed = 1", "--seeds"],
    "meanflow_ik --objectives best": ["objective = 'best'", "flow_matching"],
    "meanflow_ik --set width": ["--set = 'width'", "Allowed: FIELD=VALUE"],
    "meanflow_ik --set width=[1": ["width = '[1'", "not valid YAML"],
    "gru_dynamics --set loss_space=deltas": ["loss_space = 'deltas'", "Allowed: delta, state", "did you mean 'delta'?"],
    "gru_dynamics --set history=1 --set history=4": ["history", "1 and 4"],
    "gru_dynamics --set data_seed=1": ["data_seed = 1", "--data-seeds"],
    "gru_dynamics --set horizons=[1,9] shares=[1]": ["shares = [1", "there are 2 horizons"],
    "halo_emulator --set members=0": ["members = 0", "must be at least 1"],
    "halo_emulator --set seed=1": ["seed = 1", "--seeds"],
    "step_speed --method latent_ode --settings solver=euler9 solver=mesh": ["solver = 'euler9'", "mesh"],
    "step_speed --method latent_ode --settings solver solver=mesh": ["--settings = 'solver'", "FIELD=VALUE"],
    "step_speed --method latent_ode --settings solver=mesh solver=tsit5 --case own widht=3": ["widht = 3", "width"],
    "step_speed --method latent --settings width=1 width=2": ["'latent'"],
    "recoveries --heads round": ["head = 'round'", "mlp_cartesian"],
    "latent_ode --farthest none.npz": ["none.npz"],
    "jacobian_ode_rivals none-such": ["none-such"],
}
"""Commands that ask for what there is not, and what the message has."""


@pytest.mark.parametrize("command", WRONG_SETTINGS)
def test_a_wrong_setting_ends_a_benchmark_with_one_message(command, tmp_path, monkeypatch, capsys):
    module, *options = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [module, *options])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{module}").main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert [piece for piece in WRONG_SETTINGS[command] if piece not in said] == []
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "package", "extra"), [("gru_dynamics", "mujoco", "mujoco"), ("halo_emulator", "colossus", "halo")]
)
def test_a_benchmark_that_lacks_a_package_says_how_to_install_it(module, package, extra, monkeypatch, capsys):
    monkeypatch.setattr(extras, "is_installed", lambda name: name != package)
    monkeypatch.setattr(sys, "argv", [module])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{module}").main()
    assert ended.value.code == 2
    said = f"needs {package}, which is not installed: pip install 'swell[{extra}]'\n"
    assert capsys.readouterr().err.endswith(said)


def test_a_model_that_is_wanted_is_trained_again_if_only_its_figures_are_kept(tmp_path, monkeypatch):
    sizes = ["num_trajectories=10", "samples=15", "history=1", "hidden=2", "horizons=[1]", "steps=2", "report_every=2"]
    keep, model = tmp_path / "keep.jsonl", tmp_path / "models" / "seed-0.npz"

    def run(*options):
        given = ["gru_dynamics", "--seeds", "0", "--rows", "--keep", str(keep), *options, "--set", *sizes]
        monkeypatch.setattr(sys, "argv", given)
        gru_dynamics.main()

    run()
    figures = keep.read_text()
    run("--save", str(model.parent))
    written = model.stat().st_mtime_ns
    run("--save", str(model.parent))
    assert model.stat().st_mtime_ns == written
    sizes[3] = "hidden=3"
    run("--save", str(model.parent))
    assert read_model_file(model).config["hidden"] == 3
    sizes[3] = "hidden=2"
    run("--save", str(model.parent))
    assert read_model_file(model).config["hidden"] == 2
    assert keep.read_text().startswith(figures)
    assert keep.read_text().count("\n") == 2


def test_settings_are_read_as_in_a_spec_at_once_or_one_by_one():
    parser = argparse.ArgumentParser()
    settings.add_set(parser, "the defaults")
    given = parser.parse_args(["--set", "a=1e-3", "b=[1,9]", "--set", "c=on", "d=true", "--set", "e=null", "f=x=y"]).set
    assert settings.values_of(given) == {"a": 1e-3, "b": [1, 9], "c": "on", "d": True, "e": None, "f": "x=y"}


def test_only_mistakes_of_the_user_are_told_without_a_traceback():
    @settings.tells_mistakes
    def faulty():
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        faulty()
