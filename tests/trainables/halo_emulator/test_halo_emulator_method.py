import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from analysis.evaluation.apply import EvaluationError, Model
from trainables._shared import extras
from trainables._shared.contract import UnknownTestSetError
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, traced_numbers
from trainables._shared.saved import SavedModel
from trainables._shared.training import Training
from trainables.halo_emulator import losses
from trainables.halo_emulator.config import Config
from trainables.halo_emulator.method import HaloEmulator, method
from trainables.halo_emulator.model import Gaussian, members_in_dex, mixture

TINY = {
    "num_simulations": 6, "num_held_out": 2, "haloes_per_simulation": 6, "num_ratios": 4, "num_bins": 4, "gp_haloes": 0,
    "model": "mlp", "width": 8, "depth": 2, "dropout": 0.0, "batch_size": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


def to_the_end(config, store, of=method):
    training = Training(Program(of, config), config, of.data(config, store))
    while not (report := training.advance()).ending:
        pass
    assert report.ending == "completed"
    return training, report


def initial(config, hyper):
    return eqx.filter_jit(lambda: method.init(config, hyper, jax.random.key(0)))()


def predicted(config, hyper, model, tests):
    return jax.jit(lambda hyper, tests: method.predict(config, hyper, model, tests))(hyper, tests)


@functools.cache
def known_map(folder):
    """Write a noiseless map of three parameters, mass and two ratios, and return its path."""
    rng = np.random.default_rng(0)
    num_simulations, per = 60, 12
    params, ratios = rng.uniform(0.5, 2.0, (num_simulations, 3)), 1 - rng.uniform(0, 0.3, (num_simulations, 2))
    sim, log_mass = np.repeat(np.arange(num_simulations), per), rng.uniform(13, 15, num_simulations * per)
    x = np.geomspace(0.1, 1.0, 4)
    amplitude = 0.4 * np.log10(params[sim, 0]) + 0.3 * (log_mass - 14) - 0.8 * (1 - ratios[sim, 0])
    slope = 2.0 + 0.3 * np.log10(params[sim, 1]) * (log_mass - 14)
    profile = 10 ** (amplitude[:, None] - slope[:, None] * np.log10(x))
    path = folder / "map.npz"
    arrays = {"params": params[sim], "mass": 10**log_mass, "pk_ratio": ratios[sim], "profile": profile, "sim": sim}
    np.savez(path, **arrays)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{"model": "mlp", "members": 1}, {"model": "grouped", "members": 2, "bootstrap": False}]
)
def test_a_known_noiseless_map_is_recovered_to_one_percent(tmp_path_factory, store, fields):
    path = known_map(tmp_path_factory.getbasetemp())
    config = Config(
        dataset="file", file=str(path), num_parameters=3, num_ratios=2, num_bins=4, gp_haloes=0, loss="mse", width=48,
        depth=2, halving=False, learning_rate=5e-3, weight_decay=0.0, dropout=0.0, batch_size=128, steps=1200,
        report_every=400,
        **fields,
    )  # fmt: skip
    training, _ = to_the_end(config, store)
    (result, by_bin) = training.test().values()
    assert result.metrics["test_median_error_pct"] < 1.0
    assert max(by_bin.table["median_error_pct"]) < 1.0
    assert result.metrics["test_r2"] > 0.999
    # What knows no more than the mass is far away, and a straight line is not near.
    assert result.metrics["test_baseline_mean_profile_median_error_pct"] > 10
    assert result.metrics["test_baseline_ridge_rmse_dex"] > 4 * result.metrics["test_rmse_dex"]


