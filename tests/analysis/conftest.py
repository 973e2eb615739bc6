"""A fixture for whatever reads searches: one in each odd state."""

import shutil

import pytest

from cluster.state.paths import SearchPaths
from tests.analysis.odd_searches import ODD, make_odd


@pytest.fixture(scope="session")
def made_odd(tmp_path_factory):
    """Return a function that makes an odd search; each is made once, as making takes longer than copying."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SWELL_ROOT", str(folder / "searches"))
                made[name] = make_odd(name, folder)
        return made[name]

    return make


@pytest.fixture(params=sorted(ODD))
def odd_search(request, made_odd, searches):
    """Return the paths of a search in an odd state, below `$SWELL_ROOT`; the test runs once for each of them."""
    made = made_odd(request.param)
    root = searches / made.name
    shutil.copytree(made.root, root)
    return SearchPaths(root)
