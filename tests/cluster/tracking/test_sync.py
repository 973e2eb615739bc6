"""`swell sync` with the real W&B client, against a server of the tests."""

import io
import json
import signal
import subprocess
import sys

import pytest

from cluster.commands.sync import sync_command
from cluster.console import Console
from cluster.machine.files import write_json
from cluster.machine.processes import identity
from cluster.tracking.source import run_id, search_id
from cluster.tracking.spool import Spool, delete_synced
from cluster.tracking.upload import SyncError, all_runs, sync_lock
from search_spaces.errors import UserError
from tests.tracking import environment, run_trials, track
from tests.waiting import wait_for
from tests.wandb_server import KEY, wandb_server

pytestmark = pytest.mark.slow  # starts W&B's real client, again and again


@pytest.fixture
def server():
    with wandb_server() as running:
        yield running


@pytest.fixture
def search(make_search):
    return make_search(tracking={"wandb": "offline", "project": "orbits"}, budget={"trials": 50})


@pytest.fixture
def here(server, tmp_path, monkeypatch):
    """This process as on a login node: logged in to the server, in a home and a working directory of its own."""
    for name, value in environment(tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.chdir(tmp_path / "cwd")


def sync(search, **options):
    out, err = io.StringIO(), io.StringIO()
    consoles = {"console": Console(file=out, width=200), "errors": Console(file=err, width=200)}
    try:
        status = sync_command(search.paths, **consoles, **options)
    except UserError as error:
        return 2, out.getvalue(), f"{error}\n"
    return status, out.getvalue(), err.getvalue()


def rows(text):
    """Return the numbers of the printed table by state."""
    table = text[text.rindex("runs  ") :].splitlines()[1:]
    return {" ".join(line.split()[:-3]): int(line.split()[-3]) for line in table}


def ids(search, *numbers):
    return [run_id(search_id(search.paths), number) for number in numbers]


@pytest.mark.usefixtures("here")
def test_every_finished_run_is_uploaded_once_whole_and_noted(search, server, tmp_path):
    run_trials(search, 3)  # no tracker ever ran: sync writes them itself
    status, said, _ = sync(search)
    assert status == 0
    assert sorted(server.upserts) == ids(search, 0, 1, 2)
    assert rows(said) == {"uploaded now": 3, "all": 3}
    (first, *_) = ids(search, 0)
    run = server.runs[first]
    assert (run["project"], run["groupName"], run["displayName"]) == ("orbits", search.paths.name, "trial 0")
    assert json.loads(run["config"])["swell"]["value"]["trial"] == 0
    steps = server.history[first]
    assert [(step, steps[step]["val_error"], steps[step]["trial seconds"]) for step in sorted(steps)] == [
        (10, 0.5, 1.0), (20, 0.25, 2.0), (30, 0.75, 3.0),
    ]  # fmt: skip
    assert server.summary[first]["val_error"] == 0.25
    assert server.summary[first]["outcome"] == "completed"
    assert set(server.exit_codes.values()) == {0}
    status, said, _ = sync(search)
    assert status == 0
    assert len(server.upserts) == 3
    assert rows(said) == {"synced before": 3, "all": 3}
    assert list((tmp_path / "home").rglob("*")) == []
    assert list((tmp_path / "cwd").rglob("*")) == []
    assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.usefixtures("here")
def test_a_dry_run_says_what_waits_and_uploads_nothing(search, server, tmp_path):
    run_trials(search, 2)
    track(search, tmp_path)
    status, said, _ = sync(search, dry_run=True)
    assert (status, rows(said)) == (0, {"waiting": 2, "all": 2})
    assert server.upserts == []


@pytest.mark.usefixtures("here")
def test_a_run_that_is_refused_is_reported_and_the_others_are_uploaded(search, server):
    run_trials(search, 3)
    server.refused = set(ids(search, 1))
    status, said, _ = sync(search)
    assert status == 1
    assert rows(said) == {"uploaded now": 2, "failed": 1, "all": 3}
    assert "1 not uploaded: " in said
    assert "permission denied" in said
    server.refused = set()
    status, said, _ = sync(search)
    assert (status, rows(said)) == (0, {"uploaded now": 1, "synced before": 2, "all": 3})


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WANDB_API_KEY": None}, "not logged in to W&B: run `wandb login`, or set WANDB_API_KEY"),
        ({"WANDB_BASE_URL": "http://127.0.0.1:1", "WANDB__GRAPHQL_RETRY_MAX": "0"}, "W&B cannot be reached"),
    ],
)
def test_without_a_login_or_a_network_it_says_so_and_loses_nothing(search, tmp_path, monkeypatch, changes, message):
    run_trials(search, 1)
    track(search, tmp_path)
    for name, value in changes.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    status, _, said = sync(search)
    assert status == 2
    assert message in said
    assert "Traceback" not in said
    assert [run.synced for run in all_runs(search.paths)] == [False]
    assert delete_synced(search.paths) == 0
    assert all_runs(search.paths)[0].num_bytes > 0


