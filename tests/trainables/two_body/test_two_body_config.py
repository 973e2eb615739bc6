import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from tests.conftest import ROOT
from trainables._shared.config import ConfigError, numeric, structural_key
from trainables.two_body.config import Config, CurriculumPhase, ResolvedPhase


def refusal(**fields):
    with pytest.raises(ValidationError) as caught:
        Config(**fields)
    return str(caught.value)


def test_checking_a_config_does_not_load_jax():
    code = (
        "import sys; from trainables.two_body.config import Config; c = Config(); c.check_data(); c.unused_fields(); "
        "c.final_metrics(); sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_default_is_one_phase_over_whole_orbits():
    assert Config().resolved_phases() == (ResolvedPhase(1000, 2e-2, (0.0, 1.0), 18),)


def test_phases_take_what_they_omit_from_the_top_level():
    config = Config(
        steps=70, learning_rate=0.02, segment_length=10,
        curriculum=[{"window": [0.0, 0.1], "learning_rate": 0.5}, {"steps": 3, "segment_length": 36}],
    )  # fmt: skip
    assert config.resolved_phases() == (
        ResolvedPhase(70, 0.5, (0.0, 0.1), 10),
        ResolvedPhase(3, 0.02, (0.0, 1.0), 36),
    )


def test_parallel_lists_of_one_hold_for_every_phase():
    config = Config(length_strategy=[[0.0, 0.1], [0.0, 1.0]], lr_strategy=[1e-2], steps_strategy=[5, 7])
    assert config.resolved_phases() == (
        ResolvedPhase(5, 1e-2, (0.0, 0.1), 18),
        ResolvedPhase(7, 1e-2, (0.0, 1.0), 18),
    )


def test_ragged_parallel_lists_show_both_lengths():
    message = refusal(lr_strategy=[1e-3, 1e-4], steps_strategy=[1, 2, 3])
    assert "lr_strategy = (0.001, 0.0001)" in message
    assert "has 2 values and steps_strategy has 3" in message


def test_curriculum_and_parallel_lists_exclude_each_other():
    assert "given together with steps_strategy" in refusal(curriculum=[{}], steps_strategy=[1])


def test_ambiguous_head_says_which_two_it_could_mean():
    message = refusal(head="mlp_4D")
    assert "mlp_4D_signed" in message
    assert "mlp_4D_abs" in message


def test_other_names_stand_for_values_of_their_fields():
    for field, names in Config.other_names.items():
        for other, (value, needs) in names.items():
            assert getattr(Config.of_values({field: value}), field) == value
            assert other in refusal(**{field: other})
            assert not needs or needs in Config.model_fields


def test_the_defaults_are_the_preset_cosine_but_for_head_and_rate_and_before_they_were_the_preset_source():
    assert Config.of_values({**Config.presets["cosine"], "head": "mlp_4D_unit", "learning_rate": 2e-2}) == Config()
    before = json.loads((ROOT / "tests" / "golden" / "earlier_configs.json").read_text())["two_body"]
    source = Config.of_values(Config.presets["source"]).model_dump(mode="json")
    assert {name: source[name] for name in before} == before
    assert Config.presets["source"].keys() == Config.presets["cosine"].keys()


def test_a_record_of_before_data_seeds_has_the_orbits_of_then():
    recorded = Config().model_dump(mode="json")
    del recorded["data_seed"]
    assert Config.recorded(recorded)["data_seed"] == 0


def test_a_data_seed_makes_no_program_of_its_own():
    assert structural_key(Config(data_seed=3).for_training()) == structural_key(Config().for_training())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"head": "mlp_5D"}, "mlp_rtn"),
        ({"features": "polar"}, "sph_4D_rinv_vel_harmonics"),
        ({"width": 64.0}, "valid integer"),
        ({"learning_rate": "1e-3"}, "valid number"),
        ({"wdith": 64}, "wdith"),
        ({"dataset": "complex_TBP_planar_0_train"}, "at least 1"),
        ({"dataset": "complex_TBP_planar_10_test"}, "complex_TBP_planar_10_train"),
        ({"val_dataset": "complex_TBP_planar_10_train"}, "val_dataset: training"),
        ({"val_dataset": "complex_TBP_planar_100_train"}, "complex_TBP_planar_100_val"),
        ({"test_datasets": ["complex_TBP_3D_10_test"]}, "is not planar"),
        ({"test_datasets": ["auto", "complex_TBP_planar_10_test"]}, "twice"),
        ({"dataset": "complex_TBP_3D_10_train", "planar": True}, "leaves the x-y plane"),
        ({"length_strategy": [[0.2, 0.1]]}, "start < end"),
        ({"curriculum": [{"window": [0.0, 1.1]}]}, "start < end"),
        ({"curriculum": [{"length": 3}]}, "length"),
        ({"segment_length": 1}, "greater than or equal to 2"),
    ],
)
def test_wrong_values_are_named_with_the_way_out(fields, expected):
    message = refusal(**fields)
    assert expected in message
    assert next(iter(fields)) in message


