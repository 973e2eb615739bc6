"""Fixtures that the tests of one command share, though they lie in several files."""

from tests.cleaning import make_scratch, make_session, make_unfinished, places, session, sight, start  # noqa: F401
from tests.rerunning import own_method, quick_rerun, recorded, rerun, watched  # noqa: F401
