import jax
import numpy as np
import pytest

from tests.methods.ripple.method import Config, Model, Ripple, method
from tests.training import TWO_PHASES, TwoPhases, begin, program_of, to_the_end
from trainables._shared import program as program_module
from trainables._shared import recovery
from trainables._shared.conformance import (
    CHECKS,
    saved_model_is_the_trained_one,
    training_starts_from_a_saved_model,
)
from trainables._shared.conformance_case import Case
from trainables._shared.datasets import DatasetStore
from trainables._shared.discovery import load_method
from trainables._shared.program import MAX_BAD_STEPS, Program, traced_numbers
from trainables._shared.training import Training


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
    reports = to_the_end(begin(Config(report_every=every), TWO_PHASES))
    assert [report.step for report in reports] == steps
    assert [report.phase for report in reports] == [0 if step <= 25 else 1 for step in steps]
    assert [report.ending for report in reports] == [""] * (len(steps) - 1) + ["completed"]


def test_each_phase_trains_at_its_own_learning_rate():
    training = begin(Config(report_every=1, learning_rate=0.01), TWO_PHASES)
    moved = []
    for _ in range(37):
        before = np.array(training.state.params.x)
        training.advance()
        moved.append(float(np.abs(np.asarray(training.state.params.x) - before).max()))
    assert moved[0] == pytest.approx(0.01, rel=1e-3)  # Adam's first step is the learning rate
    assert max(moved[:25]) < 0.011
    assert moved[25] > 0.15


def test_a_schedule_of_the_methods_own_is_given_the_learning_rate_of_the_phase():
    class OwnSchedule(TwoPhases):
        def rate_factor(self, config, hyper, model):
            return 0.02 / hyper["learning_rate"]

    training = begin(Config(report_every=1, learning_rate=0.01), OwnSchedule())
    moved = []
    for _ in range(37):
        before = np.array(training.state.params.x)
        training.advance()
        moved.append(float(np.abs(np.asarray(training.state.params.x) - before).max()))
    assert moved[0] == pytest.approx(0.02, rel=1e-3)
    assert max(moved) < 0.022  # in both phases


def test_what_is_not_trained_by_gradients_changes_with_the_steps_that_count():
    training = begin(Config(steps=12, report_every=1, learning_rate=0.01), _Averaging())
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
    (*_, last) = to_the_end(begin())
    assert set(last.metrics) == {"train_loss", "train_first", "val_error", "skipped_steps", "recoveries"}
    assert last.metrics["recoveries"] == 0
    assert last.metrics["skipped_steps"] == 0


def test_the_length_of_a_chunk_changes_nothing():
    coarse, fine = begin(Config(report_every=30)), begin(Config(report_every=7))
    to_the_end(coarse)
    to_the_end(fine)
    assert np.array_equal(coarse.state.params.x, fine.state.params.x)


def test_a_bad_step_is_skipped_and_counted_and_the_trial_goes_on():
    training = begin(Config(steps=60, report_every=60), _Disturbed())
    report = training.advance()
    assert report.ending == "completed"
    assert report.step == 60
    assert 3 <= report.metrics["skipped_steps"] <= 25  # a fifth of 60
    assert np.isfinite(report.metrics["train_loss"])
    assert np.isfinite(report.metrics["val_error"])


def test_a_bad_first_step_is_survived_whatever_the_size_of_the_losses():
    training = begin(Config(shift=100.0, steps=30, report_every=30))  # losses around 10,000
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
    training = begin(config, program=Program(_BadNow(5, 6, 7), config), of=_BadNow(5, 6, 7))
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
    training = begin(config, program=Program(_BadNow(5, 7), config), of=_BadNow(5, 7))
    places = [np.array(training.state.params.x)]
    for _ in range(8):
        training.advance()
        places.append(np.array(training.state.params.x))
    np.testing.assert_allclose(places[6], (places[5] + places[4]) / 2, rtol=1e-6)
    np.testing.assert_allclose(places[8], (places[7] + places[4]) / 2, rtol=1e-6)


def test_a_training_recovers_from_parameters_that_have_no_loss():
    training = begin(Config(steps=100, report_every=100, learning_rate=0.5), CLIFF)
    report = training.advance()
    assert report.ending == "completed"
    assert report.metrics["skipped_steps"] >= 1
    assert report.metrics["recoveries"] >= 1
    assert report.metrics["val_error"] < 0.1


def test_without_going_back_it_would_be_lost(monkeypatch):
    monkeypatch.setattr(recovery, "SHARE_BACK", 0.0)
    config = Config(steps=100, report_every=100, learning_rate=0.5)
    report = begin(config, CLIFF, Program(CLIFF, config)).advance()
    assert (report.ending, report.metrics["skipped_steps"]) == ("diverged", MAX_BAD_STEPS)


def test_a_training_that_never_had_a_bad_step_is_what_it_would_be_without_recoveries(monkeypatch):
    with_them = begin(Config(steps=40, report_every=40))
    monkeypatch.setattr(recovery, "SHARE_BACK", 0.0)
    monkeypatch.setattr(recovery, "MOMENTUM_KEPT", 1.0)
    without = begin(Config(steps=40, report_every=40), program=Program(method, Config(steps=40)))
    # Two programs, which may round differently: XLA leaves out what a factor of 0 or 1 says.
    assert with_them.advance().metrics == pytest.approx(without.advance().metrics, rel=1e-5)
    assert with_them.state.params.x == pytest.approx(np.asarray(without.state.params.x), rel=1e-5)


