"""Reads `.npz` files from anywhere: what a file declares is weighed before memory is taken for it."""

from __future__ import annotations

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from neurotarget.errors import UserError
from neurotarget.mapped import Order, is_mappable, map_array

LARGEST_BYTES = 2**30  # of all arrays of one file, as the float64 that they become: 134 million numbers
LONGEST_HEADER = 10_000  # characters; numpy's own limit
KINDS = "biufcSU"  # numbers and text: objects would be unpickled, and records are none of our formats
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

# What zipfile, zlib and numpy's parser of headers raise on a damaged file.
DAMAGE = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    RuntimeError,
    EOFError,
    LookupError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


class ArraysError(UserError):
    """A file of arrays that cannot be used: the message names the file, the array and what is wrong."""


def read_arrays(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True, largest_bytes: int = LARGEST_BYTES
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file, by name, in the file's order.

    Args:
        wanted: which of them to read; the others are neither read nor judged.
        largest_bytes: of all of them together, each value counted as 8 bytes or more.

    Large arrays that are stored uncompressed are mapped, read-only, and count for nothing.

    Raises:
        ArraysError: the file is missing, damaged, encrypted or no archive; an array holds objects, has a header that is
            none or a shape that cannot be; all of them together would take more than `largest_bytes`.
    """
    arrays: dict[str, np.ndarray] = {}
    left = largest_bytes
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name == entry.filename or not wanted(name):
                    continue
                place = f"{path}: array {name!r}"
                if entry.compress_type not in COMPRESSIONS:
                    raise ArraysError(f"{place} is compressed in a way that numpy does not write; save it with numpy")
                if name in arrays:
                    raise ArraysError(f"{place} is in the file twice; keep one of them")
                try:
                    with archive.open(entry) as file:
                        arrays[name] = _read(file, path, entry, left, place)
                except DAMAGE as error:
                    raise ArraysError(f"{place} is damaged ({_first_line(error)}); write the file again") from error
                left -= 0 if is_mappable(entry) else _weight(arrays[name].shape, arrays[name].dtype)
    except FileNotFoundError:
        raise ArraysError(f"{path}: no such file") from None
    except OSError as error:
        raise ArraysError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DAMAGE as error:
        raise ArraysError(f"{path}: not an .npz file: {_first_line(error)}") from error
    return arrays


def _read(file: IO[bytes], path: str | Path, entry: zipfile.ZipInfo, left: int, place: str) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ArraysError(f"{place} is in version {version} of numpy's format; 1.0 and 2.0 are read")
    with warnings.catch_warnings(action="ignore"):  # of Python's parser, about what a hostile header looks like
        shape, fortran, dtype = HEADERS[version](file, max_header_size=LONGEST_HEADER)
    if dtype.kind not in KINDS or not dtype.itemsize:
        raise ArraysError(f"{place} is of type {dtype}; numbers or texts are expected")
    if any(isinstance(size, bool) or not 0 <= size < 2**63 for size in shape):
        raise ArraysError(f"{place} has shape {_short(shape)}, which no array has")
    announced = entry.file_size
    order: Order = "F" if fortran else "C"
    if is_mappable(entry) and math.prod(shape) * dtype.itemsize == announced - file.tell():
        return map_array(path, entry, file.tell(), shape, dtype, order)
    if _weight(shape, dtype) > left:
        raise ArraysError(
            f"{place} of shape {_short(shape)} takes {_weight(shape, dtype):.3g} bytes as float64, where the limit "
            f"leaves {left}; split the file, or save it with np.savez, uncompressed: it is then not read into memory"
        )
    count = math.prod(shape)
    if count * dtype.itemsize > announced:  # before memory is taken: the header may lie
        raise ArraysError(f"{place} of shape {_short(shape)} is cut off: {announced} bytes stand in the file")
    flat = np.empty(count, dtype)
    _fill(file, flat.view(np.uint8).data, place)
    return flat.reshape(shape, order=order)


def _fill(file: IO[bytes], target: memoryview, place: str) -> None:
    at = 0
    while at < len(target):
        chunk = file.read(min(len(target) - at, 2**22))
        if not chunk:
            raise ArraysError(f"{place} ends after {at} of {len(target)} bytes; write the file again")
        target[at : at + len(chunk)] = chunk
        at += len(chunk)
    if file.read(1):  # reading to the end compares the checksum, too
        raise ArraysError(f"{place} holds more than its {len(target)} bytes; write the file again")


def _weight(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * max(dtype.itemsize, 8)


def _short(shape: tuple[int, ...]) -> str:
    text = str(shape) if len(shape) <= 8 else f"{shape[:8]} and {len(shape) - 8} more"
    return text if len(text) <= 100 else f"{text[:100]}..."


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return (text if len(text) <= 100 else f"{text[:100]}...") or type(error).__name__
