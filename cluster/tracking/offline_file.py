"""Reads W&B's file of an offline run: a LevelDB log (blocks of 32 KiB) of protobuf records."""

import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAGIC = b":W&B"
HEADER_BYTES = 7
BLOCK_BYTES = 32 * 1024
FULL, LAST = 1, 4


def read_records(file: Path) -> Iterator[Any]:
    """Yield the records of a run's file, up to where it is cut off."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    for data in _chunks(file):
        record = Record()
        record.ParseFromString(data)
        yield record


def _chunks(file: Path) -> Iterator[bytes]:
    data, at, parts = file.read_bytes(), HEADER_BYTES, b""
    if not data.startswith(MAGIC):
        return
    while at + HEADER_BYTES <= len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < HEADER_BYTES:  # padding: no header fits
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += HEADER_BYTES
        if at + length > len(data):
            return
        parts += data[at : at + length]
        at += length
        if kind in (FULL, LAST):
            yield parts
            parts = b""


def is_whole(file: Path) -> bool:
    """Return whether a run's file has the run's exit: W&B says nothing when a full disk cuts the file off."""
    last = deque(read_records(file), maxlen=1)
    return bool(last) and last[0].WhichOneof("record_type") == "exit"
