import pytest

from cluster.scratch import LONGEST_ROOT, Scratch, ScratchError


def test_scratch_is_deleted_with_everything_in_it_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.scratch.LONGEST_ROOT", 200)
    monkeypatch.setenv("SWELL_SCRATCH", str(tmp_path / "scratch"))
    scratch, other = Scratch.create(), Scratch.create()
    (scratch.tmp / "spill").write_bytes(b"x" * 100_000)
    assert scratch.delete() >= 100_000
    assert not scratch.path.exists()
    assert other.path.exists()


def test_a_folder_without_our_owner_file_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("data")
    assert Scratch(tmp_path).delete() == 0
    assert (tmp_path / "precious").exists()


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