def test_a_killed_sync_goes_on_where_it_was(search, server, tmp_path):
    run_trials(search, 8)
    track(search, tmp_path)
    server.most_runs = 4  # it is in the midst, on the fastest machine and on the slowest
    env = environment(tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY, SWELL_ROOT=str(search.paths.root.parent))
    script = (
        "import sys; import cluster.machine.scratch; cluster.machine.scratch.LONGEST_ROOT = 200\n"
        "from cluster.console import Console; from cluster.state.paths import find_search\n"
        "from cluster.commands.sync import sync_command\n"
        "sys.exit(sync_command(find_search(sys.argv[1]), console=Console(), errors=Console()))"
    )
    command = [sys.executable, "-c", script, search.paths.name]
    first = subprocess.Popen(command, env=env, cwd=tmp_path / "cwd", stdout=subprocess.DEVNULL)
    spool = Spool(search.paths)
    wait_for(lambda: len(spool.folders_synced()) >= 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    synced = spool.folders_synced()
    assert 2 <= len(synced) < 8
    server.goes_on.set()
    done = subprocess.run(command, env=env, cwd=tmp_path / "cwd", capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(set(server.upserts)) == ids(search, *range(8))
    noted = [json.loads(line)["folder"] for line in spool.synced.read_text().splitlines()]
    assert len(noted) == len(set(noted)) == 8
    assert set(server.exit_codes) == set(ids(search, *range(8)))


@pytest.mark.usefixtures("here")
def test_only_what_is_synced_is_deleted(search, server):
    run_trials(search, 3)
    server.refused = set(ids(search, 2))
    spool = Spool(search.paths)
    spool.make()
    (spool.staging / "staged").write_bytes(b"x" * 5000)
    status, said, _ = sync(search, delete=True)
    assert status == 1
    assert rows(said) == {"deleted": 2, "failed": 1, "all": 3}
    assert [folder.name[-1] for folder in spool.runs.glob("offline-run-*")] == ["2"]
    assert (spool.staging / "staged").exists()  # the third run may refer to it
    server.refused = set()
    status, said, _ = sync(search)
    assert rows(said)["uploaded now"] == 1
    assert delete_synced(search.paths) >= 5000
    assert list(spool.runs.glob("*run-*")) == []
    assert list(spool.staging.iterdir()) == []
    status, said, _ = sync(search)
    assert (status, rows(said)) == (0, {"deleted": 3, "all": 3})
    assert len(server.upserts) == 3


def test_a_folder_named_in_the_ledger_but_outside_the_spool_is_never_deleted(search, tmp_path):
    spool = Spool(search.paths)
    spool.make()
    (tmp_path / "precious").mkdir()
    spool.runs.mkdir()
    for name in ("../../../../precious", str(tmp_path / "precious"), "..", "link"):
        spool.note_synced(name)
    (spool.runs / "link").symlink_to(tmp_path / "precious")
    delete_synced(search.paths)
    assert (tmp_path / "precious").is_dir()
    assert spool.written.parent.is_dir()


@pytest.mark.usefixtures("here")
def test_there_is_one_sync_of_a_search_at_a_time(search):
    run_trials(search, 1)
    with sync_lock(search.paths), pytest.raises(SyncError, match="one at a time"), sync_lock(search.paths):
        pass
    with sync_lock(search.paths):
        status, _, said = sync(search)
    assert status == 2
    assert "is being synced by another process" in said


@pytest.mark.usefixtures("here")
def test_watching_goes_on_until_the_search_has_ended_and_all_is_synced(search, server):
    study = search.open()
    run_trials(search, 2, 1, study)
    sleeps = []

    def sleep(_seconds):
        sleeps.append(len(server.upserts))
        if len(sleeps) == 1:
            run_trials(search, 1, 2, study)
            write_json(search.paths.status, {"finished": "trials: all 3 have ended"})
            search.paths.supervisor_record.unlink()

    write_json(search.paths.supervisor_record, identity())
    status, said, _ = sync(search, watch=True, sleep=sleep)
    assert (status, sleeps) == (0, [0])  # what is not written while a supervisor works is its tracker's
    assert rows(said) == {"uploaded now": 3, "all": 3}


@pytest.mark.usefixtures("here")
def test_runs_that_methods_made_themselves_are_uploaded_once_nobody_works_on_the_search(search, server, tmp_path):
    spool = Spool(search.paths)
    spool.make()
    script = (
        "import wandb\n"
        "with wandb.init(project='own', id='mine', mode='offline', settings=wandb.Settings(console='off')) as run:\n"
        "    run.log({'x': 1.0})"
    )
    own = {"WANDB_DIR": str(spool.root), "WANDB_DATA_DIR": str(spool.staging), "WANDB_CACHE_DIR": str(tmp_path / "c")}
    env = environment(tmp_path, **own)
    subprocess.run([sys.executable, "-c", script], env=env, cwd=tmp_path / "cwd", check=True, timeout=600)
    write_json(search.paths.supervisor_record, identity())
    assert all_runs(search.paths) == []
    search.paths.supervisor_record.unlink()
    status, said, _ = sync(search)
    assert (status, rows(said)) == (0, {"uploaded now": 1, "all": 1})
    assert server.upserts == ["mine"]


@pytest.mark.usefixtures("here")
def test_a_search_without_runs_says_why(make_search):
    status, _, said = sync(make_search())
    assert status == 2
    assert "its spec has tracking.wandb: disabled" in said
