import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import search_spaces
from analysis.report.origin import origin
from analysis.sources.directory import load_search
from benchmarks.rivals.task import QUICKSTART, spec_values
from cluster.commands.check import check
from cluster.commands.check_output import check_command
from cluster.commands.run import new_search
from cluster.console import Console
from cluster.machine.files import read_json
from search_spaces.errors import SpecError
from search_spaces.grid import grid_points
from search_spaces.space import resolve
from search_spaces.spec import load_spec
from tests.methods.ripple import config as ripple_config
from tests.methods.ripple import method as ripple
from trainables._shared.config import ConfigError
from trainables._shared.discovery import load_config_type

SHIPPED = sorted(Path(search_spaces.__path__[0]).glob("*.yaml"))
HEAD = """\
name: try
trainable: two_body
objective: {metric: val_accel_error_pct}
"""


@pytest.fixture
def check_text(tmp_path):
    def run(text):
        file = tmp_path / "s.yaml"
        file.write_text(HEAD + text)
        return check(load_spec(file))

    return run


@pytest.fixture
def refused(check_text, tmp_path):
    def run(text):
        with pytest.raises(SpecError) as caught:
            check_text(text)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return run


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_search_passes_without_a_warning(file):
    report = check(load_spec(file))
    assert report.warnings == ()
    assert report.num_trials


def test_the_heads_sweep_is_the_288_configurations_of_the_source():
    spec = load_spec(Path(search_spaces.__path__[0]) / "two_body_heads.yaml").spec
    config_type = load_config_type(spec.trainable)
    configs = [config_type.model_validate(resolve(spec, point)) for point in grid_points(spec)]
    searched = ["features", "head", "segment_length", "activation", "depth", "dataset"]
    rows = {tuple(getattr(config, name) for name in searched) for config in configs}
    assert len(configs) == len(rows) == 288
    assert [sorted(set(column)) for column in zip(*rows, strict=True)] == [
        ["sph_4D_rinv_vel", "sph_4D_rinv_vel_harmonics"],
        ["mlp_4D_logmag_unit_exp", "mlp_4D_signed", "mlp_4D_unit", "mlp_4D_unit_softplus"],
        [4, 10, 18],
        ["leaky_relu", "tanh"],
        [2, 4],
        ["complex_TBP_planar_100_train", "complex_TBP_planar_10_train", "complex_TBP_planar_1_train"],
    ]
    for config in configs:
        values = config.model_dump()
        fixed = ("width", "batch_size", "loss", "solver", "nmse_weight")
        assert [values[name] for name in fixed] == [64, 256, "percent_error_plus_nmse", "mesh", 1.0]
        assert [values[name] for name in ("schedule", "warmup_steps", "clip_norm")] == ["constant", 0, None]
        phases = [(phase["steps"], phase["learning_rate"], phase["window"]) for phase in values["curriculum"]]
        assert phases == [(1000, 1e-3, (0.0, 0.1)), (1000, 1e-3, (0.0, 1.0)), (1000, 1e-4, (0.0, 1.0))]
        assert {phase["segment_length"] for phase in values["curriculum"]} == {None}


def test_the_quick_start_and_what_it_is_compared_with_train_as_they_did_before_the_method_s_cosine():
    quickstart = load_spec(QUICKSTART).spec
    rivals = spec_values(12, 300, stops_early=False)
    assert quickstart.space.keys() == {"head", "activation", "learning_rate", "segment_length"}
    assert rivals["space"].keys() == quickstart.space.keys() - {"segment_length"}
    source = load_config_type("two_body").presets["source"]
    for base in (quickstart.base, rivals["base"]):
        assert {name: base[name] for name in source.keys() - quickstart.space.keys()} == {
            "schedule": "constant",
            "warmup_steps": 0,
            "clip_norm": None,
        }
    assert check(load_spec(QUICKSTART)).num_programs == 2


def test_a_list_of_one_overrides_the_default(check_text):
    report = check_text("space: {depth: [4], width: [16, 32]}\nsampler: {name: grid}\n")
    assert [(use.config["depth"], use.config["width"]) for use in report.programs] == [(4, 16), (4, 32)]


