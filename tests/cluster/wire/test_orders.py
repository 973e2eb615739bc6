import os

import pytest

from cluster.wire.orders import Order, Orders
from tests.waiting import wait_for


@pytest.fixture
def pipe():
    read, write = os.pipe()
    reader, writer = os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0)
    yield reader, writer
    writer.close()
    reader.close()


def test_orders_come_out_as_they_went_in(pipe):
    reader, writer = pipe
    sent = [Order("end_wave", "a\nreason"), Order("lose_trial", "why", 3, "timed_out", 1.5)]
    orders, taken = Orders(reader, pytest.fail), []
    for order in sent:
        order.send(writer)
    wait_for(lambda: orders.take(taken.append) or len(taken) == 2)
    assert taken == sent
    orders.take(taken.append)
    assert taken == sent
    writer.close()


def test_a_driver_that_is_gone_needs_no_orders(pipe):
    reader, writer = pipe
    reader.close()
    Order("end_wave", "why").send(writer)
