import json
from typing import ClassVar, Literal

import jax
import pytest
from pydantic import ValidationError

from tests.methods.ripple.method import Config, Ripple, method
from tests.training import begin, to_the_end
from trainables._shared import program as program_module
from trainables._shared.config import ConfigError, numeric, structural_key
from trainables._shared.datasets import DatasetStore
from trainables._shared.program import Program, ProgramCache
from trainables._shared.training import Training


def test_programs_are_shared_by_configs_that_differ_in_numeric_fields_alone():
    programs = ProgramCache()
    first = programs.get(method, Config(seed=1, learning_rate=0.1, shift=1.0))
    assert programs.get(method, Config(seed=2, learning_rate=0.2, shift=3.0)) is first
    assert programs.get(method, Config(size=4)) is not first


def test_a_second_trial_of_a_program_compiles_nothing():
    program = Program(method, Config())
    to_the_end(begin(Config(), program=program))
    compiled = program.compilations
    assert compiled == 3  # init, chunk, validate
    to_the_end(begin(Config(seed=7, learning_rate=0.3), program=program))
    assert program.compilations == compiled


class _Judged(Config):
    """Scored by the mean or by the sum of distances."""

    yardstick_fields: ClassVar = {"norm": ("val_error",)}
    norm: Literal["mean", "sum"] = "mean"

    def for_training(self):
        return super().for_training().model_copy(update={"norm": "mean"})

    def for_evaluation(self):
        return super().for_training()


class _Judge(Ripple):
    config_type = _Judged

    def validate(self, config, hyper, model, data):
        distance = jax.numpy.abs(model.x)
        return {"val_error": distance.mean() if config.norm == "mean" else distance.sum()}


@pytest.mark.parametrize("chosen", [lambda norm: {"norm": norm}, lambda norm: {"scored_on": {"norm": norm}}])
def test_trials_that_train_alike_are_each_scored_by_their_own_task(chosen):
    programs, judge = ProgramCache(), _Judge()
    configs = [_Judged(**chosen(norm)) for norm in ("mean", "sum")]
    data = judge.data(configs[0], DatasetStore())
    found = [Training(programs.get(judge, config), config, data).advance().metrics["val_error"] for config in configs]
    assert found[1] > found[0]
    assert programs.get(judge, configs[0]) is programs.get(judge, configs[0])


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