def test_an_unknown_parameter_is_refused_with_the_nearest_field(refused):
    found = refused("base: {datset: x}\nspace:\n  depht: [2]\nbudget: {trials: 1}\n")
    assert [line.split(" Allowed: ")[0] for line in found] == [
        "s.yaml:4: base.datset: two_body has no such field.",
        "s.yaml:6: space.depht: two_body has no such field.",
    ]
    assert [line.rsplit("; ", 1)[1] for line in found] == ["did you mean 'dataset'?", "did you mean 'depth'?"]


def test_a_small_learning_rate_written_1e_4_is_a_number(check_text):
    report = check_text("space: {learning_rate: [1e-4, 1e-3]}\nsampler: {name: grid}\n")
    assert (report.num_configurations, len(report.programs)) == (2, 1)
    assert report.programs[0].config["learning_rate"] == 1e-4


def test_an_unknown_method_is_refused_with_the_nearest(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(HEAD.replace("two_body", "two_bdy") + "space: {a: [1]}\nbudget: {trials: 1}\n")
    with pytest.raises(SpecError) as caught:
        check(load_spec(file))
    assert str(caught.value).startswith(f"{file}:2: trainable = 'two_bdy': is not a method. Allowed: ")
    assert str(caught.value).endswith("; did you mean 'two_body'?")


def test_a_method_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken_pkg").mkdir()
    (tmp_path / "broken_pkg" / "__init__.py").write_text("")
    (tmp_path / "broken_pkg" / "mine.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "s.yaml"
    file.write_text(HEAD.replace("two_body", "broken_pkg.mine") + "space: {a: [1]}\nbudget: {trials: 1}\n")
    with pytest.raises(SpecError, match="importing it failed with ZeroDivisionError: division by zero"):
        check(load_spec(file))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("head: [mlp_4D_signed, mlp_4D_sgned]", "space.head[1] = 'mlp_4D_sgned': is not one of the choices. Allowed: "),
        ("head: [mlp_4D]", "space.head[0] = 'mlp_4D': has meant two different heads"),
        ("depth: {low: 2, high: 4}", "space.depth.low = 2.0: the field takes whole numbers; add `type: int` to the ra"),
        ("learning_rate: {low: -1e-3, high: 1}", "space.learning_rate.low = -0.001: must be greater than 0"),
        ("planar: [yes]", "space.planar[0] = 'yes': must be 'auto' or true or false"),
        (
            "curriculum: {choices: {a: [{stps: 1}]}}",
            "space.curriculum.choices.a[0].stps = 1: unknown key. Allowed: ste",
        ),
        ("dataset: [complx_TBP_planar_7_train]", "space.dataset[0] = 'complx_TBP_planar_7_train': "),
        ("dataset: [complex_TBP_planar_10_test]", "space.dataset[0] = 'complex_TBP_planar_10_test': "),
    ],
)
def test_every_value_is_held_against_its_field(refused, space, message):
    assert refused(f"space:\n  {space}\nbudget: {{trials: 1}}\n")[0].startswith(f"s.yaml:5: {message}")


def test_configurations_that_the_data_rules_out_are_counted_and_shown(refused):
    (line,) = refused(
        "base: {steps: 100}\n"
        "space:\n"
        "  depth: [2, 3]\n"
        "  segment_length: [18, 40]\n"
        "  curriculum: {choices: {whole: [{window: [0.0, 1.0]}], start: [{window: [0.0, 0.1]}]}}\n"
        "sampler: {name: grid}\n"
    )
    assert line.startswith("s.yaml:7: space.segment_length[1] = 40: phase 1 has no usable segment: ")
    assert (
        "; this rules out 2 of 8 configurations: {depth: 2, segment_length: 40, curriculum: 'start'}, "
        "{depth: 3, segment_length: 40, curriculum: 'start'}. Allowed: 2..36"
    ) in line