@pytest.mark.slow
def test_intervals_of_68_percent_cover_60_to_76_percent_where_the_noise_is_known(store):
    config = Config(
        num_simulations=64, num_held_out=24, haloes_per_simulation=40, scatter=0.15, num_ratios=10, num_bins=8,
        gp_haloes=0, model="mlp", members=3, width=32, depth=2, learning_rate=2e-3, weight_decay=1e-2, dropout=0.0,
        batch_size=128, steps=900, report_every=100,
    )  # fmt: skip
    training, _ = to_the_end(config, store)
    result = next(iter(training.test().values()))
    assert 60 < result.metrics["test_coverage_68_pct"] < 76
    assert 88 < result.metrics["test_coverage_95_pct"] < 99
    # The scatter is twice as large for the least massive haloes, and the model has found that out.
    mass, sigma = np.array(result.table["log_mass"]), np.array(result.table["sigma_dex"])
    assert sigma[mass < 13.3].mean() > 1.15 * sigma[mass > 14.2].mean()
    # Nothing can be nearer to the truth than the scatter.
    assert result.metrics["test_rmse_dex"] > 0.15
    assert result.metrics["test_nll"] < result.metrics["test_baseline_mean_profile_nll"]


def test_a_validation_set_smaller_than_a_batch_is_scored_as_a_whole(store):
    config = Config(**(TINY | {"num_held_out": 1, "haloes_per_simulation": 3, "batch_size": 512}), members=2, steps=3)
    data = method.data(config, store)
    assert len(data.validation["target"]) == 3
    training = Training(Program(method, config), config, data)
    metrics = training.advance().metrics
    assert all(np.isfinite(value) for value in metrics.values())
    # Its likelihood is that of all three haloes.
    on_device = jax.tree.map(jnp.asarray, data.validation)
    model = training.program.model(training.state.params, training.hyper)
    prediction = predicted(config, training.hyper, model, {"all": on_device})["all"]
    mean, std = np.asarray(prediction["mean"], float), np.sqrt(np.asarray(prediction["variance"], float))
    target = data.validation["target"].astype(float)
    assert metrics["val_nll"] == pytest.approx(-norm.logpdf(target, mean, std).mean(), rel=1e-4)
    assert metrics["val_coverage_68_pct"] == pytest.approx(100 * (abs(target - mean) < norm.ppf(0.84) * std).mean())
    assert metrics["val_rmse_dex"] == pytest.approx(np.sqrt(((target - mean) ** 2).mean()), rel=1e-4)
    profile = data.validation["profile"]
    percent = np.median(100 * abs(10**mean / profile - 1))
    assert metrics["val_median_error_pct"] == pytest.approx(percent, rel=1e-3)


class _Spiked(HaloEmulator):
    """Every seventh step has a finite loss with an infinite gradient, of the first member alone."""

    def loss(self, config, hyper, model, batch, key, step):
        loss = super().loss(config, hyper, model, batch, key, step)
        bias = model.networks.mean.bias[0]

        def spike(bias):
            return jnp.sum(jnp.sqrt(bias - jax.lax.stop_gradient(bias)))

        # Not outside of the branch: there, no gradient of the spike would be 0 times infinity.
        value = jax.lax.cond(step % 7 == 3, spike, lambda bias: 0.0 * jnp.sum(bias), bias)
        return loss._replace(value=loss.value + value)


def test_infinite_gradients_are_skipped_and_counted_and_spread_to_nothing(store):
    config = Config(**TINY, members=2, steps=21, report_every=7, learning_rate=1e-3)
    training = Training(Program(_Spiked(), config), config, method.data(config, store))
    reports = [training.advance() for _ in range(3)]
    assert [report.metrics["skipped_steps"] for report in reports] == [1, 2, 3]
    assert reports[-1].ending == "completed"
    for tree in (training.state.params, training.state.moments):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))
    assert all(np.isfinite(report.metrics["train_loss"]) for report in reports)


