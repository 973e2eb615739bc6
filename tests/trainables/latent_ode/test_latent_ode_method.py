import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, traced_numbers
from trainables._shared.training import Training
from trainables.latent_ode.config import ActivationName, Config
from trainables.latent_ode.data import SPIRAL, Series, Span, origin
from trainables.latent_ode.method import method
from trainables.latent_ode.metrics import pooled_law
from trainables.latent_ode.model import ACTIVATIONS, LatentODE
from trainables.latent_ode.solvers import STEPS

SMALL = {
    "num_series": 48, "num_observed": 8, "hidden": 6, "latent": 3, "width": 5, "depth": 1, "batch_size": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return DatasetStore(tmp_path_factory.mktemp("store"))


@functools.lru_cache(maxsize=64)
def _loss(config):
    """Return the loss and its gradient as a compiled function of numbers, model, batch and step."""

    def value(model, hyper, batch, step):
        loss = method.loss(config, hyper, model, batch, jax.random.key(1), step)
        return loss.value, loss

    return jax.jit(jax.value_and_grad(value, has_aux=True))


def loss_and_gradient(config, data, step=10**6, **numbers):
    hyper = traced_numbers(config) | {name: jnp.asarray(value, jnp.float32) for name, value in numbers.items()}
    model = method.init(config, hyper, jax.random.key(0))
    batch = method.batch(config, data, jax.random.key(2))
    (_, loss), gradient = _loss(config)(model, hyper, batch, jnp.asarray(step))
    return loss, gradient


@functools.lru_cache(maxsize=64)
def _compiled(config, name):
    """Return `predict` or `validate` compiled as a whole: an operation at a time, each would be compiled alone."""
    return jax.jit(functools.partial(getattr(method, name), config))


def predicted(config, model, tests):
    return _compiled(config, "predict")(traced_numbers(config), model, tests)


def validated(config, model, series, **numbers):
    return _compiled(config, "validate")(traced_numbers(config) | numbers, model, series)


def as_test(series, statistics):
    return {"series": series, "statistics": statistics, "shift": np.zeros_like(statistics.mean)}


def is_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def padded(span, num, filling):
    """Return a span with so many samples more that are not there."""

    def more(array, value):
        tail = np.full((array.shape[0], num, *array.shape[2:]), value, array.dtype)
        return np.concatenate([array, tail], axis=1)

    times = np.concatenate([span.t, np.repeat(span.t[:, -1:], num, axis=1)], axis=1)
    return Span(more(span.y, filling), times, more(span.mask, False), more(span.noise, filling))


def to_the_end(config, store, program=None):
    training = Training(program or Program(method, config), config, method.data(config, store))
    while not training.advance().ending:
        pass
    return training


def test_config_lists_every_activation_and_solver():
    assert set(ActivationName.__args__) == set(ACTIVATIONS)
    assert {*STEPS, "mesh", "adaptive"} == set(Config.model_fields["solver"].annotation.__args__)


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "target"), [("gru", "whole"), ("mlp", "observed")])
def test_padding_changes_no_number_whatever_it_holds(store, encoder, target):
    config = Config(**SMALL, missing_share=0.3, noise=0.1, encoder=encoder, prefix=5, target=target)
    data = method.data(config, store).phases[0]
    wide = {**data, "series": Series(*(padded(span, 4, np.nan) for span in data["series"]))}
    loss, gradient = loss_and_gradient(config, data)
    loss_wide, gradient_wide = loss_and_gradient(config, wide)
    assert loss.solved
    assert is_finite(gradient_wide)
    np.testing.assert_allclose(loss_wide.value, loss.value, rtol=1e-5)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_wide), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_masked_series_is_encoded_and_predicted_like_the_series_of_its_samples(store):
    config = Config(**SMALL)
    model = LatentODE(config, jax.random.key(0))
    series = method.data(config, store).validation
    kept = np.array([0, 2, 3, 6])
    alone = series._replace(observed=Span(*(array[:, kept] for array in series.observed)))
    holes = np.isin(np.arange(8), kept)
    # The time of a hole repeats the one before it, as in every span.
    times = np.maximum.accumulate(np.where(holes, series.observed.t, 0), axis=1)
    y = np.where(holes[:, None], series.observed.y, np.nan)
    masked = series._replace(observed=Span(y, times, np.tile(holes, (len(times), 1)), series.observed.noise))
    name = "spirals_test"
    one, other = (predicted(config, model, {name: as_test(each, each.statistics)})[name] for each in (alone, masked))
    np.testing.assert_allclose(one["later"], other["later"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one["observed"], other["observed"][:, kept], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one["kl"], other["kl"], rtol=1e-5)


def test_the_gru_reads_backwards_by_its_equations_and_skips_what_is_masked():
    encoder = LatentODE(Config(hidden=5), jax.random.key(0)).encoder
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(6, 4, 7)), rng.random((6, 7)) > 0.4
    mask[:, 0] = False
    inputs, state = (
        (np.asarray(a.weight, float), np.asarray(a.bias, float)) for a in (encoder.from_input, encoder.from_state)
    )

    def sigmoid(value):
        return 1 / (1 + np.exp(-value))

    h = np.zeros((5, 7))
    for sample, there in zip(x[::-1], mask[::-1], strict=True):
        r_x, u_x, new_x = np.split(inputs[0] @ sample + inputs[1][:, None], 3)
        r_h, u_h, new_h = np.split(state[0] @ h + state[1][:, None], 3)
        u = sigmoid(u_x + u_h)
        h = np.where(there, (1 - u) * np.tanh(new_x + sigmoid(r_x + r_h) * new_h) + u * h, h)

    def read(encoder, x):
        return encoder(x, jnp.asarray(mask))

    found = jax.jit(read)(encoder, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, h, atol=1e-6)
    np.testing.assert_array_equal(found[:, 0], 0)
    # What is masked has no part in a gradient either, whatever the weights.
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(read(encoder, x) ** 2)))(jnp.asarray(x, jnp.float32))
    assert not np.any(gradient, where=~mask[:, None])
    assert np.all(np.abs(gradient).max(1) > 0, where=mask)


