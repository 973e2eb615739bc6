import functools
import json
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest
from pydantic import ValidationError

from tests.methods.ripple.method import Config, Model, Ripple, method
from trainables._shared import program as program_module
from trainables._shared import recovery
from trainables._shared.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from trainables._shared.config import ConfigError, numeric, structural_key
from trainables._shared.conformance import (
    CHECKS,
    Case,
    saved_model_is_the_trained_one,
    training_starts_from_a_saved_model,
)
from trainables._shared.contract import Phase
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import UnknownMethodError, load_config_type, load_method, method_names
from trainables._shared.model_file import ModelFile, misfit
from trainables._shared.node_cache import default_cache
from trainables._shared.program import MAX_BAD_STEPS, Program, ProgramCache, traced_numbers
from trainables._shared.saved import load_model
from trainables._shared.training import Training

ROOT = Path(__file__).parents[2]


@functools.cache
def _program(of, trouble, size):
    """Return a program for all configs that differ only in how long they train and when they report."""
    return Program(of, Config(trouble=trouble, size=size))


def _training(config=None, of=method, program=None):
    config = config or Config()
    program = program or _program(of, config.trouble, config.size)
    return Training(program, config, of.data(config, DatasetStore()))


def _to_the_end(training):
    reports = [training.advance()]
    while not reports[-1].ending:
        reports.append(training.advance())
    return reports


class _TwoPhases(Ripple):
    """25 steps at the config's learning rate, then 12 at twenty times it."""

    def phases(self, config):
        return [Phase(25, config.learning_rate), Phase(12, config.learning_rate * 20)]

    def data(self, config, store):
        data = super().data(config, store)
        return data._replace(phases=[*data.phases, *data.phases])


TWO_PHASES = _TwoPhases()


class _Disturbed(Ripple):
    """Some steps have an infinite loss: those whose learning rate says so."""

    def loss(self, config, hyper, model, batch, key, step):
        loss = super().loss(config, hyper, model, batch, key, step)
        unlucky = jax.random.bernoulli(key, 0.2)
        return loss._replace(value=jax.numpy.where(unlucky, jax.numpy.inf, loss.value))


class _Averaged(Model):
    """The unknowns, their average over the steps, and how many those were."""

    mean: jax.Array
    steps: jax.Array


class _Averaging(Ripple):
    """Judged by the average of its unknowns, which no gradient moves; trains ever slower. Some steps are bad."""

    def init(self, config, hyper, key):
        x = super().init(config, hyper, key).x
        return _Averaged(x, x, jax.numpy.zeros(()))

    def trained(self, model):
        return _Averaged(True, False, False)

    def rate_factor(self, config, hyper, model):
        return 1 / (1 + model.steps)

    def loss(self, config, hyper, model, batch, key, step):
        loss = super().loss(config, hyper, model, batch, key, step)
        after = _Averaged(model.x, 0.9 * model.mean + 0.1 * model.x, model.steps + 1)
        unlucky = jax.numpy.isin(step, jax.numpy.asarray([3, 7]))
        return loss._replace(value=jax.numpy.where(unlucky, jax.numpy.inf, loss.value), model=after)

    def validate(self, config, hyper, model, data):
        return super().validate(config, hyper, Model(model.mean), data)


class _Cliff(Ripple):
    """Starts far from its minimum, and has no finite loss a little beyond it: whoever arrives with momentum falls."""

    def init(self, config, hyper, key):
        return Model(jax.numpy.full((config.size,), 5.0))

    def loss(self, config, hyper, model, batch, key, step):
        loss = super().loss(config, hyper, model, batch, key, step)
        return loss._replace(value=jax.numpy.where((model.x < 0.9).any(), jax.numpy.nan, loss.value))


CLIFF = _Cliff()


class _BadNow(Ripple):
    """The steps that `bad` names have an infinite loss."""

    def __init__(self, *bad):
        self.bad = bad

    def loss(self, config, hyper, model, batch, key, step):
        loss = super().loss(config, hyper, model, batch, key, step)
        unlucky = jax.numpy.isin(step, jax.numpy.asarray(self.bad))
        return loss._replace(value=jax.numpy.where(unlucky, jax.numpy.inf, loss.value))


# -- the loop