def test_an_infinite_gradient_of_a_clipped_member_stays_one_that_is_skipped():
    def clipped(gradient):
        _, back = jax.vjp(lambda p: losses.clipped(p, jnp.asarray(1.0)), {"a": jnp.zeros(2), "b": jnp.zeros(())})
        return back(gradient)[0]

    large = clipped({"a": jnp.asarray([3.0, 0.0]), "b": jnp.asarray(4.0)})
    np.testing.assert_allclose(large["a"], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(large["b"], 0.8, rtol=1e-6)
    small = clipped({"a": jnp.asarray([0.3, 0.0]), "b": jnp.asarray(0.4)})
    np.testing.assert_allclose(small["a"], [0.3, 0.0], rtol=1e-6)
    bad = clipped({"a": jnp.asarray([jnp.inf, 0.0]), "b": jnp.asarray(4.0)})
    assert not np.isfinite(bad["a"]).all()


def test_members_have_the_gradients_that_they_would_have_alone_and_their_mean_is_reported():
    # AdamW would hide a factor that all gradients share.
    value, gradient = jax.value_and_grad(losses.sum_gradient)(jnp.asarray([1.0, 2.0, 6.0]))
    assert value.item() == pytest.approx(3.0)
    np.testing.assert_allclose(gradient, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "grouped"])
def test_each_member_of_an_ensemble_equals_the_same_member_trained_alone(store, model):
    fields = {
        **TINY, "model": model, "attention": model == "grouped", "engineered": model == "grouped", "bootstrap": True,
        "dropout": 0.1, "input_noise": 0.05, "member_clip_norm": 0.05, "smoothness_weight": 0.1,
        "mass_scaling_weight": 0.1, "physics_start": 0.0, "physics_full": 0.0, "learning_rate": 3e-3, "steps": 25,
        "report_every": 25,
    }  # fmt: skip
    together, _ = to_the_end(Config(**fields, members=3), store)
    alone, _ = to_the_end(Config(**fields, members=1, first_member=2), store)
    whole, single = (one.program.model(one.state.params, one.hyper).networks for one in (together, alone))
    before = together.program.model(together.program.run("init", together.hyper).params, together.hyper).networks
    for ours, theirs, start in zip(
        jax.tree.leaves(single), jax.tree.leaves(whole), jax.tree.leaves(before), strict=True
    ):
        np.testing.assert_allclose(ours[0], theirs[2], rtol=5e-3, atol=2e-4)
        assert not np.allclose(ours[0], theirs[0], rtol=5e-2, atol=2e-3)
        assert not np.allclose(theirs[2], start[2], rtol=5e-3, atol=2e-4) or not theirs[2].any()


def test_single_and_ensemble_return_mean_and_variance_alike(store):
    data = method.data(Config(**TINY), store)
    tests = jax.tree.map(jnp.asarray, dict(data.tests))
    found = {}
    for members in (1, 4):
        config = Config(**TINY, members=members)
        hyper = traced_numbers(config)
        model = initial(config, hyper)
        found[members] = predicted(config, hyper, model, tests)["generated_test"]
        each = members_in_dex(model, jnp.zeros((2, sum(config.groups))), jax.nn.silu)
        assert each.mean.shape == (members, 2, 4)
    assert jax.tree.map(jnp.shape, found[1]) == jax.tree.map(jnp.shape, found[4])
    assert (found[1]["variance"] > 0).all()
    np.testing.assert_array_equal(found[1]["disagreement"], 0.0)
    assert (found[4]["disagreement"] > 0).all()


def test_an_ensemble_is_the_mixture_of_its_members():
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=(3, 1, 1)), rng.uniform(0.5, 2.0, (3, 1, 1))
    whole, disagreement = mixture(Gaussian(jnp.asarray(means), jnp.asarray(variances)))
    drawn = rng.normal(means, np.sqrt(variances), (3, 200_000, 1)).ravel()
    assert float(whole.mean[0, 0]) == pytest.approx(drawn.mean(), abs=0.01)
    assert float(whole.variance[0, 0]) == pytest.approx(drawn.var(), rel=0.01)
    assert float(disagreement[0, 0]) == pytest.approx(means.var(), rel=1e-4)


