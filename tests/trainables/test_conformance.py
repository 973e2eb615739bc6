import itertools
from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import Field, model_validator

from tests.methods.ripple.method import Config, Ripple
from trainables._shared.config import HELD_OUT, NUMERIC, FrozenModel
from trainables._shared.conformance import CHECKS, fields_said_to_be_unread_change_nothing
from trainables._shared.conformance_case import Case
from trainables._shared.conformance_yardstick import a_task_is_the_same_for_all, what_moves_the_yardstick_is_declared
from trainables._shared.discovery import load_method, method_names
from trainables._shared.other_values import changes, other_values

# The fast loop has the small one alone.
NAMES = [*(pytest.param(name, marks=pytest.mark.slow) for name in method_names()), "tests.methods.ripple"]


@pytest.fixture(scope="module", params=NAMES)
def case(request, tmp_path_factory):
    return Case(request.param, load_method(request.param), tmp_path_factory.mktemp("conformance"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_method_conforms(case, check):
    check(case)


class _Unread(Config):
    """Fields of several kinds, said to be read by nobody."""

    kind: Literal["a", "b", "c"] = "b"
    number: int = Field(default=2, ge=1)
    fixed: Annotated[str, Field(pattern="^one$")] = "one"
    known: str = Field(default="here", pattern="^(here|there)$", examples=["there"])
    lengths: tuple[int, ...] = ()
    widths: tuple[int, ...] = (1,)

    @model_validator(mode="after")
    def _one_of_both(self):
        assert not (self.lengths and self.widths)
        return self

    def for_training(self):
        unread = set(_Unread.model_fields) - set(Config.model_fields) - {"fixed"}
        return self.model_copy(update={name: _Unread.model_fields[name].default for name in unread})


class _Reader(Ripple):
    config_type = _Unread

    def __init__(self, read=lambda config: 1.0, key=lambda config: "val_error"):
        self.read, self.key = read, key

    def smoke(self):
        return _Unread(steps=20)

    def loss(self, config, *args):
        loss = super().loss(config, *args)
        return loss._replace(value=loss.value * self.read(config))

    def validate(self, config, *args):
        return {self.key(config): value for value in super().validate(config, *args).values()}


class _Fixed(_Unread):
    def for_training(self):
        return super().for_training().model_copy(update={"fixed": "one"})


class _Hopeless(_Reader):
    config_type = _Fixed

    def smoke(self):
        return _Fixed(steps=20)


def test_fields_of_every_kind_are_tried_though_the_smoke_config_has_their_defaults(tmp_path):
    fields_said_to_be_unread_change_nothing(Case("reader", _Reader(), tmp_path))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (_Reader(lambda config: 2.0 if config.kind == "c" else 1.0), "for_training.* kind is not read, but 'c'"),
        (_Reader(lambda config: jnp.asarray(np.full(3, config.number, np.float32))[0]), "number is not read"),
        (_Reader(lambda config: 1.0 if config.known == "here" else 3.0), "known is not read, but 'there'"),
        (_Reader(lambda config: 1.0 + len(config.lengths)), "lengths is not read"),
        (_Reader(lambda config: 1.0 + sum(config.widths)), "widths is not read"),
        (_Reader(key=lambda config: f"val_{config.kind}"), "for_evaluation.* kind is not read"),
        (_Hopeless(), "fixed may be unread, but no other valid value of it"),
    ],
)
def test_a_field_that_is_read_though_it_is_said_not_to_be_is_named(tmp_path, method, said):
    with pytest.raises(AssertionError, match=said):
        fields_said_to_be_unread_change_nothing(Case("reader", method, tmp_path))


class _Part(FrozenModel):
    size: Annotated[int, Field(ge=4, le=5)]
    span: tuple[float, float] = (0.0, 1.0)


class _Kinds(Config):
    whole: Annotated[int, Field(gt=0, lt=3)] = 1
    share: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    tight: Annotated[float, Field(gt=2, lt=2.5)] = 2.4
    maybe: Annotated[float | None, Field(gt=1)] = None
    either: Literal["auto"] | bool = "auto"
    parts: Annotated[tuple[_Part, ...], Field(strict=False)] = ()
    spans: Annotated[tuple[Annotated[tuple[float, float], Field(strict=False)], ...], Field(strict=False)] = ()
    named: dict[str, int] = Field(default={})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("whole", {2}),
        ("share", {0.45, 0.225}),
        ("tight", {2.25, 2.125}),
        ("maybe", {2.0}),
        ("either", {False, True}),
        ("parts", {((4, (0.0, 1.0)),), ((4, (0.5, 0.5)),), ((5, (0.0, 1.0)),)}),
        ("spans", {((0.5, 1.0),), ((0.5, 0.5),), ((1.0, 0.5),), ((1.0, 1.0),)}),
        ("named", {"other"}),
    ],
)
def test_other_values_are_valid_and_all_the_others_are_as_they_were(field, values):
    found = list(changes(_Kinds(), field))
    assert all(before == _Kinds() for before, _ in found)
    assert all(after == before.model_copy(update={field: getattr(after, field)}) for before, after in found)
    made = {getattr(after, field) if field != "named" else next(iter(after.named)) for _, after in found}
    plain = {tuple(tuple(dict(part).values()) for part in value) if field == "parts" else value for value in made}
    assert values <= plain, plain


