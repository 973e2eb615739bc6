import os
import shutil
import time
from pathlib import Path

import pytest

from cluster.doctor.software import (
    OWN_RAY_VARIABLES,
    WANDB_MACHINES,
    WANDB_URL,
    has_wandb_key,
    missing_packages,
    ray_findings,
    read_constraints,
    software_findings,
    version_of,
    wandb_findings,
)
from cluster.doctor.threads import WorkerError, run_worker
from cluster.jobs.slurm.machine_findings import Slurm, read_slurm, slurm_findings
from cluster.machine.asking import Answer
from cluster.machine.findings import Verdict
from cluster.machine.scratch import LONGEST_ROOT
from tests.waiting import PATIENCE_S

OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM
ROOT = Path(__file__).parents[3]
HOME = Path("/none")


def test_the_versions_are_held_against_the_constraints(tmp_path):
    (tmp_path / "constraints.txt").write_text(
        f"# tested\nnumpy=={version_of('numpy')}  # pinned\npydantic==1.0\nabacus-of-nobody==3\n\n"
    )
    constraints = read_constraints(tmp_path / "constraints.txt")
    assert constraints == {"numpy": version_of("numpy"), "pydantic": "1.0", "abacus-of-nobody": "3"}
    packages = software_findings(constraints, [])[1]
    assert packages.verdict is WARNING
    assert packages.found.endswith(f"; not as in constraints.txt: pydantic {version_of('pydantic')} (tested: 1.0)")
    packages = software_findings({"numpy": constraints["numpy"]}, [])[1]
    assert packages.verdict is OK
    assert packages.found.endswith("; all 1 pinned ones as in constraints.txt")


def test_only_some_of_many_differences_are_named():
    names = ["numpy", "pydantic", "rich", "typer", "optuna", "jax", "jaxlib", "optax"]
    found = software_findings(dict.fromkeys(names, "0.0.1"), [])[1].found
    assert found.count("(tested: 0.0.1)") == 6
    assert found.endswith(" and 2 more")


def test_a_build_of_the_pinned_version_is_that_version(tmp_path, monkeypatch):
    info = tmp_path / "torchlike-2.13.0+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchlike\nVersion: 2.13.0+cpu\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version_of("torchlike") == "2.13.0+cpu"
    assert software_findings({"torchlike": "2.13.0"}, [])[1].verdict is OK
    assert software_findings({"torchlike": "2.14.0"}, [])[1].verdict is WARNING


def test_without_constraints_there_is_nothing_to_compare(tmp_path):
    assert read_constraints(tmp_path / "none.txt") == {}
    assert software_findings({}, [])[1].verdict is OK
    assert "jax" in read_constraints(ROOT / "constraints.txt")


def test_what_is_required_must_be_installed():
    assert missing_packages() == []
    packages = software_findings({}, ["optax"])[1]
    assert packages.verdict is PROBLEM
    assert packages.found.endswith("; missing: optax")


@pytest.mark.parametrize(("python", "verdict"), [((3, 11), OK), ((3, 12), PROBLEM)])
def test_python_is_of_the_one_version(python, verdict):
    assert software_findings({}, [], python)[0].verdict is verdict


def ray(scratch="/tmp", home=HOME, imported=None, installed="2.60.0", **environment):
    found = ray_findings(installed, imported or {"import_s": 2.0}, Path(scratch), environment, home)
    return {finding.name: finding for finding in found}


def test_a_ray_that_can_be_imported_is_well():
    found = ray()["Ray Tune"]
    assert (found.verdict, found.found) == (OK, "Ray 2.60.0, imported in 2.0 s")


