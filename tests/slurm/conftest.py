"""The test bed for the tests of this folder: started once per process that runs tests, tidied after every test."""

import pytest

from tests.databases import running_postgres
from tests.needed import missing
from tests.slurm.bed import start_testbed


@pytest.fixture(scope="session")
def testbed():
    """Return a running SLURM cluster of two nodes with 4 CPUs and 8 GB each (`tests.slurm.bed.Testbed`)."""
    bed = start_testbed()
    yield bed
    bed.down()


@pytest.fixture(autouse=True)
def _tidy(request):
    """Leave the test bed as new for the next test."""
    yield
    if "testbed" in request.fixturenames:
        request.getfixturevalue("testbed").tidy()


@pytest.fixture
def separate_nodes(testbed):
    """Return the test bed, whose nodes have host names, addresses and disks of their own: that takes root."""
    if testbed.mode != "namespaces":
        missing("nodes of their own need root and the right to make namespaces (in a container: --privileged)")
    return testbed


@pytest.fixture
def on_login_node(testbed, monkeypatch):
    """Make this process one of somebody on the login node, for code that is called and not started as a program."""
    for name in ("SLURM_CONF", "TESTBED_SCRATCH", "PATH"):
        monkeypatch.setenv(name, testbed.env[name])
    return testbed


@pytest.fixture(scope="session")
def postgres_for_nodes(testbed):
    """Return the URL of a PostgreSQL database that the login node and the nodes can reach."""
    with running_postgres(*dict.fromkeys(("127.0.0.1", testbed.address))) as server:
        yield server.url(testbed.address)
