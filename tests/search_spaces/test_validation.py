from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from search_spaces.validation import explain_validation


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    steps: int = 1
    window: Annotated[tuple[float, float], Field(strict=False)] = (0.0, 1.0)


class Lists(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    lengths: list[int]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    phases: list[Part] | Lists = []
    kind: Literal["one", "two"] = "one"
    rate: Annotated[float | None, Field(gt=0)] = None
    mode: Literal["auto"] | bool | int = "auto"
    count: Annotated[int, Field(ge=2, le=9)] = 2
    even: int = 0

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


def explained(**values):
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(values)
    return [str(problem) for problem in explain_validation(caught.value, Model, values)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"kind": "tow"}, "kind = 'tow': is not one of the choices. Allowed: one, two; did you mean 'two'?"),
        ({"knd": 1}, "knd = 1: unknown key. Allowed: phases, kind, rate, mode, count, even; did you mean 'kind'?"),
        ({"rate": "fast"}, "rate = 'fast': must be a number, but is text"),
        ({"rate": 0.0}, "rate = 0.0: must be greater than 0"),
        ({"mode": "atuo"}, "mode = 'atuo': must be 'auto', true or false or a whole number"),
        ({"count": 1}, "count = 1: must be at least 2"),
        ({"count": 10}, "count = 10: must be at most 9"),
        ({"count": True}, "count = true: must be a whole number, but is true or false"),
        ({"count": [3]}, "count = [3]: must be a whole number, but is a list"),
        ({"even": 3}, "even = 3: must be even"),
        ({"phases": [{"step": 1}]}, "phases[0].step = 1: unknown key. Allowed: steps, window; did you mean 'steps'?"),
        ({"phases": [{}, {"steps": 1.5}]}, "phases[1].steps = 1.5: must be a whole number, but has a decimal point or"),
        ({"phases": [{"window": [0.0, "x"]}]}, "phases[0].window[1] = 'x': must be a number, but is text"),
        ({"phases": {"lengths": ["x"]}}, "phases.lengths[0] = 'x': must be a whole number, but is text"),
        ({"phases": 3}, "phases = 3: must be a list or a mapping"),
    ],
)
def test_an_error_is_one_sentence_about_what_the_author_wrote(values, expected):
    (found,) = explained(**values)
    assert found.startswith(expected)
    assert "pydantic" not in found


def test_every_problem_is_told():
    assert len(explained(kind="x", count=1, phases=[{"steps": "a"}, {"steps": "b"}])) == 4


def test_a_method_s_own_rule_names_its_field_and_what_is_allowed():
    class RuleError(ValueError):
        def __init__(self):
            self.field, self.value, self.message, self.allowed = "count", 3, "is odd", "an even number"

    class Ruled(Model):
        @field_validator("count")
        @classmethod
        def _rule(cls, value: int) -> int:
            raise RuleError

    with pytest.raises(ValidationError) as caught:
        Ruled.model_validate({"count": 3})
    (problem,) = explain_validation(caught.value, Ruled, {"count": 3})
    assert str(problem) == "count = 3: is odd. Allowed: an even number"
