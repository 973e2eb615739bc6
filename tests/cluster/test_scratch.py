import pytest

from cluster.scratch import LONGEST_ROOT, OWNER_FILE, Scratch, ScratchError


def test_scratch_is_deleted_with_everything_in_it_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.scratch.LONGEST_ROOT", 200)
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "scratch"))
    scratch, other = Scratch.create(), Scratch.create()
    (scratch.tmp / "spill").write_bytes(b"x" * 100_000)
    assert scratch.delete() >= 100_000
    assert not scratch.path.exists()
    assert other.path.exists()


def test_a_root_too_long_for_sockets_is_refused_with_the_numbers(tmp_path, monkeypatch):
    root = tmp_path / ("x" * 60)
    monkeypatch.setenv("SWELL_SCRATCH", str(root))
    with pytest.raises(ScratchError, match=f"has {len(str(root))} characters, at most {LONGEST_ROOT}"):
        Scratch.create()
    assert not root.exists()


def test_a_root_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.scratch.LONGEST_ROOT", 200)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "file" / "below"))
    with pytest.raises(ScratchError, match="cannot be made: Not a directory"):
        Scratch.create()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.scratch.LONGEST_ROOT", 200)
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "s"))
    return Scratch.create()


def test_a_scratch_folder_is_private_and_owned(scratch, tmp_path):
    assert scratch.path.parent == tmp_path / "s"
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    assert all(folder.is_dir() for folder in (scratch.ray, scratch.tune, scratch.tmp))
    assert Scratch.create().path != scratch.path


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
