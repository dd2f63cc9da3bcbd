"""Large arrays of an `.npz` file, where they lie: pages come from the disk as they are read, and need not be kept."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

MAPPED_FROM_BYTES = 2**26
BLOCK_BYTES = 2**22
Order = Literal["C", "F"]
LOCAL_HEADER = "<4s22xHH"  # signature, lengths of name and extra field: APPNOTE.TXT 6.3.10 of PKWARE, 4.3.7


def is_mappable(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry of an archive is large, and stored as it is: np.savez does, np.savez_compressed does not."""
    encrypted = entry.flag_bits & 1
    return entry.compress_type == zipfile.ZIP_STORED and entry.file_size >= MAPPED_FROM_BYTES and not encrypted


def map_array(
    path: str | Path,
    entry: zipfile.ZipInfo,
    header_bytes: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    order: Order,
) -> np.ndarray:
    """The array of a mappable entry, read-only.

    Args:
        header_bytes: length of numpy's header, which the numbers follow.
        order: `C` or `F`.

    Raises:
        ValueError: the entry is cut off, or not what its checksum says.
    """
    with open(path, "rb") as file:
        file.seek(entry.header_offset)
        signature, name, extra = struct.unpack(LOCAL_HEADER, file.read(struct.calcsize(LOCAL_HEADER)))
        if signature != b"PK\x03\x04":
            raise ValueError("no local header")
        start = file.seek(name + extra, 1)
        checksum, left = 0, entry.file_size
        while left:
            block = file.read(min(left, BLOCK_BYTES))
            if not block:
                raise ValueError(f"cut off: {left} bytes are missing")
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        if checksum != entry.CRC:
            raise ValueError("Bad CRC-32")
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.ndarray(shape, dtype, whole, start + header_bytes, order=order)