@pytest.mark.parametrize(("every", "steps"), [(10, [10, 20, 25, 30, 37]), (100, [25, 37]), (25, [25, 37])])
def test_reports_come_at_multiples_of_report_every_and_where_a_phase_ends(every, steps):
    reports = _to_the_end(_training(Config(report_every=every), TWO_PHASES))
    assert [report.step for report in reports] == steps
    assert [report.phase for report in reports] == [0 if step <= 25 else 1 for step in steps]
    assert [report.ending for report in reports] == [""] * (len(steps) - 1) + ["completed"]


def test_each_phase_trains_at_its_own_learning_rate():
    training = _training(Config(report_every=1, learning_rate=0.01), TWO_PHASES)
    moved = []
    for _ in range(37):
        before = np.array(training.state.params.x)
        training.advance()
        moved.append(float(np.abs(np.asarray(training.state.params.x) - before).max()))
    assert moved[0] == pytest.approx(0.01, rel=1e-3)  # Adam's first step is the learning rate
    assert max(moved[:25]) < 0.011
    assert moved[25] > 0.15


def test_a_schedule_of_the_methods_own_is_given_the_learning_rate_of_the_phase():
    class OwnSchedule(_TwoPhases):
        def rate_factor(self, config, hyper, model):
            return 0.02 / hyper["learning_rate"]

    training = _training(Config(report_every=1, learning_rate=0.01), OwnSchedule())
    moved = []
    for _ in range(37):
        before = np.array(training.state.params.x)
        training.advance()
        moved.append(float(np.abs(np.asarray(training.state.params.x) - before).max()))
    assert moved[0] == pytest.approx(0.02, rel=1e-3)
    assert max(moved) < 0.022  # in both phases


def test_what_is_not_trained_by_gradients_changes_with_the_steps_that_count():
    training = _training(Config(steps=12, report_every=1, learning_rate=0.01), _Averaging())
    mean, rates = np.array(training.state.params.mean), []
    for step in range(12):
        before = np.array(training.state.params.x)
        training.advance()
        rates.append(float(np.abs(np.asarray(training.state.params.x) - before).max()))
        if step not in (3, 7):
            mean = np.float32(0.9) * mean + np.float32(0.1) * before
    assert training.state.params.steps == 10
    np.testing.assert_allclose(training.state.params.mean, mean, rtol=1e-5)
    assert rates[0] == pytest.approx(0.01, rel=1e-3)  # Adam's first step is the learning rate, and the factor 1
    assert rates[3] == pytest.approx(rates[2] / 2, rel=1e-3)  # a bad step takes half of the one before back
    assert rates[7] == pytest.approx(rates[6] / 2, rel=1e-3)
    assert rates[11] < 0.002
    assert {leaf.shape for leaf in jax.tree.leaves(training.state.moments)} == {(), (3,)}  # none of the average's


# Not those that read a saved model back, by its method's name.
BY_NAME = (saved_model_is_the_trained_one, training_starts_from_a_saved_model)


@pytest.mark.parametrize("check", [one for one in CHECKS if one not in BY_NAME])
def test_a_method_with_untrained_leaves_keeps_the_contract(check, tmp_path):
    check(Case("averaging", _Averaging(), tmp_path))


def test_a_report_has_the_mean_training_loss_the_validation_and_the_components():
    (*_, last) = _to_the_end(_training())
    assert set(last.metrics) == {"train_loss", "train_first", "val_error", "skipped_steps", "recoveries"}
    assert last.metrics["recoveries"] == 0
    assert last.metrics["skipped_steps"] == 0


def test_the_length_of_a_chunk_changes_nothing():
    coarse, fine = _training(Config(report_every=30)), _training(Config(report_every=7))
    _to_the_end(coarse)
    _to_the_end(fine)
    assert np.array_equal(coarse.state.params.x, fine.state.params.x)


def test_a_bad_step_is_skipped_and_counted_and_the_trial_goes_on():
    training = _training(Config(steps=60, report_every=60), _Disturbed())
    report = training.advance()
    assert report.ending == "completed"
    assert report.step == 60
    assert 3 <= report.metrics["skipped_steps"] <= 25  # a fifth of 60
    assert np.isfinite(report.metrics["train_loss"])
    assert np.isfinite(report.metrics["val_error"])


def test_a_bad_first_step_is_survived_whatever_the_size_of_the_losses():
    training = _training(Config(shift=100.0, steps=30, report_every=30))  # losses around 10,000
    state = training.state
    assert not np.isfinite(state.first_loss)
    training.state = state._replace(step=state.step + 1, bad_steps=state.bad_steps + 1, skipped=state.skipped + 1)
    report = training.advance()
    assert report.ending == "completed"
    assert report.metrics["skipped_steps"] == 1
    assert float(training.state.first_loss) > 1000


