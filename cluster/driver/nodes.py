"""The further nodes as the driver sees them: which have joined with what, what they report, which are lost."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from cluster.machine.capacity import Capacity, Share
from cluster.state.outcomes import Outcome
from cluster.wire.links import Exchange, Link
from cluster.wire.orders import Order, Orders

log = logging.getLogger(__name__)

JOIN_PATIENCE_S = 60.0
"""How long the first wave of a session waits for nodes; later ones join when they come."""
CLEAN_PATIENCE_S = 30.0
RECENT_S = 60.0
"""A trial that ended before its first report may have been on a node that was lost this recently."""
NEWS_PATIENCE_S = 2.0
QUIET_S = 6.0
"""A node from which nothing was heard for this long may be lost: Ray notices its workers' end sooner than we do."""


class Nodes:
    """All further nodes of one driver; `tick` is called often."""

    def __init__(
        self,
        exchange: Exchange,
        orders: Orders,
        capacity: Capacity,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchange = exchange
        self._orders = orders
        self._capacity = capacity
        self._clock = clock
        self._strangers: list[Link] = []
        self._joined: dict[str, Link] = {}
        self._lost: dict[str, float] = {}
        """When each lost node was lost, if it has not come back."""
        self._freed: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """The names of the nodes that are joined now."""
        return sorted(self._joined)

    def tick(self) -> None:
        """Accept nodes that join, pass on their reports, and note which are gone."""
        self._strangers += self._exchange.new_links()
        for link in list(self._strangers):
            for message in link.take():
                self._take(link, message)
        self._strangers = [link for link in self._strangers if link.is_alive and link not in self._joined.values()]
        for name, link in list(self._joined.items()):
            for message in link.take():
                self._take(link, message, name)
            if not link.is_alive:
                log.warning("node %s is lost", name)
                self._lost[name] = self._clock()
                self._forget(name)

    def _take(self, link: Link, message: dict[str, Any], name: str = "") -> None:
        if message["do"] == "hello":
            self._join(link, str(message["node"]), Share(int(message["most"]), float(message["memory_gb"])))
        elif message["do"] == "order" and name:
            self._orders.put(Order(**message["order"]))
        elif message["do"] == "cleaned" and name:
            self._freed[name] = int(message["freed_bytes"])
            self._capacity.nodes[name] = Share(self._capacity.nodes[name].most, float(message["memory_gb"]))

    def _join(self, link: Link, name: str, share: Share) -> None:
        log.info("node %s has joined, with room for %d trials", name, share.most)
        self._joined[name] = link
        self._lost.pop(name, None)
        self._capacity.nodes[name] = share

    def _forget(self, name: str) -> None:
        self._joined.pop(name).close()
        self._capacity.nodes.pop(name, None)

    def wait(self, number: int, num_ray_nodes: Callable[[], int], tick: Callable[[], None]) -> None:
        """Wait until `number` nodes and their Ray have joined, or for as long as nodes may take."""
        until = self._clock() + JOIN_PATIENCE_S
        while (len(self._joined) < number or num_ray_nodes() <= number) and self._clock() < until:
            tick()
            time.sleep(0.1)
        if len(self._joined) < number:
            log.warning("%d of %d further nodes have joined; going on without the rest", len(self._joined), number)

    def explain_loss(self, name: str, began: float) -> tuple[Outcome, str] | None:
        """Return why a trial on this node was lost; None if the node is still there.

        `name` is where the trial last reported from; if it has not reported yet, it is "" and stands for any node. An
        attempt that `began` (by our clock) after its node was lost is no failure: Ray places workers on a lost node
        until it notices, up to 20 s later.
        """
        if not (lost := self._lost_with(name)):
            return None
        if not name and self._lost.get(lost, math.inf) < began:
            return Outcome.STOPPED, f"it was started on node {lost}, which was lost already"
        return Outcome.NODE_LOST, f"node {lost} was lost"

    def _lost_with(self, name: str) -> str:
        """Return the node that a trial was lost with; waits a moment, as a worker's end may show before its node's."""
        until = self._clock() + NEWS_PATIENCE_S
        while not (lost := self._gone(name)) and self._clock() < until:
            time.sleep(0.05)
            self.tick()
        return lost

    def _gone(self, name: str) -> str:
        """Return the name of the node if it is gone, or was silent for a while: Ray notices a loss before we do."""
        quiet = [node for node, link in self._joined.items() if link.silent_s > QUIET_S]
        gone = [*quiet, *(node for node, at in self._lost.items() if name or self._clock() - at < RECENT_S)]
        return next((node for node in gone if name in ("", node)), "")

    def clean(self, tick: Callable[[], None]) -> int:
        """Make every node delete what its workers have left; return the bytes freed on all of them."""
        self._freed.clear()
        for link in self._joined.values():
            link.send(do="clean")
        until = self._clock() + CLEAN_PATIENCE_S
        while set(self._joined) - set(self._freed) and self._clock() < until:
            tick()
            time.sleep(0.02)
        return sum(self._freed.values())

    def close(self) -> None:
        """Tell all nodes to end their part of Ray and clean up."""
        self._exchange.close()
        for link in (*self._joined.values(), *self._strangers):
            link.send(do="end")
            link.close()
