import json
import re
from importlib.metadata import version

import jax
import numpy as np
import pytest

from tests.methods.ripple.method import Config
from tests.training import begin, to_the_end
from trainables._shared.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from trainables._shared.saved import load_model


@pytest.fixture
def saved(tmp_path):
    training = begin()
    training.advance()
    path = tmp_path / "trial.npz"
    training.save(path, {"trainable": "tests.methods.ripple"})
    return path


def test_a_training_continued_from_its_checkpoint_ends_with_the_same_numbers(saved):
    straight, continued = begin(), begin()
    expected = to_the_end(straight)
    assert continued.load(saved) == {"trainable": "tests.methods.ripple"}
    assert continued.step == 10
    assert to_the_end(continued) == expected  # the report that it was saved at comes once more
    assert np.array_equal(continued.state.params.x, straight.state.params.x)
    assert continued.best.step == straight.best.step


def test_a_training_continued_from_the_checkpoint_of_its_end_has_completed(tmp_path):
    straight, continued = begin(), begin()
    to_the_end(straight)
    straight.save(tmp_path / "trial.npz")
    continued.load(tmp_path / "trial.npz")
    report = continued.advance()
    assert (report.step, report.ending) == (30, "completed")
    assert report == straight._last
    assert continued.test() == straight.test()


def test_a_checkpoint_holds_the_best_model_of_before(saved):
    restored = begin()
    restored.load(saved)
    assert restored.best.step == 10
    assert restored.best_per_phase[0].metrics == restored.best.metrics


def test_a_damaged_checkpoint_is_refused(saved):
    content = saved.read_bytes()
    packed = content.index(b"PK\x01\x02") + 10  # how the first member is compressed
    for damaged in (
        b"",
        content[: len(content) // 2],
        b"not a checkpoint",
        content[:200] + bytes(200) + content[400:],
        content[:packed] + b"\x4d" + content[packed + 1 :],
    ):
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a readable checkpoint"):
            begin().load(saved)


def test_a_checkpoint_of_another_config_names_what_differs(saved):
    with pytest.raises(CheckpointError, match=r"another configuration \(it differs in learning_rate, shift\)"):
        begin(Config(learning_rate=0.2, shift=2.0)).load(saved)


def test_a_checkpoint_from_before_a_field_has_what_was_in_effect_without_it(saved, monkeypatch):
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes())
    del header["config"]["shift"]
    np.savez(saved, **{**arrays, "meta": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    with pytest.raises(CheckpointError, match=r"it differs in shift"):
        begin().load(saved)
    monkeypatch.setattr(Config, "later_fields", {"shift": Config().shift})
    begin().load(saved)
    monkeypatch.setattr(Config, "later_fields", {"shift": 3.0})
    assert load_model(saved).config == Config(shift=3.0)
    with pytest.raises(CheckpointError, match=r"it differs in shift"):
        begin().load(saved)


def test_a_checkpoint_of_another_precision_or_generator_names_both(saved):
    with jax.enable_x64(True), pytest.raises(CheckpointError, match=r"jax_enable_x64 was False, is True"):
        begin().load(saved)
    with jax.threefry_partitionable(False), pytest.raises(CheckpointError, match="partitionable was True, is False"):
        begin().load(saved)
    begin().load(saved)


def test_a_checkpoint_that_does_not_tell_its_settings_is_refused_by_the_types_of_its_arrays(saved, tmp_path):
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes())
    assert header.pop("settings")["jax_enable_x64"] is False
    arrays["meta"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(saved, **arrays)
    begin().load(saved)  # an earlier version's, of the same precision
    wide = {name: array.astype("f8") if array.dtype == np.float32 else array for name, array in arrays.items()}
    np.savez(saved, **wide)
    with pytest.raises(CheckpointError, match=r"in float64, and this process computes in float32: .*X64=1, as it was"):
        begin().load(saved)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"format": 99, "swell": "7.1"}, "99, written by swell 7.1; {reads}: it needs swell 7.1 or later"),
        (
            {"format": 99, "swell": ""},
            "99, written by a later version of swell; {reads}: it needs that version or later",
        ),
        (
            {"format": 1},
            "1, written by an earlier version of swell; {reads}: it needs the version that wrote it, which ",
        ),
        ({"format": None, "swell": "0.0"}, "None, written by swell 0.0; {reads}: it needs the version that wrote it, "),
    ],
)
def test_a_checkpoint_of_another_format_says_which_version_it_needs(saved, header, said):
    with np.load(saved) as file:
        arrays = dict(file)
    known = json.loads(arrays["meta"].tobytes())
    assert known["swell"] == version("swell")
    known.pop("swell")
    arrays["meta"] = np.frombuffer(json.dumps(known | header).encode(), np.uint8)
    np.savez(saved, **arrays)
    reads = f"swell {version('swell')} reads 2 and 3"
    with pytest.raises(CheckpointError, match=re.escape(f"checkpoint format {said.format(reads=reads)}")):
        begin().load(saved)


def test_a_checkpoint_of_another_shape_is_refused(saved):
    checkpoint = read_checkpoint(saved)
    with pytest.raises(CheckpointError, match="its state does not fit"):
        checkpoint.tree("state", begin(Config(size=4)).state)


def test_a_checkpoint_from_before_recoveries_goes_on_with_the_same_numbers(saved):
    straight, continued = begin(), begin()
    expected = to_the_end(straight)
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes()) | {"format": 2}
    arrays["meta"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    num = len(jax.tree.leaves(continued.state[:-1]))  # those of the recovery came after them
    assert len(jax.tree.leaves(continued.state)) == num + 2
    np.savez(
        saved, **{name: array for name, array in arrays.items() if name not in (f"state/{num}", f"state/{num + 1}")}
    )
    continued.load(saved)
    assert to_the_end(continued) == expected


def test_nothing_but_the_checkpoint_is_left_when_writing_it_fails(tmp_path):
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "trial.npz", {"a": np.zeros(3)}, {"unwritable": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_saved_model_is_the_best_one(tmp_path):
    training = begin(Config(report_every=1, learning_rate=0.9))
    to_the_end(training)
    path = tmp_path / "model.npz"
    training.save(path, {"trainable": "tests.methods.ripple"})
    loaded = load_model(path)
    assert np.array_equal(loaded.model.x, training.best.params.x)
    assert loaded.metrics == training.best.metrics
    assert loaded.config == training.config


def test_an_unfinished_trials_checkpoint_is_no_model(tmp_path):
    training = begin()
    path = tmp_path / "trial.npz"
    training.save(path)
    with pytest.raises(CheckpointError, match="holds no finished model"):
        load_model(path)