def test_a_default_that_the_data_rules_out_is_named_as_one(refused):
    (line,) = refused("space: {curriculum: {choices: {a: [{window: [0.0, 0.03]}]}}}\nbudget: {trials: 1}\n")
    assert line.startswith(
        "s.yaml:1: base.segment_length = 18: the method's default does not fit here: phase 1 has no usable segment: "
    )


def test_a_searched_field_without_effect_is_refused_unless_conditional(refused, check_text):
    space = "space:\n  solver: [per_sample, adaptive]\n  rtol: {choices: [1e-6, 1e-5]%s}\nsampler: {name: grid}\n"
    (line,) = refused(space % "")
    assert line.startswith(
        "s.yaml:6: space.rtol: has no effect in 2 of 4 configurations (solver per_sample has a fixed step)"
    )
    report = check_text(space % ", when: {solver: adaptive}")
    assert (report.num_configurations, len(report.programs)) == (3, 2)


def test_programs_are_counted_as_trials_share_them(check_text):
    space = (
        "space:\n  head: [mlp_4D_signed, mlp_4D_unit, mlp_rtn]\n"
        "  activation: {choices: [tanh, silu], when: {steps: 100}}\n"
        "  segment_length: [10, 18]\n  steps: [100, 200]\nsampler: {name: grid}\n"
    )
    report = check_text(space)
    # Two groups of heads of equal arrays, two lengths; the steps of a phase are no part of a program, and the default
    # activation is a branch of it where none is chosen.
    assert (report.num_configurations, len(report.programs), report.num_programs) == (18, 8, 4)


def test_a_fixed_field_without_effect_is_a_warning(check_text):
    report = check_text("base: {rtol: 1e-5}\nspace: {depth: [2]}\nsampler: {name: grid}\n")
    assert report.warnings == ("base.rtol has no effect: solver mesh places its steps by the data",)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("val_accel_error", "no such metric. Allowed: val_accel_error_pct"),
        ("test_10_accel_error_mean_pct", "is measured once, after training; early stopping needs a metric of every"),
    ],
)
def test_metrics_must_exist_and_be_reported_where_early_stopping_looks(tmp_path, metric, message):
    file = tmp_path / "s.yaml"
    text = HEAD.replace("val_accel_error_pct", metric) + "space: {depth: [2]}\nbudget: {trials: 1}\n"
    file.write_text(text + "early_stopping: {name: asha}\n")
    with pytest.raises(SpecError) as caught:
        check(load_spec(file))
    assert str(caught.value).startswith(f"{file}:3: objective.metric = '{metric}': {message}")
    if metric.startswith("test"):
        file.write_text(text)
        assert check(load_spec(file)).num_trials == 1


def test_constraints_may_use_metrics_measured_after_training(check_text, refused):
    text = "space: {depth: [2]}\nbudget: {trials: 1}\nconstraints:\n  - {metric: test_1_outward_mean_pct, max: 1}\n"
    assert check_text(text).num_configurations == 1
    (line,) = refused(text.replace("outward_mean_pct", "outwards"))
    assert line.startswith("s.yaml:7: constraints[0].metric = 'test_1_outwards': no such metric.")


def test_an_objective_must_not_want_the_opposite_of_what_the_method_selects(tmp_path):
    def refused(objective, trainable="two_body", space="depth: [2, 4]"):
        file = tmp_path / "s.yaml"
        file.write_text(
            f"name: try\ntrainable: {trainable}\nsampler: {{name: grid}}\nspace: {{{space}}}\nobjective:\n{objective}"
        )
        with pytest.raises(SpecError) as caught:
            check(load_spec(file))
        return str(caught.value).replace(f"{tmp_path}/", "")

    assert refused("  metric: val_accel_error_pct\n  mode: max\n") == (
        "s.yaml:7: objective.mode = 'max': two_body keeps of each trial the model with the smallest "
        "val_accel_error_pct, and a search for the largest would compare those. Allowed: min"
    )
    several = "  - {metric: val_accel_error_pct}\n  - {metric: val_accel_angle_deg, mode: max}\n"
    assert refused(several) == (
        "s.yaml:7: objective[1].mode = 'max': two_body says of val_accel_angle_deg that small is good. Allowed: min"
    )
    module = "tests.methods.alone"  # its config says nothing, but its module brings the method along
    assert refused("  {metric: val_error, mode: max}\n", module, "shift: [1, 2]").startswith(
        "s.yaml:6: objective.mode = 'max': tests.methods.alone keeps of each trial the model with the smallest val_e"
    )


