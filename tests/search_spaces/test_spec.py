import math
from pathlib import Path

import pytest
import yaml

from search_spaces.errors import SpecError
from search_spaces.loader import parse_yaml
from search_spaces.samplers import SAMPLERS, SamplerFacts
from search_spaces.spec import Spec, load_spec, parse_spec

MINIMAL = """\
name: try
trainable: two_body
objective: {metric: error}
space:
  depth: [2, 4]
budget: {trials: 3}
"""


def spec_of(text):
    return parse_spec(*parse_yaml(text, Path("s.yaml")))


def refused(text):
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    return str(caught.value)


def changed(**parts):
    """Return the minimal spec with other top-level parts, each on a line of its own; None leaves one out."""
    values = {key: value for key, value in {**yaml.safe_load(MINIMAL), **parts}.items() if value is not None}
    return "".join(
        yaml.safe_dump({key: value}, default_flow_style=True, sort_keys=False, width=999)[1:-2] + "\n"
        for key, value in values.items()
    )


def test_a_minimal_spec_has_defaults_for_all_else():
    spec = spec_of(MINIMAL)
    assert spec.objectives[0].mode == "min"
    assert (spec.sampler.name, spec.sampler.seed) == ("tpe", 0)
    assert spec.early_stopping.name == "none"
    assert spec.seeds == (None,)
    assert (spec.resources.cpus, spec.resources.cpus_per_trial, spec.resources.max_cpus) == ("auto", 1, None)
    assert (spec.waves.trials, spec.keep.checkpoints, spec.keep.top, spec.tracking.wandb, spec.retries) == (
        "auto", "best", 10, "disabled", 2,
    )  # fmt: skip
    assert spec.base == {}


def test_a_spec_survives_json_unchanged():
    space = {
        "a": [2, 1.5, None, "x", True],
        "b": {"low": 1e-4, "high": 1, "log": True, "when": {"a": ["x", 1.5]}},
        "c": {"low": 2, "high": 8, "type": "int", "step": 2},
        "d": {"choices": {"one": [{"steps": 1}], "two": []}},
    }
    spec = spec_of(changed(space=space, objective=[{"metric": "a"}, {"metric": "b", "mode": "max"}]))
    again = Spec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert [type(value) for value in again.space["a"].labels] == [int, float, type(None), str, bool]


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        spec_of(MINIMAL).name = "other"


def test_an_unknown_key_is_refused_with_the_nearest_one():
    message = refused(MINIMAL + "earlystopping: {name: asha}\n")
    assert message.startswith("s.yaml:7: earlystopping = {name: 'asha'}: unknown key. Allowed: name, trainable, ")
    assert message.endswith("; did you mean 'early_stopping'?")


def test_an_unknown_key_inside_a_part_is_refused_with_the_valid_ones():
    assert refused(changed(budget={"trails": 3, "hours": 1})) == (
        "s.yaml:5: budget.trails = 3: unknown key. "
        "Allowed: trials, hours, core_hours, target, patience_trials; did you mean 'trials'?"
    )


def test_a_list_of_lists_is_refused_with_the_named_form():
    message = refused(MINIMAL.replace("depth: [2, 4]", "windows: [[0, 0.1], [0, 1]]"))
    assert message.splitlines() == [
        f"s.yaml:5: space.windows[{index}] = {item}: one of the choices is itself a list: structured choices have "
        f"names, so that the table can show them. Allowed: {{choices: {{first_name: {item}, second_name: ...}}}}; "
        "a value that is not searched belongs under base"
        for index, item in enumerate(["[0, 0.1]", "[0, 1]"])
    ]


def test_a_list_of_phases_is_not_taken_for_choices():
    message = refused(MINIMAL.replace("depth: [2, 4]", "curriculum:\n    - {steps: 10}\n    - {steps: 20}"))
    assert [line.split(":")[1] for line in message.splitlines()] == ["6", "7"]
    assert "space.curriculum[0] = {steps: 10}: one of the choices is itself a mapping" in message


