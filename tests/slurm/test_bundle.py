"""The bundle for machines without internet: what is in it, and the environment that its script makes of it."""

import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SITES = {f"slurm/sites/{path.name}" for path in (ROOT / "slurm" / "sites").glob("*.yaml")}


def _wheel(folder: Path, name: str, files: dict[str, str], metadata: str = "", scripts: str = "") -> None:
    info = f"{name}-0.1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": scripts,
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-0.1.0-py3-none-any.whl", "w") as wheel:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


@pytest.fixture
def bundle(tmp_path):
    """Return an unpacked bundle of a `swell` that says hello, and of the one package that it needs."""
    folder = tmp_path / "swell-bundle-0.1.0"
    wheels = folder / "wheelhouse"
    wheels.mkdir(parents=True)
    shutil.copy(ROOT / "slurm" / "setup_env.sh", folder)
    (folder / "machine").write_text(platform.machine())
    (folder / "requirement").write_text("swell[loud]==0.1.0")
    (folder / "constraints.txt").write_text("greeting==0.1.0\n")
    _wheel(wheels, "greeting", {"greeting.py": "TEXT = 'hello'\n"})
    code = "import greeting\ndef main():\n    print(greeting.TEXT)\n"
    needs = 'Provides-Extra: loud\nRequires-Dist: greeting; extra == "loud"\n'
    _wheel(wheels, "swell", {"swell.py": code}, needs, "[console_scripts]\nswell = swell:main\n")
    return folder


def _setup(bundle: Path, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    network = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
    outside = {"PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_REQUIRE_VIRTUALENV": "1"}
    return subprocess.run(
        [*network, bundle / "setup_env.sh", *words], env=os.environ | outside | environment, cwd=bundle.parent,
        capture_output=True, text=True, timeout=720, check=False,
    )  # fmt: skip


def test_the_script_makes_a_private_environment_without_a_network_once(bundle, tmp_path):
    environment = tmp_path / "env"
    environment.mkdir()
    (environment / ".swell-bundle").write_text("begun and interrupted\n")
    (environment / "half").write_text("an interrupted build")
    first = _setup(bundle, environment)
    assert first.returncode == 0, first.stderr
    assert f"\npython: {environment}/bin/python\n" in first.stdout
    assert subprocess.check_output([environment / "bin" / "swell"], text=True) == "hello\n"
    assert not (environment / "half").exists()
    open_to_others = [
        p for p in environment.rglob("*") if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o077
    ]
    assert not open_to_others
    before = (environment / "bin" / "python").lstat().st_mtime_ns
    second = _setup(bundle, environment)
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "there and complete" in second.stderr
    assert (environment / "bin" / "python").lstat().st_mtime_ns == before
    (bundle / "constraints.txt").write_text("greeting<1\n")  # another bundle
    third = _setup(bundle, environment)
    assert third.returncode == 1
    assert "was made from another bundle" in third.stderr


def test_the_script_touches_no_folder_that_is_not_its_own(bundle, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").write_text("precious")
    refused = _setup(bundle, tmp_path / "mine")
    assert refused.returncode == 1
    assert "is not empty, and not an environment that this script began" in refused.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["data"]


def test_what_cannot_work_is_refused_with_the_way_out(bundle, tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert f"PYTHON must be a Python 3.11 with venv and ensurepip, got {old}" in _setup(bundle, PYTHON=str(old)).stderr
    for name in ("python3.11", "python3"):
        shutil.copy(old, tmp_path / name)
    nothing = _setup(bundle, PYTHON="", PATH=f"{tmp_path}:{os.environ['PATH']}").stderr
    assert "conda create --prefix FOLDER python=3.11" in nothing or not nothing.startswith("setup_env: needs")
    (bundle / "machine").write_text("abacus")
    assert f"the bundle is for abacus, and this is {platform.machine()}" in _setup(bundle).stderr
    shutil.rmtree(bundle / "wheelhouse")
    assert "make one with: make bundle" in _setup(bundle).stderr


def test_swells_own_wheel_holds_what_it_needs_when_it_runs(tmp_path):
    outside = {k: v for k, v in os.environ.items() if k != "EXTRAS"} | {"PYTHON": sys.executable}
    done = subprocess.run(
        [ROOT / "slurm" / "bundle.sh", tmp_path], env=outside | {"SWELL_BUNDLE_ONLY_OWN": "1"},
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("swell-bundle-*.tar")
    with tarfile.open(archive) as bundle:
        bundle.extractall(tmp_path, filter="data")
    folder = tmp_path / archive.stem
    assert {p.name for p in folder.iterdir()} == {
        "constraints.txt",
        "machine",
        "requirement",
        "setup_env.sh",
        "wheelhouse",
    }
    assert (folder / "requirement").read_text() == f"swell[postgres]=={archive.stem.rpartition('-')[2]}\n"
    assert not re.search("https?://|index-url", (folder / "constraints.txt").read_text())
    (own,) = (folder / "wheelhouse").iterdir()
    names = set(zipfile.ZipFile(own).namelist())
    assert SITES
    assert names >= SITES | {"search_spaces/quickstart.yaml", "search_spaces/spec.schema.json", "swell.py"}
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {
        "analysis", "cluster", "search_spaces", "slurm", "swell.py", "trainables"}  # fmt: skip
