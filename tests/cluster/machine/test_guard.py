"""The guard's policy on made-up readings, and readings of real file systems."""

import os
import subprocess
from pathlib import Path

import pytest

from cluster.machine.disks import Disk, Reading, nearest, read_disks, used_bytes
from cluster.machine.guard import Action, Limits, judge, limits_on, max_scratch_gb
from search_spaces.sections import Guard

TB = 10**12


def disk(free_gb=500.0, total_gb=1000.0, free_inodes=10**7, total_inodes=6 * 10**7, roles=("scratch",)):
    return Disk(Path("/data"), roles, int(free_gb * 1e9), int(total_gb * 1e9), free_inodes, total_inodes)


def action(scratch_gb=0.0, guard=None, **figures):
    return judge(guard or Guard(), Reading((disk(**figures),), int(scratch_gb * 1e9))).action


@pytest.mark.parametrize(
    ("free_gb", "expected"),
    [(5.1, Action.GO_ON), (4.9, Action.END_WAVE), (1.26, Action.END_WAVE), (1.24, Action.STOP_TRIALS)],
)
def test_on_a_large_disk_five_gigabytes_must_stay_free(free_gb, expected):
    assert action(free_gb=free_gb) is expected


@pytest.mark.parametrize(("free_gb", "expected"), [(0.21, 0), (0.19, 1), (0.049, 2)])
def test_on_a_small_disk_it_is_a_tenth(free_gb, expected):
    assert action(free_gb=free_gb, total_gb=2.0) == expected


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (50_001, 10**8, 0),
        (49_999, 10**8, 1),
        (12_499, 10**8, 2),
        (51, 1000, 0),
        (49, 1000, 1),
        (0, 1000, 2),
        (0, 0, 0),  # a file system without a fixed number of them
    ],
)
def test_inodes_must_stay_free_too(free, total, expected):
    assert action(free_inodes=free, total_inodes=total) == expected


@pytest.mark.parametrize(("used_gb", "expected"), [(99, 0), (101, 1), (151, 2)])
def test_our_own_scratch_is_bounded(used_gb, expected):
    assert action(scratch_gb=used_gb) == expected


def test_the_scratch_is_bounded_by_half_of_its_disk_whatever_the_others_are():
    reading = Reading((disk(total_gb=2.0), disk(total_gb=9000.0, roles=("search directory",))))
    assert max_scratch_gb(Guard(), reading) == 1.0
    assert max_scratch_gb(Guard(max_scratch_gb=7), reading) == 7


def test_the_specs_limits_hold():
    guard = Guard(min_free_gb=20, stop_free_gb=15, min_free_inodes=100, max_scratch_gb=3)
    assert limits_on(guard, disk()) == Limits(20, 15, 100, 25)
    assert action(guard=guard, free_gb=21) is Action.GO_ON
    assert action(guard=guard, free_gb=19) is Action.END_WAVE
    assert action(guard=guard, free_gb=14) is Action.STOP_TRIALS
    assert action(guard=guard, scratch_gb=3.1) is Action.END_WAVE


def test_a_stop_limit_alone_lifts_the_other_above_it():
    assert limits_on(Guard(stop_free_gb=50), disk()).min_free_gb == 50


def test_a_file_system_that_says_nothing_of_its_size_stops_nobody():
    assert action(free_gb=0, total_gb=0, scratch_gb=50, guard=Guard(min_free_gb=5)) is Action.GO_ON


def test_zero_asks_for_nothing():
    assert action(guard=Guard(min_free_gb=0, min_free_inodes=0), free_gb=0.0, free_inodes=0) is Action.GO_ON


def test_the_most_urgent_of_all_disks_counts_and_says_why():
    disks = (disk(free_gb=4.0, roles=("search directory", "node cache")), disk(free_gb=0.5))
    verdict = judge(Guard(), Reading(disks))
    assert verdict.action is Action.STOP_TRIALS
    assert verdict.reason == "scratch (/data): 0.5 GB free, below 1.25"
    assert judge(Guard(), Reading(disks[:1])).reason == "search directory and node cache (/data): 4 GB free, below 5"


def test_a_file_system_is_read_once_with_all_its_uses(tmp_path):
    (one,) = read_disks({"scratch": tmp_path, "node cache": tmp_path / "not" / "yet" / "there"}).disks
    assert one.roles == ("scratch", "node cache")
    free, total = subprocess.check_output(["df", "-B1", "--output=avail,size", tmp_path], text=True).split()[-2:]
    assert one.total_bytes == int(total)
    assert abs(one.free_bytes - int(free)) < 2**30  # others write meanwhile
    assert one.total_inodes == os.statvfs(tmp_path).f_files


def test_two_file_systems_are_two(tmp_path):
    roles = [one.roles for one in read_disks({"scratch": tmp_path, "kernel": Path("/proc/self")}).disks]
    assert roles == [("scratch",), ("kernel",)]


def test_what_a_folder_takes_is_counted_in_blocks(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "full").write_bytes(b"x" * 100_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**9)
    (tmp_path / "link").symlink_to("/usr")
    assert 100_000 <= used_bytes(tmp_path) < 200_000
    assert used_bytes(tmp_path / "gone") == 0


def test_a_folder_that_is_not_there_yet_lies_on_its_parents_disk(tmp_path):
    assert nearest(tmp_path / "a" / "b") == tmp_path
