"""The wire between a wave driver and the supervisors of further nodes: JSON over TCP, for holders of a key only.

Both sides prove that they know the key before anything else is read, and nothing that is read is ever unpickled.
(`multiprocessing.connection` frames the messages; its own proof needs MD5, which some clusters forbid.)
"""

import hmac
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from queue import Empty, SimpleQueue
from typing import Any

from cluster.machine.liveness import Liveness

HEARTBEAT_EVERY_S = 2.0
"""Both sides send something this often, so that silence means that a machine has died."""
SILENCE_S = 30.0
"""The other side counts as dead after this long without a message."""
MOST_GAP_S = 5.0
"""A link is looked at least this often, unless this process was suspended."""
LONGEST_MESSAGE = 2**16
GONE = (OSError, EOFError, AuthenticationError, ValueError)
"""What a wire raises if its other end is gone, or was never one of ours."""


NONCE_BYTES = 32


def _proof(key: bytes, who: bytes, *nonces: bytes) -> bytes:
    return hmac.digest(key, who + b"".join(nonces), "sha256")


def _prove_as_driver(connection: Any, key: bytes) -> None:
    """Let a node prove that it knows the key, then prove it to the node; raises AuthenticationError."""
    mine = secrets.token_bytes(NONCE_BYTES)
    connection.send_bytes(mine)
    answer = connection.recv_bytes(2 * NONCE_BYTES)
    theirs, proof = answer[:NONCE_BYTES], answer[NONCE_BYTES:]
    if not hmac.compare_digest(proof, _proof(key, b"node", mine, theirs)):
        raise AuthenticationError("a caller did not know the key")
    connection.send_bytes(_proof(key, b"driver", theirs, mine))


def _prove_as_node(connection: Any, key: bytes) -> None:
    """Prove to a driver that we know the key, and let it prove that it does; raises AuthenticationError."""
    theirs, mine = connection.recv_bytes(NONCE_BYTES), secrets.token_bytes(NONCE_BYTES)
    connection.send_bytes(mine + _proof(key, b"node", theirs, mine))
    if not hmac.compare_digest(connection.recv_bytes(NONCE_BYTES), _proof(key, b"driver", mine, theirs)):
        raise AuthenticationError("who answered did not know the key")


class Link:
    """One end of a wire: sends and receives messages, and knows when it last heard from the other end.

    A thread of its own sends heartbeats, however busy the rest of the process is.
    """

    def __init__(self, connection: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._queue: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._num_heard = 0
        self._liveness = Liveness(0, MOST_GAP_S, clock)
        self._reader = threading.Thread(target=self._read, daemon=True, name="link")
        self._reader.start()
        threading.Thread(target=self._send_heartbeats, daemon=True, name="heartbeats").start()

    @classmethod
    def connect(cls, address: tuple[str, int], key: bytes) -> "Link":
        """Return a link to the driver at an address; raises one of GONE if no driver that knows the key answers."""
        connection = Client(address, "AF_INET")
        try:
            _prove_as_node(connection, key)
        except GONE:
            connection.close()
            raise
        return cls(connection)

    def _read(self) -> None:
        with suppress(*GONE):
            while True:
                self._queue.put(json.loads(self._connection.recv_bytes(LONGEST_MESSAGE)))
                self._num_heard += 1
        self._closed.set()

    def _send_heartbeats(self) -> None:
        while not self._closed.wait(HEARTBEAT_EVERY_S):
            self.send(do="heartbeat")

    @property
    def is_alive(self) -> bool:
        """Whether the other end was heard within SILENCE_S and has not hung up."""
        return not self._closed.is_set() and self.silent_s < SILENCE_S

    @property
    def silent_s(self) -> float:
        """Seconds since the other end was last heard; time in which this process was suspended does not count."""
        self._liveness.see(self._num_heard)
        return self._liveness.silent_s

    def send(self, **message: Any) -> None:
        """Send a message; if the other end is gone, do nothing."""
        with self._sending:
            try:
                self._connection.send_bytes(json.dumps(message).encode())
            except GONE:
                self._closed.set()

    def take(self) -> list[dict[str, Any]]:
        """Return the messages since the last call, without heartbeats."""
        messages = []
        with suppress(Empty):
            while True:
                message = self._queue.get_nowait()
                if isinstance(message, dict) and message.get("do") != "heartbeat":
                    messages.append(message)
        return messages

    def close(self) -> None:
        """Close the link, at this end and the other."""
        self._closed.set()
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)  # close() alone is not sent while our thread still reads
        self._reader.join(1.0)
        with suppress(OSError):
            self._connection.close()


class Exchange:
    """The driver's end of all wires: it accepts callers that know the key."""

    def __init__(self, host: str) -> None:
        self.key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), "AF_INET", backlog=64)
        self._links: SimpleQueue[Link] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True, name="exchange").start()

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that the driver listens at."""
        host, port = self._listener.address
        return str(host), int(port)

    def _listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                # A caller that stays silent must not keep others waiting.
                threading.Thread(target=self._meet, args=(self._listener.accept(),), daemon=True).start()

    def _meet(self, connection: Any) -> None:
        try:
            _prove_as_driver(connection, self.key)
        except GONE:
            connection.close()
            return
        self._links.put(Link(connection))

    def new_links(self) -> list[Link]:
        """Return the links that were made since the last call."""
        links = []
        with suppress(Empty):
            while True:
                links.append(self._links.get_nowait())
        return links

    def close(self) -> None:
        """Stop listening; existing links stay open."""
        self._listener.close()
