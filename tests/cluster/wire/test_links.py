import json
import pickle
import socket
import threading
import time
from multiprocessing.connection import Client

import pytest

from cluster.wire.links import GONE, MOST_GAP_S, SILENCE_S, Exchange, Link
from tests.waiting import wait_for


@pytest.fixture
def exchange():
    made = Exchange("127.0.0.1")
    yield made
    made.close()


def meet(exchange):
    node = Link.connect(exchange.address, exchange.key)
    (driver,) = wait_for(exchange.new_links)
    return driver, node


def test_messages_go_both_ways_in_order_and_signs_of_life_are_not_among_them(exchange):
    driver, node = meet(exchange)
    for number in range(3):
        node.send(do="order", number=number)
    node.send(do="heartbeat")
    driver.send(do="clean")
    got = []
    wait_for(lambda: got.extend(driver.take()) or len(got) == 3)
    assert got == [{"do": "order", "number": number} for number in range(3)]
    assert wait_for(node.take) == [{"do": "clean"}]


def test_who_does_not_know_the_key_is_not_heard(exchange):
    with pytest.raises(GONE):
        Link.connect(exchange.address, b"x" * 32)
    time.sleep(0.1)
    assert exchange.new_links() == []


def test_a_node_does_not_talk_to_a_driver_that_does_not_know_the_key():
    with socket.create_server(("127.0.0.1", 0)) as server:
        caller = None

        def answer():
            nonlocal caller
            caller, _ = server.accept()
            for text in (b"n" * 32, b"p" * 32):  # a nonce, and no proof
                caller.sendall(len(text).to_bytes(4, "big") + text)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(GONE):
            Link.connect(("127.0.0.1", server.getsockname()[1]), b"k" * 32)
        thread.join()
        caller.close()


def test_a_caller_that_says_nothing_keeps_nobody_else_from_being_heard(exchange):
    silent = Client(exchange.address, "AF_INET")
    driver, node = meet(exchange)
    node.send(do="hello")
    assert wait_for(driver.take) == [{"do": "hello"}]
    silent.close()


def test_nothing_is_unpickled(exchange):
    driver, node = meet(exchange)
    node._connection.send_bytes(pickle.dumps({"do": "hello"}))
    wait_for(lambda: not driver.is_alive)
    assert driver.take() == []


def test_a_link_that_is_hung_up_is_known_at_both_ends(exchange):
    driver, node = meet(exchange)
    node.close()
    wait_for(lambda: not driver.is_alive)
    driver.send(do="clean")  # to nobody
    driver, node = meet(exchange)
    driver.close()
    wait_for(lambda: not node.is_alive)


class QuietWire:
    """A connection whose other end never says a word."""

    def __init__(self):
        self.sent = []

    def send_bytes(self, data):
        self.sent.append(json.loads(data))

    def recv_bytes(self, most):
        threading.Event().wait()

    def fileno(self):
        raise OSError

    def close(self):
        pass


def test_silence_counts_as_death():
    now = [0.0]
    link = Link(QuietWire(), clock=lambda: now[0])
    for second in range(int(SILENCE_S)):
        now[0] = float(second)
        assert link.is_alive
    now[0] = SILENCE_S
    assert not link.is_alive


def test_who_slept_has_not_heard_anything_and_says_so_of_nobody():
    now = [0.0]
    link = Link(QuietWire(), clock=lambda: now[0])
    assert link.is_alive
    now[0] = 10 * SILENCE_S
    assert link.is_alive
    assert link.silent_s == MOST_GAP_S


def test_signs_of_life_are_sent_whatever_else_is_done(monkeypatch):
    monkeypatch.setattr("cluster.wire.links.HEARTBEAT_EVERY_S", 0.05)
    wire = QuietWire()
    link = Link(wire)
    wait_for(lambda: len(wire.sent) >= 3)
    assert all(message == {"do": "heartbeat"} for message in wire.sent)
    link.close()


def test_signs_of_life_keep_the_other_end_from_silence(exchange, monkeypatch):
    monkeypatch.setattr("cluster.wire.links.HEARTBEAT_EVERY_S", 0.05)
    driver, node = meet(exchange)
    for end in (driver, node):
        before = 0.0

        def has_heard(end=end):
            nonlocal before
            before, now = end.silent_s, before
            return before < now  # silence only ever grows, unless it is broken

        wait_for(has_heard)
    node.close()
