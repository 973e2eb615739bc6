"""What a driver makes of a worker that was lost on another node; links are stand-ins."""

import pytest

from cluster.driver import nodes as module
from cluster.driver.nodes import Nodes
from cluster.machine.capacity import Capacity
from cluster.state.outcomes import Outcome


class Wire:
    """A link to a node that has said hello."""

    def __init__(self, node):
        self.is_alive, self.silent_s = True, 0.0
        self._messages = [{"do": "hello", "node": node, "most": 2, "memory_gb": 8.0}]

    def take(self):
        messages, self._messages = self._messages, []
        return messages

    def close(self):
        self.is_alive = False


class Exchange:
    def __init__(self, *links):
        self._links = list(links)

    def new_links(self):
        links, self._links = self._links, []
        return links


@pytest.fixture
def wires():
    return {"n2": Wire("n2"), "n3": Wire("n3")}


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def nodes(wires, now, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    made = Nodes(Exchange(*wires.values()), None, Capacity(most=2, memory_gb=8.0), clock=lambda: now[0])
    made.tick()
    return made


def test_a_trial_is_lost_with_the_node_that_it_reported_from(nodes, wires):
    assert nodes.explain_loss("n2", 90.0) is None
    wires["n2"].close()
    nodes.tick()
    assert nodes.names == ["n3"]
    assert nodes.explain_loss("n2", 90.0) == (Outcome.NODE_LOST, "node n2 was lost")
    assert nodes.explain_loss("n3", 90.0) is None


def test_a_node_that_has_gone_quiet_counts_as_lost(nodes, wires):
    wires["n3"].silent_s = module.QUIET_S + 1
    assert nodes.explain_loss("n3", 90.0) == (Outcome.NODE_LOST, "node n3 was lost")


def test_an_attempt_that_ray_has_started_on_a_node_lost_before_is_no_failure(nodes, wires, now):
    wires["n2"].close()
    nodes.tick()
    now[0] += 1.0
    outcome, why = nodes.explain_loss("", now[0])
    assert outcome is Outcome.STOPPED
    assert not outcome.is_machines
    assert "n2" in why
    # One that had begun before, or has reported from there, was lost with it.
    assert nodes.explain_loss("", 99.0) == (Outcome.NODE_LOST, "node n2 was lost")
    assert nodes.explain_loss("n2", now[0]) == (Outcome.NODE_LOST, "node n2 was lost")


def test_a_node_lost_long_ago_explains_no_attempt_that_has_not_reported(nodes, wires, now):
    wires["n2"].close()
    nodes.tick()
    now[0] += module.RECENT_S + 1
    assert nodes.explain_loss("", now[0]) is None