def test_a_ray_that_cannot_be_imported_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise ImportError('libfoo.so is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerError) as raised:
        run_worker("ray", environment={})
    found = ray(imported=raised.value)["Ray Tune"]
    assert (found.verdict, found.found) == (
        PROBLEM,
        "Ray 2.60.0 cannot be imported: ImportError: libfoo.so is missing",
    )
    assert ray(installed=None)["Ray Tune"].verdict is PROBLEM


def test_a_path_too_long_for_sockets_is_a_problem_that_names_the_numbers():
    longest = "/" + "s" * (LONGEST_ROOT - 1)
    assert ray(longest)["sockets"].verdict is OK
    found = ray(longest + "s")["sockets"]
    assert (found.verdict, found.found) == (
        PROBLEM,
        f"scratch has a path of {LONGEST_ROOT + 1} characters, {LONGEST_ROOT} may be",
    )


def test_what_the_environment_says_to_ray_is_said_and_not_heeded(tmp_path):
    quiet = ray()["environment"]
    assert (quiet.verdict, quiet.found) == (OK, "every wave starts its own Ray with its own token")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    loud = ray(home=tmp_path, RAY_ADDRESS="10.0.0.1:6379", RAY_AUTH_MODE="disabled")["environment"]
    assert (loud.verdict, loud.found) == (
        OK,
        "every wave starts its own Ray with its own token; RAY_ADDRESS is set and ignored; "
        "your own Ray token is there and not used; RAY_AUTH_MODE=disabled is overridden",
    )
    assert "your own Ray token" in ray(RAY_AUTH_TOKEN_PATH="/t")["environment"].found


def test_variables_that_reach_our_ray_are_warned_of():
    found = ray(RAY_TMPDIR="/x", RAY_DEDUP_LOGS="1", RAYLEIGH="1")["environment"]
    assert found.verdict is WARNING
    assert found.found.endswith("; also set: RAY_TMPDIR")


def test_the_variables_that_waves_set_are_known(monkeypatch, make_search):
    from cluster.machine.scratch import Scratch
    from cluster.worker import environment

    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    search = make_search()
    given = environment.driver_environment(search.spec, search.paths, Scratch(Path("/s")), "token", 1)
    assert {name for name in given if name.startswith("RAY_")} <= OWN_RAY_VARIABLES


def netrc(folder, host):
    (folder / ".netrc").write_text(f"machine {host}\n login user\n password {'k' * 40}\n")
    (folder / ".netrc").chmod(0o600)


def test_a_key_is_looked_for_where_wandb_does(tmp_path):
    assert has_wandb_key({}, tmp_path) is False
    assert has_wandb_key({"WANDB_API_KEY": "k"}, tmp_path) is True
    netrc(tmp_path, "github.com")
    assert has_wandb_key({}, tmp_path) is False
    netrc(tmp_path, "api.wandb.ai")
    assert has_wandb_key({}, tmp_path) is True
    assert has_wandb_key({"WANDB_BASE_URL": "https://wandb.lab.org:8080"}, tmp_path) is False
    assert has_wandb_key({"NETRC": str(tmp_path / ".netrc")}, HOME) is True
    (tmp_path / ".netrc").write_text("mach ine\x00")
    assert has_wandb_key({}, tmp_path) is False
    netrc(tmp_path, "api.forge.coreweave.com")
    assert has_wandb_key({}, tmp_path) is True
    assert has_wandb_key({"WANDB_BASE_URL": "https://forge.coreweave.com/api/wandb"}, tmp_path) is True
    assert has_wandb_key({"WANDB_BASE_URL": "https://api.wandb.ai"}, tmp_path) is False


def test_a_key_is_looked_for_of_the_server_that_wandbs_settings_name(tmp_path):
    settings = tmp_path / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://wandb.lab.org:8080\n")
    netrc(tmp_path, "wandb.lab.org:8080")
    assert has_wandb_key({}, tmp_path) is True
    assert has_wandb_key({"WANDB_BASE_URL": "https://api.wandb.ai"}, tmp_path) is False
    assert has_wandb_key({"WANDB_CONFIG_DIR": str(tmp_path)}, tmp_path) is False
    settings.write_text(f"[default]\napi_key = {'k' * 40}\n")
    assert has_wandb_key({}, tmp_path) is True
    settings.write_text("nonsense")
    assert has_wandb_key({}, tmp_path) is False


def test_wandbs_servers_are_as_wandb_has_them():
    urls = pytest.importorskip("wandb.sdk.lib.urls")
    assert urls.DEFAULT_BASE_URL == WANDB_URL
    assert {f"api.{forge}": api for forge, api in urls.FORGE_HOSTS.items()} == WANDB_MACHINES


@pytest.mark.parametrize(
    ("mode", "installed", "has_key", "verdict"),
    [
        ("disabled", None, False, OK),
        ("offline", "0.31.0", False, OK),
        ("offline", None, True, PROBLEM),
        ("online", "0.31.0", True, OK),
        ("online", "0.31.0", False, PROBLEM),
    ],
)
def test_wandb_matters_where_the_spec_asks_for_it(mode, installed, has_key, verdict):
    (found,) = wandb_findings(mode, installed, {"WANDB_API_KEY": "secret", "WANDB_MODE": "offline"}, has_key)
    assert found.verdict is verdict
    assert "secret" not in found.found + found.advice
    version = "wandb 0.31.0" if installed else "not installed"
    key = "yes" if has_key else "no"
    assert found.found == f"{version}; tracking.wandb: {mode}; WANDB_MODE offline; API key: {key}"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Return a function that puts a shell script on a PATH that has nothing else of SLURM."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "echo", "sleep"):  # SLURM's own commands may lie beside the system's
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))

    monkeypatch.setattr("cluster.jobs.slurm.machine_findings.TIMEOUT_S", PATIENCE_S)  # what answers may do so slowly

    def put(**scripts):
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)

    return put