def _momentum(state):
    (adam,) = [one for one in state.moments if hasattr(one, "mu")]
    return np.array(adam.mu.x), np.array(adam.nu.x)


PLAIN, CLIPPED = {}, {"clip_norm": 0.1, "schedule": "cosine", "warmup_steps": 4, "weight_decay": 0.1}


@pytest.mark.parametrize("fields", [PLAIN, CLIPPED], ids=["plain", "clipped, on a schedule"])
def test_bad_steps_take_back_ever_more_of_the_last_move_and_halve_the_momentum(fields):
    config = Config(steps=12, report_every=1, **fields)
    training = _training(config, program=Program(_BadNow(5, 6, 7), config), of=_BadNow(5, 6, 7))
    for _ in range(4):
        training.advance()
    before = np.array(training.state.params.x)
    training.advance()
    moved, (mu, nu) = np.array(training.state.params.x), _momentum(training.state)
    assert not np.array_equal(moved, before)
    for left in (0.5, 0.25, 0.125):
        training.advance()
        np.testing.assert_allclose(training.state.params.x, before + left * (moved - before), rtol=1e-6)
        np.testing.assert_array_equal(_momentum(training.state)[0], np.float32(left) * mu)
        np.testing.assert_array_equal(_momentum(training.state)[1], nu)
    assert training.state.skipped == 3
    assert training.state.recovery.recoveries == 0
    assert [training.advance().metrics["recoveries"] for _ in range(4)] == [0, 0, 1, 1]


def test_a_bad_step_soon_after_another_goes_back_to_before_both():
    config = Config(steps=12, report_every=1)
    training = _training(config, program=Program(_BadNow(5, 7), config), of=_BadNow(5, 7))
    places = [np.array(training.state.params.x)]
    for _ in range(8):
        training.advance()
        places.append(np.array(training.state.params.x))
    np.testing.assert_allclose(places[6], (places[5] + places[4]) / 2, rtol=1e-6)
    np.testing.assert_allclose(places[8], (places[7] + places[4]) / 2, rtol=1e-6)


def test_a_training_recovers_from_parameters_that_have_no_loss():
    training = _training(Config(steps=100, report_every=100, learning_rate=0.5), CLIFF)
    report = training.advance()
    assert report.ending == "completed"
    assert report.metrics["skipped_steps"] >= 1
    assert report.metrics["recoveries"] >= 1
    assert report.metrics["val_error"] < 0.1


def test_without_going_back_it_would_be_lost(monkeypatch):
    monkeypatch.setattr(recovery, "SHARE_BACK", 0.0)
    config = Config(steps=100, report_every=100, learning_rate=0.5)
    report = _training(config, CLIFF, Program(CLIFF, config)).advance()
    assert (report.ending, report.metrics["skipped_steps"]) == ("diverged", MAX_BAD_STEPS)


def test_a_training_that_never_had_a_bad_step_is_what_it_would_be_without_recoveries(monkeypatch):
    with_them = _training(Config(steps=40, report_every=40))
    monkeypatch.setattr(recovery, "SHARE_BACK", 0.0)
    monkeypatch.setattr(recovery, "MOMENTUM_KEPT", 1.0)
    without = _training(Config(steps=40, report_every=40), program=Program(method, Config(steps=40)))
    assert with_them.advance() == without.advance()
    assert np.array_equal(with_them.state.params.x, without.state.params.x)


@pytest.mark.parametrize(
    ("bad", "ending"),
    [(lambda step: step % 3 == 2, "completed"), (lambda step: step % 3, "diverged")],
    ids=["every third", "two of three"],
)
def test_a_training_that_is_bad_most_of_the_time_fails(bad, ending):
    steps = _BadNow(*filter(bad, range(60)))
    config = Config(steps=60, report_every=60)
    report = _training(config, steps, Program(steps, config)).advance()
    assert report.ending == ending
    assert report.step == (60 if ending == "completed" else 3 * (MAX_BAD_STEPS - 1))


def test_a_failed_training_stands_still():
    training = _training(Config(trouble="nan", steps=100, report_every=10))
    training.advance()
    before = jax.tree.map(np.array, training.state)
    assert before.failure
    training.advance()
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(training.state)))