def test_named_choices_keep_their_structure():
    text = MINIMAL.replace("depth: [2, 4]", "windows: {choices: {short: [[0, 0.1], [0, 1]], long: [[0, 1]]}}")
    assert spec_of(text).space["windows"].choices == {"short": [[0, 0.1], [0, 1]], "long": [[0, 1]]}


def test_a_single_value_in_the_space_is_refused_with_both_ways_out():
    assert refused(MINIMAL.replace("[2, 4]", "3")).startswith(
        "s.yaml:5: space.depth = 3: is a single value, not something to search; to override the default with one "
        "value, write [3] or put it under base. Allowed: a list [a, b], "
    )


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("[]", "space.depth: an empty list leaves nothing to choose from"),
        ("[1, 2, 1]", "space.depth[2] = 1: this choice is given twice"),
        ("[1, 1.0]", "space.depth[1] = 1.0: this choice is given twice"),
        ("[.inf]", "space.depth[0] = inf: must be a finite number"),
        ("{low: 3, high: 2}", "space.depth: low <= high must hold, but got low 3.0 and high 2.0"),
        ("{low: 0, high: 2, log: true}", "space.depth.low = 0.0: must be greater than 0 where log is true"),
        ("{low: 0, high: 2, log: true, type: int}", "space.depth.low = 0: must be at least 1 where log is true"),
        ("{low: 1, high: 2, log: yes}", "space.depth.log = 'yes': must be true or false, but is text. Allowed: true, "),
        ("{low: 1, high: 2.5, type: int}", "space.depth.high = 2.5: must be a whole number, but has a decimal point"),
        ("{low: 1, high: 2, type: integer}", "space.depth.type = 'integer': is not one of the choices. Allowed: float"),
        ("{low: 1, hihg: 2}", "space.depth.high: is required but not given"),
        ("{low: 0, high: 1, step: 0.3}", "space.depth.step = 0.3: must lead from low to high in a whole number of st"),
        ("{low: 1, high: 3, step: 1, log: true}", "space.depth.step = 1.0: cannot be combined with log; leave one"),
        ("{low: '1e-4', high: 1}", "space.depth.low = '1e-4': must be a number, but is text: write it as a plain deci"),
        ("{low: 0x10, high: 20}", "space.depth.low = '0x10': must be a number, but is text: write it as a plain deci"),
        ("{low: 1:30, high: 2}", "space.depth.low = '1:30': must be a number, but is text: write it as a plain decim"),
        ("{low: 2026-11-29, high: 2}", "space.depth.low = '2026-11-29': must be a number, but is text"),
        ("{low: 1, high: off}", "space.depth.high = 'off': must be a number, but is text"),
        ("{lo: 1}", "space.depth = {lo: 1}: is a mapping without choices, and without low and high. Allowed: a list"),
        ("{choices: {a: [1], b: [1]}}", "space.depth.choices.b: has the same value as 'a'"),
        ("{choices: {}}", "space.depth: an empty mapping leaves nothing to choose from"),
        ("{choices: [1, 2], low: 3}", "space.depth.low = 3: unknown key. Allowed: when, choices"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(entry, message):
    assert refused(MINIMAL.replace("[2, 4]", entry)).startswith(f"s.yaml:5: {message}")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"name": "a/b"}, "s.yaml:1: name = 'a/b': must be fit for a directory's name. Allowed: letters, digits"),
        ({"name": ".."}, "s.yaml:1: name = '..': must be fit for a directory's name"),
        ({"name": 2026}, "s.yaml:1: name = 2026: must be text, but is a number: put it in quotes"),
        ({"name": True}, "s.yaml:1: name = true: must be text, but is true or false: put it in quotes"),
        ({"base": {"r": [1, {"x": math.inf}]}}, "s.yaml:6: base.r[1].x = inf: must be a finite number"),
        (
            {"space": {"p": {"choices": {"a": [math.nan], "b": 1}}}},
            "s.yaml:4: space.p.choices.a[0] = nan: must be a finite number",
        ),
        (
            {"space": {"p": {"choices": {"1": [1], "b": 2}}, "q": {"choices": [1, 2], "when": {"p": 1}}}},
            "s.yaml:4: space.q.when.p = 1: p never takes this value, so the parameter would never be searched. "
            "Allowed: '1', b",
        ),
        ({"trainable": None}, "s.yaml:1: trainable: is required but not given"),
        ({"objective": []}, "s.yaml:3: objective = []: must have at least 1 entries, but has 0"),
        ({"objective": {"metric": "e", "mode": "low"}}, "s.yaml:3: objective.mode = 'low': is not one of the choices"),
        ({"base": {"depth": 3}}, "s.yaml:4: space.depth: is both under base and under space; keep one of them"),
        ({"sampler": {"name": "bayes"}}, "s.yaml:6: sampler.name = 'bayes': is not one of the choices. Allowed: tpe,"),
        ({"sampler": "tpe"}, "s.yaml:6: sampler = 'tpe': must be a mapping, but is text. Allowed: the keys name, seed"),
        ({"early_stopping": {"name": "ahsa"}}, "s.yaml:6: early_stopping.name = 'ahsa': is not one of the choices."),
        ({"budget": None}, "s.yaml:1: budget: the search would never end: only a grid ends by itself. Allowed: at le"),
        ({"budget": {"target": 1.0}}, "s.yaml:5: budget: a target may never be reached, and the search would never "),
        ({"resources": {"cpus": "all"}}, "s.yaml:6: resources.cpus = 'all': must be 'auto' or a whole number"),
        (
            {"resources": {"cpus": 2, "cpus_per_trial": 4}},
            "s.yaml:6: resources.cpus_per_trial = 4: a trial cannot get more CPUs than the search has (2)",
        ),
        ({"repeats": {"seeds": []}}, "s.yaml:6: repeats.seeds = []: must have at least 1 entries, but has 0"),
        ({"repeats": {"seeds": [0, 1, 0]}}, "s.yaml:6: repeats.seeds[2] = 0: this seed is given twice"),
        (
            {"repeats": {"seeds": [0]}, "base": {"seed": 1}},
            "s.yaml:7: base.seed: the seed is set by repeats.seeds; leave it out here",
        ),
        (
            {"constraints": [{"metric": "loop"}]},
            "s.yaml:6: constraints[0]: the constraint on loop needs max, min, or both",
        ),
        ({"tracking": {"wandb": "off"}}, "s.yaml:6: tracking.wandb = 'off': is not one of the choices. Allowed: disab"),
        ({"tracking": {"project": "a/b"}}, "s.yaml:6: tracking.project = 'a/b': W&B allows no / in a name"),
        (
            {"code": "my-methods:v3"},
            "s.yaml:6: code = 'my-methods:v3': is no name of a W&B artifact. Allowed: wandb:ENTITY/PROJECT/NAME:VER",
        ),
        ({"code": 3}, "s.yaml:6: code = 3: must be text"),
        (
            {"code": "wandb:lab/methods/mine:v3"},
            "s.yaml:6: code = 'wandb:lab/methods/mine:v3': has no use: trainable = 'two_body', without a dot, is a "
            "method of this package. Allowed: beside the import path of a module in it",
        ),
        ({"retries": -1}, "s.yaml:6: retries = -1: must be at least 0"),
        ({"storages": "x"}, "s.yaml:6: storages = 'x': unknown key."),
        (
            {"storage": "sqlite"},
            "s.yaml:6: storage = 'sqlite': is neither the journal nor the address of a PostgreSQL ",
        ),
        ({"storage": "mysql://me:secret@host/db"}, "s.yaml:6: storage = 'mysql://me:***@host/db': is neither"),
        ({"storages": "postgresql://me:secret@host/db"}, "s.yaml:6: storages = 'postgresql://me:***@host/db': unknown"),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(parts, message):
    assert refused(changed(**parts)).startswith(message)