@pytest.mark.slow
def test_a_series_is_predicted_the_same_beside_longer_ones(store):
    config = Config(**SMALL, missing_share=0.5)
    model = LatentODE(config, jax.random.key(0))
    series = method.data(config, store).validation
    few = int(np.argmin(series.observed.mask.sum(1)))
    num = int(series.observed.mask[few].sum())
    assert num < series.observed.mask.shape[1]
    own = Series(Span(*(a[few : few + 1, :num] for a in series[0])), Span(*(a[few : few + 1] for a in series[1])))
    alone, among = (predicted(config, model, {"x": as_test(each, series.statistics)})["x"] for each in (own, series))
    np.testing.assert_allclose(alone["later"][0], among["later"][few], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_loss_is_half_the_squared_error_by_its_variance_plus_the_weighted_kl(store):
    config = Config(**SMALL)
    data = method.data(config, store).phases[0]
    loss, _ = loss_and_gradient(config, data, kl_weight=0.3, noise_variance=0.5)
    parts = {name: float(value) for name, value in loss.components.items()}
    assert parts["beta"] == pytest.approx(0.3)
    assert parts["kl"] > 0
    np.testing.assert_allclose(loss.value, parts["reconstruction"] + 0.3 * parts["kl"], rtol=1e-6)
    other, _ = loss_and_gradient(config, data, noise_variance=1.0)
    np.testing.assert_allclose(other.components["reconstruction"], parts["reconstruction"] / 2, rtol=1e-5)


@pytest.mark.slow
def test_the_reconstruction_is_summed_over_a_series_and_averaged_over_the_batch(store):
    config = Config(**SMALL, deterministic=True)
    data = method.data(config, store).phases[0]
    loss, _ = loss_and_gradient(config, data)
    model, stats = method.init(config, {}, jax.random.key(0)), data["statistics"]
    model = eqx.tree_at(lambda m: (m.mean, m.scale, m.time_scale), model, tuple(map(jnp.asarray, stats)))
    found = predicted(config, model, {"x": as_test(**data)})["x"]["observed"]
    error = (np.asarray(found) - data["series"].observed.y) / stats.scale
    np.testing.assert_allclose(loss.value, 0.5 * (error**2).sum() / 48, rtol=1e-4)


def test_the_kl_weight_warms_up_with_the_step(store):
    config, numbers = Config(**SMALL), {"kl_weight": 0.8, "kl_warmup_steps": 20.0}
    data = method.data(config, store).phases[0]
    betas = [float(loss_and_gradient(config, data, step, **numbers)[0].components["beta"]) for step in (0, 9, 19, 100)]
    np.testing.assert_allclose(betas, [0.04, 0.4, 0.8, 0.8], rtol=1e-5)


def test_deterministic_means_no_sampling_and_no_kl(store):
    config = Config(**SMALL, deterministic=True)
    data = method.data(config, store).phases[0]
    loss, _ = loss_and_gradient(config, data)
    assert loss.components["kl"] == loss.components["beta"] == 0
    assert loss.value == loss.components["reconstruction"]
    model = method.init(config, {}, jax.random.key(0))
    batch = method.batch(config, data, jax.random.key(0))
    loss_of = jax.jit(lambda key: method.loss(config, traced_numbers(config), model, batch, key, 0).value)
    assert float(loss_of(jax.random.key(7))) == pytest.approx(float(loss.value), rel=1e-5)


def test_noise_is_on_what_is_read_and_not_on_what_is_scored(store):
    config = Config(**SMALL, deterministic=True)
    data = method.data(config, store)
    quiet, _ = loss_and_gradient(config, data.phases[0])
    loud, _ = loss_and_gradient(config, data.phases[0], noise=3.0)
    assert loud.value > 3 * quiet.value
    # A model that predicts the mean reads nothing: its error is 100 % of the true signal, whatever the noise.
    model = jax.tree.map(jnp.zeros_like, method.init(config, {}, jax.random.key(0)))
    stats = data.phases[0]["statistics"]
    model = eqx.tree_at(lambda m: (m.mean, m.scale, m.time_scale), model, tuple(map(jnp.asarray, stats)))
    for noise in (0.0, 3.0):
        metrics = validated(config, model, data.validation, noise=jnp.asarray(noise))
        assert float(metrics["val_extrapolation_error_pct"]) == pytest.approx(100, rel=1e-4)


@pytest.mark.slow
def test_a_file_of_series_trains_and_its_statistics_travel_with_the_model(store, tmp_path):
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(100, 400, size=(40, 12)), axis=1)
    y = 50 + 7 * np.sin(t / 60 + rng.uniform(0, 6, size=(40, 1)))[..., None] * np.ones(3)
    y[3, 5] = np.nan
    np.savez(tmp_path / "series.npz", y=y, t=t)
    config = Config(
        dataset="file", file=str(tmp_path / "series.npz"), file_components=3, steps=4, report_every=4,
        **(SMALL | {"batch_size": 8}),
    )  # fmt: skip
    training = to_the_end(config, store)
    assert training.best is not None
    stats, model = method.data(config, store).phases[0]["statistics"], training.best.params
    assert (np.abs(model.mean) < 2).all()  # of the observed samples, where the series' own mean is 0
    assert (model.scale > 3).all()
    np.testing.assert_array_equal(model.mean, stats.mean)
    np.testing.assert_array_equal(model.scale, stats.scale)
    np.testing.assert_array_equal(model.time_scale, stats.time_scale)
    (result,) = training.test().values()
    assert set(result.metrics) == set(config.final_metrics())
    assert len(result.table["extrapolation_rmse"]) == 6