def test_a_recovery_is_the_same_however_often_it_is_saved_and_loaded(tmp_path):
    config = Config(steps=60, report_every=1, learning_rate=0.5)
    whole = _training(config, CLIFF)
    reports = _to_the_end(whole)
    assert reports[-1].metrics["skipped_steps"]
    path, part = tmp_path / "trial.npz", _training(config, CLIFF)
    for report in reports:
        assert str(part.advance()) == str(report)  # in words: a bad step's loss is no number, which equals nothing
        part.save(path)
        part = _training(config, CLIFF)
        part.load(path)
        assert str(part.advance()) == str(report)


def test_lanes_recover_as_single_trainings_do():
    configs = [Config(seed=seed, steps=60, report_every=60, learning_rate=rate) for seed, rate in ((0, 0.5), (1, 0.01))]
    program, numbers = _program(CLIFF, "none", 3), [traced_numbers(config) for config in configs]
    hyper = jax.tree.map(lambda *lanes: jax.numpy.stack(lanes), *numbers)
    data = jax.device_put(CLIFF.data(configs[0], DatasetStore()).phases[0])

    def train(hyper):
        span = program_module.Span(*map(jax.numpy.asarray, (60, 0, 60)))
        return program.chunk(program.init(hyper), hyper, span, data)[0]

    lanes = jax.jit(jax.vmap(train))(hyper)
    assert lanes.skipped.tolist()[0] > 0 == lanes.skipped.tolist()[1]
    for index, config in enumerate(configs):
        alone = _training(config, CLIFF)
        alone.advance()
        assert lanes.skipped[index] == alone.state.skipped
        assert lanes.recovery.recoveries[index] == alone.state.recovery.recoveries
        np.testing.assert_allclose(lanes.params.x[index], alone.state.params.x, rtol=1e-4)


def test_a_method_that_reads_a_numeric_field_itself_gets_no_number():
    program = _program(method, "none", 3)
    assert np.isnan(program.config.learning_rate)
    assert program.config.steps == 30


@pytest.mark.parametrize(("trouble", "ending"), [("nan", "diverged"), ("solver", "solver_failed")])
def test_a_trial_ends_after_so_many_bad_steps_in_a_row(trouble, ending):
    training = _training(Config(trouble=trouble, steps=100, report_every=50))
    report = training.advance()
    assert report.ending == ending
    assert report.step == MAX_BAD_STEPS
    assert report.metrics["skipped_steps"] == MAX_BAD_STEPS


def test_the_parameters_stay_where_they_were_while_steps_are_bad():
    training = _training(Config(trouble="nan"))
    before = np.array(training.state.params.x)
    training.advance()
    assert np.array_equal(training.state.params.x, before)


def test_an_exploding_loss_is_a_divergence_though_it_is_finite(monkeypatch):
    monkeypatch.setattr(program_module, "EXPLOSION", 0.01)

    class Measured(Ripple):
        """Its first loss is what the others are measured by: a hundred times smaller they never get."""

    report = _training(Config(steps=50, report_every=50, learning_rate=1e-6), Measured()).advance()
    assert (report.ending, report.step) == ("diverged", MAX_BAD_STEPS)
    assert np.isfinite(report.metrics["val_error"])


# -- the best model


def test_the_best_model_is_the_best_of_all_reports_and_of_each_phase():
    training = _training(Config(report_every=1, learning_rate=0.1), TWO_PHASES)
    reports = _to_the_end(training)
    best = min(reports, key=lambda report: report.metrics["val_error"])
    assert training.best.step == best.step < 37
    assert training.best.value == best.metrics["val_error"]
    for phase in (0, 1):
        of_phase = min((r for r in reports if r.phase == phase), key=lambda report: report.metrics["val_error"])
        assert training.best_per_phase[phase].step == of_phase.step
    assert training.test()["plain"].metrics["test_error"] == pytest.approx(
        float(np.abs(training.best.params.x - 1.0).mean())
    )
    assert not np.array_equal(training.best.params.x, training.state.params.x)


def test_a_mode_of_max_keeps_the_largest():
    class Worst(Ripple):
        def selection(self, config):
            return "val_error", "max"

    training = _training(Config(report_every=5), Worst())
    values = [report.metrics["val_error"] for report in _to_the_end(training)]
    assert training.best.value == max(values)


