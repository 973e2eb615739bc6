"""Methods from W&B artifacts: the real client against a server of the tests, and what is done with what it fetched."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.best import export_best
from cluster.commands.check import check
from cluster.commands.rerun import create_rerun, require_method
from cluster.commands.search import create_search
from cluster.installation import own_folder
from cluster.machine.scratch import Scratch
from cluster.state.failures import worth_naming
from cluster.state.outcomes import Outcome
from cluster.state.paths import SearchPaths
from cluster.state.raised import from_text
from cluster.state.records import load_spec as spec_of
from cluster.state.records import load_trials, method_folders
from cluster.study.study import SearchStudy
from cluster.tracking.artifacts import ArtifactError, fetch_artifacts, fetch_code, make_private
from cluster.tracking.code import fetched_code, modules_in
from cluster.tracking.tracker_process import wandb_environment
from cluster.worker.environment import driver_environment
from search_spaces.errors import SpecError
from search_spaces.spec import load_spec
from tests.methods import alone
from tests.searching import make_spec, result
from tests.tracking import environment
from tests.wandb_server import KEY, wandb_server
from trainables._shared.artifact_names import folder_name
from trainables._shared.discovery import found_in, load_config_type

NAME = "wandb:lab/methods/mine:v0"
CONFIG = """
from typing import ClassVar

from trainables._shared.config import MethodConfig


class Config(MethodConfig):
    reported_metrics: ClassVar = {"val_error": "Distance."}
    steps: int = 3

    def num_steps(self):
        return self.steps
"""
SPEC = """\
name: try
trainable: own_methods.fit
code: wandb:lab/methods/mine:v0
objective: {metric: val_error}
space: {steps: [1, 2]}
sampler: {name: grid}
report: false
"""


@pytest.fixture(autouse=True)
def place(tmp_path, searches, monkeypatch):
    """A home, a cache and a scratch of the test's own; what it imports is forgotten afterwards."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SWELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path / "cwd")
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "own_methods"]:
        del sys.modules[name]


@pytest.fixture
def offline(monkeypatch):
    """No process asks W&B."""
    monkeypatch.setattr("cluster.tracking.code.fetch_into", lambda *_, **__: pytest.fail("W&B was asked"))
    monkeypatch.setattr("cluster.tracking.artifacts.fetch_into", lambda *_, **__: pytest.fail("W&B was asked"))


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def cached(tmp_path, name=NAME, **files):
    """Put an artifact where an earlier search has left it."""
    files = files or {"own_methods/__init__.py": "", "own_methods/fit.py": CONFIG}
    return write(tmp_path / "cache" / "code" / folder_name(name), files)


def spec_file(tmp_path, old="", new=""):
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC.replace(old, new))
    return file


def refused(file):
    with pytest.raises(SpecError) as error:
        check(load_spec(file))
    return str(error.value)


# -- before there is a search


def test_a_version_that_the_cache_has_is_checked_without_a_network(tmp_path, offline):
    folder = cached(tmp_path)
    report = check(load_spec(spec_file(tmp_path)))
    assert (report.code, report.spec.code, report.num_configurations) == (folder, NAME, 2)


def test_the_artifact_comes_after_all_that_is_installed_and_before_the_working_directory(tmp_path, offline):
    folder = cached(tmp_path)
    write(tmp_path / "cwd", {"own_methods/__init__.py": "", "own_methods/fit.py": "raise RuntimeError('wrong one')"})
    check(load_spec(spec_file(tmp_path)))
    installed = [sys.path.index(path) for path in sys.path if path.endswith("site-packages")]
    assert max([sys.path.index(str(own_folder())), *installed]) < sys.path.index(str(folder)) < sys.path.index("", 1)
    assert sys.modules["own_methods.fit"].__file__ == str(folder / "own_methods" / "fit.py")


def test_a_method_that_the_artifact_does_not_have_names_those_it_has(tmp_path, offline):
    cached(tmp_path)
    file = spec_file(tmp_path, "own_methods.fit", "own_methods.fti")
    assert refused(file) == (
        f"{file}:2: trainable = 'own_methods.fti': is not in {NAME}. Allowed: one of its modules: own_methods, "
        "own_methods.fit; did you mean 'own_methods.fit'?"
    )
    shutil.rmtree(tmp_path / "cache" / "code")
    cached(tmp_path, **{"README.md": "no code"})
    assert "is not in wandb:lab/methods/mine:v0. Allowed: an artifact with Python modules; it has none" in refused(file)


def test_a_package_with_the_name_of_one_of_ours_is_refused(tmp_path, offline):
    cached(tmp_path, **{"analysis/fit.py": CONFIG})
    said = refused(spec_file(tmp_path, "own_methods.fit", "analysis.fit"))
    assert f"which Python finds first: {own_folder() / 'analysis'}. Allowed: a package with a name of its own" in said


