"""The heaps in which an HDF5 file keeps its texts: a damaged one on which libhdf5 would read without end.

A heap is a row of objects, each with its size. Where free space says that it takes nothing, libhdf5 (seen with 2.0.0)
does not come back, and no signal is heard. So the row is walked here first, before a text is read.
Layout: HDF5 File Format Specification, "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import mmap
from pathlib import Path

HEAP = b"GCOL\x01\0\0\0"  # signature, version 1, three bytes of nothing: eight that stand nowhere else by chance
HEADER = 16  # bytes before the first object, and before the data of each: index 2, references 2, nothing 4, size 8
SIZE = 8  # bytes of a size, in all files but those of a library that was told otherwise


def endless_heap(path: str | Path, bytes_of_size: int) -> str | None:
    """What keeps the texts of a file from being read, as the end of a sentence; None where nothing does.

    Args:
        bytes_of_size: of the file's own, `h5py.File(path).id.get_create_plist().get_sizes()[1]`.
    """
    if bytes_of_size != SIZE:
        return f"it keeps sizes in {bytes_of_size} bytes, {SIZE} are read; write it with the library's defaults"
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        heap = content.find(HEAP)
        while heap >= 0:
            if (place := _endless(content, heap)) is not None:
                return f"the heap of its texts is damaged at byte {place}; write or copy it again"
            heap = content.find(HEAP, heap + len(HEAP))
    return None


def _endless(content: mmap.mmap, heap: int) -> int | None:
    """The byte from which a walk through the objects of a heap does not get on."""
    at, end = heap + HEADER, min(heap + _number(content, heap + 8, SIZE), len(content))
    while at + HEADER <= end:
        size = _number(content, at + 8, SIZE)
        is_free = _number(content, at, 2) == 0  # its size counts the header; that of an object does not
        step = size if is_free else HEADER + -(-size // 8) * 8
        if not step:
            return at
        at += step
    return None


def _number(content: mmap.mmap, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")