def test_validation_set_does_not_depend_on_the_training_count():
    names = {Config(dataset=f"simple_TBP_3D_{n}_train").validation_name for n in (1, 10, 100)}
    assert names == {"simple_TBP_3D_16_val"}
    assert Config(val_dataset="training").validation_name == "complex_TBP_planar_10_train"


def test_test_sets_default_to_three_sizes_of_the_family():
    assert Config(dataset="circular_TBP_planar_4_train").test_names == tuple(
        f"circular_TBP_planar_{n}_test" for n in (1, 10, 100)
    )


def test_model_is_planar_where_the_data_is():
    assert Config().is_planar
    assert not Config(planar=False).is_planar
    assert not Config(dataset="complex_TBP_3D_10_train").is_planar


@pytest.mark.parametrize(
    ("fields", "there"),
    [
        ({"length_strategy": [[0.0, 0.02]]}, "holds 7 samples, 7 of them"),
        ({"length_strategy": [[0.5, 1.0]], "missing_tail": 0.5}, "holds 180 samples, 0 of them"),
        ({"curriculum": [{}, {"window": [0.0, 0.1], "segment_length": 37}]}, "phase 2"),
    ],
)
def test_phase_without_a_usable_segment_is_refused(fields, there):
    with pytest.raises(ConfigError, match=there) as caught:
        Config(**fields).check_data()
    assert caught.value.field == "segment_length"


def test_a_segment_that_starts_before_the_missing_tail_is_usable():
    Config(missing_tail=0.95, segment_length=36).check_data()


def test_rates_and_weights_are_numeric_also_inside_phases():
    assert {"seed", "learning_rate", "nmse_weight", "attraction_weight", "rtol", "atol"} <= numeric(Config()).keys()
    one, other = (Config(seed=s, rtol=10.0**-s, curriculum=[{"learning_rate": 10.0**-s}]) for s in (3, 4))
    assert structural_key(one) == structural_key(other)
    assert structural_key(Config(width=32)) != structural_key(Config())


def test_fields_without_effect_are_told():
    assert Config().unused_fields().keys() == {"rtol", "atol", "max_steps", "nmse_weight"}
    adaptive = Config(solver="adaptive", loss="percent_error_plus_nmse", steps_strategy=[5, 6], lr_strategy=[1e-3])
    assert adaptive.unused_fields().keys() == {"substeps", "steps", "learning_rate"}
    assert Config(solver="mesh").unused_fields().keys() == {"rtol", "atol", "max_steps", "nmse_weight"}
    partly = Config(curriculum=[{"steps": 5, "segment_length": 4}, {"steps": 6}], solver="adaptive", loss="mse")
    assert partly.unused_fields().keys() == {"substeps", "nmse_weight", "steps"}


def test_final_metrics_of_sets_with_equal_counts_have_names_of_their_own():
    config = Config(test_datasets=["complex_TBP_planar_10_test", "simple_TBP_planar_10_test", "auto"][:2])
    names = config.final_metrics()
    assert "test_simple_TBP_planar_10_accel_error_mean_pct" in names
    assert "test_10_accel_error_mean_pct" not in names
    assert "test_100_propagated_outward_skewness" in Config().final_metrics()


def test_configs_survive_json():
    config = Config(curriculum=(CurriculumPhase(window=(0.0, 0.1)),), test_datasets=("complex_TBP_planar_3_test",))
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert Config.model_validate_json(config.model_dump_json()) == config