def test_modules_are_those_that_python_could_import(tmp_path):
    names = ["a/__init__.py", "a/b.py", "a/c/d.py", "a/not-one.py", "e.py", "a/data.csv", "__init__.py"]
    assert modules_in(write(tmp_path / "m", dict.fromkeys(names, ""))) == ["a", "a.b", "a.c.d", "e"]


# -- what is fetched


def artifact(**entries):
    """An artifact as the client gives it: contents by path, or a link's target, or a reference."""

    def download(root):
        for path, content in entries.items():
            if content.startswith("-> "):
                Path(root, path).symlink_to(content[3:])
            else:
                write(Path(root), {path: content})

    refs = {path: content if "://" in content else None for path, content in entries.items()}
    manifest = SimpleNamespace(entries={path: SimpleNamespace(ref=ref) for path, ref in refs.items()})
    found = SimpleNamespace(version="v3", manifest=manifest, download=download)
    return SimpleNamespace(artifact=lambda name: found)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"a.py": "1", "b.py": "-> /etc/passwd"}, "b.py is a link, and code must be plain files"),
        ({"a.py": "1", "b": "-> .."}, "b is a link"),
        ({"b.py": "-> a.py", "a.py": ""}, "b.py is a link"),
        ({"a.py": "file:///etc/passwd"}, r"it refers to a file elsewhere \(a.py\), and code must be files of its own"),
        ({"../a.py": "1"}, "it has a file that leads out of it"),
        ({"/tmp/swell-a.py": "1"}, "it has a file that leads out of it"),
    ],
)
def test_what_leads_out_of_an_artifact_is_refused_and_nothing_of_it_stays(tmp_path, entries, said):
    (tmp_path / "cache").mkdir()
    with pytest.raises(ArtifactError, match=f"wandb:lab/methods/mine:latest could not be fetched: {said}"):
        fetch_code(tmp_path / "cache", "wandb:lab/methods/mine:latest", artifact(**entries))
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_what_is_fetched_is_private_and_has_its_version(tmp_path):
    resolved = fetch_code(tmp_path, "wandb:lab/methods/mine:latest", artifact(**{"a/b/c.py": "1", "d.py": "2"}))
    assert resolved == "wandb:lab/methods/mine:v3"
    folder = tmp_path / folder_name(resolved)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert modes == {folder.name: 0o700, "a": 0o700, "b": 0o700, "c.py": 0o600, "d.py": 0o600}


def test_a_special_file_is_no_code(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a special file"):
        make_private(tmp_path)


# -- in a search


def make(tmp_path, **parts):
    source = tmp_path / "source.yaml"
    source.write_text("")
    fixed = {"trainable": "own_methods.fit", "code": NAME, "space": {"steps": [1, 2]}}
    return create_search(make_spec(**fixed | parts), source)


def test_a_search_has_a_private_copy_which_all_its_processes_import_from(tmp_path, offline):
    folder = cached(tmp_path)
    write(folder, {"own_methods/__pycache__/fit.cpython-311.pyc": "left by an import"})
    paths = make(tmp_path)
    copy = paths.artifacts / folder_name(NAME)
    assert spec_of(paths).code == NAME
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*.*")) == [
        "own_methods/__init__.py",
        "own_methods/fit.py",
    ]
    assert {path.stat().st_mode & 0o777 for path in (copy, copy / "own_methods", paths.artifacts)} == {0o700}
    assert method_folders(paths) == [copy, tmp_path / "cwd"]
    scratch = Scratch.create({})
    for told in (driver_environment(spec_of(paths), paths, scratch, "t", 1), wandb_environment(paths, scratch, "t")):
        assert told["PYTHONPATH"].split(os.pathsep)[0] == str(own_folder())
        assert told["SWELL_METHOD_FOLDERS"].split(os.pathsep) == [str(copy), str(tmp_path / "cwd")]


def test_a_link_in_the_cache_leaves_no_search(tmp_path, offline, searches):
    folder = cached(tmp_path)
    (folder / "own_methods" / "more.py").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match=r"cannot be used from .*: own_methods/more.py is a link"):
        make(tmp_path)
    assert list(searches.iterdir()) == []


def test_a_rerun_has_code_and_data_of_its_search_without_a_network(tmp_path, offline):
    cached(tmp_path)
    paths = make(tmp_path)
    data = "wandb:lab/orbits/leo:v3"
    write(paths.artifact(data), {"orbits.npz": "arrays"})
    study = SearchStudy(paths, spec_of(paths), load(paths))
    number = study.ask().number
    study.tell(number, Outcome.COMPLETED, result(val_error=1.0))
    shutil.rmtree(tmp_path / "cache" / "code")
    require_method("own_methods.fit", method_folders(paths))
    again = create_rerun(paths, spec_of(paths), load_trials(paths)[0])
    assert method_folders(again) == [again.artifact(NAME), tmp_path / "cwd"]
    assert (again.artifact(NAME) / "own_methods" / "fit.py").read_text() == CONFIG
    (tmp_path / "other").mkdir()
    other = SearchPaths(tmp_path / "other")
    fetch_artifacts(other, make_spec(base={"dataset": data}), origin=paths)
    assert (other.artifact(data) / "orbits.npz").read_text() == "arrays"


