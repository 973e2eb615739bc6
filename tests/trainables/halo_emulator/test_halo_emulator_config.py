import re

import pytest
from pydantic import ValidationError

from trainables.halo_emulator.config import ActivationName, Config
from trainables.halo_emulator.metric_names import BASELINES
from trainables.halo_emulator.model import ACTIVATIONS


def test_config_lists_every_activation():
    assert set(ActivationName.__args__) == set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dataset": "file"}, "file = None: is needed with dataset file"),
        ({"file": "/a.npz"}, "file = '/a.npz': belongs to dataset file"),
        ({"dataset": "file", "file": "a.npz"}, "an absolute path that ends with .npz, .h5"),
        ({"dataset": "file", "file": "/a.csv"}, "an absolute path that ends with .npz, .h5"),
        ({"num_parameters": 6}, "num_parameters = 6: generated simulations have others (allowed: 35)"),
        ({"monotone_weight": 0.1, "transform": "asinh"}, "compensated apertures, need not decrease"),
        ({"clip_norm": 1.0}, "member_clip_norm instead"),
        ({"physics_start": 0.5}, "physics_full = 0.3: comes before physics_start, 0.5"),
        ({"attention": True, "model": "mlp"}, "attention = True: is a part of model grouped"),
        ({"engineered": True, "density_columns": (0, 35)}, "there are 35 parameters"),
        ({"gp_haloes": 3}, "gp_haloes = 3: is too few (allowed: 0, or at least 10)"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_way_out(fields, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        Config(**fields)


def test_a_task_of_other_inputs_or_another_split_of_the_same_file_is_refused():
    with pytest.raises(ValidationError, match="has num_bins 11, and the model 21"):
        Config(scored_on={"num_bins": 11})
    with pytest.raises(ValidationError, match="would be trained on"):
        Config(dataset="file", file="/a.npz", data_seed=1, scored_on={"data_seed": 0})
    assert Config(scatter=0.2, scored_on={"scatter": 0.1}).task().scatter == 0.1


def test_generated_simulations_are_held_out_the_same_whatever_is_trained_on():
    one, other = Config(), Config(data_seed=3, num_simulations=512)
    assert one.measured_by("val_nll") == other.measured_by("val_nll")
    assert one.measured_by("test_nll") == other.measured_by("test_nll")
    assert one.measured_by("test_baseline_ridge_nll") != other.measured_by("test_baseline_ridge_nll")
    files = [Config(dataset="file", file="/a.npz", data_seed=seed) for seed in (0, 3)]
    assert files[0].measured_by("val_nll") != files[1].measured_by("val_nll")


def test_hidden_layers_halve_and_inputs_are_counted_by_group():
    assert Config(width=256, depth=3).widths == (256, 128, 64)
    assert Config(width=256, halving=False, depth=2).widths == (256, 256)
    assert Config().groups == (35, 1, 79)
    assert Config(engineered=True).groups == (36, 2, 81)


def test_members_draw_simulations_if_that_is_said_or_left_to_their_number():
    assert not Config().has_bootstrap
    assert Config(bootstrap=None).has_bootstrap
    assert not Config(bootstrap=None, members=1).has_bootstrap
    assert Config(members=1, bootstrap=True).has_bootstrap


def test_the_baseline_that_costs_most_can_be_left_out():
    assert set(Config().baselines) == set(BASELINES)
    assert "gaussian_process" not in Config(gp_haloes=0).baselines
    assert not any("gaussian" in name for name in Config(gp_haloes=0).final_metrics())