def test_a_method_that_selects_the_largest_refuses_a_search_for_the_smallest(check_text, monkeypatch):
    config_type = load_config_type("two_body")
    monkeypatch.setattr(config_type, "selected_by", lambda self: ("val_accel_error_pct", "max"))
    with pytest.raises(SpecError, match=r"s\.yaml:3: objective\.mode = 'min': two_body keeps .* with the largest"):
        check_text("space: {depth: [2]}\nsampler: {name: grid}\n")


def test_what_a_method_raises_over_its_selection_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(ripple.Ripple, "selection", lambda self, config: {}["none"])
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: try\ntrainable: tests.methods.alone\nobjective: {metric: val_error}\nspace: {shift: [1]}\n"
        "sampler: {name: grid}\n"
    )
    with pytest.raises(SpecError, match=r"s\.yaml:2: trainable = .*: its selection\(\) failed with KeyError: 'none'"):
        check(load_spec(file))


def test_a_bound_that_shuts_out_the_better_trials_is_warned_of(check_text):
    text = "space: {depth: [2]}\nsampler: {name: grid}\nconstraints:\n  - {metric: val_outward_pct, BOUND}\n"
    assert check_text(text.replace("BOUND", "min: 5")).warnings == (
        "constraints[0]: min is the only bound on val_outward_pct, of which small is good: it shuts out the better "
        "trials",
    )
    assert check_text(text.replace("BOUND", "max: 5")).warnings == ()
    assert check_text(text.replace("BOUND", "min: 1, max: 5")).warnings == ()


def test_early_stopping_and_a_bound_on_what_is_measured_at_the_end_are_warned_of(check_text):
    text = (
        "base: {warmup_steps: 50}\nspace: {depth: [2, 4]}\nsampler: {name: grid}\nearly_stopping: {name: asha}\n"
        "constraints:\n  - {metric: val_outward_pct, max: 5}\n  - {metric: test_10_outward_mean_pct, max: 5}\n"
    )
    assert check_text(text).warnings == (
        "constraints[1]: test_10_outward_mean_pct is measured once, after training: trials that are stopped early "
        "count as breaking it",
    )


def test_early_stopping_that_could_never_decide_is_refused(refused, check_text):
    text = "base: {steps: 100, warmup_steps: 10, report_every: 50}\nspace: {depth: [2]}\nbudget: {trials: 1}\n"
    (line,) = refused(text + "early_stopping: {name: asha, grace_steps: 100}\n")
    assert line.startswith("s.yaml:7: early_stopping.grace_steps = 100: training has at most 100 steps, so no trial")
    late = check_text(text + "early_stopping: {name: asha, grace_steps: 20}\n")
    assert late.warnings == (
        "report_every: 50 is more than early_stopping.grace_steps: 20: the first decision waits for the first report",
    )


def test_a_trial_wider_than_the_machine_is_refused_with_both_numbers(refused):
    (line,) = refused("space: {depth: [2]}\nbudget: {trials: 1}\nresources: {cpus_per_trial: 4096}\n")
    assert line.startswith("s.yaml:6: resources.cpus_per_trial = 4096: a trial cannot get more CPUs than there are ")