def test_likelihood_and_huber_error_are_those_of_their_definitions():
    target, mean, variance = jnp.asarray([0.3, -2.0]), jnp.asarray([0.1, 1.0]), jnp.asarray([0.5, 2.0])
    expected = -norm.logpdf(np.asarray(target), np.asarray(mean), np.sqrt(np.asarray(variance)))
    np.testing.assert_allclose(losses.nll(target, mean, variance), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.huber(jnp.asarray([0.5, -3.0]), jnp.asarray(1.0)), [0.125, 2.5])


def test_with_mse_the_mean_is_fitted_as_if_no_variance_were_learnt(store):
    gradients = {}
    for loss in ("mse", "nll"):
        config = Config(**TINY, members=1, loss=loss, member_clip_norm=1e9)
        hyper, data = traced_numbers(config), method.data(config, store).phases[0]
        batch = method.batch(config, data, jax.random.key(1))
        model = initial(config, hyper)

        def value(model, config=config, hyper=hyper, batch=batch):
            return method.loss(config, hyper, model, batch, jax.random.key(2), jnp.asarray(0)).value

        gradients[loss] = eqx.filter_jit(eqx.filter_grad(value))(model).networks

        def squared(model, config=config, batch=batch):
            stats = batch["statistics"]
            model = eqx.tree_at(lambda m: m.statistics, model, type(model.statistics)(*stats))
            from trainables.halo_emulator.features import inputs_of

            x = inputs_of(config, stats[0], batch["params"], batch["log_mass"], batch["ratios"], jnp)
            mean = members_in_dex(model, x, jax.nn.silu).mean[0]
            return jnp.mean(((mean - batch["target"]) / stats[4]) ** 2)

        expected = eqx.filter_jit(eqx.filter_grad(squared))(model).networks
    for ours, theirs in zip(gradients["mse"].hidden, expected.hidden, strict=True):
        np.testing.assert_allclose(ours.weight, theirs.weight, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(gradients["mse"].mean.weight, expected.mean.weight, rtol=1e-3, atol=1e-6)
    # The variance learns all the same, and with the likelihood the hidden layers learn from it too.
    assert jnp.abs(gradients["mse"].spread.weight).max() > 1e-4
    np.testing.assert_allclose(gradients["mse"].spread.weight, gradients["nll"].spread.weight, rtol=1e-3, atol=1e-6)
    assert jnp.abs(gradients["nll"].hidden[0].weight - expected.hidden[0].weight).max() > 1e-4


def test_physics_terms_vanish_where_they_hold_and_no_earlier_than_the_curriculum_says():
    line = jnp.asarray([[3.0, 2.0, 1.0, 0.0]])
    bent = jnp.asarray([[3.0, 1.0, 2.0, 0.0]])
    assert losses.smoothness(line).item() == 0
    assert losses.smoothness(bent).item() == pytest.approx((3**2 + 3**2) / 2)
    assert losses.increase(line).item() == 0
    assert losses.increase(bent).item() == pytest.approx(1 / 3)
    assert losses.boundary(line + 5, line).item() == 0
    assert losses.boundary(bent, line).item() == pytest.approx(0.5 * (1 + 1))
    at = [
        losses.curriculum(jnp.asarray(step), 1000, jnp.asarray(0.1), jnp.asarray(0.3)).item()
        for step in (0, 99, 100, 299, 300)
    ]
    np.testing.assert_allclose(at, [0, 0, 0.1, 0.1, 1.0])


def test_mass_scaling_is_the_derivative_of_the_profile_with_mass(store):
    config = Config(
        **TINY,
        members=1,
        engineered=True,
        mass_scaling_weight=1.0,
        physics_start=0.0,
        physics_full=0.0,
        mass_exponent=0.5,
    )
    hyper, data = traced_numbers(config), method.data(config, store).phases[0]
    batch = method.batch(config, data, jax.random.key(1))
    model = initial(config, hyper)

    @jax.jit
    def loss_of(hyper):
        loss = method.loss(config, hyper, model, batch, jax.random.key(2), jnp.asarray(5))
        return loss.value, loss.components["mass_scaling"]

    value, term = loss_of(hyper)
    stats = type(model.statistics)(*batch["statistics"])
    model = eqx.tree_at(lambda m: m.statistics, model, stats)

    def mean(shift):
        haloes = {**batch, "log_mass": batch["log_mass"] + shift}
        return predicted(config, hyper, model, {"x": haloes})["x"]["mean"].mean(1)

    slope = (mean(0.01) - mean(-0.01)) / 0.02
    assert term.item() == pytest.approx(((slope - 0.5) ** 2).mean().item(), rel=1e-2)
    other, none = loss_of(hyper | {"mass_scaling_weight": jnp.asarray(0.0)})
    assert none.item() == 0
    assert (value - other).item() == pytest.approx(term.item(), rel=1e-3)


def test_bootstrap_draws_whole_simulations_with_mean_one():
    sim = jnp.asarray(np.repeat(np.arange(4000), 2))
    weights = np.asarray(losses.bootstrap_weights(jax.random.key(0), sim, 4000)).reshape(-1, 2)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    assert weights.mean() == pytest.approx(1.0, abs=0.05)
    assert weights[:, 0].var() == pytest.approx(1.0, abs=0.1)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.03)
    other = losses.bootstrap_weights(jax.random.key(1), sim, 4000)
    assert not np.array_equal(other, weights.ravel())


