"""Tiny recordings of event cameras in the layouts of the real data sets, their bytes written by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

# (t in microseconds, x, y, polarity), in the order of time
Events = list[tuple[int, int, int, int]]

AEDAT4_INFO = """<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">
<node name="0" path="/mainloop/Recorder/outInfo/0/"><attr key="compression" type="string">NONE</attr>
<attr key="typeIdentifier" type="string">EVTS</attr><node name="info" path="/mainloop/Recorder/outInfo/0/info/">
<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr></node></node></node></dv>"""


def random_events(seed: int, count: int, side: int, last: int, first: int = 0) -> Events:
    """The first at `first`, the last at `last`, both in microseconds."""
    generator = np.random.default_rng(seed)
    times = np.sort(generator.integers(first, last, count))
    times[0], times[-1] = first, last
    x, y, p = generator.integers(0, side, count), generator.integers(0, side, count), generator.integers(0, 2, count)
    return [tuple(map(int, event)) for event in zip(times, x, y, p, strict=True)]


def bin_bytes(events: Events) -> bytes:
    """N-MNIST: x, y, then polarity in the highest bit above 23 bits of time, highest byte first."""
    return b"".join(struct.pack(">BBBH", x, y, p << 7 | t >> 16, t & 0xFFFF) for t, x, y, p in events)


def write_nmnist(root: Path, recordings: dict[str, Events]) -> None:
    """recordings: by key, such as `Test/3/00001`."""
    for key, events in recordings.items():
        path = root / f"{key}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bin_bytes(events))


def write_dvs_gesture(root: Path, recordings: dict[str, Events]) -> None:
    """recordings: by key, such as `ibmGestureTest/user24_led/3`; their times are multiples of 1000."""
    for key, events in recordings.items():
        path = root / f"{key}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.array([(x, y, p, t // 1000) for t, x, y, p in events], np.float64))


def write_cifar10_dvs(root: Path, recordings: dict[str, Events]) -> None:
    """recordings: by key, such as `frog/cifar10_frog_7`; packets of 50 events."""
    for key, events in recordings.items():
        path = root / f"{key}.aedat4"
        path.parent.mkdir(parents=True, exist_ok=True)
        packets = [_packet(events[start : start + 50]) for start in range(0, len(events), 50)]
        framed = b"".join(struct.pack("<iI", 0, len(packet)) + packet for packet in packets)
        path.write_bytes(b"#!AER-DAT4.0\r\n" + _header(AEDAT4_INFO.encode()) + framed)


def _header(info: bytes) -> bytes:
    """Flatbuffer IOHeader, with its size before it: no compression, no table of packets, the XML."""
    vtable = struct.pack("<HHHHHxx", 10, 20, 4, 8, 16)  # own size, the table's, and where its three fields lie
    at = 4 + 4 + len(vtable)  # after the root's offset and the identifier
    table = struct.pack("<iiqI", len(vtable), 0, -1, 4)
    body = struct.pack("<I", at) + b"IOHE" + vtable + table + struct.pack("<I", len(info)) + info + b"\0"
    return struct.pack("<I", len(body)) + body


def _packet(events: Events) -> bytes:
    """Flatbuffer EventPacket, with its size before it: one vector of 16 bytes an event."""
    vtable = struct.pack("<HHHxx", 6, 8, 4)
    body = struct.pack("<I", 16) + b"EVTS" + vtable + struct.pack("<iII", 8, 4, len(events))
    body += b"".join(struct.pack("<qhhbxxx", t, x, y, p) for t, x, y, p in events)
    return struct.pack("<I", len(body)) + body