@pytest.mark.slow
def test_a_failed_solve_has_no_validation_error(store):
    config = Config(**SMALL)
    model = eqx.tree_at(
        lambda m: m.field.layers[-1].bias, method.init(config, {}, jax.random.key(0)), jnp.full(3, 1e38)
    )
    data = method.data(config, store)
    metrics = validated(config, model, data.validation)
    assert np.isnan(metrics["val_extrapolation_error_pct"])
    batch = method.batch(config, data.phases[0], jax.random.key(2))
    (_, loss), _ = _loss(config)(model, traced_numbers(config), batch, jnp.asarray(0))
    assert not loss.solved


@pytest.mark.slow
def test_a_linear_latent_field_recovers_the_spirals_frequency_and_damping(store):
    config = Config(
        field="linear", latent=2, deterministic=True, num_series=512, steps=400, report_every=400, learning_rate=0.03,
        schedule="cosine", solver="rk4",
    )  # fmt: skip
    training = to_the_end(config, store)
    assert training.best is not None
    model = training.best.params
    found = np.linalg.eigvals(model.field.weight / model.time_scale)
    true = np.linalg.eigvals(SPIRAL)
    assert max(found.imag) == pytest.approx(max(true.imag), rel=0.03)
    np.testing.assert_allclose(found.real, true.real, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["bounded", "linear"])
