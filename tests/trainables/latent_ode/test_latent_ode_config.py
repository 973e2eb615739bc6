import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from trainables._shared.config import ConfigError, numeric, structural_key
from trainables.latent_ode.config import Config


def test_checking_a_config_does_not_load_jax():
    code = (
        "import sys; from trainables.latent_ode.config import Config; c = Config(); c.check_data(); c.unused_fields(); "
        "c.final_metrics(); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"encoder": "lstm"}, ["encoder", "lstm", "'gru' or 'mlp'"]),
        ({"dataset": "spiral"}, ["dataset", "spiral", "'spirals', 'orbits' or 'file'"]),
        ({"latent": 0}, ["latent", "greater than or equal to 1", "input_value=0"]),
        ({"kl_weight": -1.0}, ["kl_weight", "greater than or equal to 0", "-1.0"]),
        ({"noise": "little"}, ["noise", "valid number", "little"]),
        ({"num_observed": 2}, ["num_observed", "greater than or equal to 3", "2"]),
        ({"klweight": 1.0}, ["klweight", "not permitted"]),
        ({"dataset": "file"}, ["file = None", "is needed with dataset file"]),
        ({"dataset": "file", "file": "/a/b.npz"}, ["file_components = None", "is needed with dataset file"]),
        ({"file": "/a/b.npz"}, ["file = '/a/b.npz'", "belongs to dataset file", "dataset: file"]),
        ({"dataset": "file", "file": "b.npz", "file_components": 2}, ["file = 'b.npz'", "absolute path"]),
        ({"encoder": "mlp", "prefix": 21}, ["prefix = 21", "20 observed samples", "1..20"]),
    ],
)
def test_errors_name_the_field_the_value_and_what_is_allowed(fields, expected):
    with pytest.raises(ValidationError) as caught:
        Config(**fields)
    assert all(part in str(caught.value) for part in expected)


def test_a_file_is_looked_at_before_the_launch(tmp_path):
    def problem(**arrays):
        path = tmp_path / "series.npz"
        if arrays:
            np.savez(path, **arrays)
        with pytest.raises(ConfigError) as caught:
            Config(dataset="file", file=str(path), file_components=2).check_data()
        return str(caught.value)

    assert "there is no such file" in problem()
    assert "but it has y (4, 5, 2)" in problem(y=np.zeros((4, 5, 2)))
    assert "mask (4, 4)" in problem(y=np.zeros((4, 5, 2)), t=np.zeros((4, 5)), mask=np.ones((4, 4), bool))
    assert "file_components = 2" in problem(y=np.zeros((4, 5, 3)), t=np.zeros((4, 5)))
    t = np.tile(np.arange(5.0), (4, 1))
    assert "4 of its 4 series" in problem(y=np.zeros((4, 5, 2)), t=t)
    assert "0 of its 0 series" in problem(y=np.zeros((0, 5, 2)), t=np.zeros((0, 5)))
    assert "0 of its 9 series" in problem(y=np.full((9, 5, 2), np.nan), t=np.tile(np.arange(5.0), (9, 1)))
    assert "its y is of complex128" in problem(y=np.zeros((4, 5, 2), complex), t=t)
    assert "its y is of <U3" in problem(y=np.full((4, 5, 2), "one"), t=t)
    assert "goes up to 1e+40" in problem(y=np.full((9, 5, 2), 1e40), t=np.tile(np.arange(5.0), (9, 1)))
    assert "cannot be read" in problem(y=np.full((4, 5, 2), None), t=t)


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-40], lambda data: b"x" * 80 + data[80:]])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "series.npz"
    np.savez_compressed(path, y=np.random.default_rng(0).random((9, 5, 2)), t=np.tile(np.arange(5.0), (9, 1)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Config(dataset="file", file=str(path), file_components=2).check_data()
    assert caught.value.field == "file"


def test_numbers_that_only_scale_something_compile_nothing_new():
    names = set(numeric(Config()))
    assert {"kl_weight", "kl_warmup_steps", "learning_rate", "noise", "noise_variance", "seed"} <= names
    changed = Config(kl_weight=0.5, kl_warmup_steps=7.0, noise=0.1, noise_variance=0.3, learning_rate=1.0, seed=3)
    assert structural_key(changed) == structural_key(Config())
    assert structural_key(Config(latent=3)) != structural_key(Config())


@pytest.mark.parametrize(
    ("fields", "unused", "used"),
    [
        ({}, {"prefix", "rtol", "max_steps", "orbit_family", "substeps"}, {"kl_weight", "samples_per_step", "depth"}),
        ({"solver": "tsit5"}, {"samples_per_step", "rtol"}, {"substeps"}),
        ({"deterministic": True}, {"kl_weight", "kl_warmup_steps"}, {"noise_variance"}),
        ({"encoder": "mlp"}, set(), {"prefix"}),
        ({"solver": "adaptive"}, {"substeps", "samples_per_step"}, {"rtol", "atol", "max_steps"}),
        ({"field": "linear"}, {"width", "depth", "activation"}, {"hidden"}),
        ({"field": "linear", "encoder": "mlp"}, {"width"}, {"depth", "activation"}),
        ({"field": "linear", "state": 4}, set(), {"width", "depth", "activation"}),
        ({"dataset": "orbits"}, set(), {"orbit_family"}),
        ({"dataset": "file", "file": "/x.npz", "file_components": 1}, {"num_series", "missing_share"}, set()),
    ],
)
def test_fields_without_effect_are_known(fields, unused, used):
    found = set(Config(**fields).unused_fields())
    assert unused <= found
    assert not used & found


def test_presets_are_configurations_in_which_every_value_has_an_effect():
    for values in Config.presets.values():
        assert not set(Config.of_values(values).unused_fields()) & set(values)


@pytest.mark.parametrize(
    ("fields", "num_samples", "steps", "of_both_spans"),
    [
        ({}, 20, 6, 12),
        ({"missing_share": 0.5}, 14, 6, 12),  # however many are missing: it is the same field
        ({"num_observed": 8}, 8, 4, 8),
        ({"num_observed": 60, "samples_per_step": 5, "extrapolation": 0.25}, 60, 12, 15),
        ({"extrapolation": 0.1}, 20, 6, 7),
        ({"dataset": "file", "file": "/x.npz", "file_components": 1}, 90, 30, 60),
    ],
)
def test_a_mesh_has_fewer_steps_than_samples_and_as_long_ones_beyond_them(fields, num_samples, steps, of_both_spans):
    config = Config(**fields)
    assert config.mesh_steps(num_samples, whole=False) == steps
    assert config.mesh_steps(num_samples, whole=True) == of_both_spans


def test_a_record_from_before_there_was_a_mesh_is_what_it_was():
    recorded = Config(solver="tsit5").model_dump(mode="json")
    before = {name: value for name, value in recorded.items() if name != "samples_per_step"}
    # What a checkpoint is compared with: a trial that began before goes on.
    assert Config.recorded(before) == recorded
    assert Config.of_values(Config.recorded(before)).solver == "tsit5"


def test_configs_survive_json():
    config = Config(dataset="file", file="/data/series.npz", file_components=5, kl_weight=0.25)
    assert Config.model_validate_json(config.model_dump_json()) == config
    assert config.num_components == 5
    assert [Config(dataset=name).num_components for name in ("spirals", "orbits")] == [2, 4]
