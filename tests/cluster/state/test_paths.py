import os

import pytest

from cluster.state.paths import (
    SearchNameError,
    SearchNotFoundError,
    SearchPaths,
    all_searches,
    find_search,
    new_search_directory,
    searches_root,
)


def make(name, age=0):
    paths = new_search_directory(name)
    paths.make_folders()
    paths.spec.write_text("{}")
    os.utime(paths.spec, (1e9 - age, 1e9 - age))
    return paths


def test_searches_lie_under_the_root_that_the_environment_names(searches, monkeypatch):
    assert searches_root() == searches
    monkeypatch.delenv("SWELL_ROOT")
    assert str(searches_root()) == "searches"


def test_a_new_search_never_takes_an_old_ones_directory(searches):
    names = [make("heads").name for _ in range(3)]
    assert names == ["heads", "heads-2", "heads-3"]
    assert make("heads-2").name == "heads-2-2"
    (searches / "heads-7").touch()
    assert make("heads").name == "heads-8"


def test_a_search_directory_is_private_and_has_its_folders(searches):
    paths = make("heads")
    assert paths.root.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in paths.root.iterdir()) == ["checkpoints", "histories", "logs", "spec.json"]


@pytest.mark.parametrize("name", ["", "a/b", "../up", ".hidden", "-dash", "with space", "ümlaut"])
def test_a_name_unfit_for_a_directory_is_refused(searches, name):
    with pytest.raises(SearchNameError, match="must be fit for a directory's name"):
        new_search_directory(name)


def test_a_search_is_found_by_its_name_and_by_its_path(searches, monkeypatch):
    paths = make("heads")
    assert find_search("heads").root == paths.root.resolve()
    assert find_search(str(paths.root)).root == paths.root.resolve()
    monkeypatch.chdir(searches)
    assert find_search("./heads").root == paths.root.resolve()
    assert find_search("heads/").name == "heads"


def test_an_unknown_search_names_the_ones_there_are(searches):
    with pytest.raises(SearchNotFoundError, match="there are none yet"):
        find_search("heads")
    for index in range(12):
        make(f"s{index}", age=index)
    (searches / "no-search").mkdir()
    with pytest.raises(SearchNotFoundError) as caught:
        find_search("heads")
    assert str(caught.value).endswith("there are: s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 ...")


def test_searches_are_listed_newest_first(searches):
    for name, age in (("old", 100), ("new", 0), ("middle", 50)):
        make(name, age)
    assert [paths.name for paths in all_searches()] == ["new", "middle", "old"]


def test_a_wave_that_died_has_used_its_number_up(searches):
    paths = make("heads")
    assert paths.next_wave() == 1
    paths.history(1).touch()
    paths.history(12).touch()
    assert paths.next_wave() == 13


def test_a_driver_that_died_has_used_its_number_up(searches):
    paths = make("heads")
    assert paths.next_driver() == 1
    paths.driver_log(3).touch()
    paths.supervisor_log.touch()
    assert paths.next_driver() == 4


def test_no_two_things_of_a_search_share_a_file(tmp_path):
    paths = SearchPaths(tmp_path)
    members = [name for name, member in vars(SearchPaths).items() if isinstance(member, property)]
    found = [getattr(paths, name) for name in members if name != "name" and not name.startswith("_")]
    numbered = (paths.history, paths.checkpoint, paths.driver_log, paths.node_log, paths.node_ray_log)
    found += [method(7) for method in numbered]
    assert len(set(found)) == len(found) >= 15
    assert all(tmp_path in path.parents for path in found)


def test_two_jobs_on_a_search_share_its_trials_and_nothing_of_their_own(tmp_path):
    one, other = SearchPaths(tmp_path, job=0), SearchPaths(tmp_path, job=12)
    own = (
        "lock",
        "driver_lock",
        "supervisor_record",
        "run_permit",
        "status",
        "logs",
        "session",
        "supervisor_heartbeat",
    )
    assert all(getattr(one, name) != getattr(other, name) for name in own)
    assert one.history(1) != other.history(1)
    for name in ("spec", "journal", "checkpoints", "histories", "spool", "stop_request"):
        assert getattr(one, name) == getattr(other, name) == getattr(SearchPaths(tmp_path), name)
    for job in (one, other):
        job.make_own()
        job.histories.mkdir(exist_ok=True)
    one.history(4).touch()
    assert (one.next_wave(), other.next_wave(), SearchPaths(tmp_path).next_wave()) == (5, 1, 1)
    assert [paths.job for paths in SearchPaths(tmp_path).of_jobs()] == [0, 12]
