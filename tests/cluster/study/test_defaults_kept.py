from typing import Annotated, ClassVar

from pydantic import create_model, model_validator

from cluster.state.outcomes import Outcome
from cluster.state.records import load_trials
from cluster.study.second_try import begun_problems
from tests.methods.ripple.config import Config
from tests.searching import quadratic, result
from trainables._shared.config import NUMERIC
from trainables.halo_emulator.config import Config as HaloEmulator
from trainables.two_body.config import Config as TwoBody


def test_a_trial_taken_up_again_keeps_the_config_it_began_with(make_search):
    search = make_search()
    study = search.open()
    begun = study.ask().config
    trial = study._running[0]
    trial.set_user_attr("assigned", {"configuration": 0, "config": {**begun, "size": 7}})  # an older default
    assert search.open().ask().config == {**begun, "size": 7}


class Later(Config):
    """Ripple's config after its author has changed what it leaves unsaid."""

    shift: Annotated[float, NUMERIC] = 2.0
    pace_s: float = 5.0
    size: int = 7
    optional: float | None = None
    extra: int = 0

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values):
        """Make the batch as large as the training is long."""
        return {"batch_size": values.get("steps", 30), **values}


class Earlier(Later):
    gone: int = 0


def test_new_trials_of_a_resumed_search_keep_the_defaults_that_it_began_with(make_search):
    search = make_search(
        base={"size": 2}, space={"steps": {"type": "int", "low": 1, "high": 10**6}}, budget={"trials": 3}
    )
    first = search.open()
    begun = [first.ask().config for _ in range(2)]
    assert [config["shift"] for config in begun] == [1.0, 1.0]
    first.close()
    search.config_type = Later
    study = search.open()
    assert [study.ask().config["shift"] for _ in range(2)] == [1.0, 1.0]
    new = study.ask().config
    assert new["steps"] not in [config["steps"] for config in begun]
    assert new == {**begun[0], "steps": new["steps"], "extra": 0}


def test_what_a_method_derives_from_other_fields_is_derived_anew_for_each_trial(make_search):
    search = make_search(space={"steps": {"type": "int", "low": 1, "high": 10**6}}, budget={"trials": 4})
    configs = []
    for config_type in (Earlier, Later, Later, Later):
        search.config_type = config_type
        study = search.open()
        configs.append(study.ask().config)
        study.tell(len(configs) - 1, Outcome.COMPLETED, result(val_error=1.0))
    assert [config["batch_size"] for config in configs] == [config["steps"] for config in configs]
    assert len({config["steps"] for config in configs}) == 4


def test_a_default_that_only_some_trials_leave_to_the_method_is_kept_too(make_search):
    space = {"trouble": ["none", "nan"], "shift": {"choices": [5.0, 6.0], "when": {"trouble": "nan"}}}
    search = make_search(space=space, budget={"trials": 12}, sampler={"name": "random", "seed": 2})
    search.run(quadratic, most=6)
    search.config_type = Later
    search.run(quadratic)
    configs = [record.config for record in load_trials(search.paths)]
    assert configs[0]["trouble"] == "nan"
    assert {config["shift"] for config in configs if config["trouble"] == "none"} == {1.0}


def test_a_two_body_search_from_before_the_cosine_goes_on_in_the_source_s_setting(make_search):
    before = TwoBody.presets["source"]
    fields = TwoBody.model_fields
    earlier = create_model("Config", __base__=TwoBody, **{n: (fields[n].annotation, before[n]) for n in before})
    space = {"width": [16, 32], "head": ["mlp_rtn", "mlp_4D_abs"]}
    parts = {"trainable": "two_body", "objective": {"metric": "val_accel_error_pct"}, "space": space}
    search = make_search(**parts, sampler={"name": "grid"}, budget={})
    search.config_type = earlier
    begun = search.open().ask().config
    search.config_type = TwoBody
    study = search.open()
    configs = [study.ask().config for _ in range(4)]
    assert configs[0] == begun
    kept = {name: value for name, value in before.items() if name != "head"}
    assert [{name: config[name] for name in kept} for config in configs] == [kept] * 4
    another = make_search(**parts, name="another")
    another.config_type = TwoBody
    new = another.open().ask().config
    assert all(new[name] != value for name, value in kept.items())


def test_a_halo_emulator_search_from_before_its_new_defaults_goes_on_as_it_began(make_search):
    before = {
        "learning_rate": 3e-4, "weight_decay": 1e-4, "steps": 4000, "report_every": 200, "model": "mlp", "depth": 3,
        "dropout": 0.0, "bootstrap": None,
    }  # fmt: skip
    fields = HaloEmulator.model_fields
    earlier = create_model("Config", __base__=HaloEmulator, **{n: (fields[n].annotation, before[n]) for n in before})
    space = {"engineered": [False, True], "width": [16, 32]}
    parts = {"trainable": "halo_emulator", "objective": {"metric": "val_nll"}, "space": space}
    search = make_search(**parts, base={"gp_haloes": 0}, sampler={"name": "grid"}, budget={})
    search.config_type = earlier
    begun = search.open().ask().config
    search.config_type = HaloEmulator
    assert list(begun_problems(search.paths, HaloEmulator)) == []
    study = search.open()
    configs = [study.ask().config for _ in range(4)]
    assert configs[0] == begun
    assert [{name: config[name] for name in before} for config in configs] == [before] * 4
    assert all(HaloEmulator.of_values(config).has_bootstrap for config in configs)
    another = make_search(**parts, name="another")
    another.config_type = HaloEmulator
    new = HaloEmulator.of_values(another.open().ask().config)
    assert all(getattr(new, name) != value for name, value in before.items())
    assert not new.has_bootstrap


class Extended(Config):
    """Ripple's config with a field that came later."""

    later_fields: ClassVar = {"manner": "old"}
    manner: str = "new"


def test_trials_of_a_search_from_before_a_field_have_what_was_in_effect_without_it(make_search):
    search = make_search(space={"steps": {"type": "int", "low": 1, "high": 10**6}}, budget={"trials": 2})
    begun = search.open().ask().config
    search.config_type = Extended
    assert list(begun_problems(search.paths, Extended)) == []
    study = search.open()
    assert study.ask().config == {**begun, "manner": "old"}
    assert study.ask().config["manner"] == "old"
    another = make_search(name="another")
    another.config_type = Extended
    assert another.open().ask().config["manner"] == "new"