def test_several_objectives_exclude_early_stopping_cmaes_and_single_objective_bounds():
    parts = {
        "objective": [{"metric": "a"}, {"metric": "b"}],
        "early_stopping": {"name": "asha"},
        "sampler": {"name": "cmaes"},
        "budget": {"trials": 3, "target": 1.0},
        "space": {"depth": {"low": 1, "high": 2}},
    }
    assert sorted(line.split(": ", 1)[1] for line in refused(changed(**parts)).splitlines()) == [
        "budget.target = 1.0: needs one objective to measure, and there are 2 objectives",
        "early_stopping.name = 'asha': early stopping compares one number, and there are 2 objectives: give one "
        "objective, or stop no trial early. Allowed: none",
        "sampler.name = 'cmaes': this sampler optimises one objective, and there are 2 objectives. "
        "Allowed: nsga2, tpe, gp, qmc, random, grid",
    ]
    for sampler in ("nsga2", "tpe", "gp", "qmc", "random"):
        assert spec_of(changed(objective=parts["objective"], sampler={"name": sampler})).is_multi_objective


def test_a_grid_refuses_a_range_it_cannot_count():
    text = changed(sampler={"name": "grid"}, space={"rate": {"low": 1e-4, "high": 1e-2, "log": True}}, budget=None)
    assert refused(text) == (
        "s.yaml:4: space.rate: a grid needs values it can count, and this range has uncountably many. "
        "Allowed: a list such as [0.0001, 0.001, 0.01], a step, or another sampler"
    )