class _Sized(Config):
    num: int = 1000
    few: int = 1
    share: float | None = None
    widths: tuple[int, ...] = (256, 256)


@pytest.mark.parametrize(
    ("field", "first", "last"),
    [
        ("num", [8, 2], 1000),  # its default would take longest
        ("few", [1, 8], 2),
        ("share", [None, 1.0], 0.25),
        ("widths", [[], [8]], [256, 256]),
    ],
)
def test_what_takes_longest_is_tried_last(field, first, last):
    config = _Sized(num=4, few=4, share=0.5, widths=(4,))
    found = other_values(config, field)
    assert found[:2] == first
    assert found[-1] == last
    assert [getattr(after, field) for _, after in itertools.islice(changes(config, field), 2)] == [
        tuple(value) if isinstance(value, list) else value for value in first
    ]


class _Judged(Config):
    """Fields that change what is measured, each in another way."""

    reported_metrics: ClassVar = {**Config.reported_metrics, "val_other": "Another."}
    yardstick_fields: ClassVar = {
        "held_out": HELD_OUT, "scale": ("val_error",), "norm": ("val_error",), "weight": ("train_loss",),
    }  # fmt: skip
    predicts_by: ClassVar = (*Config.predicts_by, "tolerance")

    held_out: int = Field(default=2, ge=1)
    scale: Annotated[float, NUMERIC] = 1.0
    norm: Literal["mean", "max"] = "mean"
    weight: Annotated[float, NUMERIC] = 1.0
    tolerance: Annotated[float, NUMERIC] = 1e-3


class _Judge(Ripple):
    def __init__(self, **parts):
        self.config_type = type("_JudgedHere", (_Judged,), {"__module__": __name__, **parts})

    def smoke(self):
        return self.config_type(steps=20)

    def data(self, config, store):
        return super().data(config, store)._replace(validation={"x": np.full(config.held_out, 1.0, np.float32)})

    def loss(self, config, hyper, *args):
        loss = super().loss(config, hyper, *args)
        return loss._replace(value=loss.value * hyper["weight"])

    def validate(self, config, hyper, model, data):
        error = (model.x + hyper["tolerance"] - 0.5) ** 2
        error = (jnp.mean if config.norm == "mean" else jnp.max)(error) * hyper["scale"] + jnp.sum(data["x"])
        return {"val_error": error, "val_other": jnp.sum(data["x"])}


def test_what_is_declared_for_the_metrics_that_it_moves_passes(tmp_path):
    case = Case("judge", _Judge(), tmp_path)
    what_moves_the_yardstick_is_declared(case)
    a_task_is_the_same_for_all(case)


@pytest.mark.parametrize(
    ("field", "patterns", "said"),
    [
        ("held_out", None, "held_out changes what val_error, val_other is measured by"),
        ("held_out", ("val_error",), "held_out changes what val_other is measured by"),
        ("scale", None, "scale changes what val_error is measured by"),
        ("norm", ("val_other",), "norm changes what val_error is measured by"),
        ("weight", None, "weight changes what train_loss is measured by"),
        ("weight", ("val_error",), "weight changes what train_loss is measured by"),
    ],
)
def test_a_field_that_moves_the_yardstick_undeclared_is_named(tmp_path, field, patterns, said):
    declared = {name: given for name, given in _Judged.yardstick_fields.items() if name != field}
    method = _Judge(yardstick_fields=declared | ({field: patterns} if patterns else {}))
    with pytest.raises(AssertionError, match=f"^{said}"):
        what_moves_the_yardstick_is_declared(Case("judge", method, tmp_path))


def test_what_the_model_predicts_by_is_to_be_said_too(tmp_path):
    case = Case("judge", _Judge(predicts_by=Config.predicts_by), tmp_path)
    with pytest.raises(AssertionError, match=r"^tolerance changes what val_error is measured by"):
        what_moves_the_yardstick_is_declared(case)


def test_a_task_that_a_method_does_not_keep_to_is_named(tmp_path):
    class Forgetful(_Judge):
        def task_data(self, config, task, store):
            return self.data(config, store)

    with pytest.raises(AssertionError, match="held_out: validation data differ, although scored_on says"):
        a_task_is_the_same_for_all(Case("judge", Forgetful(), tmp_path))