def test_a_lifted_state_is_the_odes_and_z0_stays_the_latent_one(store, field):
    config = Config(**SMALL, state=7, field=field)
    model, data = method.init(config, {}, jax.random.key(0)), method.data(config, store)
    z0 = 100 * jax.random.normal(jax.random.key(1), (3, 5))
    assert model.start(z0).shape == model.field(model.start(z0)).shape == (7, 5)
    mean, log_std = model.encode(jnp.ones((8, 2, 5)), jnp.ones((8, 5)), jnp.ones((8, 5), bool))
    assert mean.shape == log_std.shape == (3, 5)
    loss, gradient = loss_and_gradient(config, data.phases[0])
    assert 0 < loss.components["kl"] < 10
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves((gradient.lift, gradient.field)))


def test_a_bounded_field_is_a_number_times_a_tanh():
    model = LatentODE(Config(**SMALL, field="bounded"), jax.random.key(0))
    field = eqx.tree_at(lambda f: f.scale, model.field, jnp.asarray(2.5))
    z = jnp.linspace(-3.0, 3.0, 12).reshape(3, 4)
    np.testing.assert_allclose(field(z), 2.5 * np.tanh(field.mlp(z)), rtol=1e-6)
    steep = eqx.tree_at(lambda f: f.mlp, field, jax.tree.map(lambda leaf: 100 * leaf, field.mlp))
    assert 2.4 < np.abs(steep(z)).max() <= 2.5


def test_the_pooled_law_is_fitted_to_every_training_series(store):
    config = Config(**{**SMALL, "num_series": 700}, noise=0.1)
    data = method.data(config, store)
    ((_, test),) = data.tests.items()
    stats, observed = data.phases[0]["statistics"], data.phases[0]["series"].observed
    np.testing.assert_array_equal(test["pooled_law"], pooled_law(observed, stats, 0.1))
    assert np.abs(test["pooled_law"] - pooled_law(Span(*(a[:256] for a in observed)), stats, 0.1)).max() > 1e-3


def test_the_floor_is_that_of_spirals_alone(store, tmp_path):
    config = Config(**SMALL)
    spirals, orbits = (method.data(Config(**{**SMALL, "dataset": name}), store) for name in ("spirals", "orbits"))
    assert spirals.tests["spirals_test"]["is_spirals"]
    assert not orbits.tests["orbits_test"]["is_spirals"]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "own.npz", y=rng.normal(size=(40, 9, 2)), t=np.sort(rng.random((40, 9)), axis=1))
    other = method.test_set(config, store, str(tmp_path / "own.npz"))
    assert not other["is_spirals"]
    model = method.init(config, {}, jax.random.key(0))
    found = predicted(config, model, {"own": other})
    result = method.score(config, {"own": other}, jax.tree.map(np.asarray, found))["own"]
    assert "test_true_law_error_pct" not in result.metrics
    assert "true_law_rmse" not in result.table