def test_cmaes_refuses_a_space_it_would_only_draw_from_at_random():
    assert "this sampler searches unconditional ranges only" in refused(changed(sampler={"name": "cmaes"}))


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"solvr": "adaptive"}, "space.b.when.solvr: a condition must ask for another key of space or base. Allowed: "),
        ({"b": 1}, "space.b.when.b: a condition must ask for another key of space or base. Allowed: solver, c, mode"),
        ({"solver": "adaptve"}, "space.b.when.solver = 'adaptve': solver never takes this value, so the parameter"),
        ({"mode": 2}, "space.b.when.mode = 2: mode never takes this value, so the parameter would never be searched"),
        ({"c": 0.5}, "space.b.when.c: a condition cannot ask for a value of a float range; it needs a list of ch"),
        ({"solver": []}, "space.b.when.solver = []: must have at least 1 entries, but has 0"),
    ],
)
def test_a_condition_that_never_holds_is_refused(when, message):
    space = {"solver": ["adaptive", "fixed"], "b": {"choices": [1], "when": when}, "c": {"low": 0, "high": 1}}
    assert message in refused(changed(space=space, base={"mode": 1}))


def test_conditions_in_a_circle_are_refused():
    space = {"a": {"choices": [1], "when": {"b": 1}}, "b": {"choices": [1], "when": {"a": 1}}}
    assert "conditions must not go in a circle: a -> b -> a" in refused(changed(space=space))


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    text = changed(retries=-1, keep={"top": 0}, name="a b", objective={"metric": 3})
    assert [line.split(": ")[1].split(" ")[0] for line in refused(text).splitlines()] == [
        "objective.metric", "retries", "keep.top",
    ]  # fmt: skip


def test_a_file_gives_its_name_and_line(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(MINIMAL + "retries: 1.5\n")
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    assert str(caught.value) == (
        f"{file}:7: retries = 1.5: must be a whole number, but has a decimal point or an exponent"
    )


def test_a_new_sampler_is_one_row_of_the_table(monkeypatch):
    row = SamplerFacts("a test", "RandomSampler", knows_several_objectives=False, needs_a_range=True)
    monkeypatch.setitem(SAMPLERS, "mine", row)
    spec = spec_of(changed(sampler={"name": "mine"}, space={"rate": {"low": 0, "high": 1}}))
    assert spec.sampler.facts is row
    assert "this sampler searches unconditional ranges only" in refused(changed(sampler={"name": "mine"}))
    several = changed(sampler={"name": "mine"}, objective=[{"metric": "a"}, {"metric": "b"}])
    assert "sampler.name = 'mine': this sampler optimises one objective, and there are 2" in refused(several)