WHOLE = {"sbatch": "", "squeue": "", "sinfo": "echo slurm 22.05.8", "sacct": "echo 12"}
DISABLED = "echo 'sacct: error: Slurm accounting storage is disabled' >&2; exit 1"


def test_a_machine_without_slurm_is_well(programs):
    (found,) = slurm_findings(read_slurm({}))
    assert (found.verdict, found.found[:37]) == (OK, "none on the PATH, not inside a job: s")


def test_a_whole_slurm_is_well(programs):
    programs(**WHOLE)
    commands, accounting = slurm_findings(read_slurm({"SLURM_JOB_ID": "17"}))
    assert (commands.verdict, accounting.verdict, accounting.found) == (OK, OK, "sacct answers")
    assert commands.found == "sbatch, squeue, sacct on the PATH; slurm 22.05.8; inside job 17"


@pytest.mark.parametrize(
    ("sacct", "said"),
    [
        (DISABLED, "sacct: error: Slurm accounting storage is disabled"),
        ("sleep 6000", "sacct: no answer within 3 s"),
        ("exit 4", "sacct: exit status 4"),
    ],
)
def test_accounting_that_does_not_answer_is_a_warning(programs, monkeypatch, sacct, said):
    if sacct.startswith("sleep"):
        monkeypatch.setattr("cluster.jobs.slurm.machine_findings.TIMEOUT_S", 3.0)
    programs(**WHOLE | {"sacct": sacct})
    start = time.monotonic()
    commands, accounting = slurm_findings(read_slurm({}))
    assert time.monotonic() - start < PATIENCE_S
    assert (commands.verdict, accounting.verdict, accounting.found) == (OK, WARNING, said)


def test_a_slurm_without_accounting_or_with_missing_commands_is_a_warning(programs):
    programs(sbatch="", sinfo="exit 1")
    commands, accounting = slurm_findings(read_slurm({}))
    assert (commands.verdict, commands.advice) == (
        WARNING,
        "Load SLURM's module or mend the PATH: squeue cannot be found.",
    )
    assert (accounting.verdict, accounting.found) == (WARNING, "sacct: not on the PATH")
    broken = Slurm(("sbatch", "squeue", "sacct"), Answer(failure="cannot load libslurm"), Answer("1"))
    assert [finding.verdict for finding in slurm_findings(broken)] == [WARNING, OK]
