import pytest

from trainables._shared.conformance import CHECKS, Case
from trainables._shared.discovery import load_method, method_names

# The fast loop has the small one alone.
NAMES = [*(pytest.param(name, marks=pytest.mark.slow) for name in method_names()), "tests.methods.ripple"]


@pytest.fixture(scope="module", params=NAMES)
def case(request, tmp_path_factory):
    return Case(request.param, load_method(request.param), tmp_path_factory.mktemp("conformance"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_method_conforms(case, check):
    check(case)
