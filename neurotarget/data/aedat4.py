"""Whether an AEDAT 4 file is whole, looked at before its decoder sees it.

The decoder (package aedat, written in Rust) raises for a damaged packet, but trusts the header: damage there aborts the
process. And it takes a file that was cut between two packets for a whole one.

The format is iniVation's AEDAT 4.0: 14 bytes of version; the size of a flatbuffer `IOHeader` (compression,
dataTablePosition, infoNode: XML) and the flatbuffer; packets (stream, size, flatbuffer) up to dataTablePosition, or to
the end of the file where that is -1.
"""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

from .base import DataError

VERSION = b"#!AER-DAT4.0\r\n"
MOST_BYTES = 2**28  # recordings of CIFAR10-DVS have a few megabytes
TABLE_POSITION, INFO = 1, 2  # fields of IOHeader


def refuse_damaged(path: Path) -> None:
    """DataError for a file that is cut off, too large, or whose header a decoder could not follow."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(f"{path}: {size:,} bytes; expected one recording, {MOST_BYTES:,} bytes at most")
    data = path.read_bytes()
    if not data.startswith(VERSION):
        raise DataError(f"{path}: no AEDAT 4 file: it begins with {data[:14]!r}; expected {VERSION!r}")
    try:
        start, end = _packets(data)
        while start < end:
            start += 8 + int.from_bytes(_bytes(data, start + 4, 4), "little")
    except (ValueError, struct.error, ElementTree.ParseError) as error:
        raise DataError(f"{path}: its header is damaged ({error}); unpack it again") from error
    if start != end:
        raise DataError(f"{path}: truncated: its packets end at byte {start:,}, expected {end:,}; unpack it again")


def _packets(data: bytes) -> tuple[int, int]:
    """Where the packets begin and end."""
    base = len(VERSION) + 4
    header = _bytes(data, base, int.from_bytes(_bytes(data, base - 4, 4), "little"))
    table = _number(header, 0, "<I")
    fields = table - _number(header, table, "<i")
    info = _field(header, table, fields, INFO, 4)
    if info is None:
        raise ValueError("it does not describe its streams")
    text = info + _number(header, info, "<I")
    ElementTree.fromstring(_bytes(header, text + 4, _number(header, text, "<I")).decode())
    place = _field(header, table, fields, TABLE_POSITION, 8)
    end = -1 if place is None else _number(header, place, "<q")
    _field(header, table, fields, 0, 4)
    return base + len(header), len(data) if end < 0 else end


def _field(header: bytes, table: int, fields: int, index: int, width: int) -> int | None:
    """Where a field of a flatbuffer's table lies; None where it has its default."""
    if 4 + 2 * index >= _number(header, fields, "<H"):
        return None
    offset = _number(header, fields + 4 + 2 * index, "<H")
    if offset:
        _bytes(header, table + offset, width)
    return table + offset if offset else None


def _number(data: bytes, at: int, code: str) -> int:
    return int(struct.unpack(code, _bytes(data, at, struct.calcsize(code)))[0])


def _bytes(data: bytes, at: int, count: int) -> bytes:
    if at < 0 or at + count > len(data):
        raise ValueError(f"bytes {at:,} to {at + count:,} of {len(data):,}")
    return data[at : at + count]
