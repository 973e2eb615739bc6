import os

import pytest

from cluster.machine.scratch import LONGEST_ROOT, OWNER_FILE, Scratch, ScratchError, node_cache, private_folder


def test_scratch_is_deleted_with_everything_in_it_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "scratch"))
    scratch, other = Scratch.create({}), Scratch.create({})
    (scratch.tmp / "spill").write_bytes(b"x" * 100_000)
    assert scratch.delete() >= 100_000
    assert not scratch.path.exists()
    assert other.path.exists()


def test_a_root_too_long_for_sockets_is_refused_with_the_numbers(tmp_path, monkeypatch):
    root = tmp_path / ("x" * 60)
    monkeypatch.setenv("SWELL_SCRATCH", str(root))
    with pytest.raises(ScratchError, match=f"has {len(str(root))} characters, at most {LONGEST_ROOT}"):
        Scratch.create({})
    assert not root.exists()


def test_a_root_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "file" / "below"))
    with pytest.raises(ScratchError, match="cannot be made: Not a directory"):
        Scratch.create({})


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.machine.scratch.LONGEST_ROOT", 200)
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "s"))
    return Scratch.create({})


def test_a_scratch_folder_is_private_and_owned(scratch, tmp_path):
    assert scratch.path.parent == tmp_path / "s"
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    assert all(folder.is_dir() for folder in (scratch.ray, scratch.tune, scratch.tmp))
    assert Scratch.create({}).path != scratch.path


def test_scratch_is_deleted_with_everything_in_it_and_says_how_much_it_was(scratch):
    (scratch.ray / "session").mkdir()
    (scratch.ray / "session" / "log").write_bytes(b"x" * 2**20)
    (scratch.ray / "link").symlink_to("/usr")
    assert 2**20 <= scratch.delete() < 2 * 2**20
    assert not scratch.path.exists()


def test_a_folder_without_our_owner_file_is_never_deleted(scratch):
    (scratch.path / OWNER_FILE).unlink()
    assert scratch.delete() == 0
    assert scratch.path.exists()


# -- folders whose names everybody knows


def as_another_user(monkeypatch, path, *, links=True):
    """Let a path, and with `links` what it links to, belong to somebody else."""
    own = type(path).stat

    def stat(one, *, follow_symlinks=True):
        found = own(one, follow_symlinks=follow_symlinks)
        if one == path and (links or not follow_symlinks):
            return os.stat_result((*found[:4], os.geteuid() + 1, *found[5:]))
        return found

    monkeypatch.setattr(type(path), "stat", stat)


def test_a_folder_is_made_for_its_user_alone(tmp_path, monkeypatch):
    before = os.umask(0)
    try:
        assert private_folder(tmp_path / "own", "cache", "X") == tmp_path / "own"
    finally:
        os.umask(before)
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_another_user_has_made_first_is_refused(tmp_path, monkeypatch):
    (tmp_path / "planted").mkdir(mode=0o755)
    as_another_user(monkeypatch, tmp_path / "planted")
    with pytest.raises(ScratchError, match=r"^cache .*planted belongs to another user \(id \d+\): .* set X to"):
        private_folder(tmp_path / "planted", "cache", "X")


def test_a_link_of_another_user_is_refused_and_ones_own_is_followed(tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to("own")
    assert private_folder(tmp_path / "link", "cache", "X") == tmp_path / "own"
    as_another_user(monkeypatch, tmp_path / "link", links=False)
    with pytest.raises(ScratchError, match="link belongs to another user"):
        private_folder(tmp_path / "link", "cache", "X")


@pytest.mark.parametrize(("mode", "is_refused"), [(0o777, True), (0o770, True), (0o1777, False), (0o755, False)])
def test_a_folder_that_others_can_change_is_refused_unless_it_is_sticky(tmp_path, mode, is_refused):
    folder = tmp_path / "own"
    folder.mkdir()
    folder.chmod(mode)
    if not is_refused:
        assert private_folder(folder, "cache", "X") == folder
        return
    with pytest.raises(ScratchError, match=f"can be written to by others: chmod go-w {folder}, or set X to a folder"):
        private_folder(folder, "cache", "X")


def test_the_node_cache_must_be_the_users_own_too(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    monkeypatch.setenv("SWELL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ScratchError, match=r"^node cache .* set SWELL_CACHE to a folder of your own$"):
        node_cache()