def test_a_trial_without_one_finite_validation_diverged():
    class Blind(Ripple):
        def validate(self, config, hyper, model, data):
            return {"val_error": jax.numpy.asarray(jax.numpy.nan)}

    training = _training(Config(), Blind())
    assert _to_the_end(training)[-1].ending == "diverged"
    assert training.test() == {}


# -- checkpoints


@pytest.fixture
def saved(tmp_path):
    training = _training()
    training.advance()
    path = tmp_path / "trial.npz"
    training.save(path, {"trainable": "tests.methods.ripple"})
    return path


def test_a_training_continued_from_its_checkpoint_ends_with_the_same_numbers(saved):
    straight, continued = _training(), _training()
    expected = _to_the_end(straight)
    assert continued.load(saved) == {"trainable": "tests.methods.ripple"}
    assert continued.step == 10
    assert _to_the_end(continued) == expected  # the report that it was saved at comes once more
    assert np.array_equal(continued.state.params.x, straight.state.params.x)
    assert continued.best.step == straight.best.step


def test_a_training_continued_from_the_checkpoint_of_its_end_has_completed(tmp_path):
    straight, continued = _training(), _training()
    _to_the_end(straight)
    straight.save(tmp_path / "trial.npz")
    continued.load(tmp_path / "trial.npz")
    report = continued.advance()
    assert (report.step, report.ending) == (30, "completed")
    assert report == straight._last
    assert continued.test() == straight.test()


def test_a_checkpoint_holds_the_best_model_of_before(saved):
    restored = _training()
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
            _training().load(saved)


def test_a_checkpoint_of_another_config_names_what_differs(saved):
    with pytest.raises(CheckpointError, match=r"another configuration \(it differs in learning_rate, shift\)"):
        _training(Config(learning_rate=0.2, shift=2.0)).load(saved)