def test_a_trial_of_more_gpus_than_the_machine_has_is_refused_with_both_numbers(refused, check_text, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    text = "space: {depth: [2]}\nbudget: {trials: 1}\nresources: {gpus_per_trial: %s}\n"
    (line,) = refused(text % 3)
    assert line.startswith("s.yaml:6: resources.gpus_per_trial = 3.0: a trial cannot get more GPUs than there are ")
    assert "(2 on this machine)" in line
    assert check_text(text % 2).num_trials == 1


def test_the_gp_sampler_without_torch_says_how_to_get_it(refused, monkeypatch):
    monkeypatch.setattr("cluster.commands.check.is_installed", lambda package: False)
    (line,) = refused("space: {depth: {low: 1, high: 3, type: int}}\nbudget: {trials: 1}\nsampler: {name: gp}\n")
    assert line.endswith("this sampler needs PyTorch, which is not installed: pip install 'swell[gp]'")


def test_a_large_space_is_sampled_with_every_choice_and_both_ends(check_text):
    report = check_text(
        "space:\n  learning_rate: {low: 1e-4, high: 1e-2, log: true}\n  width: {low: 1, high: 400, type: int}\n"
        "  head: [mlp_4D_signed, mlp_rtn]\nbudget: {hours: 1}\n"
    )
    assert (report.num_configurations, report.num_trials, report.sampled) == (None, None, True)
    assert {1, 400} <= {use.config["width"] for use in report.programs}


def test_repeats_multiply_trials_and_not_programs(check_text):
    report = check_text("space: {depth: [2, 3]}\nrepeats: {seeds: [0, 1, 2]}\nsampler: {name: grid}\n")
    assert (report.num_configurations, report.num_trials, len(report.programs)) == (2, 6, 2)


def test_a_part_of_a_grid_is_said_to_be_one(check_text):
    report = check_text("space: {depth: [2, 3]}\nsampler: {name: grid}\nbudget: {trials: 1}\n")
    assert (report.num_configurations, report.num_trials) == (2, 1)
    assert report.notes == ("budget.trials: 1 of the grid's 2 trials will run",)


def test_check_needs_neither_jax_nor_ray_nor_optuna():
    code = (
        "import sys; from pathlib import Path; from cluster.commands.check import check; "
        "from search_spaces.spec import load_spec; check(load_spec(Path(sys.argv[1]))); "
        "print(sorted({'jax', 'ray', 'optuna', 'torch', 'equinox'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(SHIPPED[0])], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_command_prints_numbers_and_raises_problems(tmp_path, capsys):
    file = tmp_path / "s.yaml"
    file.write_text(HEAD + "space: {depth: [2, 3]}\nsampler: {name: grid}\n")
    assert check_command(file, console=Console(width=200)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "try is a valid search of two_body",
        "  configurations  2 (all 2 built and held against the data)",
        "  trials          2, by grid",
        "  programs        2 to compile",
    ]
    file.write_text(HEAD + "space: {depth: [2, x]}\nsampler: {name: grid}\n")
    with pytest.raises(SpecError) as error:
        check_command(file, console=Console(width=200))
    assert str(error.value) == f"{file}:4: space.depth[1] = 'x': must be a whole number, but is text"
    assert capsys.readouterr().out == ""


def test_a_range_of_a_billion_values_is_sampled_and_a_grid_of_it_refused(tmp_path):
    text = (
        "name: wide\ntrainable: tests.methods.ripple\nobjective: {metric: val_error}\nbudget: {trials: 4}\n"
        "space: {steps: {low: 1, high: 1000000000, type: int}}\n"
    )
    path = tmp_path / "wide.yaml"
    path.write_text(text)
    report = check(load_spec(path))
    assert report.num_configurations == 10**9
    assert report.sampled
    path.write_text(text + "sampler: {name: grid}\n")
    assert check(load_spec(path)).num_trials == 4
    path.write_text(text.replace("budget: {trials: 4}\n", "sampler: {name: grid}\n"))
    with pytest.raises(SpecError, match=r"this grid has 1,000,000,000 configurations, and nothing else ends"):
        check(load_spec(path))


def test_a_rule_between_ranges_is_one_line_however_many_samples_break_it(tmp_path, monkeypatch):
    def check_data(self):
        if self.shift > self.learning_rate:
            raise ConfigError("shift", self.shift, f"must be at most learning_rate, which is {self.learning_rate}")

    monkeypatch.setattr(ripple_config.Config, "check_data", check_data)
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: try\ntrainable: tests.methods.ripple\nobjective: {metric: val_error}\nbudget: {trials: 9}\n"
        "space:\n  shift: {low: 0, high: 1}\n  learning_rate: {low: 1e-3, high: 1, log: true}\n"
    )
    with pytest.raises(SpecError) as caught:
        check(load_spec(file))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{file}:6: space.shift: must be at most learning_rate, which is ")
    assert re.search(r"; this rules out 2\d\d of 300 sampled configurations: \{shift: .*\}, \.\.\.$", line)


def test_a_module_that_lacks_its_config_is_told_what_to_define(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "no_method_here.py").write_text("")
    file = tmp_path / "s.yaml"
    for trainable, message in (
        ("pack.no_method_here", "must define `Config`, a subclass of MethodConfig"),
        ("pack.elsewhere", "is not found: pack .* has no module .elsewhere."),
    ):
        rest = "objective: {metric: e}\nspace: {a: [1]}\nbudget: {trials: 1}\n"
        file.write_text(f"name: try\ntrainable: {trainable}\n{rest}")
        with pytest.raises(SpecError, match=rf"trainable = '{trainable}': {message}"):
            check(load_spec(file))


def test_other_names_are_checked_and_recorded_as_what_they_stand_for(check_text, refused, tmp_path):
    others = "base: {loss: mean_squared_error}\nspace: {head: [mlp_simple_hybrid, mlp_4D_accsoftplus]}\n"
    own = "base: {loss: mse}\nspace: {head: [mlp_cartesian, mlp_4D_softplus]}\n"
    found, expected = (check_text(f"{text}sampler: {{name: grid}}\n") for text in (others, own))
    assert found.spec == expected.spec
    assert found.programs == expected.programs
    assert found.searched == expected.searched
    assert "mlp_simple_hybrid is another name of mlp_cartesian, by which it is recorded" in found.notes
    (line,) = refused("base: {loss: percent_error_with_attraction}\nspace: {depth: [2]}\nsampler: {name: grid}\n")
    assert "is percent_error with attraction_weight, which is not given" in line


def test_names_that_were_never_defined_say_so_and_what_is_near(refused):
    lines = refused(
        "space:\n  head: [mlp_4D_unit_scaled, mlp_4D]\n  features: [sph_4D_rinv_vinv]\nsampler: {name: grid}\n"
    )
    assert [line.split(": ", 1)[1] for line in lines] == [
        "space.head[0] = 'mlp_4D_unit_scaled': was named and never defined; near it are mlp_4D_unit (acceleration "
        "m d/|d|) and mlp_4D_unit_softplus (softplus(m) d/|d|)",
        "space.head[1] = 'mlp_4D': has meant two different heads: say mlp_4D_signed (acceleration m d) or mlp_4D_abs "
        "(acceleration |m| d)",
        "space.features[0] = 'sph_4D_rinv_vinv': was named and never defined; near it is sph_4D_rinv_vel (1/|r|, "
        "r/|r|, v)",
    ]


def test_a_preset_is_what_it_stands_for(check_text, refused):
    rest = "space: {depth: [2, 4], head: [mlp_rtn]}\nsampler: {name: grid}\n"
    curriculum = "curriculum: [{learning_rate: 1e-4}]"
    found = check_text(f"base: {{preset: source, activation: silu, {curriculum}}}\n{rest}")
    config = found.programs[0].config
    chosen = ("activation", "head", "learning_rate", "schedule", "warmup_steps", "clip_norm")
    assert [config[name] for name in chosen] == ["silu", "mlp_rtn", 1e-3, "constant", 0, None]
    assert "preset" not in found.spec.base
    assert found.notes[0].startswith("preset source: learning_rate: 0.001, schedule: constant")
    assert found.warnings == ()  # of a learning rate that the preset has and every phase replaces
    (line,) = refused(f"base: {{preset: sauce}}\n{rest}")
    assert line.endswith("there is no such preset. Allowed: source, cosine; did you mean 'source'?")


def test_a_warm_up_of_more_than_half_a_phase_is_warned_of(check_text):
    space = "space: {depth: [2, 4]}\nsampler: {name: grid}\n"
    assert check_text(f"base: {{steps: 400}}\n{space}").warnings == ()  # 200 of them by default
    short = "base: {curriculum: [{steps: 2000}, {steps: 60}]}\n"
    assert check_text(f"{short}{space}").warnings == (
        "warmup_steps: in 2 of 2 configurations the learning rate rises for more than half of a phase (of 60 steps, "
        "with 200 of warm-up): give fewer",
    )
    varied = "base: {steps: 100}\nspace: {warmup_steps: [0, 50, 51]}\nsampler: {name: grid}\n"
    (warning,) = check_text(varied).warnings
    assert warning.startswith("warmup_steps: in 1 of 3 configurations")


def test_early_stopping_that_judges_within_the_warm_up_is_warned_of(check_text):
    rest = "base: {steps: 2000}\nspace: {warmup_steps: [0, 50, 400]}\nsampler: {name: grid}\n"
    assert check_text(f"{rest}early_stopping: {{name: asha, grace_steps: 401}}\n").warnings == ()
    assert check_text(f"{rest}early_stopping: {{name: asha, grace_steps: 400}}\n").warnings == (
        "early_stopping.grace_steps: 400 is no more than a warm-up of 400 steps: trials are judged before their "
        "learning rate is what they try; give more, or a shorter warm-up",
    )


SERIES = """\
name: try
trainable: latent_ode
objective: {metric: val_extrapolation_error_pct}
base: {dataset: file, file: FILE, file_components: 2}
space: {learning_rate: [0.01, 0.02], latent: [4, 8]}
sampler: {name: grid}
"""


def test_what_is_odd_about_data_is_printed_by_check_and_run_and_kept(tmp_path, searches, capsys):
    t = np.tile(np.arange(12.0), (20, 1))
    y = np.stack([np.sin(t + np.arange(20)[:, None]), np.ones(t.shape)], -1)
    y[3, 4, 0] = 1e8
    np.savez(tmp_path / "series.npz", y=y, t=t)
    file = tmp_path / "s.yaml"
    file.write_text(SERIES.replace("FILE", str(tmp_path / "series.npz")))
    outlier = f"{tmp_path}/series.npz: 1 of 240 values of component 1 of y lie far from the others and set its scale"
    constant = f"{tmp_path}/series.npz: component 2 of y never changes"
    assert check_command(file, console=Console(width=200)) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning  ")]
    assert [line.count(said) for line, said in zip(printed, (outlier, constant), strict=True)] == [1, 1]
    paths = new_search(file, None, Console(stderr=True, width=200))
    said = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("warning: ") for line in said] == [line.removeprefix("warning  ") for line in printed]
    assert read_json(paths.provenance)["warnings"] == [line.removeprefix("warning  ") for line in printed]
    facts = dict(origin(load_search(paths)).long_facts)
    assert facts["warnings"].splitlines() == read_json(paths.provenance)["warnings"]


@pytest.mark.parametrize(("change", "expected"), [("complex", "is of complex128"), ("large", "goes up to 1e+150")])
def test_data_that_would_fail_every_trial_fail_the_check_in_one_line(tmp_path, change, expected):
    t = np.tile(np.arange(12.0), (20, 1))
    y = np.stack([np.sin(t + np.arange(20)[:, None]), np.cos(t)], -1)
    np.savez(tmp_path / "series.npz", y=y + 0j if change == "complex" else put_large(y), t=t)
    file = tmp_path / "s.yaml"
    file.write_text(SERIES.replace("FILE", str(tmp_path / "series.npz")))
    with pytest.raises(SpecError) as caught:
        check(load_spec(file))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{file}:4: base.file = '{tmp_path}/series.npz'"[:60])
    assert expected in line
    assert "; this rules out all 4 configurations" in line
    assert "{" not in line


def put_large(y):
    y[2, 3, 0] = 1e150
    return y