@pytest.mark.parametrize(
    ("bad", "ending"),
    [(lambda step: step % 3 == 2, "completed"), (lambda step: step % 3, "diverged")],
    ids=["every third", "two of three"],
)
def test_a_training_that_is_bad_most_of_the_time_fails(bad, ending):
    steps = _BadNow(*filter(bad, range(60)))
    config = Config(steps=60, report_every=60)
    report = begin(config, steps, Program(steps, config)).advance()
    assert report.ending == ending
    assert report.step == (60 if ending == "completed" else 3 * (MAX_BAD_STEPS - 1))


def test_a_failed_training_stands_still():
    training = begin(Config(trouble="nan", steps=100, report_every=10))
    training.advance()
    before = jax.tree.map(np.array, training.state)
    assert before.failure
    training.advance()
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(training.state)))


def test_a_recovery_is_the_same_however_often_it_is_saved_and_loaded(tmp_path):
    config = Config(steps=60, report_every=1, learning_rate=0.5)
    whole = begin(config, CLIFF)
    reports = to_the_end(whole)
    assert reports[-1].metrics["skipped_steps"]
    path, part = tmp_path / "trial.npz", begin(config, CLIFF)
    for report in reports:
        assert str(part.advance()) == str(report)  # in words: a bad step's loss is no number, which equals nothing
        part.save(path)
        part = begin(config, CLIFF)
        part.load(path)
        assert str(part.advance()) == str(report)


def test_lanes_recover_as_single_trainings_do():
    configs = [Config(seed=seed, steps=60, report_every=60, learning_rate=rate) for seed, rate in ((0, 0.5), (1, 0.01))]
    program, numbers = program_of(CLIFF, "none", 3), [traced_numbers(config) for config in configs]
    hyper = jax.tree.map(lambda *lanes: jax.numpy.stack(lanes), *numbers)
    data = jax.device_put(CLIFF.data(configs[0], DatasetStore()).phases[0])

    def train(hyper):
        span = program_module.Span(*map(jax.numpy.asarray, (60, 0, 60)))
        return program.chunk(program.init(hyper), hyper, span, data)[0]

    lanes = jax.jit(jax.vmap(train))(hyper)
    assert lanes.skipped.tolist()[0] > 0 == lanes.skipped.tolist()[1]
    for index, config in enumerate(configs):
        alone = begin(config, CLIFF)
        alone.advance()
        assert lanes.skipped[index] == alone.state.skipped
        assert lanes.recovery.recoveries[index] == alone.state.recovery.recoveries
        np.testing.assert_allclose(lanes.params.x[index], alone.state.params.x, rtol=1e-4)


def test_a_method_that_reads_a_numeric_field_itself_gets_no_number():
    program = program_of(method, "none", 3)
    assert np.isnan(program.config.learning_rate)
    assert program.config.steps == 30


@pytest.mark.parametrize(("trouble", "ending"), [("nan", "diverged"), ("solver", "solver_failed")])
def test_a_trial_ends_after_so_many_bad_steps_in_a_row(trouble, ending):
    training = begin(Config(trouble=trouble, steps=100, report_every=50))
    report = training.advance()
    assert report.ending == ending
    assert report.step == MAX_BAD_STEPS
    assert report.metrics["skipped_steps"] == MAX_BAD_STEPS


def test_the_parameters_stay_where_they_were_while_steps_are_bad():
    training = begin(Config(trouble="nan"))
    before = np.array(training.state.params.x)
    training.advance()
    assert np.array_equal(training.state.params.x, before)


def test_an_exploding_loss_is_a_divergence_though_it_is_finite(monkeypatch):
    monkeypatch.setattr(program_module, "EXPLOSION", 0.01)

    class Measured(Ripple):
        """Its first loss is what the others are measured by: a hundred times smaller they never get."""

    report = begin(Config(steps=50, report_every=50, learning_rate=1e-6), Measured()).advance()
    assert (report.ending, report.step) == ("diverged", MAX_BAD_STEPS)
    assert np.isfinite(report.metrics["val_error"])


def test_a_training_whose_chunk_is_broken_off_still_knows_its_step(tmp_path):
    method, config = load_method("tests.methods.ripple"), load_method("tests.methods.ripple").smoke()
    training = Training(Program(method, config), config, method.data(config, DatasetStore(tmp_path)))
    reached = training.advance().step
    for leaf in jax.tree.leaves(training.state):  # as donated to a chunk that an interrupt has ended
        leaf.delete()
    assert training.step == reached > 0


# -- the best model


def test_the_best_model_is_the_best_of_all_reports_and_of_each_phase():
    training = begin(Config(report_every=1, learning_rate=0.1), TWO_PHASES)
    reports = to_the_end(training)
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

    training = begin(Config(report_every=5), Worst())
    values = [report.metrics["val_error"] for report in to_the_end(training)]
    assert training.best.value == max(values)


def test_a_trial_without_one_finite_validation_diverged():
    class Blind(Ripple):
        def validate(self, config, hyper, model, data):
            return {"val_error": jax.numpy.asarray(jax.numpy.nan)}

    training = begin(Config(), Blind())
    assert to_the_end(training)[-1].ending == "diverged"
    assert training.test() == {}
