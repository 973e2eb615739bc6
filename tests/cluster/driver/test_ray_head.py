import pytest
from ray._private import services

from cluster.driver import ray_head
from cluster.driver.ray_head import START_PATIENCE_S, patient_start


@pytest.fixture
def late_node(monkeypatch):
    """A node that registers when the clock says 90 s, three times as late as Ray waits."""
    now = [0.0]

    def get_node(address, node):
        if now[0] < 90:
            raise RuntimeError("Can't find the node")
        return {"address": address, "node": node}

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(ray_head.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ray_head.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_a_node_that_a_busy_machine_starts_late_is_waited_for(late_node):
    before = services.get_node
    with patient_start():
        assert services.get_node("127.0.0.1:1", "a") == {"address": "127.0.0.1:1", "node": "a"}
    assert services.get_node is before
    assert 90 <= late_node[0] < 91


def test_a_node_that_never_starts_is_given_up(late_node):
    late_node[0] = -1000.0
    with patient_start(), pytest.raises(RuntimeError, match="find the node"):
        services.get_node("127.0.0.1:1", "a")
    assert late_node[0] < -1000 + START_PATIENCE_S + 1
