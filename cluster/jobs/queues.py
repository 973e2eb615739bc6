"""Finds queues by name: each is the QUEUE in the module `queue` of a folder beside this one."""

from functools import cache
from importlib import import_module

from cluster.jobs.environment import queue_names
from cluster.jobs.queue import Queue


@cache
def queue_named(name: str) -> Queue:
    """Return a queue by its name."""
    assert name in queue_names(), name
    return import_module(f"cluster.jobs.{name}.queue").QUEUE


def all_queues() -> list[Queue]:
    """Return all queues."""
    return [queue_named(name) for name in queue_names()]


def default_queue() -> Queue:
    """Return the queue that a site belongs to if the user names none."""
    return all_queues()[0]