def test_dropout_and_input_noise_are_of_the_size_that_is_asked_for():
    drawn = losses.draw(jax.random.key(0), 2000, 10, (30, 20), jnp.asarray(0.3), jnp.asarray(0.25))
    assert drawn.noise.std().item() == pytest.approx(0.3, rel=0.03)
    assert [kept.shape for kept in drawn.kept] == [(2000, 30), (2000, 20)]
    assert (drawn.kept[0] == 0).mean().item() == pytest.approx(0.25, abs=0.01)
    assert drawn.kept[1].mean().item() == pytest.approx(1.0, abs=0.02)
    none = losses.draw(jax.random.key(0), 20, 10, (30, 20), jnp.asarray(0.0), jnp.asarray(0.0))
    assert not none.noise.any()
    assert (none.kept[0] == 1).all()


def applied(config):
    """What applies a model of this config to test sets, before the model itself is used."""
    model = Model.__new__(Model)
    model._saved = SavedModel(method, config, None, {})
    return model


def test_a_model_of_another_file_is_tested_on_it_by_its_own_statistics(tmp_path, store, monkeypatch):
    path = known_map(tmp_path)
    fields = {"num_parameters": 3, "num_ratios": 2, "num_bins": 4, "gp_haloes": 0, "width": 8, "members": 2}
    config = Config(dataset="file", file=str(path), **fields)
    with np.load(path) as file:
        arrays = dict(file)
    other = tmp_path / "other.npz"
    np.savez(other, **(arrays | {"profile": 2 * arrays["profile"]}))
    own, test = (method.test_set(config, store, name) for name in ("file_test", str(other)))
    np.testing.assert_allclose(test["target"], own["target"] + np.log10(2), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(own["baselines"]["ridge"]["mean"], test["baselines"]["ridge"]["mean"])
    for name in ("unknown", str(tmp_path / "none.npz")):
        with pytest.raises(ValueError, match="there is no test set"):
            method.test_set(config, store, name)
    with pytest.raises(UnknownTestSetError, match=r"there is no test set 'a.csv' for this model: file = ") as raised:
        method.test_set(config, store, "a.csv")
    assert "validation error" not in str(raised.value)  # pydantic's own words
    assert "an absolute path that ends with .npz" in str(raised.value)
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "h5py")
    (tmp_path / "other.h5").touch()
    with pytest.raises(EvaluationError, match=r"other\.h5: h5py is not installed: pip install 'swell\[halo\]'$"):
        applied(config).apply(str(tmp_path / "other.h5"))