@pytest.mark.slow
def test_kl_collapse_is_seen_where_beta_is_large_and_not_in_a_healthy_model(store):
    config = Config(**(SMALL | {"num_series": 128}), steps=150, report_every=150, noise_variance=0.1)
    program = Program(method, config)
    reports = {}
    for weight in (0.1, 1000.0):
        numbers = {"kl_weight": weight, "kl_warmup_steps": 20.0}
        training = Training(program, config.model_copy(update=numbers), method.data(config, store))
        reports[weight] = training.advance().metrics
    assert program.compilations == 3  # init, chunk, validate: the weight is traced
    assert reports[0.1]["val_kl_collapse"] == 0
    assert reports[0.1]["val_active_units"] >= 2
    assert reports[0.1]["val_kl"] > 1
    assert reports[1000.0]["val_kl_collapse"] == 1
    assert reports[1000.0]["val_active_units"] == 0
    assert reports[1000.0]["val_collapsed_pct"] == pytest.approx(100)


@pytest.mark.slow
def test_one_task_scores_what_is_trained_on_other_data_by_the_same_yardstick(store, tmp_path):
    """A model that predicts 0 in the data's own units scores the same, whatever it is normalised by."""
    rng = np.random.default_rng(0)
    for name, offset, spread in (("one", 50.0, 7.0), ("two", 10.0, 1.0)):
        t = np.sort(rng.uniform(100, 400, size=(40, 12)), axis=1)
        y = offset + spread * np.sin(t / 60 + rng.uniform(0, 6, size=(40, 1)))[..., None] * np.ones(2)
        np.savez(tmp_path / f"{name}.npz", y=y, t=t)
    small = SMALL | {"num_series": 64}
    task = {"dataset": "file", "file": str(tmp_path / "one.npz"), "file_components": 2, "extrapolation": 1.0}
    two = {**task, "file": str(tmp_path / "two.npz"), "extrapolation": 0.5}
    configs = [Config(**small, deterministic=True, scored_on=task, noise=0.5)]
    configs += [Config(**small, deterministic=True, **values, scored_on=task) for values in (task, two)]
    found = []
    for config in configs:
        data, kept = method.trial_data(config, store), method.data(config, store).phases[0]["statistics"]
        model = jax.tree.map(jnp.zeros_like, method.init(config, {}, jax.random.key(0)))
        zero = (0.0 - origin(config) - kept.mean) / kept.scale
        model = eqx.tree_at(lambda m: (m.mean, m.scale, m.time_scale), model, tuple(map(jnp.asarray, kept)))
        model = eqx.tree_at(lambda m: m.decoder.layers[-1].bias, model, jnp.asarray(zero, jnp.float32))
        found.append({k: float(v) for k, v in validated(config.task(), model, data.validation).items()})
    for name in ("val_extrapolation_error_pct", "val_extrapolation_mse", "val_reconstruction_error_pct"):
        values = [one[name] for one in found[1:]]
        assert values == pytest.approx([values[0]] * 2, rel=1e-4), name
        assert found[0][name] == pytest.approx(values[0], rel=1e-4), name
    assert found[1]["val_extrapolation_error_pct"] > 150  # 0 is far off the mean of the file


@pytest.mark.slow
def test_a_search_over_data_with_a_task_trains(store):
    task = {"noise": 0.05, "num_observed": 8, "num_series": 64}
    ends = []
    for values in ({"noise": 0.0, "num_observed": 6}, {"noise": 0.3, "num_observed": 12}):
        config = Config(**(SMALL | values), scored_on=task)
        training = Training(Program(method, config), config, method.trial_data(config, store))
        ends.append(training.advance())
        assert float(training.scoring["noise"]) == pytest.approx(0.05)
    assert all(np.isfinite(end.metrics["val_extrapolation_error_pct"]) for end in ends)
