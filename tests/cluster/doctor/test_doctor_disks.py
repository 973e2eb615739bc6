import os
import tempfile
from pathlib import Path

import pytest

from cluster.doctor.disks import (
    CACHE,
    SCRATCH,
    SEARCHES,
    Folder,
    Mount,
    Writing,
    folder_findings,
    folders,
    journal_finding,
    mount_of,
    read_folders,
    space_finding,
    space_findings,
    try_writing,
)
from cluster.machine.disks import Disk
from cluster.machine.findings import Verdict
from search_spaces.sections import Guard

OK, WARNING, PROBLEM = Verdict.OK, Verdict.WARNING, Verdict.PROBLEM
MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /scratch tmpfs rw 0 0
home:/export /home nfs4 rw 0 0
lustre@tcp:/fs /home/projects lustre rw 0 0
/dev/sdb1 /scratch xfs rw 0 0
host:/x /my\\040disk fuse.sshfs rw 0 0
torn line
"""
LOCAL, HOME = Mount(Path("/"), "ext4"), Path("/home/ada")


@pytest.mark.parametrize(
    ("folder", "mount", "is_network"),
    [
        ("/home/projects/x", Mount(Path("/home/projects"), "lustre"), True),
        ("/home/project", Mount(Path("/home"), "nfs4"), True),
        ("/scratch/a", Mount(Path("/scratch"), "xfs"), False),  # mounted over the tmpfs
        ("/my disk/a", Mount(Path("/my disk"), "fuse.sshfs"), True),
        ("/homes", Mount(Path("/"), "ext4"), False),
    ],
)
def test_a_folder_lies_on_its_longest_mount_point(tmp_path, folder, mount, is_network):
    (tmp_path / "mounts").write_text(MOUNTS)
    found = mount_of(Path(folder), tmp_path / "mounts")
    assert (found, found.is_network) == (mount, is_network)


def test_the_kernels_own_mounts_are_read():
    assert mount_of(Path("/proc/self")) == Mount(Path("/proc"), "proc")


def test_the_folders_are_those_of_the_environment(monkeypatch, tmp_path):
    for name in ("ROOT", "SCRATCH", "CACHE"):
        monkeypatch.setenv(f"SWELL_{name}", str(tmp_path / name))
    assert folders() == {SEARCHES: tmp_path / "ROOT", SCRATCH: tmp_path / "SCRATCH", CACHE: tmp_path / "CACHE"}
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("SWELL_SCRATCH")
    assert folders()[SCRATCH] == Path(tempfile.gettempdir()).resolve()


def test_a_folder_is_written_to_and_left_as_it_was(tmp_path):
    before = tmp_path.stat().st_mtime_ns
    writing = try_writing(tmp_path / "yet" / "to be made")
    assert (writing.failure, writing.lock_failure) == ("", "")
    assert 0 < writing.fsync_ms < 10_000
    assert tmp_path.stat().st_mtime_ns > before  # it was written here
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/searches", "{}/file/searches"])
def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path, place):
    (tmp_path / "file").touch()
    path = Path(place.format(tmp_path))
    good, bad = folder_findings(read_folders({SEARCHES: tmp_path, CACHE: path}), HOME)
    assert (good.verdict, bad.verdict) == (OK, PROBLEM)
    assert good.found.startswith(f"{tmp_path} on ")
    assert bad.found.startswith(f"{path} (to be made) on ")
    assert "; cannot be written to: No" in bad.found
    assert bad.advice == "Set SWELL_CACHE to a folder that you may write to."


def test_scratch_and_cache_that_others_can_change_are_a_problem(tmp_path):
    tmp_path.chmod(0o777)
    good, bad = folder_findings(read_folders({SEARCHES: tmp_path, CACHE: tmp_path}), HOME)
    assert (good.verdict, bad.verdict) == (OK, PROBLEM)
    assert bad.found.endswith(f"; can be written to by others: chmod go-w {tmp_path}")


@pytest.mark.parametrize(
    ("role", "path", "mount", "verdict", "advice"),
    [
        (SCRATCH, "/tmp", LOCAL, OK, ""),
        (SCRATCH, "/net", Mount(Path("/net"), "beegfs"), WARNING, "Set SWELL_SCRATCH to a disk of this machine"),
        (SCRATCH, "/home/ada/t", LOCAL, WARNING, "Set SWELL_SCRATCH to a folder outside /home/ada: homes"),
        (SCRATCH, "/home/adam/t", LOCAL, OK, ""),
        (SEARCHES, "/home/ada/s", Mount(Path("/home"), "nfs4"), OK, ""),
        (CACHE, "/home/ada/.cache", LOCAL, OK, ""),
    ],
)
def test_scratch_belongs_on_a_disk_of_the_machine_outside_of_home(role, path, mount, verdict, advice):
    (found,) = folder_findings([Folder(role, Path(path), True, mount, Writing(1.0))], HOME)
    assert (found.name, found.verdict) == (role, verdict)
    assert found.advice.startswith(advice)
    assert bool(found.advice) == bool(advice)
    assert found.found == f"{path} on {mount.type} at {mount.point}"


def test_a_user_without_a_home_has_scratch_anywhere():
    folder = Folder(SCRATCH, Path("/tmp"), True, LOCAL, Writing(1.0))
    assert folder_findings([folder], Path("/"))[0].verdict is OK


@pytest.mark.parametrize(("role", "verdict"), [(CACHE, PROBLEM), (SCRATCH, OK), (SEARCHES, OK)])
def test_the_node_cache_needs_locks(role, verdict):
    folder = Folder(role, Path("/d"), True, LOCAL, Writing(1.0, lock_failure="Function not implemented"))
    assert folder_findings([folder], HOME)[0].verdict is verdict


def disk(free_gb=500.0, total_gb=1000.0, free_inodes=10**6, total_inodes=10**7, roles=(SEARCHES, SCRATCH)):
    return Disk(Path("/"), roles, int(free_gb * 1e9), int(total_gb * 1e9), free_inodes, total_inodes)


@pytest.mark.parametrize(
    ("guard", "figures", "verdict"),
    [
        ({}, {}, OK),
        ({}, {"free_gb": 10.1}, OK),
        ({}, {"free_gb": 9.9}, WARNING),
        ({}, {"free_gb": 4.9}, PROBLEM),
        ({}, {"free_gb": 0.5, "total_gb": 10.0}, PROBLEM),  # a tenth of a small disk
        ({}, {"free_gb": 2.1, "total_gb": 10.0}, OK),
        ({"min_free_gb": 501}, {}, PROBLEM),
        ({"min_free_gb": 251}, {}, WARNING),
        ({}, {"free_inodes": 100_001}, OK),
        ({}, {"free_inodes": 99_999}, WARNING),
        ({}, {"free_inodes": 49_999}, PROBLEM),
        ({}, {"free_inodes": 0, "total_inodes": 0}, OK),  # made as they are needed
        ({"min_free_inodes": 2_000_000}, {}, PROBLEM),
    ],
)
def test_the_space_is_held_against_the_guards_limits(guard, figures, verdict):
    finding = space_finding(Guard(**guard), disk(**figures))
    assert finding.verdict is verdict
    assert bool(finding.advice) == (verdict is not OK)


def test_the_space_is_said_with_its_limits():
    found = space_finding(Guard(min_free_gb=600, max_scratch_gb=40), disk())
    assert (found.name, found.found) == (
        "space of /",
        "for search directory, scratch: 500.0 of 1000.0 GB free, 1,000,000 of 10,000,000 inodes; "
        "no trial is started below 600 GB or 50,000 inodes, or above 40 GB of scratch",
    )
    assert found.advice == (
        "Free some of it, set SWELL_ROOT or SWELL_SCRATCH elsewhere, or lower the spec's guard: no trial would start."
    )
    without = space_finding(Guard(), disk(total_inodes=0, free_inodes=0, roles=(CACHE,)))
    assert without.found == "for node cache: 500.0 of 1000.0 GB free; no trial is started below 5 GB"


def test_folders_on_one_file_system_are_one_line(tmp_path):
    (found,) = space_findings(Guard(), {SEARCHES: tmp_path / "a", SCRATCH: tmp_path / "b"})
    figures = os.statvfs(tmp_path)
    assert f" of {figures.f_blocks * figures.f_frsize / 1e9:.1f} GB free" in found.found
    assert found.found.startswith("for search directory, scratch: ")


def test_the_journal_needs_optuna_a_disk_and_locks(tmp_path):
    (searches,) = read_folders({SEARCHES: tmp_path})
    good = journal_finding(searches, "5.0.0")
    assert good.verdict is OK
    assert good.found.startswith("Optuna 5.0.0; a write is on the disk after ")
    assert good.found.endswith(" ms, locks work")
    assert journal_finding(searches, None).verdict is PROBLEM
    unlocked = Folder(SEARCHES, tmp_path, True, LOCAL, Writing(1.0, lock_failure="Function not implemented"))
    bad = journal_finding(unlocked, "5.0.0")
    assert bad.verdict is PROBLEM
    assert bad.found.endswith(" ms, locks do not: Function not implemented")
    (nowhere,) = read_folders({SEARCHES: Path("/proc/searches")})
    assert journal_finding(nowhere, "5.0.0").found.endswith("; not tried, as the search directory cannot be written to")