def test_a_checkpoint_from_before_a_field_has_what_was_in_effect_without_it(saved, monkeypatch):
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes())
    del header["config"]["shift"]
    np.savez(saved, **{**arrays, "meta": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    with pytest.raises(CheckpointError, match=r"it differs in shift"):
        _training().load(saved)
    monkeypatch.setattr(Config, "later_fields", {"shift": Config().shift})
    _training().load(saved)
    monkeypatch.setattr(Config, "later_fields", {"shift": 3.0})
    assert load_model(saved).config == Config(shift=3.0)
    with pytest.raises(CheckpointError, match=r"it differs in shift"):
        _training().load(saved)


def test_a_checkpoint_of_another_precision_or_generator_names_both(saved):
    with jax.enable_x64(True), pytest.raises(CheckpointError, match=r"jax_enable_x64 was False, is True"):
        _training().load(saved)
    with jax.threefry_partitionable(False), pytest.raises(CheckpointError, match="partitionable was True, is False"):
        _training().load(saved)
    _training().load(saved)


def test_a_checkpoint_that_does_not_tell_its_settings_is_refused_by_the_types_of_its_arrays(saved, tmp_path):
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes())
    assert header.pop("settings")["jax_enable_x64"] is False
    arrays["meta"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(saved, **arrays)
    _training().load(saved)  # an earlier version's, of the same precision
    wide = {name: array.astype("f8") if array.dtype == np.float32 else array for name, array in arrays.items()}
    np.savez(saved, **wide)
    with pytest.raises(CheckpointError, match=r"in float64, and this process computes in float32: .*X64=1, as it was"):
        _training().load(saved)


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
        _training().load(saved)


def test_a_checkpoint_of_another_shape_is_refused(saved):
    checkpoint = read_checkpoint(saved)
    with pytest.raises(CheckpointError, match="its state does not fit"):
        checkpoint.tree("state", _training(Config(size=4)).state)


def test_a_checkpoint_from_before_recoveries_goes_on_with_the_same_numbers(saved):
    straight, continued = _training(), _training()
    expected = _to_the_end(straight)
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
    assert _to_the_end(continued) == expected


def test_nothing_but_the_checkpoint_is_left_when_writing_it_fails(tmp_path):
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / "trial.npz", {"a": np.zeros(3)}, {"unwritable": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_saved_model_is_the_best_one(tmp_path):
    training = _training(Config(report_every=1, learning_rate=0.9))
    _to_the_end(training)
    path = tmp_path / "model.npz"
    training.save(path, {"trainable": "tests.methods.ripple"})
    loaded = load_model(path)
    assert np.array_equal(loaded.model.x, training.best.params.x)
    assert loaded.metrics == training.best.metrics
    assert loaded.config == training.config


def test_an_unfinished_trials_checkpoint_is_no_model(tmp_path):
    training = _training()
    path = tmp_path / "trial.npz"
    training.save(path)
    with pytest.raises(CheckpointError, match="holds no finished model"):
        load_model(path)


# -- starts from a saved model


@pytest.fixture
def start(tmp_path):
    """Save a trained model, and return its file."""
    training = _training(Config(shift=0.5))
    _to_the_end(training)
    training.save(tmp_path / "start.npz", {"trainable": "tests.methods.ripple"})
    return tmp_path / "start.npz"


def rewritten(path, **header):
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays["meta"].tobytes()) | header
    header = {name: value for name, value in header.items() if value is not None}
    arrays["meta"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


def test_a_start_from_a_saved_model_is_recorded_and_resumes_without_the_file(start, tmp_path):
    config = Config(init_from=str(start))
    straight = _training(config)
    expected = _to_the_end(straight)
    assert expected != _to_the_end(_training())
    begun = _training(config)
    assert begun.advance() == expected[0]
    begun.save(tmp_path / "trial.npz")
    assert read_checkpoint(tmp_path / "trial.npz").meta["config"]["init_from"] == str(start)
    start.unlink()
    continued = _training(config)
    continued.load(tmp_path / "trial.npz")
    assert _to_the_end(continued) == expected
    with pytest.raises(ConfigError, match=r"init_from = '.*start\.npz': not a readable model file"):
        _training(config).advance()


def test_a_checkpoint_written_before_the_first_step_has_the_saved_model(start, tmp_path):
    config = Config(init_from=str(start))
    begun = _training(config)
    begun.save(tmp_path / "trial.npz")
    start.unlink()
    continued = _training(config)
    continued.load(tmp_path / "trial.npz")
    assert np.array_equal(continued.state.params.x, begun.state.params.x)
    assert not np.array_equal(continued.state.params.x, _training().state.params.x)


def test_a_training_starts_from_a_file_of_an_earlier_version(start):
    rewritten(start, format=2, leaves=None, swell=None)
    config = Config(init_from=str(start))
    begun = _training(config)
    begun.begin()
    assert np.array_equal(begun.state.params.x, load_model(start).model.x)
    with pytest.raises(ConfigError, match=r"does not fit this model: x is 3 there and 5 here$"):
        _training(Config(size=5, init_from=str(start))).begin()


def test_a_start_from_another_methods_model_is_refused(start):
    rewritten(start, extra={"trainable": "tests.methods.rip"})
    with pytest.raises(ConfigError, match=r"is a model of tests\.methods\.rip$"):
        _training(Config(init_from=str(start))).begin()


def test_arrays_that_differ_are_told_by_name_and_the_first_few_alone():
    names = ("a", "b", "c", "d", "e")
    there = ModelFile("m", {}, 1, {}, ((2, 3), (), (4,), (5,), (6,)), names)
    assert misfit(there, [(name, shape) for name, shape in zip(names, there.shapes, strict=True)]) == ""
    assert misfit(there, [("a", (2, 3)), ("b", ()), ("c", (4,)), ("x", (5,))]) == (
        "has d 5 there and x 5 here; e is there alone"
    )
    assert misfit(there._replace(names=()), [(name, (1,)) for name in "abcdef"]) == (
        "a is 2 x 3 there and 1 here; b is a number there and 1 here; c is 4 there and 1 here, and 3 arrays more"
    )


def test_a_start_is_no_part_of_a_program():
    assert structural_key(Config(init_from="a/1")) == structural_key(Config())
    programs = ProgramCache()
    assert programs.get(method, Config(init_from="a/1")) is programs.get(method, Config())
    assert program_module._untold(Config(init_from="a/1"), {}).init_from is None


# -- programs


def test_programs_are_shared_by_configs_that_differ_in_numeric_fields_alone():
    programs = ProgramCache()
    first = programs.get(method, Config(seed=1, learning_rate=0.1, shift=1.0))
    assert programs.get(method, Config(seed=2, learning_rate=0.2, shift=3.0)) is first
    assert programs.get(method, Config(size=4)) is not first


def test_a_second_trial_of_a_program_compiles_nothing():
    program = Program(method, Config())
    _to_the_end(_training(Config(), program=program))
    compiled = program.compilations
    assert compiled == 3  # init, chunk, validate
    _to_the_end(_training(Config(seed=7, learning_rate=0.3), program=program))
    assert program.compilations == compiled


def test_the_least_recently_used_program_is_dropped():
    programs = ProgramCache(size=2)
    first, second = (programs.get(method, Config(size=size)) for size in (1, 2))
    assert programs.get(method, Config(size=1)) is first
    programs.get(method, Config(size=3))
    assert programs.get(method, Config(size=1)) is first
    assert programs.get(method, Config(size=2)) is not second


def test_structural_and_numeric_fields_share_the_config_between_them():
    config = Config(seed=5, learning_rate=0.25, weight_decay=0.5, shift=2.0)
    assert numeric(config) == {"seed": 5, "learning_rate": 0.25, "weight_decay": 0.5, "shift": 2.0}
    structure = json.loads(structural_key(config))
    assert [structure[name] for name in numeric(config)] == [None] * 4
    assert structural_key(config) == structural_key(Config())
    assert structural_key(Config(steps=31)) != structural_key(Config())


@pytest.mark.parametrize("value", [-1.0, 0.0, float("inf"), float("nan"), "0.1", True])
def test_a_learning_rate_that_is_none_is_refused(value):
    with pytest.raises(ValidationError, match="learning_rate"):
        Config(learning_rate=value)


def test_a_config_error_names_field_value_and_way_out():
    with pytest.raises(ConfigError) as caught:
        Config(size=9).check_data()
    assert str(caught.value) == "size = 9: the data has eight columns (allowed: 1 to 8)"


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("constant", [1, 1, 1, 1]), ("linear", [1, 0.75, 0.5, 0.25]), ("cosine", [1, 0.8536, 0.5, 0.1464])],
)
def test_schedules_have_their_shape_over_a_phase(schedule, rates):
    config = Config(schedule=schedule)
    span = program_module.Span(*map(jax.numpy.asarray, (1, 8, 4)))
    found = [float(program_module._rate(config, span, 2.0, jax.numpy.asarray(8 + step))) / 2 for step in range(4)]
    assert found == pytest.approx(rates, abs=1e-4)


def test_the_warm_up_rises_linearly_from_the_start_of_the_phase():
    config = Config(warmup_steps=4)
    span = program_module.Span(*map(jax.numpy.asarray, (1, 8, 10)))
    found = [float(program_module._rate(config, span, 1.0, jax.numpy.asarray(8 + step))) for step in range(6)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_a_clipped_gradient_is_shortened():
    free, clipped = Program(method, Config()), Program(method, Config(clip_norm=0.5))
    gradient = {"x": jax.numpy.asarray([3.0, 4.0])}
    moments = [program._adam.update(gradient, program._adam.init(gradient))[1] for program in (free, clipped)]
    first, second = (float(jax.numpy.linalg.norm(jax.tree.leaves(m)[1])) for m in moments)
    assert (first, second) == pytest.approx((0.5, 0.05))  # a tenth of the norm: Adam's first moment


# -- data sets


BUILD_SLOWLY = """
import sys, time
from pathlib import Path
import numpy as np
from trainables._shared.datasets import DatasetStore

folder, me = Path(sys.argv[1]), sys.argv[2]

def build():
    (folder / f"built-{me}").touch()
    time.sleep(0.5)
    return {"a": np.arange(6.0), "b": np.ones((2, 2))}

(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
arrays = DatasetStore(folder).get("orbits", "v1", build)
print(arrays["a"].sum(), type(arrays["a"]).__name__)
"""


def test_a_data_set_is_built_once_by_two_processes_and_never_seen_half_built(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD_SLOWLY, tmp_path, me], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for me in "12"
    ]
    while len(list(tmp_path.glob("ready-*"))) < 2:
        time.sleep(0.01)
    (tmp_path / "go").touch()
    folder = DatasetStore(tmp_path).path("orbits", "v1")
    seen = set()
    while any(worker.poll() is None for worker in workers):
        if folder.is_dir():
            seen.add(tuple(sorted(file.name for file in folder.iterdir())))
        time.sleep(0.001)
    seen.add(tuple(sorted(file.name for file in folder.iterdir())))  # at the latest now, however busy the machine is
    assert [worker.communicate()[0] for worker in workers] == ["15.0 memmap\n"] * 2
    assert len(list(tmp_path.glob("built-*"))) == 1
    assert seen == {("a.npy", "b.npy")}


def test_a_failed_build_leaves_nothing_and_the_next_one_succeeds(tmp_path):
    store = DatasetStore(tmp_path)

    def fail():
        raise RuntimeError("no orbits today")

    with pytest.raises(RuntimeError, match="no orbits today"):
        store.get("orbits", "v1", fail)
    assert not store.path("orbits", "v1").exists()
    assert store.get("orbits", "v1", lambda: {"a": np.ones(2)})["a"].sum() == 2


def test_a_failed_write_leaves_no_half_data_set(tmp_path):
    store = DatasetStore(tmp_path)
    with pytest.raises(ValueError, match="setting an array element"):
        store.get("orbits", "v1", lambda: {"a": np.ones(2), "b": [[1], [1, 2]]})
    assert [path.name for path in store.root.iterdir() if path.is_dir()] == []


def test_another_recipe_is_another_data_set(tmp_path):
    store = DatasetStore(tmp_path)
    for recipe, value in (("v1", 1), ("v2", 2), ("v1", 3)):
        store.get("a set/of orbits", recipe, lambda value=value: {"a": np.full(1, value)})
    values = [store.get("a set/of orbits", recipe, dict)["a"][0] for recipe in ("v1", "v2")]
    assert values == [1, 2]


def test_data_sets_cannot_be_written_to(tmp_path):
    arrays = DatasetStore(tmp_path).get("a", "v1", lambda: {"a": np.ones(2)})
    with pytest.raises(ValueError, match="read-only"):
        arrays["a"][0] = 5


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("SWELL_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("SWELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "swell"


# -- discovery


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder outside of the repository, and a function that puts modules there."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def put(name, text):
        file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    yield put
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


CONFIG = "from trainables._shared.config import MethodConfig\nclass Config(MethodConfig):\n    depth: int = 2\n"
METHOD = "from tests.methods.ripple.method import Config, Ripple\nmethod = Ripple()\n"


def test_the_methods_of_the_package_are_its_folders():
    assert method_names()[0] != "_shared"
    assert "two_body" in method_names()


@pytest.mark.parametrize("name", ["no_such", "no.such.module", "trainables.no_such"])
def test_an_unknown_method_lists_the_choices(name):
    with pytest.raises(UnknownMethodError, match=r"is not a method|is not found") as caught:
        load_config_type(name)
    assert caught.value.choices == method_names()
    assert repr(name) in str(caught.value)


def test_a_method_outside_of_the_repository_is_one_module(outside):
    outside("elsewhere.single", METHOD)
    assert load_config_type("elsewhere.single") is Config
    assert isinstance(load_method("elsewhere.single"), Ripple)


def test_a_method_outside_of_the_repository_is_a_package_whose_config_comes_without_the_method(outside):
    outside("elsewhere2.folder.__init__", "")
    outside("elsewhere2.folder.config", CONFIG)
    outside("elsewhere2.folder.method", METHOD)
    assert load_config_type("elsewhere2.folder")().depth == 2
    assert "elsewhere2.folder.method" not in sys.modules
    assert isinstance(load_method("elsewhere2.folder"), Ripple)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must define `Config`"),
        ("Config = 3", "must define `Config`"),
        ("class Config: pass", "must define `Config`"),
    ],
)
def test_a_module_without_a_config_says_what_is_missing(outside, text, message):
    outside("bad_config_package.bad", text)
    with pytest.raises(UnknownMethodError, match=message):
        load_config_type("bad_config_package.bad")


def test_a_module_without_a_method_says_what_is_missing(outside):
    outside("bad_method_package.bad", f"{CONFIG}method = Config")
    with pytest.raises(UnknownMethodError, match="must define `method`, an instance of a Method subclass"):
        load_method("bad_method_package.bad")


def test_a_module_that_fails_to_import_raises_its_own_error(outside):
    outside("broken_package.broken", "import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_config_type("broken_package.broken")


def test_a_training_whose_chunk_is_broken_off_still_knows_its_step(tmp_path):
    method, config = load_method("tests.methods.ripple"), load_method("tests.methods.ripple").smoke()
    training = Training(Program(method, config), config, method.data(config, DatasetStore(tmp_path)))
    reached = training.advance().step
    for leaf in jax.tree.leaves(training.state):  # as donated to a chunk that an interrupt has ended
        leaf.delete()
    assert training.step == reached > 0