def test_a_crash_names_the_module_of_the_copy(tmp_path, offline):
    cached(tmp_path)
    paths = make(tmp_path)
    file = paths.artifact(NAME) / "own_methods" / "fit.py"
    text = f'Traceback (most recent call last):\n  File "{file}", line 7, in loss\n    1 / 0\nZeroDivisionError: no\n'
    assert worth_naming(from_text(text), method_folders(paths), "own_methods.fit") == "own_methods.fit:7 in loss"


def load(paths):
    with found_in(*method_folders(paths)):
        return load_config_type("own_methods.fit")


def test_the_best_trial_is_exported_with_its_code(tmp_path, offline):
    cached(tmp_path)
    paths = make(tmp_path)
    study = SearchStudy(paths, spec_of(paths), load(paths))
    study.tell(study.ask().number, Outcome.COMPLETED, result(val_error=1.0))
    for _ in range(2):  # the second time over the first
        exported = export_best(paths, tmp_path / "best")
    assert exported.files == ["config.yaml", "metrics.json", "code"]
    assert (tmp_path / "best" / "code" / "own_methods" / "fit.py").read_text() == CONFIG
    assert f"code: {NAME}\n" in (tmp_path / "best" / "config.yaml").read_text()


# -- with the real client


@pytest.fixture(scope="module")
def server():
    with wandb_server() as running:
        files = {"own_methods/__init__.py": b"", "own_methods/ripple.py": Path(alone.__file__).read_bytes()}
        running.artifacts["lab/methods/mine"] = [{"own_methods/old.py": b""}, files]
        yield running


@pytest.fixture
def logged_in(server, monkeypatch):
    server.downloads.clear()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    return server


@pytest.mark.slow
def test_searches_that_start_together_fetch_once_and_get_the_version_of_an_alias(logged_in, tmp_path):
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(fetched_code, ["wandb:lab/methods/mine:latest", "wandb:lab/methods/mine:v1"]))
    folder = tmp_path / "cache" / "code" / folder_name("wandb:lab/methods/mine:v1")
    assert found == [("wandb:lab/methods/mine:v1", folder)] * 2
    fetched = sorted(logged_in.downloads)
    assert fetched == [f"lab/methods/mine/1/own_methods/{name}.py" for name in ("__init__", "ripple")]
    assert modules_in(folder) == ["own_methods", "own_methods.ripple"]
    assert list((tmp_path / "home").rglob("*")) == list((tmp_path / "s").iterdir()) == []


@pytest.mark.slow
def test_no_such_version_and_no_login_are_said_in_a_line(logged_in, tmp_path, monkeypatch, searches):
    file = spec_file(tmp_path, "mine:v0", "mine:v7")
    said = refused(file)
    assert said == f"{file}:3: code = 'wandb:lab/methods/mine:v7': could not be fetched: " + (
        "artifact membership 'mine:v7' not found in 'lab/methods'"
    )
    monkeypatch.delenv("WANDB_API_KEY")
    assert "could not be fetched: No API key configured. Use `wandb login` to log in." in refused(file)
    assert list((tmp_path / "cache" / "code").iterdir()) == []
    assert not searches.exists()


@pytest.mark.slow
def test_a_search_of_a_fetched_method_runs_and_is_run_again_without_the_server(server, logged_in, tmp_path, searches):
    file = spec_file(tmp_path, "fit\ncode: wandb:lab/methods/mine:v0", "ripple\ncode: wandb:lab/methods/mine:latest")
    file.write_text(file.read_text() + "resources: {cpus: 1}\n")
    scratch = Path("/tmp") / f"sw-{os.getpid()}"  # Ray's sockets need a short path
    scratch.mkdir(mode=0o700)

    def swell(*arguments, **more):
        command = [sys.executable, "-P", "-m", "swell", *map(str, arguments)]
        environ = {**os.environ, "SWELL_SCRATCH": str(scratch), **more}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        swell("run", file)
        paths = SearchPaths(searches / "try")
        assert spec_of(paths).code == "wandb:lab/methods/mine:v1"
        assert [record.outcome for record in load_trials(paths)] == [Outcome.COMPLETED] * 2
        shutil.rmtree(tmp_path / "cache" / "code")
        away = {"WANDB_BASE_URL": "http://127.0.0.1:1"}
        num_downloads = len(server.downloads)
        said = swell("rerun", "try", 0, "--here", **away)  # without a second Ray, which takes the longest
        assert "reports: 1 of 1 are the same" in said
        assert len(server.downloads) == num_downloads
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
