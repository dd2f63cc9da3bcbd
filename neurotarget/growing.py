"""A compressed `.npz` whose arrays come part by part: it has the bytes of one written at once, and is never in memory.

In an archive the arrays stand one behind the other, and the parts of all come side by side. So each grows in a file of
its own, lightly compressed and without a name: nothing is left of it, however the process ends.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from neurotarget.files import write_together

LIGHTLY = 1  # gzip's level, of what is unpacked again


@dataclass
class _Column:
    """One array so far: its rows lie in `file`."""

    file: IO[bytes]
    packed: gzip.GzipFile
    dtype: np.dtype[Any]
    row: tuple[int, ...]
    rows: int = 0


class GrowingArrays(contextlib.ExitStack):
    """Arrays that grow along their first axis, for one file; left with `with`, written or not."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.columns: dict[str, _Column] = {}

    def append(self, parts: Mapping[str, np.ndarray]) -> None:
        """Adds rows [rows, ...] to each array; the first parts say in which order the arrays stand in the file.

        Raises:
            ValueError: they are not of the type and shape of the rows before.
            OSError: the disk is full, or the folder is gone.
        """
        for name, part in parts.items():
            if name not in self.columns:
                file = self.enter_context(tempfile.TemporaryFile(dir=self.path.parent))  # noqa: SIM115 (the stack closes it)
                packed = self.enter_context(gzip.GzipFile(fileobj=file, mode="wb", compresslevel=LIGHTLY))
                self.columns[name] = _Column(file, packed, part.dtype, part.shape[1:])
            column = self.columns[name]
            if (part.dtype, part.shape[1:]) != (column.dtype, column.row):
                raise ValueError(f"{name}: {part.dtype} {part.shape} after rows of {column.dtype} {column.row}")
            column.packed.write(np.ascontiguousarray(part).data)
            column.rows += len(part)

    def write(self, whole: Mapping[str, np.ndarray]) -> None:
        """Writes the file, with arrays that came at once behind the others; it appears when complete.

        Raises:
            OSError: it cannot be written.
        """

        def fill(target: IO[bytes]) -> None:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, column in self.columns.items():
                    shape, descr = (column.rows, *column.row), np.lib.format.dtype_to_descr(column.dtype)
                    column.packed.close()
                    column.file.seek(0)
                    with _entry(archive, name) as entry, gzip.GzipFile(fileobj=column.file) as rows:
                        header = {"descr": descr, "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(entry, header)
                        shutil.copyfileobj(rows, entry)
                for name, array in whole.items():
                    with _entry(archive, name) as entry:
                        np.lib.format.write_array(entry, array, allow_pickle=False)

        write_together({self.path: fill})


def _entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(f"{name}.npy", "w", force_zip64=True)  # as numpy does it
